//! What a group has parked: shown, replayed, discarded.

use super::command::{Command, ParkedAct, ParkedCommand};
use crate::store::EventStore;
use icecore_core::{
    Direction, Error, GroupId, PageLimit, ParkedEvent, ParkedPage, ParkedRange, Result, Revision,
    Timestamp,
};
use serde_json::Value;

/// Parked events that a page holds at most.
const PAGE_MAX: usize = 256;

impl EventStore {
    /// The events that a group has parked, from a revision of the parked stream on (inclusive); `limit`
    /// 0 takes the store's own page size.
    ///
    /// # Errors
    ///
    /// `Group` with `NotFound`.
    pub async fn parked_events(
        &self,
        id: &GroupId,
        from: Revision,
        limit: usize,
    ) -> Result<ParkedPage> {
        let slot = self.slot(id).await?;
        let limit = match limit {
            0 => PAGE_MAX,
            limit => limit.min(PAGE_MAX),
        };
        let (books, _) = self.read_books(id).await?;
        let mut parked = books.parked().range(from.get()..);
        let mut events = Vec::new();
        for (link, parked) in parked.by_ref().take(limit) {
            let link = Revision::new(*link);
            let (reason, parked_at) = self.why_parked(id, link).await?;
            let arrival = self
                .parked_event(&slot.record, &parked.stream, parked.cursor.revision)
                .await?;
            events.push(ParkedEvent {
                parked_revision: link,
                stream: parked.stream.clone(),
                revision: parked.cursor.revision,
                event: arrival.and_then(|arrival| arrival.event),
                reason,
                parked_at,
                replaying: parked.replaying,
                waiting_stream: parked.waiting.clone(),
            });
        }
        let next = parked.next().map(|(link, _)| Revision::new(*link));
        Ok(ParkedPage { events, next })
    }

    /// How many parked events would be replayed.
    ///
    /// # Errors
    ///
    /// `Group` with `NotFound`.
    pub async fn count_parked(&self, id: &GroupId, range: ParkedRange) -> Result<u64> {
        self.slot(id).await?;
        let (books, _) = self.read_books(id).await?;
        let resting = books
            .parked()
            .iter()
            .filter(|(_, parked)| !parked.replaying);
        let meant = resting.filter(|(link, _)| range.contains(Revision::new(**link)));
        Ok(meant.count() as u64)
    }

    /// Sends parked events to the consumers again, and says how many. Each stays parked until it is
    /// done; without a consumer they wait for one, also over a restart.
    ///
    /// # Errors
    ///
    /// `Group` with `NotFound`; `InvalidArgument` for field `revision`, when nothing is parked there.
    pub async fn replay_parked(&self, id: &GroupId, range: ParkedRange) -> Result<u64> {
        self.act_on_parked(id, range, ParkedAct::Replay).await
    }

    /// Gives parked events up, and says how many. Streams that wait behind them go on.
    ///
    /// # Errors
    ///
    /// As [`Self::replay_parked`].
    pub async fn discard_parked(&self, id: &GroupId, range: ParkedRange) -> Result<u64> {
        self.act_on_parked(id, range, ParkedAct::Discard).await
    }

    async fn act_on_parked(&self, id: &GroupId, range: ParkedRange, act: ParkedAct) -> Result<u64> {
        let command = |reply| {
            Command::Parked(ParkedCommand {
                range,
                act,
                done: 0,
                reply,
            })
        };
        let count = self.ask(id, command).await??;
        match range {
            ParkedRange::One(revision) if count == 0 => Err(Error::invalid(
                "revision",
                format!("nothing is parked at {revision}, or it is on its way already"),
            )),
            _ => Ok(count),
        }
    }

    /// Why and when an event was parked, as its link says.
    async fn why_parked(&self, id: &GroupId, link: Revision) -> Result<(String, Timestamp)> {
        let stream = id.parked_stream();
        let limit = PageLimit::events(1);
        let page = self
            .storage()
            .read_stream(&stream, link, Direction::Forwards, limit)
            .await?;
        let Some(event) = page.events.first() else {
            return Ok((String::new(), Timestamp::default()));
        };
        let metadata: Value = serde_json::from_slice(&event.metadata).unwrap_or(Value::Null);
        let reason = metadata["reason"].as_str().unwrap_or_default();
        Ok((reason.to_owned(), event.recorded_at))
    }
}
