//! The disks that a power cut may leave behind a recording: pure functions of the recording, the
//! place of the cut, what survives, and random numbers.
//!
//! What was synced is there. Of the rest, names and bytes may each be there or not:
//!
//! - a block of 4 KiB shows the writes to it up to any one of them, since it is written as a whole;
//! - the length of a file, like its truncations, may be older than its blocks;
//! - names appear, vanish and move each for itself, as far as that is possible.
//!
//! `sync_file_range` guarantees nothing of all that, so recordings do not have it.

use super::recording::{Change, Entry, FileId, Node, Recording, Step};
use anyhow::{Context, Result};
use icecore_storage::contract::generate::Random;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What a disk writes as a whole.
const BLOCK_BYTES: usize = 4_096;

/// What survives of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing.
    Everything,
    /// All bytes within the lengths that were synced, and all names.
    Lengths,
    /// Some names, some lengths, some blocks.
    Blocks,
    /// Everything up to a write, which is torn.
    Order,
}

impl Loss {
    pub(crate) const ALL: [Self; 4] = [Self::Everything, Self::Lengths, Self::Blocks, Self::Order];
}

/// Where and how power is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut<'a> {
    /// The steps before this one have happened.
    pub(crate) at: usize,
    pub(crate) loss: Loss,
    /// A file whose syncs do not count, for showing what they are good for.
    pub(crate) unsynced: Option<&'a Path>,
}

/// What a disk holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Image {
    /// The disk after a cut.
    pub(crate) fn after(recording: &Recording, cut: Cut<'_>, random: &mut Random) -> Self {
        let fates = Fates::of(recording, cut, random);
        let entries = names(recording, &fates, random);
        let mut image = Self::default();
        for (path, entry) in entries {
            match entry {
                Entry::Directory => image.directories.push(path),
                Entry::File(file) => {
                    let bytes = contents(recording, file, &fates, random);
                    image.files.insert(path, bytes);
                }
            }
        }
        image
    }

    /// What is below a directory now.
    pub(crate) fn of(root: &Path) -> Result<Self> {
        let mut image = Self::default();
        let mut waiting = vec![PathBuf::new()];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(root.join(&directory)).context("list a directory")? {
                let path = directory.join(entry.context("list a directory")?.file_name());
                if root.join(&path).is_dir() {
                    image.directories.push(path.clone());
                    waiting.push(path);
                } else {
                    let bytes = fs::read(root.join(&path)).context("read a file")?;
                    image.files.insert(path, bytes);
                }
            }
        }
        Ok(image)
    }

    /// Makes these files below a directory.
    pub(crate) fn write_to(&self, root: &Path) -> Result<()> {
        fs::create_dir_all(root).context("create the directory of an image")?;
        for directory in &self.directories {
            fs::create_dir_all(root.join(directory)).context("create a directory of an image")?;
        }
        for (path, bytes) in &self.files {
            fs::write(root.join(path), bytes).context("write a file of an image")?;
        }
        Ok(())
    }
}

/// What happens to a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was synced.
    Durable,
    /// It was not, and survives as far as its place in the order says.
    Whole,
    Torn,
    Lost,
    /// It was not, and chance decides.
    Open,
    /// It was not, and survives within the length that was synced.
    WithinLength,
}

/// The changes before a cut with what happens to each.
struct Fates<'a>(Vec<(&'a Change, Fate)>);

