//! The rules that every stored log keeps, checked entry by entry: positions and revisions without a
//! gap, times that never decrease, whole appends. Knows neither indexes nor where the entries come
//! from: a running store, a file, a backup.

use icecore_core::{
    EntryContent, Finding, GrowingTree, Hash, LogEntry, Mark, Position, RecordedEvent, Revision,
    StoreId, Timestamp, Verified,
};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

/// Looks at a log from its first position on. It keeps a hash and a number for each stream.
#[derive(Debug)]
pub struct LogVerifier {
    next: Position,
    mark: Mark,
    recorded_at: Option<Timestamp>,
    hasher: RandomState,
    /// The revision that comes next, by the hash of the stream's name.
    next_revisions: HashMap<u64, Revision>,
    /// Positions whose stream nobody knows any more and that no gap of a stream has used up.
    nameless: u64,
    whole: u64,
    erased: u64,
    removed: u64,
    /// `None` once a leaf is missing.
    tree: Option<GrowingTree>,
}

impl Default for LogVerifier {
    fn default() -> Self {
        Self {
            next: Position::FIRST,
            mark: Mark::End,
            recorded_at: None,
            hasher: RandomState::new(),
            next_revisions: HashMap::new(),
            nameless: 0,
            whole: 0,
            erased: 0,
            removed: 0,
            tree: Some(GrowingTree::default()),
        }
    }
}

impl LogVerifier {
    /// Looks at the next entry; returns what is wrong with it.
    pub fn entry(&mut self, entry: &LogEntry) -> Vec<Finding> {
        let mut findings = Vec::new();
        if entry.position != self.next {
            findings.push(self.jump(entry.position));
        }
        self.next = entry.position.next();
        self.mark = entry.mark;
        match &entry.content {
            EntryContent::Whole { event, .. } => {
                self.whole += 1;
                self.event(event, &mut findings);
            }
            EntryContent::Erased { event, .. } => {
                self.erased += 1;
                self.event(event, &mut findings);
            }
            EntryContent::Removed { .. } => {
                self.removed += 1;
                self.nameless += 1;
            }
        }
        if let Some(tree) = &mut self.tree {
            tree.push(entry.leaf_hash());
        }
        findings
    }

    /// Goes on behind positions that cannot be read; `last` is the last of them.
    pub fn unreadable(&mut self, last: Position) {
        if last >= self.next {
            self.nameless += last.get() - self.next.previous().get();
            self.next = last.next();
            self.mark = Mark::End;
            self.tree = None;
        }
    }

    /// The last position that was looked at.
    pub fn last(&self) -> Position {
        self.next.previous()
    }

    /// The tree over all events so far; `None` when some are missing.
    pub fn tree(&self) -> Option<Hash> {
        self.tree.as_ref().map(GrowingTree::root)
    }

    /// What is wrong with where the log ends.
    pub fn end(&self) -> Option<Finding> {
        let last = self.last();
        (self.mark == Mark::Inner).then(|| Finding::at(last, last, "the log ends within an append"))
    }

    /// What there was.
    pub fn verified(&self, store_id: StoreId) -> Verified {
        Verified {
            store_id,
            last_position: self.last(),
            whole: self.whole,
            erased: self.erased,
            removed: self.removed,
            tree: self.tree(),
        }
    }

    fn jump(&mut self, found: Position) -> Finding {
        let (expected, last) = (self.next, found.previous());
        self.tree = None;
        if found > expected {
            self.nameless += found.get() - expected.get();
            return Finding::at(expected, last, "missing in the log");
        }
        Finding::at(
            found,
            found,
            format!("stands where position {expected} must be"),
        )
    }

    fn event(&mut self, event: &RecordedEvent, findings: &mut Vec<Finding>) {
        let mut report =
            |reason| findings.push(Finding::at(event.position, event.position, reason));
        if event.position != self.last() {
            let position = event.position;
            report(format!("the event says that it stands at {position}"));
        }
        if let Some(before) = self
            .recorded_at
            .filter(|before| event.recorded_at < *before)
        {
            report(format!(
                "recorded at {}, before the event in front of it ({before})",
                event.recorded_at
            ));
        }
        self.recorded_at = self.recorded_at.max(Some(event.recorded_at));
        let stream = self.hasher.hash_one(event.stream.as_str());
        let known = self.next_revisions.get(&stream).copied();
        let expected = known.unwrap_or(Revision::FIRST);
        if let Some(reason) = self.wrong_revision(event, known.is_some(), expected) {
            report(reason);
        }
        // Behind a tombstone nothing is right any more.
        let next = if event.revision == Revision::TOMBSTONE {
            Revision::TOMBSTONE
        } else {
            event.revision.next()
        };
        self.next_revisions.insert(stream, next);
    }

