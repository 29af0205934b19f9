//! The corpus of the fuzzer, on the stable compiler; and some noise beside it, the same in every run.

use icecore_fuzzing::TARGETS;
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Panics in any thread or task, also where somebody catches them: a fuzzer ends at each.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn run(target: &str, bytes: &[u8]) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            hook(panic);
        }));
    });
    icecore_fuzzing::run(target, bytes);
    let panics = PANICS.load(Ordering::Relaxed);
    assert_eq!(panics, 0, "{target} panics where it is not seen");
}

#[test]
fn the_corpus_harms_nothing() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    for (target, _) in TARGETS {
        let folder = corpus.join(target);
        let files = std::fs::read_dir(&folder);
        let files = files.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for file in files {
            let path = file.expect("a folder can be listed").path();
            println!("{}", path.display());
            run(target, &std::fs::read(&path).expect("a file can be read"));
            count += 1;
        }
        assert!(count > 0, "{target} has no corpus");
    }
}

#[test]
fn the_fuzzer_has_a_program_for_each_target() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/fuzz_targets");
    let programs = std::fs::read_dir(programs).expect("a folder can be listed");
    let programs = programs.map(|program| program.expect("a folder can be listed").path());
    let mut programs: Vec<_> = programs
        .map(|path| {
            path.file_stem()
                .map(|name| name.to_string_lossy().into_owned())
        })
        .collect();
    programs.sort();
    let mut targets: Vec<_> = TARGETS
        .iter()
        .map(|(name, _)| Some((*name).to_owned()))
        .collect();
    targets.sort();
    assert_eq!(programs, targets);
}

#[test]
fn noise_harms_nothing() {
    for (target, _) in TARGETS {
        // Stores on a disk take their time.
        let seeds = if *target == "engine" { 5 } else { 2_000 };
        for seed in 0..seeds {
            let mut random = fastrand::Rng::with_seed(seed);
            let length = random.usize(0..200);
            let bytes: Vec<_> = std::iter::repeat_with(|| random.u8(..))
                .take(length)
                .collect();
            run(target, &bytes);
        }
    }
}