impl<'a> Fates<'a> {
    fn of(recording: &'a Recording, cut: Cut<'_>, random: &mut Random) -> Self {
        let synced = Syncs::before(recording, cut);
        let mut pending = Vec::new();
        let mut fates = Vec::new();
        for (at, step) in recording.steps[..cut.at].iter().enumerate() {
            let Step::Change(change) = step else {
                continue;
            };
            let fate = match (synced.fate(at, change), cut.loss) {
                (Some(fate), _) => fate,
                (None, Loss::Everything) => Fate::Lost,
                (None, Loss::Lengths) => Fate::WithinLength,
                (None, Loss::Blocks) => Fate::Open,
                (None, Loss::Order) => {
                    pending.push(fates.len());
                    Fate::Whole
                }
            };
            fates.push((change, fate));
        }
        if !pending.is_empty() {
            let torn = random.below(pending.len());
            fates[pending[torn]].1 = Fate::Torn;
            for lost in &pending[torn + 1..] {
                fates[*lost].1 = Fate::Lost;
            }
        }
        Self(fates)
    }
}

/// Which changes have been synced.
struct Syncs {
    /// Steps before this one are durable.
    until: HashMap<Node, usize>,
    /// But not these: their sync failed.
    doomed: HashMap<Node, Vec<Range<usize>>>,
}

impl Syncs {
    fn before(recording: &Recording, cut: Cut<'_>) -> Self {
        let mut ignored = cut
            .unsynced
            .and_then(|path| recording.entries.get(path))
            .copied();
        let mut syncs = Self {
            until: HashMap::new(),
            doomed: HashMap::new(),
        };
        for step in &recording.steps[..cut.at] {
            match step {
                Step::Change(Change::Appear { path, entry }) if Some(&**path) == cut.unsynced => {
                    ignored = Some(*entry);
                }
                Step::Synced {
                    node: Node::File(file),
                    ..
                } if ignored == Some(Entry::File(*file)) => {}
                Step::Synced { node, since } => {
                    let until = syncs.until.entry(node.clone()).or_default();
                    *until = (*until).max(*since);
                }
                Step::SyncFailed { node, since } => {
                    let until = syncs.until.get(node).copied().unwrap_or(0);
                    let doomed = syncs.doomed.entry(node.clone()).or_default();
                    doomed.push(until..*since);
                }
                _ => {}
            }
        }
        syncs
    }

    /// What the syncs say of a change; `None` if none was about it.
    fn fate(&self, at: usize, change: &Change) -> Option<Fate> {
        let nodes = match change {
            Change::Write { file, .. } | Change::SetLength { file, .. } => vec![Node::File(*file)],
            Change::Appear { path, .. } | Change::Vanish { path, .. } => vec![parent(path)],
            Change::Move { from, to, .. } => vec![parent(from), parent(to)],
        };
        let doomed = |node| {
            let ranges = self.doomed.get(node);
            ranges.is_some_and(|ranges| ranges.iter().any(|range| range.contains(&at)))
        };
        let covered = |node| self.until.get(node).is_some_and(|until| at < *until);
        if nodes.iter().any(doomed) {
            Some(Fate::Lost)
        } else if nodes.iter().all(covered) {
            Some(Fate::Durable)
        } else {
            None
        }
    }
}

fn parent(path: &Path) -> Node {
    Node::Directory(path.parent().unwrap_or(Path::new("")).to_owned())
}

/// The names that survive. One that cannot be (its directory is not there, another file bears it) is
/// left out.
fn names(
    recording: &Recording,
    fates: &Fates<'_>,
    random: &mut Random,
) -> BTreeMap<PathBuf, Entry> {
    let mut entries = recording.entries.clone();
    let has_parent = |entries: &BTreeMap<PathBuf, Entry>, path: &Path| {
        let parent = path.parent().unwrap_or(Path::new(""));
        parent == Path::new("") || entries.get(parent) == Some(&Entry::Directory)
    };
    for (change, fate) in &fates.0 {
        let survives = match fate {
            Fate::Durable | Fate::Whole | Fate::Torn | Fate::WithinLength => true,
            Fate::Lost => false,
            Fate::Open => random.below(2) == 0,
        };
        if !survives {
            continue;
        }
        match change {
            Change::Appear { path, entry } if has_parent(&entries, path) => {
                entries.insert(path.clone(), *entry);
            }
            Change::Vanish { path, entry } if entries.get(path) == Some(entry) => {
                entries.remove(path);
            }
            Change::Move { from, to, entry }
                if entries.get(from) == Some(entry) && has_parent(&entries, to) =>
            {
                entries.remove(from);
                entries.insert(to.clone(), *entry);
            }
            _ => {}
        }
    }
    entries
}

