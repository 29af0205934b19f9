//! What reads bytes of others, as functions that take any bytes and panic when something is wrong. A
//! fuzzer looks for bytes that make them; an ordinary test, on the stable compiler, gives them some
//! noise and what `tests/fuzz/corpus` keeps.
//!
//! A target here checks more than that nothing panics: what can be read is written again and read
//! again, and is the same; a sequence of operations is what the model says.

mod disk;
mod engine;
mod messages;
mod operations;

/// A function that must not panic, whatever it is given.
pub type Target = fn(&[u8]);

/// All targets, by the name of their corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("requests", messages::requests),
    ("answers", messages::answers),
    ("operations", operations::operations),
    ("chunks", disk::chunks),
    ("indexes", disk::indexes),
    ("files", disk::files),
    ("raw", disk::raw),
    ("engine", engine::operations),
];

/// Gives the bytes to the target of this name.
///
/// # Panics
///
/// When there is none, or when the target finds something.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(target, _)| *target == name);
    let (_, target) = target.unwrap_or_else(|| panic!("there is no target `{name}`"));
    target(bytes);
}
