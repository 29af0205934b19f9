//! Changes what groups there are: creates, changes, deletes and restarts them. What has begun goes on to
//! its end, also when the caller does not wait for it: half of a change would leave a group that nobody
//! can wake.

use super::Known;
use crate::group::config::GroupRecord;
use crate::group::slot::Slot;
use crate::store::EventStore;
use futures::future::join_all;
use icecore_core::limits::GROUPS_MAX;
use icecore_core::{
    DeleteKind, Error, ExpectedRevision, Group, GroupId, GroupProblem, GroupSettings, GroupStart,
    Position, Result, Revision, StreamState,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl EventStore {
    /// Creates a group. It begins as its settings say; with the end, after what is stored now.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the field; `Group` with `Exists`; `Exhausted` for `groups_max`.
    pub async fn create_group(&self, group: Group) -> Result<()> {
        let store = self.clone();
        to_its_end(async move { store.create(group).await }).await
    }

    async fn create(&self, group: Group) -> Result<()> {
        group.check()?;
        let mut known = self.groups().known.lock().await;
        let list = self.list_of(&mut known).await?;
        let key = group.id.to_string();
        if list.groups.contains_key(&key) {
            return Err(Error::group(&group.id, GroupProblem::Exists));
        }
        if list.groups.len() >= GROUPS_MAX {
            let reason = format!("there are {GROUPS_MAX} groups and may be no more");
            return Err(Error::exhausted("groups_max", reason));
        }
        let begin = self.begin_of(&group).await?;
        let id = group.id.clone();
        // A deletion that was interrupted may have left them.
        self.delete_own_streams(&id).await?;
        let record = Arc::new(GroupRecord { group, begin });
        let mut records = list.records();
        records.push(Arc::clone(&record));
        self.write_list(&mut known, records, Some(&id)).await?;
        if let Some(list) = known.as_mut() {
            list.groups.insert(key, Arc::new(Slot::new(record)));
        }
        Ok(())
    }

    /// Gives a group other settings; what it reads and wants of that stays. Its consumers are dropped.
    /// Where it starts counts only as long as it has no checkpoint; a start that stays the same means the
    /// same place as before.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the field: also for `resolve_links` while streams wait behind a parked
    /// event, since it decides whose order they are in; `Group` with `NotFound`.
    pub async fn update_group(&self, id: &GroupId, settings: GroupSettings) -> Result<()> {
        let (store, id) = (self.clone(), id.clone());
        to_its_end(async move { store.update(&id, settings).await }).await
    }

    async fn update(&self, id: &GroupId, settings: GroupSettings) -> Result<()> {
        let mut known = self.groups().known.lock().await;
        let list = self.list_of(&mut known).await?;
        let slot = list.find(id)?;
        let before = &slot.record;
        let group = Group {
            settings,
            ..before.group.clone()
        };
        group.check()?;
        let begin = if group.settings.start == before.group.settings.start {
            before.begin
        } else {
            self.begin_of(&group).await?
        };
        if group.settings.resolve_links != before.group.settings.resolve_links {
            // What is parked from now on would not be seen.
            let reason = "its settings are changed".to_owned();
            let why = Error::group(id, GroupProblem::Dropped { reason });
            slot.close(why).await;
            let figures = Arc::clone(&slot.figures);
            list.replace(Slot::counting(Arc::clone(before), figures));
            self.check_that_none_waits(id).await?;
        }
        let record = Arc::new(GroupRecord { group, begin });
        let others = list.records().into_iter();
        let mut records: Vec<_> = others.filter(|other| other.group.id != *id).collect();
        records.push(Arc::clone(&record));
        self.write_list(&mut known, records, None).await?;
        let reason = "its settings were changed".to_owned();
        let why = Error::group(id, GroupProblem::Dropped { reason });
        slot.close(why).await;
        if let Some(list) = known.as_mut() {
            let figures = Arc::clone(&slot.figures);
            list.replace(Slot::counting(record, figures));
        }
        Ok(())
    }

    /// Refuses while streams wait behind a parked event of the group, which is not awake.
    async fn check_that_none_waits(&self, id: &GroupId) -> Result<()> {
        let (books, _) = self.read_books(id).await?;
        match books.waiting().count() {
            0 => Ok(()),
            count => Err(Error::invalid(
                "resolve_links",
                format!(
                    "cannot change while {count} streams wait behind a parked event: replay or discard \
                     what is parked first"
                ),
            )),
        }
    }

    /// Deletes a group with its checkpoint and what it has parked. Its consumers are dropped.
    ///
    /// # Errors
    ///
    /// `Group` with `NotFound`.
    pub async fn delete_group(&self, id: &GroupId) -> Result<()> {
        let (store, id) = (self.clone(), id.clone());
        to_its_end(async move { store.delete_whole(&id).await }).await
    }

    async fn delete_whole(&self, id: &GroupId) -> Result<()> {
        let mut known = self.groups().known.lock().await;
        let list = self.list_of(&mut known).await?;
        let slot = list.find(id)?;
        let others = list.records().into_iter();
        let records = others.filter(|other| other.group.id != *id).collect();
        slot.close(Error::group(id, GroupProblem::NotFound)).await;
        let written = self.write_list(&mut known, records, None).await;
        if let Err(error) = written {
            // Whether it is there or not: who wants something of it finds a slot that is open.
            *known = None;
            return Err(error);
        }
        if let Some(list) = known.as_mut() {
            list.groups.remove(&id.to_string());
        }
        self.delete_own_streams(id).await
    }

    /// Drops the consumers of a group and begins anew with what is written.
    ///
    /// # Errors
    ///
    /// `Group` with `NotFound`.
    pub async fn restart_group(&self, id: &GroupId) -> Result<()> {
        let slot = self.slot(id).await?;
        to_its_end(async move {
            slot.put_to_sleep().await;
            Ok(())
        })
        .await
    }

    /// As [`Self::restart_group`], for all.
    pub async fn restart_groups(&self) -> Result<()> {
        let slots = self.slots().await?;
        to_its_end(async move {
            join_all(slots.iter().map(|slot| slot.put_to_sleep())).await;
            Ok(())
        })
        .await
    }

    /// Ends all groups that are awake, so that their checkpoints are written.
    pub(crate) async fn stop_groups(&self) {
        let store = self.clone();
        let stopped = to_its_end(async move {
            store.groups().stopping.store(true, Ordering::SeqCst);
            let mut known = store.groups().known.lock().await;
            let groups = known.take().map(|list| list.groups).unwrap_or_default();
            let why = || Error::unavailable("the server is stopping");
            join_all(groups.values().map(|slot| slot.close(why()))).await;
            Ok(())
        });
        if let Err(error) = stopped.await {
            tracing::error!(%error, "the groups were not stopped in order");
        }
    }

    /// The first place that a group looks at when it has no checkpoint.
    async fn begin_of(&self, group: &Group) -> Result<u64> {
        let stream = group.id.stream();
        let last = self.last_position().get();
        match (group.settings.start, stream) {
            (GroupStart::Beginning, None) => Ok(Position::FIRST.get()),
            (GroupStart::Beginning, Some(_)) => Ok(Revision::FIRST.get()),
            (GroupStart::From(place), Some(_)) => Ok(place),
            (GroupStart::From(place), None) if place > last.saturating_add(1) => {
                let reason = format!("position {place} lies beyond the end of the store at {last}");
                Err(Error::invalid("start", reason))
            }
            (GroupStart::From(place), None) => Ok(place.max(Position::FIRST.get())),
            (GroupStart::End, None) => Ok(last.saturating_add(1)),
            (GroupStart::End, Some(stream)) => {
                let last = self.last_place_of(stream).await?;
                Ok(last.map_or(0, |last| Revision::new(last).next().get()))
            }
        }
    }

    async fn delete_own_streams(&self, id: &GroupId) -> Result<()> {
        for stream in [id.checkpoint_stream(), id.parked_stream()] {
            let state = self.record(&stream).await?.state();
            if matches!(state, StreamState::Living { .. }) {
                let any = ExpectedRevision::Any;
                self.delete(&stream, any, DeleteKind::Soft).await?;
            }
        }
        Ok(())
    }
}

impl Known {
    fn replace(&mut self, slot: Slot) {
        let key = slot.record.group.id.to_string();
        self.groups.insert(key, Arc::new(slot));
    }
}

/// Goes on in a task of its own, which nobody can break off.
async fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let changed = tokio::spawn(change).await;
    changed.map_err(|error| Error::internal_from("a change of the groups broke off", error))?
}
