//! Catch-up subscriptions: confirmed first, then events, checkpoints where they are filtered, and a word
//! each time that they have caught up.

use crate::errors::status;
use crate::expectation::signed;
use crate::proto::event_store::client::streams::read_resp;
use crate::streams::Answers;
use crate::streams::answer::ReadAnswer;
use crate::streams::question::View;
use crate::streams::read::{last_revision, shown};
use crate::ticks::timestamp;
use futures::stream::{self, BoxStream, try_unfold};
use futures::{StreamExt, TryStreamExt};
use icecore_core::{
    Delivery, Position, RecordedEvent, Result, Revision, Start, StreamName, Subscribe,
    SubscribeFrom, SubscriptionMessage,
};
use icecore_eventstore::EventStore;
use tonic::Status;

/// Follows what is asked for. `interval` is how many events a filtered subscription looks at between two
/// checkpoints.
pub(super) fn answers(
    store: EventStore,
    subscribe: Subscribe,
    interval: Option<u64>,
    view: View,
) -> Answers<ReadAnswer> {
    let start = match &subscribe.from {
        SubscribeFrom::All(Start::After(position)) => *position,
        SubscribeFrom::All(Start::End) => store.last_position(),
        _ => Position::START,
    };
    let stream = match &subscribe.from {
        SubscribeFrom::Stream(stream, _) => Some((stream.clone(), None)),
        SubscribeFrom::All(_) => None,
    };
    let deliveries = match interval {
        Some(events) => store.deliver_every(events, subscribe).boxed(),
        None => store.deliver(subscribe).boxed(),
    };
    let following = Following {
        store: store.clone(),
        deliveries,
        stream,
        checkpoints: interval.map(|interval| Checkpoints::new(interval, start)),
    };
    let pieces = try_unfold(following, |mut following| async move {
        let pieces = following.next().await?;
        Ok::<_, Status>(pieces.map(|pieces| (pieces, following)))
    });
    let show = move |piece| match piece {
        Piece::Events(events) => shown(store.clone(), events, view).left_stream(),
        Piece::Content(content) => stream::iter([Ok((*content).into())]).right_stream(),
    };
    pieces
        .map_ok(move |pieces| stream::iter(pieces).flat_map(show.clone()))
        .try_flatten()
        .boxed()
}

/// A part of an answer.
enum Piece {
    Events(Vec<RecordedEvent>),
    Content(Box<read_resp::Content>),
}

impl From<read_resp::Content> for Piece {
    fn from(content: read_resp::Content) -> Self {
        Self::Content(Box::new(content))
    }
}

/// A subscription under way.
struct Following {
    store: EventStore,
    deliveries: BoxStream<'static, Result<Delivery>>,
    /// The stream that is followed, and its last revision that is known.
    stream: Option<(StreamName, Option<Revision>)>,
    checkpoints: Option<Checkpoints>,
}

impl Following {
    /// What comes next.
    async fn next(&mut self) -> Result<Option<Vec<Piece>>, Status> {
        let Some(delivery) = self.deliveries.next().await else {
            return Ok(None);
        };
        let pieces = match delivery.map_err(status)? {
            Delivery::Shared(appends) => {
                let events = appends.iter().flat_map(|append| append.iter().cloned());
                self.events(events.collect())
            }
            Delivery::Own(SubscriptionMessage::Events(events)) => self.events(events),
            Delivery::Own(SubscriptionMessage::Confirmed { .. }) => {
                let subscription_id = self.store.next_id().to_string();
                let confirmed = read_resp::SubscriptionConfirmation { subscription_id };
                vec![read_resp::Content::Confirmation(confirmed).into()]
            }
            Delivery::Own(SubscriptionMessage::Checkpoint(position)) => {
                self.checkpoint(position).into_iter().collect()
            }
            Delivery::Own(SubscriptionMessage::CaughtUp { position }) => {
                // A filtered subscription learns first how far it is.
                let mut pieces: Vec<_> = self.checkpoint(position).into_iter().collect();
                pieces.push(self.caught_up(position).await?);
                pieces
            }
        };
        Ok(Some(pieces))
    }

