//! Walks, lists and reads fuzzed DAGs.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../dag/tests/fuzz/car.rs"]
mod car;
#[path = "../../dag/tests/fuzz/dag.rs"]
mod dag;

fuzz_target!(|bytes: &[u8]| dag::check(bytes));
