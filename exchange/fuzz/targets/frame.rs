//! Cuts fuzzed streams into frames.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../wire/tests/fuzz/frame.rs"]
mod frame;

fuzz_target!(|bytes: &[u8]| frame::check(bytes));
