//! Operations on a store in memory: see `crates/fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| icecore_fuzzing::run("operations", bytes));
