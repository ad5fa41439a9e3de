//! Reads fuzzed blocks as files, directories and symlinks.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../dag/tests/fuzz/node.rs"]
mod node;

fuzz_target!(|bytes: &[u8]| node::check(bytes));