    /// A stream may lack as many events as have lost their names, and only a tombstone stands apart.
    fn wrong_revision(
        &mut self,
        event: &RecordedEvent,
        is_known: bool,
        expected: Revision,
    ) -> Option<String> {
        let (stream, found) = (&event.stream, event.revision);
        if is_known && expected == Revision::TOMBSTONE {
            return Some(format!("`{stream}` goes on behind its tombstone"));
        }
        if found == expected || found == Revision::TOMBSTONE {
            return None;
        }
        let missing = found.get().checked_sub(expected.get());
        match missing.filter(|missing| *missing <= self.nameless) {
            Some(missing) => {
                self.nameless -= missing;
                None
            }
            None => Some(format!(
                "revision {found} of `{stream}` stands where {expected} must be"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use icecore_core::{ContentType, EventType, Salt, StreamName, merkle};
    use uuid::Uuid;

    fn entry(position: u64, stream: &str, revision: u64) -> LogEntry {
        let event = RecordedEvent {
            stream: StreamName::new(stream.to_owned()).unwrap(),
            revision: Revision::new(revision),
            position: Position::new(position),
            id: Uuid::from_u128(position.into()),
            event_type: EventType::new("T").unwrap(),
            content_type: ContentType::JSON,
            data: Bytes::from_static(b"{}"),
            metadata: Bytes::new(),
            tags: Vec::new(),
            recorded_at: Timestamp::from_nanos(10),
            created_at: None,
            erased: false,
        };
        LogEntry {
            position: Position::new(position),
            mark: Mark::End,
            content: EntryContent::Whole {
                event,
                salt: Salt([3; 16]),
            },
        }
    }

    fn removed(position: u64) -> LogEntry {
        let leaf = Hash([1; 32]);
        LogEntry {
            position: Position::new(position),
            mark: Mark::End,
            content: EntryContent::Removed { leaf },
        }
    }

    fn at(entry: &mut LogEntry, nanos: i64) {
        if let EntryContent::Whole { event, .. } = &mut entry.content {
            event.recorded_at = Timestamp::from_nanos(nanos);
        }
    }

    /// What is found, as text.
    fn check(entries: &[LogEntry]) -> Vec<String> {
        let mut verifier = LogVerifier::default();
        let mut findings: Vec<_> = entries
            .iter()
            .flat_map(|entry| verifier.entry(entry))
            .collect();
        findings.extend(verifier.end());
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_sound_log_has_no_findings_and_the_root_of_its_leaves() {
        let tombstone = Revision::TOMBSTONE.get();
        let log = [
            entry(1, "a", 0),
            entry(2, "b", 0),
            entry(3, "a", 1),
            entry(4, "a", tombstone),
        ];
        assert_eq!(check(&log), Vec::<String>::new());
        let mut verifier = LogVerifier::default();
        for entry in &log {
            assert!(verifier.entry(entry).is_empty());
        }
        let leaves: Vec<_> = log.iter().map(LogEntry::leaf_hash).collect();
        assert_eq!(verifier.tree(), Some(merkle::root(&leaves)));
    }

    #[test]
    fn gaps_of_positions_and_revisions_are_named() {
        let found = check(&[entry(1, "a", 0), entry(4, "b", 0), entry(5, "a", 4)]);
        assert_eq!(
            found,
            [
                "positions 2 to 3: missing in the log",
                "positions 5 to 5: revision 4 of `a` stands where 1 must be",
            ]
        );
        let found = check(&[entry(1, "a", 0), entry(2, "a", 0)]);
        assert_eq!(
            found,
            ["positions 2 to 2: revision 0 of `a` stands where 1 must be"]
        );
        let found = check(&[entry(1, "a", 0), entry(1, "b", 0)]);
        assert_eq!(found, ["positions 1 to 1: stands where position 2 must be"]);
    }

    #[test]
    fn a_stream_may_begin_late_only_behind_removed_events() {
        assert_eq!(
            check(&[removed(1), removed(2), entry(3, "a", 2)]),
            Vec::<String>::new()
        );
        assert_eq!(
            check(&[removed(1), entry(2, "a", 1), entry(3, "b", 1)]),
            ["positions 3 to 3: revision 1 of `b` stands where 0 must be"]
        );
        assert_eq!(
            check(&[entry(1, "a", 1), removed(2)]),
            ["positions 1 to 1: revision 1 of `a` stands where 0 must be"]
        );
    }

    #[test]
    fn nothing_follows_a_tombstone() {
        let tombstone = Revision::TOMBSTONE.get();
        let found = check(&[entry(1, "a", 0), entry(2, "a", tombstone), entry(3, "a", 1)]);
        assert_eq!(
            found,
            ["positions 3 to 3: `a` goes on behind its tombstone"]
        );
        let found = check(&[entry(1, "a", tombstone), entry(2, "a", tombstone)]);
        assert_eq!(
            found,
            ["positions 2 to 2: `a` goes on behind its tombstone"]
        );
    }

    #[test]
    fn time_never_decreases_and_the_last_append_is_whole() {
        let mut late = entry(2, "a", 1);
        at(&mut late, 9);
        let mut log = [entry(1, "a", 0), late];
        log[1].mark = Mark::Inner;
        let found = check(&log);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("recorded at"), "{found:?}");
        assert_eq!(found[1], "positions 2 to 2: the log ends within an append");
    }

    #[test]
    fn what_cannot_be_read_excuses_the_gaps_that_it_leaves() {
        let mut verifier = LogVerifier::default();
        assert!(verifier.entry(&entry(1, "a", 0)).is_empty());
        verifier.unreadable(Position::new(3));
        assert!(verifier.entry(&entry(4, "a", 3)).is_empty());
        assert_eq!(verifier.entry(&entry(5, "b", 1)).len(), 1);
        assert_eq!(verifier.tree(), None);
    }
}
