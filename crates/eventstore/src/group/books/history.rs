//! Which history of events a book belongs to. Places mean something in one history only: a checkpoint that
//! an import or a tool brought from another store would make a group skip or repeat events.
//!
//! A book names the store and one of its events by position and leaf hash. A store that was restored has
//! another id and the same events, and goes on; so it does when they were erased or scavenged, since leaf
//! hashes stay.

use crate::store::EventStore;
use icecore_core::{Error, GroupId, LogEntry, PageLimit, Position, Result, StoreId};
use serde_json::{Value, json};
use uuid::Uuid;

/// A history of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::group) struct History {
    store_id: StoreId,
    position: Position,
    /// Of the event there, in hexadecimal.
    leaf: String,
}

impl History {
    /// Which store it was.
    pub(in crate::group) fn store_id(&self) -> StoreId {
        self.store_id
    }

    pub(in crate::group) fn encode(&self) -> Value {
        json!({
            "store": self.store_id.to_string(),
            "position": self.position.get(),
            "leaf": self.leaf,
        })
    }

    /// Reads what [`Self::encode`] wrote; `None` when it is something else.
    pub(in crate::group) fn read(value: &Value) -> Option<Self> {
        let store_id = Uuid::parse_str(value["store"].as_str()?).ok()?;
        Some(Self {
            store_id: StoreId::new(store_id),
            position: Position::new(value["position"].as_u64()?),
            leaf: value["leaf"].as_str()?.to_owned(),
        })
    }
}

impl EventStore {
    /// The history of this store; `None` when nothing is in it, or its end cannot be read.
    pub(in crate::group) async fn history(&self) -> Option<History> {
        let position = self.last_position();
        let leaf = match self.leaf_at(position).await {
            Ok(leaf) => leaf?,
            Err(error) => {
                tracing::warn!(%error, "a book of groups does not say of which store it is");
                return None;
            }
        };
        Some(History {
            store_id: self.store_id(),
            position,
            leaf,
        })
    }

    /// Whether it is this store's own, or that of the store from which this one was restored.
    pub(in crate::group) async fn is_own(&self, history: &History) -> Result<bool> {
        if history.store_id == self.store_id() {
            return Ok(true);
        }
        let leaf = self.leaf_at(history.position).await?;
        Ok(leaf.is_some_and(|leaf| leaf == history.leaf))
    }

    /// Refuses a checkpoint of another store.
    pub(in crate::group) async fn check_history(
        &self,
        group: &GroupId,
        history: Option<&History>,
    ) -> Result<()> {
        let Some(history) = history else {
            return Ok(());
        };
        if self.is_own(history).await? {
            return Ok(());
        }
        let of = history.store_id();
        tracing::warn!(%group, %of, "the group's checkpoint is of another store: delete the group and create it anew");
        Err(Error::WrongStore {
            expected: of,
            actual: self.store_id(),
        })
    }

    async fn leaf_at(&self, position: Position) -> Result<Option<String>> {
        if position == Position::START || position > self.last_position() {
            return Ok(None);
        }
        let limit = PageLimit::events(1);
        let page = self.storage().read_log(position, limit).await?;
        let leaf = page.entries.first().map(LogEntry::leaf_hash);
        Ok(leaf.map(|leaf| leaf.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_come_back_as_they_were() {
        let history = History {
            store_id: StoreId::new(Uuid::from_u128(7)),
            position: Position::new(9),
            leaf: "0a".to_owned(),
        };
        assert_eq!(History::read(&history.encode()), Some(history));
        assert_eq!(History::read(&Value::Null), None);
        assert_eq!(History::read(&json!({"store": "x"})), None);
    }
}
