//! Reads fuzzed dag-json.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../dag/tests/fuzz/cbor.rs"]
mod cbor;
#[path = "../../dag/tests/fuzz/json.rs"]
mod json;

fuzz_target!(|bytes: &[u8]| json::check(bytes));
