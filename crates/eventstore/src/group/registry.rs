//! What groups there are: reads, writes and tells the list of them, and wakes those that somebody wants
//! something of. What changes the list: `registry/change.rs`.

mod change;

use super::command::Command;
use super::config::{CONFIG, GroupRecord, decode, encode};
use super::consumer::{GroupConsumer, GroupDeliveries};
use super::slot::Slot;
use crate::store::EventStore;
use bytes::Bytes;
use icecore_core::{
    AppendBuilder, Consume, ContentType, Direction, Error, EventData, EventType, ExpectedRevision,
    GroupId, GroupInfo, GroupProblem, GroupStatus, PageLimit, Result, Revision, StreamState,
    event_types,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Mutex, oneshot};

/// Older lists of groups that are kept.
const CONFIG_COUNT: u64 = 10;

/// How often a group that falls asleep at that moment is woken again.
const WAKES_MAX: usize = 16;

/// The groups of a store.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// `None` until somebody asks, and after a write of which nobody knows what became of it.
    known: Mutex<Option<Known>>,
    /// None wakes any more: the store stops.
    stopping: AtomicBool,
}

/// What groups there are.
#[derive(Debug)]
struct Known {
    /// The last event of the stream that says so.
    last: Option<Revision>,
    groups: BTreeMap<String, Arc<Slot>>,
}

impl EventStore {
    /// Lets a consumer join a group.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the field; `Group` with `NotFound`; `Exhausted` for
    /// `max_subscriber_count`; `WrongStore`, when its checkpoint came from another store by an import: delete
    /// the group and create it anew; `Unavailable`. The deliveries end with `Group` (`Dropped`, or `NotFound`
    /// when it is deleted) or `Unavailable`.
    pub async fn consume(&self, consume: Consume) -> Result<(GroupConsumer, GroupDeliveries)> {
        consume.check()?;
        let id = consume.group.clone();
        self.ask(&id, |reply| Command::Join {
            consume: consume.clone(),
            reply,
        })
        .await?
    }

    /// What a group is and does.
    ///
    /// # Errors
    ///
    /// `Group` with `NotFound`.
    pub async fn group_info(&self, id: &GroupId) -> Result<GroupInfo> {
        let slot = self.slot(id).await?;
        self.info_of(&slot).await
    }

    /// All groups in the order of their keys.
    pub async fn list_groups(&self) -> Result<Vec<GroupInfo>> {
        let mut infos = Vec::new();
        for slot in self.slots().await? {
            infos.push(self.info_of(&slot).await?);
        }
        Ok(infos)
    }

    async fn info_of(&self, slot: &Slot) -> Result<GroupInfo> {
        let (reply, info) = oneshot::channel();
        if slot.tell(Command::Info { reply }).await
            && let Ok(info) = info.await
        {
            return Ok(info);
        }
        let id = &slot.record.group.id;
        let (books, checkpoint) = self.read_books(id).await?;
        let checkpoint = checkpoint.unwrap_or_default();
        let trouble = match books.history() {
            Some(history) if !self.is_own(history).await? => Some(format!(
                "its checkpoint is of store {}: delete the group and create it anew",
                history.store_id()
            )),
            _ => None,
        };
        let resting = books.parked().values().filter(|parked| !parked.replaying);
        let waiting = books.waiting().filter(|lane| lane.head.is_some());
        Ok(GroupInfo {
            group: slot.record.group.clone(),
            status: GroupStatus::Idle,
            consumers: Vec::new(),
            last_checkpointed: checkpoint.done,
            last_known: checkpoint.seen,
            average_per_second: 0,
            total_items: 0,
            count_since_last_measurement: 0,
            read_buffer_count: 0,
            live_buffer_count: 0,
            retry_buffer_count: 0,
            in_flight_count: 0,
            parked_count: resting.count() as u64,
            waiting_streams: waiting.count() as u64,
            trouble,
        })
    }

    /// Asks something of a group, which wakes for it if need be.
    pub(super) async fn ask<R>(
        &self,
        id: &GroupId,
        command: impl Fn(oneshot::Sender<R>) -> Command,
    ) -> Result<R> {
        for _ in 0..WAKES_MAX {
            let slot = self.slot(id).await?;
            let (reply, answer) = oneshot::channel();
            if slot.wake_and_tell(self, command(reply)).await?
                && let Ok(answer) = answer.await
            {
                return Ok(answer);
            }
        }
        Err(Error::unavailable(format!(
            "group `{id}` begins anew all the time"
        )))
    }

