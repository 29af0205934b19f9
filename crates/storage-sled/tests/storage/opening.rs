//! What the operator is told when a directory cannot be opened.

use crate::stores::{commit, config, database, open, open_error, tiny};
use icecore_core::{Position, StoreId};
use icecore_storage::contract::generate::Generator;
use icecore_storage::{Health, Storage};
use icecore_storage_sled::{OpenError, SledConfig};
use std::fs;
use std::path::Path;
use uuid::Uuid;

/// Checks the error, and that its text names the path and is no bare code.
fn check(error: &OpenError, path: &Path, words: &str) {
    let text = error.to_string();
    assert!(text.contains(&*path.to_string_lossy()), "{text}");
    assert!(text.contains(words), "{text}");
}

/// A closed store with some events.
async fn filled(config: &SledConfig, groups: usize) -> Position {
    let storage = open(config);
    let mut generator = Generator::new(5);
    commit(&[&storage], &mut generator, groups).await;
    storage.close().await.unwrap();
    generator.last_position()
}

#[tokio::test]
async fn the_identity_is_made_once() {
    let directory = tempfile::tempdir().unwrap();
    let first = config(directory.path());
    let storage = open(&first);
    assert_eq!(storage.store_id(), first.new_store_id);
    assert_eq!(storage.health(), Health::Healthy);
    drop(storage);
    let new_store_id = StoreId::new(Uuid::from_u128(99));
    let again = SledConfig {
        new_store_id,
        segment_bytes: 8 << 20,
        ..first.clone()
    };
    assert_eq!(open(&again).store_id(), first.new_store_id);
}

#[tokio::test]
async fn a_directory_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let storage = open(&config);
    let error = open_error(&config);
    assert!(matches!(error, OpenError::InUse { .. }));
    check(&error, directory.path(), "in use by another process");

    storage.close().await.unwrap();
    let again = open(&config);
    assert!(matches!(storage.health(), Health::Failed(_)));
    assert!(storage.lead().await.is_err());
    drop(again);
    open(&config);
}

#[test]
fn a_foreign_directory_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("thesis.txt"), "words").unwrap();
    let error = open_error(&config(directory.path()));
    assert!(matches!(error, OpenError::NotAStore { .. }));
    check(&error, directory.path(), "thesis.txt");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let path = file.join("data");
    let error = open_error(&config(&path));
    assert!(matches!(error, OpenError::Io { .. }));
    check(&error, &path, "cannot create");
}

#[tokio::test]
async fn a_newer_format_is_refused_with_both_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    filled(&config, 1).await;
    let path = directory.path().join("store");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("format 1", "format 12")).unwrap();
    let error = open_error(&config);
    assert!(matches!(
        error,
        OpenError::NewerFormat {
            found: 12,
            known: 1,
            ..
        }
    ));
    check(
        &error,
        &path,
        "has format 12, and this release knows formats up to 1",
    );
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_refused_with_both_positions() {
    let directory = tempfile::tempdir().unwrap();
    let config = tiny(&directory.path().join("store"));
    let early = filled(&config, 4).await;
    let copy = directory.path().join("copy");
    copy_directory(&config.directory.join("sled"), &copy);

    let storage = open(&config);
    let mut generator = Generator::new(5);
    for _ in 0..4 {
        generator.group();
    }
    commit(&[&storage], &mut generator, 4).await;
    storage.close().await.unwrap();
    let late = generator.last_position();
    fs::remove_dir_all(config.directory.join("sled")).unwrap();
    fs::rename(&copy, config.directory.join("sled")).unwrap();
    let error = open_error(&config);
    let OpenError::LogTooShort {
        found,
        acknowledged,
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((found, acknowledged), (early.get(), late.get()));
    check(
        &error,
        &config.directory,
        &format!("position {late} was acknowledged"),
    );
}

#[tokio::test]
async fn an_empty_log_is_refused_if_there_were_events() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    filled(&config, 2).await;
    fs::remove_dir_all(directory.path().join("sled")).unwrap();
    assert!(matches!(
        open_error(&config),
        OpenError::LogTooShort { found: 0, .. }
    ));
}

#[tokio::test]
async fn an_unreadable_watermark_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    filled(&config, 2).await;
    let path = directory.path().join("watermark");
    let sound = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    check(&open_error(&config), &path, "it is not there");
    let mut damaged = sound.clone();
    damaged[35] ^= 1;
    damaged[4_096 + 35] ^= 1;
    fs::write(&path, damaged).unwrap();
    let error = open_error(&config);
    assert!(matches!(error, OpenError::WatermarkUnreadable { .. }));
    check(&error, &path, "both of its slots are damaged");
    fs::write(&path, sound).unwrap();
    open(&config);
}

#[tokio::test]
async fn cut_off_snapshots_do_not_keep_a_store_from_opening() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let last = filled(&config, 3).await;
    let sled = directory.path().join("sled");
    let generating = sled.join("snap.00000000000000FF.generating");
    fs::write(&generating, "half a snapshot").unwrap();
    let damaged = sled.join("snap.7FFFFFFFFFFFFFFF");
    fs::write(&damaged, "a snapshot with a wrong checksum").unwrap();
    let storage = open(&config);
    assert_eq!(*storage.last_position().borrow(), last);
    assert!(!generating.exists() && !damaged.exists());
    let aside = directory.path().join("snapshots-set-aside");
    assert!(aside.join("snap.7FFFFFFFFFFFFFFF").exists());
}

#[tokio::test]
async fn damaged_settings_of_the_database_are_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let config = tiny(directory.path());
    let last = filled(&config, 10).await;
    let settings = directory.path().join("sled/conf");
    let sound = fs::read(&settings).unwrap();
    let digit = sound.iter().position(u8::is_ascii_digit).unwrap();
    let mut other = sound.clone();
    other[digit] ^= 0x01;
    // Half written, by a crash in the first start; another segment size.
    for damaged in [&sound[..12], &other] {
        fs::write(&settings, damaged).unwrap();
        let storage = open(&config);
        assert_eq!(*storage.last_position().borrow(), last);
        drop(storage);
        assert_eq!(fs::read(&settings).unwrap(), sound);
    }
}

#[tokio::test]
async fn a_database_with_blobs_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    filled(&config, 1).await;
    drop(database(&config));
    let blobs = directory.path().join("sled/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join("123"), "a page").unwrap();
    let error = open_error(&config);
    assert!(matches!(error, OpenError::ForeignBlobs { .. }));
    check(&error, &blobs, "is not empty");
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
