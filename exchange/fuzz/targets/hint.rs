//! Reads fuzzed hint files.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

#[path = "folder.rs"]
mod folder;

fuzz_target!(|bytes: &[u8]| pop_store::fuzzing::hint(folder::here(), bytes));

fuzz_mutator!(|bytes: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(bytes, size, max_size);
    if seed % 8 != 0 {
        pop_store::fuzzing::mend_hint(&mut bytes[..size]);
    }
    size
});
