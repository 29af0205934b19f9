//! The store as those see it who copy or verify it: the log as it is stored, and whether everything
//! that is stored fits together. Reads at the pace of whoever takes the messages, up to where the
//! store ended at the beginning.

use crate::store::EventStore;
use futures::Stream;
use futures::stream::try_unfold;
use icecore_core::{
    Error, Finding, Hash, LogBatch, LogEntry, PageLimit, Position, Result, VerifyMessage,
    VerifyProgress, VerifyStep, merkle,
};
use icecore_storage::{Damage, LogPage, LogVerifier, ROOTS_PER_GROUP, SUBTREE_LEAVES};
use std::collections::VecDeque;

/// What one message of the log carries, or one event.
const BATCH: PageLimit = PageLimit {
    events: 1_024,
    bytes: 1_024 * 1_024,
};

impl EventStore {
    /// The log from a position (inclusive) to where it ends now. There is at least one batch.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when it would begin beyond the end of the log.
    pub fn read_log(
        &self,
        from: Position,
    ) -> impl Stream<Item = Result<LogBatch>> + Send + 'static {
        let last = self.last_position();
        let start = Some((self.clone(), from.max(Position::FIRST)));
        try_unfold(start, move |place| async move {
            let Some((store, next)) = place else {
                return Ok(None);
            };
            if next > last.next() {
                return Err(Error::invalid(
                    "from_position",
                    format!("is {next}, the store ends at {last}"),
                ));
            }
            let (page, next) = store.log_page(next, last).await?;
            let batch = LogBatch {
                store_id: store.store_id(),
                last_position: last,
                entries: page.entries,
                damage: page.damage.map(finding),
            };
            Ok(Some((batch, (next <= last).then_some((store, next)))))
        })
    }

    /// A page of the log that does not go beyond `last`, and where the next one begins.
    async fn log_page(&self, from: Position, last: Position) -> Result<(LogPage, Position)> {
        let mut page = LogPage {
            entries: Vec::new(),
            damage: None,
            next: from,
            end: true,
        };
        if from <= last {
            page = self.storage().read_log(from, BATCH).await?;
        }
        page.entries.retain(|entry| entry.position <= last);
        page.damage = page.damage.filter(|damage| damage.first <= last);
        if page.next <= from && from <= last {
            return Err(Error::internal(format!("the log does not go on at {from}")));
        }
        let next = page.next;
        Ok((page, next))
    }

    /// Reads everything and says what is wrong. The last message tells what there was.
    pub fn verify(&self) -> impl Stream<Item = Result<VerifyMessage>> + Send + 'static {
        let verification = Verification {
            store: self.clone(),
            last: self.last_position(),
            step: Step::Log(Position::FIRST),
            log: LogVerifier::default(),
            subtrees: Subtrees::default(),
            messages: VecDeque::new(),
        };
        try_unfold(Box::new(verification), |mut verification| async move {
            while verification.messages.is_empty() && verification.step != Step::Done {
                verification.go_on().await?;
            }
            let message = verification.messages.pop_front();
            Ok(message.map(|message| (message, verification)))
        })
    }
}

/// What comes next, and from where on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Log(Position),
    Indexes(Position),
    Done,
}

struct Verification {
    store: EventStore,
    /// Where the store ended at the beginning.
    last: Position,
    step: Step,
    log: LogVerifier,
    subtrees: Subtrees,
    messages: VecDeque<VerifyMessage>,
}

impl Verification {
    async fn go_on(&mut self) -> Result<()> {
        match self.step {
            Step::Log(from) => self.log(from).await,
            Step::Indexes(from) => self.indexes(from).await,
            Step::Done => Ok(()),
        }
    }

    async fn log(&mut self, from: Position) -> Result<()> {
        if from > self.last {
            self.messages
                .extend(self.log.end().map(VerifyMessage::Finding));
            self.step = Step::Indexes(Position::FIRST);
            return Ok(());
        }
        let (page, next) = self.store.log_page(from, self.last).await?;
        for entry in &page.entries {
            let findings = self.log.entry(entry);
            self.messages
                .extend(findings.into_iter().map(VerifyMessage::Finding));
            let finding = self.subtrees.entry(&self.store, entry).await?;
            self.messages.extend(finding.map(VerifyMessage::Finding));
        }
        if let Some(damage) = page.damage {
            self.log.unreadable(damage.last);
            self.messages
                .push_back(VerifyMessage::Finding(finding(damage)));
        }
        self.progress(VerifyStep::Log, next);
        self.step = Step::Log(next);
        Ok(())
    }

    async fn indexes(&mut self, from: Position) -> Result<()> {
        let check = self.store.storage().check_index(from).await?;
        let findings = check.damage.into_iter().map(finding);
        self.messages.extend(findings.map(VerifyMessage::Finding));
        self.progress(VerifyStep::Indexes, check.next);
        self.step = Step::Indexes(check.next);
        if check.end {
            let verified = self.log.verified(self.store.store_id());
            self.messages.push_back(VerifyMessage::Verified(verified));
            self.step = Step::Done;
        }
        Ok(())
    }

    fn progress(&mut self, step: VerifyStep, next: Position) {
        let total = self.last.get();
        let done = next.previous().get().min(total);
        let progress = VerifyProgress { step, done, total };
        self.messages.push_back(VerifyMessage::Progress(progress));
    }
}

fn finding(damage: Damage) -> Finding {
    Finding::at(damage.first, damage.last, damage.reason)
}

/// Compares the roots that the engine has kept with the leaves under them.
#[derive(Default)]
struct Subtrees {
    /// The leaves of the subtree that is being read, if it was read from its first leaf on.
    leaves: Vec<Hash>,
    /// Kept roots, the first of them that of subtree `kept_from`.
    kept: Vec<Hash>,
    kept_from: u64,
}

impl Subtrees {
    async fn entry(&mut self, store: &EventStore, entry: &LogEntry) -> Result<Option<Finding>> {
        let leaf = entry.position.previous().get();
        let (subtree, at) = (leaf / SUBTREE_LEAVES, leaf % SUBTREE_LEAVES);
        if at == 0 {
            self.leaves.clear();
        }
        if self.leaves.len() as u64 == at {
            self.leaves.push(entry.leaf_hash());
        }
        if at + 1 < SUBTREE_LEAVES || (self.leaves.len() as u64) < SUBTREE_LEAVES {
            return Ok(None);
        }
        let is_sound = match self.kept(store, subtree).await? {
            Some(kept) => kept == merkle::root(&self.leaves),
            None => true,
        };
        self.leaves.clear();
        Ok((!is_sound).then(|| {
            let first = Position::new(subtree * SUBTREE_LEAVES + 1);
            let reason = "the hash that was kept of them is not theirs";
            Finding::at(first, entry.position, reason)
        }))
    }

    async fn kept(&mut self, store: &EventStore, subtree: u64) -> Result<Option<Hash>> {
        let in_group = subtree.is_multiple_of(ROOTS_PER_GROUP as u64);
        if in_group || self.kept.is_empty() {
            self.kept = store.storage().subtree_roots(subtree).await?;
            self.kept_from = subtree;
        }
        let at = subtree.checked_sub(self.kept_from);
        let at = at.and_then(|at| usize::try_from(at).ok());
        Ok(at.and_then(|at| self.kept.get(at)).copied())
    }
}
