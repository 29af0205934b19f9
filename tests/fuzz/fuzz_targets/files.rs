//! Small files and values of a store: see `crates/fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| icecore_fuzzing::run("files", bytes));
