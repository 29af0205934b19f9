//! A group, awake or asleep: wakes it for whoever wants something of it, and ends it in order.

use super::command::Command;
use super::config::GroupRecord;
use super::figures::Figures;
use super::task::Awake;
use crate::store::EventStore;
use icecore_core::{Error, GroupProblem, Result};
use std::sync::Arc;
use tokio::sync::Mutex;

/// A group, awake or not.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) record: Arc<GroupRecord>,
    pub(super) figures: Arc<Figures>,
    state: Mutex<SlotState>,
}

#[derive(Debug)]
enum SlotState {
    Asleep,
    Awake(Awake),
    /// It was changed or deleted: who has this slot looks for another.
    Closed,
}

impl Slot {
    pub(super) fn new(record: Arc<GroupRecord>) -> Self {
        Self::counting(record, Arc::default())
    }

    /// A group that goes on with the figures of the one that it was.
    pub(super) fn counting(record: Arc<GroupRecord>, figures: Arc<Figures>) -> Self {
        Self {
            record,
            figures,
            state: Mutex::new(SlotState::Asleep),
        }
    }

    /// Tells a group something if it is awake; whether it was told.
    pub(super) async fn tell(&self, command: Command) -> bool {
        let state = self.state.lock().await;
        match &*state {
            SlotState::Awake(awake) => awake.commands.send(command).await.is_ok(),
            SlotState::Asleep | SlotState::Closed => false,
        }
    }

    /// Wakes a group if it sleeps, and tells it something; whether it was told.
    pub(super) async fn wake_and_tell(&self, store: &EventStore, command: Command) -> Result<bool> {
        let mut state = self.state.lock().await;
        if let SlotState::Awake(awake) = &mut *state
            && awake.commands.is_closed()
        {
            // What it has written last is what the next one reads.
            let _ = (&mut awake.task).await;
            *state = SlotState::Asleep;
        }
        if matches!(*state, SlotState::Asleep) {
            let (record, figures) = (Arc::clone(&self.record), Arc::clone(&self.figures));
            *state = SlotState::Awake(store.wake(record, figures).await?);
        }
        match &*state {
            SlotState::Awake(awake) => Ok(awake.commands.send(command).await.is_ok()),
            SlotState::Asleep | SlotState::Closed => Ok(false),
        }
    }

    /// Ends a group for good, once what it has to write is written.
    pub(super) async fn close(&self, why: Error) {
        let mut state = self.state.lock().await;
        end(std::mem::replace(&mut *state, SlotState::Closed), why).await;
    }

    /// Ends what a group does at the moment.
    pub(super) async fn put_to_sleep(&self) {
        let mut state = self.state.lock().await;
        if matches!(*state, SlotState::Awake(_)) {
            let reason = "it was restarted".to_owned();
            let why = Error::group(&self.record.group.id, GroupProblem::Dropped { reason });
            end(std::mem::replace(&mut *state, SlotState::Asleep), why).await;
        }
    }
}

async fn end(state: SlotState, why: Error) {
    if let SlotState::Awake(awake) = state {
        // It may have ended by itself.
        let _ = awake.commands.send(Command::Stop { why }).await;
        drop(awake.commands);
        let _ = awake.task.await;
    }
}
