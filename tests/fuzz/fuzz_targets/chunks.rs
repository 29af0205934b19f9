//! Chunks of the log: see `crates/fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| icecore_fuzzing::run("chunks", bytes));
