//! Tiny recordings and the images that are legal after them.

use super::*;
use std::collections::BTreeSet;

const DB: FileId = 0;

fn write(at: usize, bytes: &str) -> Step {
    Step::Change(Change::Write {
        file: DB,
        at,
        bytes: bytes.as_bytes().to_vec(),
    })
}

fn set_length(length: usize) -> Step {
    Step::Change(Change::SetLength { file: DB, length })
}

fn appear(path: &str, entry: Entry) -> Step {
    let path = path.into();
    Step::Change(Change::Appear { path, entry })
}

fn vanish(path: &str) -> Step {
    Step::Change(Change::Vanish {
        path: path.into(),
        entry: Entry::File(DB),
    })
}

fn rename(from: &str, to: &str, file: FileId) -> Step {
    Step::Change(Change::Move {
        from: from.into(),
        to: to.into(),
        entry: Entry::File(file),
    })
}

fn sync(since: usize) -> Step {
    let node = Node::File(DB);
    Step::Synced { node, since }
}

fn sync_directory(path: &str, since: usize) -> Step {
    let node = Node::Directory(path.into());
    Step::Synced { node, since }
}

/// A recording that begins with these files.
fn recording(files: &[(&str, &str)], steps: Vec<Step>) -> Recording {
    let mut recording = Recording {
        steps,
        ..Recording::default()
    };
    for (path, bytes) in files {
        let file = recording.contents.len();
        recording.contents.push(bytes.as_bytes().to_vec());
        recording.entries.insert(path.into(), Entry::File(file));
    }
    recording
}

/// All images that a thousand cuts at the end give, as `name=bytes name=bytes`.
fn images(recording: &Recording, loss: Loss) -> BTreeSet<String> {
    images_of(recording, loss, None)
}

fn images_of(recording: &Recording, loss: Loss, unsynced: Option<&Path>) -> BTreeSet<String> {
    let mut random = Random::new(1);
    let cut = Cut {
        at: recording.steps.len(),
        loss,
        unsynced,
    };
    (0..1_000)
        .map(|_| {
            let image = Image::after(recording, cut, &mut random);
            let files = image.files.iter().map(|(path, bytes)| {
                let text = String::from_utf8_lossy(bytes).replace('\0', "0");
                format!("{}={text}", path.display())
            });
            let directories = image.directories.iter();
            let directories = directories.map(|path| format!("{}/", path.display()));
            directories.chain(files).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

fn check(recording: &Recording, loss: Loss, expected: &[&str]) {
    let expected: BTreeSet<_> = expected.iter().map(ToString::to_string).collect();
    assert_eq!(images(recording, loss), expected, "{loss:?}");
}

#[test]
fn what_was_synced_survives_every_cut() {
    let steps = vec![write(2, "bcd"), set_length(4), sync(2)];
    let recording = recording(&[("db", "aa")], steps);
    for loss in Loss::ALL {
        check(&recording, loss, &["db=aabc"]);
    }
}

#[test]
fn what_was_not_synced_survives_in_every_legal_way() {
    let recording = recording(
        &[("db", "aa")],
        vec![write(1, "b"), sync(1), write(1, "cc")],
    );
    check(&recording, Loss::Everything, &["db=ab"]);
    check(&recording, Loss::Lengths, &["db=ac"]);
    // Bytes and length are independent.
    check(
        &recording,
        Loss::Blocks,
        &["db=ab", "db=ab0", "db=ac", "db=acc"],
    );
    check(&recording, Loss::Order, &["db=ab", "db=ac", "db=acc"]);
}

#[test]
fn a_sync_covers_only_what_came_before_its_call() {
    let recording = recording(&[("db", "a")], vec![write(0, "b"), write(0, "c"), sync(1)]);
    check(&recording, Loss::Everything, &["db=b"]);
    check(&recording, Loss::Blocks, &["db=b", "db=c"]);
}

#[test]
fn a_failed_sync_loses_what_it_was_about_for_good() {
    let failed = Step::SyncFailed {
        node: Node::File(DB),
        since: 2,
    };
    let steps = vec![write(0, "b"), write(1, "c"), failed, write(2, "d"), sync(4)];
    let recording = recording(&[("db", "aaa")], steps);
    for loss in Loss::ALL {
        check(&recording, loss, &["db=aad"]);
    }
}

#[test]
fn a_block_shows_the_writes_to_it_in_order() {
    let block = "x".repeat(BLOCK_BYTES);
    let far = |byte: &str| write(BLOCK_BYTES, byte);
    let steps = vec![write(0, "1"), far("a"), write(0, "2"), far("b")];
    let recording = recording(&[("db", &(block.clone() + "y"))], steps);
    let mut expected = BTreeSet::new();
    for near in ["x", "1", "2"] {
        for far in ["y", "a", "b"] {
            expected.insert(format!("db={near}{}{far}", &block[1..]));
        }
    }
    assert_eq!(images(&recording, Loss::Blocks), expected);
}

#[test]
fn a_truncation_may_be_younger_than_the_disk() {
    let steps = vec![set_length(1), write(1, "b")];
    let recording = recording(&[("db", "aaa")], steps);
    check(&recording, Loss::Everything, &["db=aaa"]);
    check(
        &recording,
        Loss::Blocks,
        &["db=a", "db=a0", "db=aaa", "db=ab"],
    );
}

#[test]
fn names_survive_each_for_itself() {
    let steps = vec![
        appear("d", Entry::Directory),
        appear("d/new", Entry::File(1)),
        rename("a", "b", 0),
    ];
    let recording = recording(&[("a", "1")], steps);
    check(&recording, Loss::Everything, &["a=1"]);
    check(&recording, Loss::Lengths, &["d/ b=1 d/new="]);
    check(
        &recording,
        Loss::Blocks,
        &[
            "a=1",
            "b=1",
            "d/ a=1",
            "d/ a=1 d/new=",
            "d/ b=1",
            "d/ b=1 d/new=",
        ],
    );
}

#[test]
fn a_name_is_there_once_its_directory_was_synced() {
    let steps = vec![
        vanish("a"),
        appear("b", Entry::File(1)),
        sync_directory("", 2),
    ];
    let mut recording = recording(&[("a", "1")], steps);
    for loss in Loss::ALL {
        check(&recording, loss, &["b="]);
    }
    recording.steps[2] = sync_directory("", 1);
    check(&recording, Loss::Everything, &[""]);
    check(&recording, Loss::Blocks, &["", "b="]);
}

#[test]
fn a_replaced_file_is_the_old_or_the_new_one() {
    let steps = vec![rename("new", "a", 1)];
    let recording = recording(&[("a", "1"), ("new", "2")], steps);
    check(&recording, Loss::Everything, &["a=1 new=2"]);
    check(&recording, Loss::Blocks, &["a=1 new=2", "a=2"]);
}

#[test]
fn the_control_ignores_the_syncs_of_one_file() {
    let steps = vec![write(0, "b"), sync(1)];
    let recording = recording(&[("db", "a")], steps);
    let images = images_of(&recording, Loss::Everything, Some(Path::new("db")));
    assert_eq!(images, BTreeSet::from(["db=a".to_owned()]));
}

#[test]
fn an_image_is_written_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let image = Image {
        directories: vec!["d".into()],
        files: BTreeMap::from([("d/a".into(), b"1".to_vec()), ("b".into(), Vec::new())]),
    };
    image.write_to(root.path()).unwrap();
    assert_eq!(fs::read(root.path().join("d/a")).unwrap(), b"1");
    assert_eq!(fs::read(root.path().join("b")).unwrap(), b"");
    assert_eq!(Image::of(root.path()).unwrap(), image);
}
