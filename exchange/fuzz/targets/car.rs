//! Reads fuzzed archives.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

#[path = "../../dag/tests/fuzz/car.rs"]
mod car;

fuzz_target!(|bytes: &[u8]| car::check(bytes));

fuzz_mutator!(|bytes: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(bytes, size, max_size);
    car::mend(&mut bytes[..size], seed);
    size
});