    /// Events, with the checkpoints that are due between them.
    fn events(&mut self, events: Vec<RecordedEvent>) -> Vec<Piece> {
        if let (Some((_, last)), Some(event)) = (&mut self.stream, events.last()) {
            *last = Some(event.revision);
        }
        if self.checkpoints.is_none() {
            return vec![Piece::Events(events)];
        }
        let (mut pieces, mut part) = (Vec::new(), Vec::new());
        for event in events {
            let position = event.position;
            self.checkpoint_if_due(position.previous(), &mut part, &mut pieces);
            part.push(event);
            self.checkpoint_if_due(position, &mut part, &mut pieces);
        }
        pieces.push(Piece::Events(part));
        pieces
    }

    /// Ends the part with a checkpoint, if enough was looked at since the last one.
    fn checkpoint_if_due(
        &mut self,
        reached: Position,
        part: &mut Vec<RecordedEvent>,
        pieces: &mut Vec<Piece>,
    ) {
        let checkpoints = self.checkpoints.as_ref();
        if checkpoints.is_some_and(|checkpoints| checkpoints.is_due(reached)) {
            pieces.push(Piece::Events(std::mem::take(part)));
            pieces.extend(self.checkpoint(reached));
        }
    }

    /// Everything up to here was looked at: a checkpoint, for those who get them, unless it is no news.
    fn checkpoint(&mut self, reached: Position) -> Option<Piece> {
        self.checkpoints.as_mut()?.tell(reached).then(|| {
            read_resp::Content::Checkpoint(read_resp::Checkpoint {
                commit_position: reached.get(),
                prepare_position: reached.get(),
                timestamp: Some(timestamp(self.store.now())),
            })
            .into()
        })
    }

    /// What follows is live.
    async fn caught_up(&mut self, position: Position) -> Result<Piece, Status> {
        let mut caught_up = read_resp::CaughtUp {
            timestamp: Some(timestamp(self.store.now())),
            ..read_resp::CaughtUp::default()
        };
        match &mut self.stream {
            Some((stream, last)) => {
                if last.is_none() {
                    *last = last_revision(&self.store, stream).await?;
                }
                caught_up.stream_revision = last.map(signed);
            }
            None => {
                caught_up.position = Some(read_resp::Position {
                    commit_position: position.get(),
                    prepare_position: position.get(),
                });
            }
        }
        Ok(read_resp::Content::CaughtUp(caught_up).into())
    }
}

/// When a filtered subscription is told how far it is.
#[derive(Debug)]
struct Checkpoints {
    /// Events between two of them.
    interval: u64,
    /// The last one, or where the subscription begins.
    last: Position,
    /// Whether there was one.
    told: bool,
}

impl Checkpoints {
    fn new(interval: u64, start: Position) -> Self {
        Self {
            interval,
            last: start,
            told: false,
        }
    }

    fn is_due(&self, reached: Position) -> bool {
        reached.get().saturating_sub(self.last.get()) >= self.interval
    }

    /// Whether this is news. They increase.
    fn tell(&mut self, reached: Position) -> bool {
        let is_news = if self.told {
            reached > self.last
        } else {
            reached >= self.last && reached > Position::START
        };
        if is_news {
            (self.last, self.told) = (reached, true);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_increase_and_come_when_enough_was_looked_at() {
        let at = Position::new;
        let mut checkpoints = Checkpoints::new(10, at(5));
        assert!(!checkpoints.is_due(at(14)) && checkpoints.is_due(at(15)));
        assert!(
            checkpoints.tell(at(5)),
            "going live where it began is news once"
        );
        assert!(!checkpoints.tell(at(5)));
        assert!(checkpoints.tell(at(15)));
        assert!(!checkpoints.tell(at(14)) && !checkpoints.is_due(at(24)));
        assert!(!Checkpoints::new(1, at(0)).tell(at(0)), "0 is no position");
    }
}
