//! See the manifest: this room is being furnished.
