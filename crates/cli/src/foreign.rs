//! Texts of others, for tests: what `tests/fuzz/corpus` keeps of them, and damage done to it. The tests
//! of lines are in `ndjson`; those of the configuration file are here.

use crate::config::Settings;
use proptest::collection::vec;
use proptest::prelude::*;
use std::fs;
use std::path::Path;

/// The files that a folder of the corpus holds, by their names.
pub(crate) fn corpus(folder: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    let files = fs::read_dir(corpus.join(folder)).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} has no corpus");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// A text from a folder of the corpus, with some of its bytes cut out, doubled or overwritten.
pub(crate) fn damaged(folder: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..4),
        "[-{}\\[\\]\",:=.'0-9eTZ]{0,4}".prop_map(String::into_bytes),
        Just(b"null".to_vec()),
        Just(b"99999999999999999999".to_vec()),
        Just("\u{e9}\u{1f600}".as_bytes().to_vec()),
        Just(b"\\u0000".to_vec()),
    ];
    let change = (any::<prop::sample::Index>(), 0..8_usize, piece);
    let text = prop::sample::select(corpus(folder));
    (text, vec(change, 1..3)).prop_map(|(mut text, changes)| {
        for (at, length, piece) in changes {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            text.splice(at..end, piece);
        }
        text
    })
}

/// Whatever a file holds: it is refused, or it wins over what is not set and yields to what is, and
/// the whole is checked.
fn read_settings(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let Ok(settings) = Settings::from_toml(text) else {
        return;
    };
    let nothing = Settings::default();
    assert_eq!(nothing.clone().or(settings.clone()), settings);
    assert_eq!(settings.clone().or(nothing), settings);
    if let Err(error) = settings.check() {
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn the_configurations_of_the_corpus_are_read_or_refused() {
    for text in corpus("config") {
        read_settings(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn damaged_configurations_are_read_or_refused(text in damaged("config")) {
        read_settings(&text);
    }

    #[test]
    fn any_text_is_read_as_a_configuration_or_refused(text: Vec<u8>) {
        read_settings(&text);
    }
}
