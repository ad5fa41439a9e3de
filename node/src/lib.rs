//! The daemon: one swarm loop, a few tasks around it, a control API on a unix socket.
//!
//! Only this crate owns sockets, clocks and disks at run time; the rooms below it hold rules without I/O.

pub mod config;
pub mod net;
pub mod rpc_server;
pub mod trade;
