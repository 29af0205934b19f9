//! Requests of icecore.v1: see `crates/fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| icecore_fuzzing::run("requests", bytes));