    pub(super) async fn slot(&self, id: &GroupId) -> Result<Arc<Slot>> {
        let mut known = self.groups().known.lock().await;
        self.list_of(&mut known).await?.find(id)
    }

    pub(super) async fn slots(&self) -> Result<Vec<Arc<Slot>>> {
        let mut known = self.groups().known.lock().await;
        let list = self.list_of(&mut known).await?;
        Ok(list.groups.values().cloned().collect())
    }

    /// What groups there are, read from the store if need be.
    async fn list_of<'a>(&self, known: &'a mut Option<Known>) -> Result<&'a mut Known> {
        if self.groups().stopping.load(Ordering::SeqCst) {
            return Err(Error::unavailable("the server is stopping"));
        }
        if known.is_none() {
            *known = Some(self.read_list().await?);
        }
        known
            .as_mut()
            .ok_or_else(|| Error::internal("what was read just now is not there"))
    }

    async fn read_list(&self) -> Result<Known> {
        let stream = GroupId::config_stream();
        let last = self.record(&stream).await?.state().last_revision();
        let mut records = Vec::new();
        if let Some(last) = last {
            let page = self
                .storage()
                .read_stream(&stream, last, Direction::Backwards, PageLimit::events(1))
                .await?;
            if let Some(event) = page.events.first() {
                let found = decode(&event.data)?;
                match found.history {
                    Some(of) if !self.is_own(&of).await? => {
                        let of = of.store_id();
                        tracing::warn!(%of, "the list of groups is of another store, and left out");
                    }
                    _ => records = found.records,
                }
            }
        }
        let groups = records.into_iter().map(|record| {
            let key = record.group.id.to_string();
            (key, Arc::new(Slot::new(Arc::new(record))))
        });
        Ok(Known {
            last,
            groups: groups.collect(),
        })
    }

    /// Writes what groups there are; for a new one also how its checkpoints are kept.
    async fn write_list(
        &self,
        known: &mut Option<Known>,
        records: Vec<Arc<GroupRecord>>,
        new: Option<&GroupId>,
    ) -> Result<()> {
        let last = known.as_ref().and_then(|known| known.last);
        let stream = GroupId::config_stream();
        let history = self.history().await;
        let groups = records.iter().map(|record| &**record);
        let data = encode(groups, history.as_ref(), self.now());
        let expected = last.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        let mut append = AppendBuilder::default();
        let config = append.stream(stream.clone(), expected)?;
        append.event(config, self.config_event(CONFIG, data), None)?;
        let kept = [(last.is_none(), Some(stream), CONFIG_COUNT)];
        let checkpoints = new.map(GroupId::checkpoint_stream);
        let is_new = match &checkpoints {
            Some(stream) => self.record(stream).await?.state() == StreamState::Absent,
            None => false,
        };
        // One more than needed, for whoever looks what it was before.
        for (is_new, stream, count) in kept.into_iter().chain([(is_new, checkpoints, 2)]) {
            let metadata = stream.filter(|_| is_new).and_then(|s| s.metadata_stream());
            if let Some(metadata) = metadata {
                let at = append.stream(metadata, ExpectedRevision::Any)?;
                let data = serde_json::json!({"$maxCount": count}).to_string().into();
                append.event(at, self.config_event(event_types::METADATA, data), None)?;
            }
        }
        let written = self.append(append.build()?).await;
        match (&written, known.as_mut()) {
            (Ok(appended), Some(known)) => {
                known.last = appended.streams.first().and_then(|s| s.last_revision);
            }
            // Somebody else has written to it, or nobody knows: it is read again.
            _ => *known = None,
        }
        written.map(drop)
    }

    fn config_event(&self, event_type: &'static str, data: Bytes) -> EventData {
        EventData {
            id: self.next_id(),
            event_type: EventType::new(event_type).expect("it is a valid type"),
            content_type: ContentType::JSON,
            data,
            metadata: Bytes::new(),
            tags: Vec::new(),
        }
    }
}

impl Known {
    fn find(&self, id: &GroupId) -> Result<Arc<Slot>> {
        let slot = self.groups.get(&id.to_string());
        let slot = slot.filter(|slot| slot.record.group.id == *id);
        slot.cloned()
            .ok_or_else(|| Error::group(id, GroupProblem::NotFound))
    }

    fn records(&self) -> Vec<Arc<GroupRecord>> {
        let slots = self.groups.values();
        slots.map(|slot| Arc::clone(&slot.record)).collect()
    }
}
