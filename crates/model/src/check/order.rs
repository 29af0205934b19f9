//! Real time: what must have been in the log at a moment, and what cannot have been yet.

use crate::history::{History, Outcome, Tick};
use icecore_core::SubscriptionMessage;

/// The last position that anybody had heard of, by moment.
pub(crate) struct Known(Vec<(Tick, u64)>);

impl Known {
    pub(crate) fn of(history: &History) -> Self {
        let mut heard = Vec::new();
        for write in &history.writes {
            if let Outcome::Appended(appended) = &write.outcome {
                heard.push((write.answered, appended.last_position.get()));
            }
        }
        for read in &history.reads {
            if let Ok((_, last)) = &read.result {
                heard.push((read.answered, last.get()));
            }
        }
        let messages = history.connections.iter().flat_map(|c| &c.messages);
        for (tick, message) in messages {
            match message {
                SubscriptionMessage::Events(events) => {
                    heard.extend(events.last().map(|event| (*tick, event.position.get())));
                }
                SubscriptionMessage::CaughtUp { position }
                | SubscriptionMessage::Checkpoint(position) => heard.push((*tick, position.get())),
                SubscriptionMessage::Confirmed { .. } => {}
            }
        }
        heard.sort_unstable();
        let mut last = 0;
        for (_, position) in &mut heard {
            last = last.max(*position);
            *position = last;
        }
        Self(heard)
    }

    /// Everything up to here (inclusive) was durable before this moment.
    pub(crate) fn before(&self, tick: Tick) -> u64 {
        let count = self.0.partition_point(|(heard, _)| *heard < tick);
        count.checked_sub(1).map_or(0, |last| self.0[last].1)
    }
}

/// Which states of the log somebody can have met between two moments.
pub(crate) struct Window {
    known: Known,
    /// When an append was first sent, and the last position before every append sent from then on.
    begun: Vec<(Tick, u64)>,
    end: u64,
}

impl Window {
    /// `begun` says of each append when it was sent and at which position it begins.
    pub(crate) fn new(known: Known, mut begun: Vec<(Tick, u64)>, end: u64) -> Self {
        begun.sort_unstable();
        let mut before = end;
        for (_, position) in begun.iter_mut().rev() {
            before = before.min(*position - 1);
            *position = before;
        }
        Self { known, begun, end }
    }

    /// The states met by who asked at this moment hold at least everything up to here (inclusive).
    pub(crate) fn first(&self, sent: Tick) -> u64 {
        self.known.before(sent)
    }

    /// Nobody had sent anything behind this position (inclusive) at this moment.
    pub(crate) fn last(&self, heard: Tick) -> u64 {
        let later = self.begun.partition_point(|(sent, _)| *sent <= heard);
        self.begun
            .get(later)
            .map_or(self.end, |(_, position)| *position)
    }
}