/// The bytes of a file that survive.
fn contents(
    recording: &Recording,
    file: FileId,
    fates: &Fates<'_>,
    random: &mut Random,
) -> Vec<u8> {
    let mut bytes = recording.contents.get(file).cloned().unwrap_or_default();
    let mut open = Vec::new();
    let mut length = None;
    for (change, fate) in &fates.0 {
        if !concerns(change, file) {
            continue;
        }
        match fate {
            Fate::Durable | Fate::Whole => {
                debug_assert!(open.is_empty(), "a sync covers all of a file before it");
                apply(&mut bytes, change);
            }
            Fate::Torn => apply_torn(&mut bytes, change, random),
            Fate::WithinLength => {
                length.get_or_insert(bytes.len());
                apply(&mut bytes, change);
            }
            Fate::Open => open.push(*change),
            Fate::Lost => {}
        }
    }
    if let Some(length) = length {
        bytes.truncate(length);
    }
    some_blocks(&mut bytes, &open, random);
    bytes
}

fn concerns(change: &Change, wanted: FileId) -> bool {
    matches!(
        change,
        Change::Write { file, .. } | Change::SetLength { file, .. } if *file == wanted
    )
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write {
            at, bytes: written, ..
        } => put(bytes, *at, written),
        Change::SetLength { length, .. } => bytes.resize(*length, 0),
        _ => {}
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, written: &[u8]) {
    let end = at + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(written);
}

fn apply_torn(bytes: &mut Vec<u8>, change: &Change, random: &mut Random) {
    if let Change::Write {
        at, bytes: written, ..
    } = change
    {
        put(bytes, *at, &written[..random.below(written.len() + 1)]);
    }
}

/// Applies some of the changes: each block shows them up to one of them, the length up to another,
/// and truncations are there up to one of these.
fn some_blocks(bytes: &mut Vec<u8>, changes: &[&Change], random: &mut Random) {
    if changes.is_empty() {
        return;
    }
    let truncations: Vec<_> = (0..changes.len())
        .filter(|at| matches!(changes[*at], Change::SetLength { .. }))
        .chain([changes.len()])
        .collect();
    let changes = &changes[..truncations[random.below(truncations.len())]];
    // Sometimes most of it survives, sometimes little.
    let odds = [2, 50, 90][random.below(3)];
    let some = |random: &mut Random| match random.below(100) {
        chance if chance < odds => changes.len(),
        _ => random.below(changes.len() + 1),
    };
    let mut length = bytes.len();
    let length_until = some(random);
    let mut block_until = HashMap::new();
    for (at, change) in changes.iter().enumerate() {
        match change {
            Change::Write {
                at: start,
                bytes: written,
                ..
            } => {
                for (block, piece) in pieces(*start, written.len()) {
                    let until = *block_until.entry(block).or_insert_with(|| some(random));
                    if at < until {
                        put(bytes, start + piece.start, &written[piece]);
                    }
                }
                if at < length_until {
                    length = length.max(start + written.len());
                }
            }
            Change::SetLength { length: set, .. } => {
                length = *set;
                bytes.truncate(length);
            }
            _ => {}
        }
    }
    bytes.resize(length, 0);
}

/// The blocks that a write touches, each with the part of the write that lies in it.
fn pieces(at: usize, length: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let blocks = at / BLOCK_BYTES..(at + length).div_ceil(BLOCK_BYTES);
    blocks.map(move |block| {
        let start = (block * BLOCK_BYTES).max(at);
        let end = ((block + 1) * BLOCK_BYTES).min(at + length);
        (block, start - at..end - at)
    })
}

#[cfg(test)]
mod tests;
