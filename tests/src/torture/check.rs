//! Holds what a store has against what was sent and acknowledged. Pure.

use super::plan::{Contents, Kind, Place, Plan, WRITERS};
use anyhow::Result;
use icecore_client::{Appended, Position, RecordedEvent, Revision, StreamName};
use std::collections::HashMap;
use std::fmt;
use uuid::Uuid;

/// How many faults are told one by one.
const TOLD_MAX: usize = 20;

/// What a writer knows of its appends, by their numbers; `None` where it never got an answer.
pub(super) type Receipts = Vec<Option<Receipt>>;

/// What a writer was told of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    position: Position,
    /// The last revision of each stream, in the order of the append.
    last: Vec<Option<Revision>>,
}

impl From<&Appended> for Receipt {
    fn from(appended: &Appended) -> Self {
        Self {
            position: appended.last_position,
            last: appended.streams.iter().map(|s| s.last_revision).collect(),
        }
    }
}

/// What is not as it was promised.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Acknowledged and not there, or not delivered.
    pub(super) lost: usize,
    /// There or delivered more than once.
    pub(super) doubled: usize,
    /// In part, at another place or with other contents.
    pub(super) wrong: usize,
    told: Vec<String>,
}

/// What was compared.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Compared {
    pub(super) events: u64,
    /// Appends that were acknowledged.
    pub(super) acknowledged: u64,
    /// Appends without an answer that are there.
    pub(super) whole: u64,
    /// Appends without an answer that are not there.
    pub(super) absent: u64,
}

/// Takes the events of the store in their order.
pub(super) struct Check<'a> {
    plan: Plan,
    receipts: &'a [Receipts],
    faults: Faults,
    /// The ids by position, from 1.
    ids: Vec<Uuid>,
    /// The next revision of each stream.
    next: HashMap<StreamName, u64>,
    /// Which appends are there, by writer.
    found: Vec<Vec<bool>>,
    /// The last acknowledged append of each writer that was found.
    last: [Option<u32>; WRITERS as usize],
    /// The append that is not complete yet, and how much of it has come.
    open: Option<Open>,
}

struct Open {
    writer: u16,
    number: u32,
    contents: Contents,
    came: usize,
}

impl Faults {
    fn lost(&mut self, what: impl fmt::Display) {
        self.lost += 1;
        self.tell(format!("lost: {what}"));
    }

    fn doubled(&mut self, what: impl fmt::Display) {
        self.doubled += 1;
        self.tell(format!("doubled: {what}"));
    }

    fn wrong(&mut self, what: impl fmt::Display) {
        self.wrong += 1;
        self.tell(format!("wrong: {what}"));
    }

    fn tell(&mut self, what: String) {
        if self.told.len() < TOLD_MAX {
            self.told.push(what);
        }
    }

    /// Whether everything is as promised.
    pub(super) fn is_empty(&self) -> bool {
        self.lost + self.doubled + self.wrong == 0
    }

    /// Takes in what was delivered to a subscriber, in its order, against what it should have been.
    pub(super) fn compare(&mut self, who: &str, wanted: &[(u64, Uuid)], seen: &[(u64, Uuid)]) {
        let (mut wanted, mut last) = (wanted.iter().peekable(), 0);
        for (position, id) in seen {
            if *position <= last {
                self.doubled(format_args!("{who}: position {position} after {last}"));
                continue;
            }
            last = *position;
            while let Some((skipped, _)) = wanted.next_if(|(at, _)| at < position) {
                self.lost(format_args!("{who}: position {skipped}"));
            }
            match wanted.next_if(|(at, _)| at == position) {
                Some((_, wanted)) if wanted == id => {}
                _ => self.wrong(format_args!("{who}: {id} at position {position}")),
            }
        }
        for (position, _) in wanted {
            self.lost(format_args!("{who}: position {position}"));
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lost,
            doubled,
            wrong,
            told,
        } = self;
        write!(f, "losses={lost} doubles={doubled} wrong={wrong}")?;
        told.iter().try_for_each(|what| write!(f, "\n  {what}"))
    }
}

impl<'a> Check<'a> {
    /// Begins with the first event. `receipts` is what each writer knows.
    pub(super) fn new(plan: Plan, receipts: &'a [Receipts]) -> Self {
        Self {
            plan,
            receipts,
            faults: Faults::default(),
            ids: Vec::new(),
            next: HashMap::new(),
            found: receipts
                .iter()
                .map(|sent| vec![false; sent.len()])
                .collect(),
            last: [None; WRITERS as usize],
            open: None,
        }
    }

