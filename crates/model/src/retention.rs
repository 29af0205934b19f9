//! What the metadata of a stream says about its events, as far as the model goes: truncation, count and
//! soft deletion. It has no clock and so no age.

use icecore_core::Revision;
use serde_json::{Map, Value};

/// The JSON object of a `$metadata` event; empty when it is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Metadata(pub(crate) Map<String, Value>);

impl Metadata {
    pub(crate) fn read(data: &[u8]) -> Self {
        match serde_json::from_slice(data) {
            Ok(Value::Object(json)) => Self(json),
            _ => Self::default(),
        }
    }

    /// Events before this revision are hidden.
    pub(crate) fn truncate_before(&self) -> Option<Revision> {
        let before = self.0.get("$tb")?.as_u64()?;
        Some(Revision::new(before)).filter(|before| *before <= Revision::TOMBSTONE)
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.truncate_before() == Some(Revision::TOMBSTONE)
    }

    /// The same with another truncation.
    pub(crate) fn truncated_before(&self, before: Revision) -> Self {
        let mut json = self.0.clone();
        json.insert("$tb".to_owned(), before.get().into());
        Self(json)
    }

    /// The first revision that is seen of a stream with this last one.
    pub(crate) fn first_visible(&self, last: Option<Revision>) -> Revision {
        let count = self.0.get("$maxCount").and_then(Value::as_u64);
        let by_count = match (count, last) {
            (Some(count), Some(last)) if count > 0 => (last.get() + 1).saturating_sub(count),
            _ => 0,
        };
        let by_truncation = self.truncate_before().unwrap_or(Revision::FIRST);
        Revision::new(by_count).max(by_truncation)
    }
}
