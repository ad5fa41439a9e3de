//! Reads fuzzed dag-cbor.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../dag/tests/fuzz/cbor.rs"]
mod cbor;

fuzz_target!(|bytes: &[u8]| cbor::check(bytes));
