//! Reads fuzzed dag-pb.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../dag/tests/fuzz/pb.rs"]
mod pb;

fuzz_target!(|bytes: &[u8]| pb::check(bytes));