    /// Takes the next event.
    pub(super) fn take(&mut self, event: &RecordedEvent) -> Result<()> {
        let position = event.position.get();
        if position != self.ids.len() as u64 + 1 {
            let after = self.ids.len();
            self.faults
                .wrong(format_args!("position {position} comes after {after}"));
        }
        self.ids.push(event.id);
        let next = self.next.entry(event.stream.clone()).or_default();
        if event.revision.get() != *next {
            let (stream, revision) = (&event.stream, event.revision);
            self.faults
                .wrong(format_args!("`{stream}` has {revision} in place of {next}"));
        }
        *next = event.revision.get() + 1;
        let Some(place) = self.plan.place(event.id) else {
            self.faults
                .wrong(format_args!("nobody sent {} at {position}", event.id));
            return Ok(());
        };
        self.place(place, event)
    }

    fn place(&mut self, place: Place, event: &RecordedEvent) -> Result<()> {
        let Place {
            writer,
            number,
            index,
        } = place;
        let goes_on = self.open.as_ref().is_some_and(|open| {
            (open.writer, open.number, open.came) == (writer, number, usize::from(index))
        });
        if !goes_on {
            self.end_of_part();
            if !self.begin(place)? {
                return Ok(());
            }
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let whole = match open.contents.events.get(open.came) {
            Some((stream, sent)) => {
                let is_same = event.stream == open.contents.streams[*stream]
                    && event.event_type == sent.event_type
                    && event.content_type == sent.content_type
                    && event.data == sent.data
                    && event.metadata == sent.metadata
                    && event.tags == sent.tags;
                if !is_same {
                    self.faults
                        .wrong(format_args!("{place:?} has other contents"));
                }
                open.came += 1;
                open.came == open.contents.events.len()
            }
            None => false,
        };
        if whole {
            let streams = std::mem::take(&mut open.contents.streams);
            self.open = None;
            self.complete((writer, number), &streams, event);
        }
        Ok(())
    }

    /// The first event of an append. Says whether there is anything to compare it with.
    fn begin(&mut self, place: Place) -> Result<bool> {
        let Place {
            writer,
            number,
            index,
        } = place;
        let found = &mut self.found[usize::from(writer)];
        match found.get_mut(number as usize) {
            None => self
                .faults
                .wrong(format_args!("{place:?} was not sent yet")),
            Some(_) if index != 0 => self.faults.wrong(format_args!("{place:?} stands alone")),
            Some(true) => self.faults.doubled(format_args!("{place:?}")),
            Some(found) => {
                *found = true;
                let contents = self.plan.contents(writer, number)?;
                self.open = Some(Open {
                    writer,
                    number,
                    contents,
                    came: 0,
                });
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An append that is still open now is there in part.
    fn end_of_part(&mut self) {
        if let Some(Open {
            writer,
            number,
            contents,
            came,
        }) = self.open.take()
        {
            let of = contents.events.len();
            self.faults.wrong(format_args!(
                "{came} of {of} events of append {writer}/{number}"
            ));
        }
    }

    /// The last event of an append: it stands where the writer was told, after what it had sent
    /// before.
    fn complete(
        &mut self,
        (writer, number): (u16, u32),
        streams: &[StreamName],
        event: &RecordedEvent,
    ) {
        let Some(receipt) = &self.receipts[usize::from(writer)][number as usize] else {
            return;
        };
        let last = &mut self.last[usize::from(writer)];
        if last.is_some_and(|last| last >= number) {
            self.faults.wrong(format_args!(
                "append {writer}/{number} comes after {last:?}"
            ));
        }
        *last = Some(number);
        let left = |stream| self.next.get(stream)?.checked_sub(1).map(Revision::new);
        let found = Receipt {
            position: event.position,
            last: streams.iter().map(left).collect(),
        };
        if *receipt != found {
            self.faults.wrong(format_args!(
                "append {writer}/{number} was answered {receipt:?}, it is {found:?}"
            ));
        }
    }

    /// Looks for what did not come. Gives the ids by position as well.
    pub(super) fn finish(mut self) -> (Compared, Faults, Vec<Uuid>) {
        self.end_of_part();
        let mut compared = Compared {
            events: self.ids.len() as u64,
            ..Compared::default()
        };
        for (writer, (receipts, found)) in (0..).zip(self.receipts.iter().zip(&self.found)) {
            for (number, (receipt, found)) in receipts.iter().zip(found).enumerate() {
                match (receipt, found) {
                    (Some(_), true) => compared.acknowledged += 1,
                    (Some(_), false) => {
                        self.faults.lost(format_args!("append {writer}/{number}"));
                    }
                    (None, true) => compared.whole += 1,
                    (None, false) => compared.absent += 1,
                }
                if receipt.is_none() && Kind::of(writer) != Kind::Impatient {
                    self.faults
                        .wrong(format_args!("append {writer}/{number} got no answer"));
                }
            }
        }
        (compared, self.faults, self.ids)
    }
}

#[cfg(test)]
mod tests;
