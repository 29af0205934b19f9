//! Operations on the sled engine: see `crates/fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| icecore_fuzzing::run("engine", bytes));
