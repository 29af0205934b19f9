//! What counts in a backup. A file that the manifest does not name is left over; the manifest is
//! written when everything that it names is durable.
//!
//! ```text
//! icecore backup
//! format 1
//! store_id 018f2c3e-5b7a-7cc1-b1f0-2d1c9a3e4f50
//! file 1 65536 8400231 1327968000000000000 9f86d0...    first and last position, bytes, time of the
//!                                                       last event in nanoseconds, SHA-256
//! before_last_file 5feceb... 6b86b2...                  subtrees of the tree before the last file
//! tree d4735e...                                        root of the tree over all events
//! sha256 4e0740...                                      of all bytes before this line
//! ```

use crate::offline::{OfflineError, Result};
use icecore_core::{GrowingTree, Hash, Position, StoreId, Timestamp};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use uuid::Uuid;

const NAME: &str = "manifest";
const NEW: &str = "manifest.new";
const TITLE: &str = "icecore backup";

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileEntry {
    pub(super) first: Position,
    pub(super) last: Position,
    pub(super) bytes: u64,
    /// When the last of its events, and of all before, was recorded.
    pub(super) recorded_at: Timestamp,
    pub(super) sha256: [u8; 32],
}

impl FileEntry {
    /// A name that no file with other content has.
    pub(super) fn name(&self) -> String {
        let sha256 = Hash(self.sha256).to_string();
        format!("events-{:020}-{}.icb", self.first.get(), &sha256[..16])
    }
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) store_id: StoreId,
    /// In the order of their positions, without a gap.
    pub(super) files: Vec<FileEntry>,
    /// The tree before the last file.
    pub(super) before_last: GrowingTree,
    /// The root of the tree over all events.
    pub(super) tree: Hash,
}

impl Manifest {
    /// The manifest of a backup that holds nothing yet.
    pub(super) fn new(store_id: StoreId) -> Self {
        Self {
            store_id,
            files: Vec::new(),
            before_last: GrowingTree::default(),
            tree: GrowingTree::default().root(),
        }
    }

    /// The last position of the backup.
    pub(super) fn last(&self) -> Position {
        self.files.last().map_or(Position::START, |file| file.last)
    }

    /// Reads the manifest of a directory; `None` when there is none.
    pub(super) fn load(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OfflineError::io("read", &path)(error)),
        };
        let damaged = |reason| OfflineError::new(format!("{} {reason}", path.display()));
        Self::parse(&text).map(Some).map_err(damaged)
    }

    fn parse(text: &str) -> std::result::Result<Self, &'static str> {
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return Err("is no manifest of a backup");
        }
        if lines.next() != Some("format 1") {
            return Err("has a format that this release does not know");
        }
        Self::parse_lines(lines)
            .filter(|manifest| manifest.text() == text)
            .ok_or("is damaged")
    }

    fn parse_lines<'a>(mut lines: impl Iterator<Item = &'a str>) -> Option<Self> {
        let store_id = lines.next()?.strip_prefix("store_id ")?;
        let store_id = Uuid::parse_str(store_id).ok()?;
        let mut manifest = Self::new(StoreId::new(store_id));
        for line in lines {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            match name {
                "file" => manifest.files.push(parse_file(value)?),
                "before_last_file" => {
                    let first = manifest.files.last().map_or(0, |file| file.first.get() - 1);
                    let hashes: Option<_> = value.split_whitespace().map(parse_hash).collect();
                    manifest.before_last = GrowingTree::from_subtrees(first, hashes?)?;
                }
                "tree" => manifest.tree = parse_hash(value)?,
                "sha256" => {}
                _ => return None,
            }
        }
        let mut next = Position::FIRST;
        for file in &manifest.files {
            if file.first != next || file.last < file.first {
                return None;
            }
            next = file.last.next();
        }
        Some(manifest)
    }

    fn text(&self) -> String {
        let mut text = format!("{TITLE}\nformat 1\nstore_id {}\n", self.store_id);
        for file in &self.files {
            let _ = writeln!(
                text,
                "file {} {} {} {} {}",
                file.first,
                file.last,
                file.bytes,
                file.recorded_at.nanos(),
                Hash(file.sha256)
            );
        }
        text.push_str("before_last_file");
        for hash in self.before_last.subtrees() {
            let _ = write!(text, " {hash}");
        }
        let _ = write!(text, "\ntree {}\n", self.tree);
        let sha256 = Hash(Sha256::digest(text.as_bytes()).into());
        let _ = writeln!(text, "sha256 {sha256}");
        text
    }

    /// Makes this the manifest of the directory, durably.
    pub(super) fn save(&self, directory: &Path) -> Result<()> {
        let (new, path) = (directory.join(NEW), directory.join(NAME));
        let mut file = File::create(&new).map_err(OfflineError::io("create", &new))?;
        file.write_all(self.text().as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(OfflineError::io("write", &new))?;
        fs::rename(&new, &path).map_err(OfflineError::io("rename", &new))?;
        sync_directory(directory)
    }

    /// Whether a file of this name belongs to the backup.
    pub(super) fn names(&self, name: &str) -> bool {
        name == NAME || self.files.iter().any(|file| file.name() == name)
    }
}

/// Makes the entries of a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(OfflineError::io("sync", directory))
}

fn parse_file(text: &str) -> Option<FileEntry> {
    let mut fields = text.split(' ');
    let mut number = || fields.next()?.parse::<u64>().ok();
    let (first, last, bytes) = (number()?, number()?, number()?);
    let recorded_at = Timestamp::from_nanos(fields.next()?.parse().ok()?);
    let sha256 = parse_hash(fields.next()?)?.0;
    (first > 0).then_some(FileEntry {
        first: Position::new(first),
        last: Position::new(last),
        bytes,
        recorded_at,
        sha256,
    })
}

fn parse_hash(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(Hash(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_back_and_every_flipped_byte_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let mut manifest = Manifest::new(StoreId::new(Uuid::from_u128(7)));
        for (first, last) in [(1, 5), (6, 9)] {
            manifest.files.push(FileEntry {
                first: Position::new(first),
                last: Position::new(last),
                bytes: 70,
                recorded_at: Timestamp::from_nanos(-3),
                sha256: [first.to_be_bytes()[7]; 32],
            });
        }
        let subtrees = vec![Hash([1; 32]), Hash([2; 32])];
        manifest.before_last = GrowingTree::from_subtrees(5, subtrees).unwrap();
        manifest.save(directory).unwrap();
        assert_eq!(Manifest::load(directory).unwrap(), Some(manifest));

        let path = directory.join(NAME);
        let text = fs::read(&path).unwrap();
        for at in 0..text.len() {
            let mut damaged = text.clone();
            damaged[at] ^= 0x01;
            fs::write(&path, damaged).unwrap();
            assert!(Manifest::load(directory).is_err(), "byte {at}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(Manifest::load(directory).unwrap(), None);
    }
}
