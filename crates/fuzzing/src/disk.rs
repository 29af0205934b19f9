//! What the sled engine finds on its disk: chunks, the values of its index, small files, and a whole raw
//! file that is read without sled. The readers themselves are in `icecore_storage_sled::fuzzing`.

use icecore_core::{LogEntry, Mark, Position};
use icecore_storage_sled::{RawStore, fuzzing};
use std::collections::HashMap;
use std::convert::Infallible;
use std::fs;
use std::path::Path;

/// The parts of a chunk, each after two bytes that say how long it is.
pub(crate) fn chunks(bytes: &[u8]) {
    fuzzing::chunk(bytes);
}

/// The first byte says which value of the index the others are.
pub(crate) fn indexes(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 6 {
        0 => fuzzing::index_block(bytes),
        1 => fuzzing::manifest(bytes),
        2 => fuzzing::bloom(bytes),
        3 => fuzzing::starts(bytes),
        4 => fuzzing::chunks(bytes),
        _ => fuzzing::index_value(bytes),
    }
}

/// The first byte says what the others are: a slot of the watermark, an identity, a group of roots.
pub(crate) fn files(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 3 {
        0 => fuzzing::watermark(bytes),
        1 => fuzzing::identity(bytes),
        _ => fuzzing::roots(bytes),
    }
}

/// A data directory in pieces, each after two bytes that say how long it is: what begins like an
/// identity or a watermark is that file, the others together are the raw file of the database.
pub(crate) fn raw(bytes: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory can be made");
    write_directory(directory.path(), &fuzzing::pieces(bytes));
    let store = RawStore::scan(directory.path(), &mut |done, total| assert!(done <= total));
    let store = store.expect("its files can be read");
    let mut log: Vec<LogEntry> = Vec::new();
    let read = store.read_log(|append| {
        log.extend(append);
        Ok::<_, Infallible>(())
    });
    let Ok(last) = read;
    let positions = log.iter().map(|entry| entry.position);
    assert!(positions.eq((1..=last.get()).map(Position::new)), "a gap");
    assert!(log.last().is_none_or(|entry| entry.mark == Mark::End));
    let mut versions: HashMap<_, Vec<LogEntry>> = HashMap::new();
    store.read_every_version(|entry| {
        versions
            .entry(entry.position)
            .or_default()
            .push(entry.clone());
    });
    for entry in &log {
        let versions = versions.get(&entry.position);
        assert!(versions.is_some_and(|versions| versions.contains(entry)));
    }
    assert!(log.is_empty() || store.store_id().is_some());
    drop(store.findings(last));
    let _ = store.chunk_versions();
}

fn write_directory(directory: &Path, pieces: &[Vec<u8>]) {
    let sled = directory.join("sled");
    fs::create_dir(&sled).expect("a directory can be made");
    let mut database = Vec::new();
    for piece in pieces {
        let file = match piece {
            piece if piece.starts_with(b"icecore store") => "store",
            piece if piece.starts_with(b"ICEW") => "watermark",
            piece => {
                database.extend_from_slice(piece);
                continue;
            }
        };
        fs::write(directory.join(file), piece).expect("a file can be written");
    }
    fs::write(sled.join("db"), database).expect("a file can be written");
}
