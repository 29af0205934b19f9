//! What was seen of a process: changes of files below one directory, syncs, and what it said, in one
//! order. Knows nothing of how it was seen, nor of what a power cut leaves of it.

use super::history::Promised;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file of a recording; its place in [`Recording::contents`] if it was there at the start.
pub(crate) type FileId = usize;

/// What a name in a directory stands for. Paths begin at the recorded directory, which is `""`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Directory,
    File(FileId),
}

/// What a sync is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    /// The entries of a directory.
    Directory(PathBuf),
    /// The bytes and the length of a file.
    File(FileId),
}

/// One change, as the process sees it from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Write {
        file: FileId,
        at: usize,
        bytes: Vec<u8>,
    },
    SetLength {
        file: FileId,
        length: usize,
    },
    Appear {
        path: PathBuf,
        entry: Entry,
    },
    Vanish {
        path: PathBuf,
        entry: Entry,
    },
    /// What `to` stood for before is gone.
    Move {
        from: PathBuf,
        to: PathBuf,
        entry: Entry,
    },
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Change(Change),
    /// A sync came back. It is about the steps before `since`, when it was called.
    Synced {
        node: Node,
        since: usize,
    },
    /// A sync failed: nobody knows what became of the steps before `since`, and a later sync does not
    /// try them again.
    SyncFailed {
        node: Node,
        since: usize,
    },
    /// The process wrote a line.
    Said(String),
}

/// Everything that was seen of one process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recording {
    /// What was there at the start; all of it is durable.
    pub(crate) entries: BTreeMap<PathBuf, Entry>,
    /// The contents of the files at the start.
    pub(crate) contents: Vec<Vec<u8>>,
    pub(crate) steps: Vec<Step>,
}

impl Recording {
    /// The number after `word` in what was said last with it, before a step.
    fn said(&self, word: &str, before: usize) -> Option<u64> {
        self.steps[..before]
            .iter()
            .rev()
            .find_map(|step| match step {
                Step::Said(line) => line.strip_prefix(word)?.trim().parse().ok(),
                _ => None,
            })
    }

    /// What had been promised before a step. What a start has found has been shown to readers, so that
    /// counts as well.
    pub(crate) fn promised(&self, before: usize) -> Promised {
        let said = ["acknowledged", "found"].map(|word| self.said(word, before));
        Promised {
            acknowledged: said.into_iter().flatten().max().unwrap_or(0),
            removed: self.said("removed", before).unwrap_or(0),
        }
    }

    /// The most bytes that were written to the file at `path` and not synced, at any time. What only
    /// writes zeros does not count: sled clears what it takes for free when it opens, and syncs that.
    pub(crate) fn largest_window(&self, path: &Path) -> usize {
        let mut watched = self.entries.get(path).copied();
        let mut waiting: Vec<(usize, usize)> = Vec::new();
        let mut largest = 0;
        for (at, step) in self.steps.iter().enumerate() {
            match step {
                Step::Change(Change::Appear { path: made, entry }) if made == path => {
                    watched = Some(*entry);
                }
                Step::Change(Change::Write { file, bytes, .. })
                    if watched == Some(Entry::File(*file))
                        && bytes.iter().any(|byte| *byte != 0) =>
                {
                    waiting.push((at, bytes.len()));
                    largest = largest.max(waiting.iter().map(|(_, bytes)| bytes).sum());
                }
                Step::Synced {
                    node: Node::File(file),
                    since,
                } if watched == Some(Entry::File(*file)) => waiting.retain(|(at, _)| at >= since),
                _ => {}
            }
        }
        largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(bytes: usize) -> Step {
        Step::Change(Change::Write {
            file: 0,
            at: 0,
            bytes: vec![1; bytes],
        })
    }

    fn synced(since: usize) -> Step {
        let node = Node::File(0);
        Step::Synced { node, since }
    }

    #[test]
    fn a_window_reaches_from_one_sync_to_the_next() {
        let path = Path::new("db");
        let appear = Step::Change(Change::Appear {
            path: path.into(),
            entry: Entry::File(0),
        });
        let mut recording = Recording {
            steps: vec![appear, write(3), write(4), synced(3), write(5)],
            ..Recording::default()
        };
        assert_eq!(recording.largest_window(path), 7);
        // A sync that was called before the second write does not cover it.
        recording.steps[3] = synced(2);
        assert_eq!(recording.largest_window(path), 9);
        assert_eq!(recording.largest_window(Path::new("other")), 0);
        recording.steps[4] = Step::Change(Change::Write {
            file: 0,
            at: 0,
            bytes: vec![0; 9],
        });
        assert_eq!(recording.largest_window(path), 7);
    }

    #[test]
    fn what_was_said_last_counts() {
        let said = |line: &str| Step::Said(line.into());
        let recording = Recording {
            steps: vec![said("found 3"), said("found 5"), said("lost 7")],
            ..Recording::default()
        };
        assert_eq!(recording.said("found", 3), Some(5));
        assert_eq!(recording.said("found", 1), Some(3));
        assert_eq!(recording.said("lost", 2), None);
        assert_eq!(recording.promised(3).acknowledged, 5);
        assert_eq!(recording.promised(0), Promised::default());
    }
}
