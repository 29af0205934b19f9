//! What the last event of `$$s` says about stream `s`. The keys and what counts as absent are
//! KurrentDB's; keys that are not the store's are the user's and kept.

use bytes::Bytes;
use icecore_core::{Error, Result, Revision};
use serde_json::{Map, Value};
use std::time::Duration;

const MAX_COUNT: &str = "$maxCount";
const MAX_AGE: &str = "$maxAge";
const TRUNCATE_BEFORE: &str = "$tb";

/// Value of `$tb` that marks a soft deletion.
pub(crate) const SOFT_DELETED: Revision = Revision::TOMBSTONE;

/// Metadata of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StreamMetadata {
    /// The JSON object as it was written, also with keys that mean nothing here.
    json: Map<String, Value>,
    /// Only so many of the newest events are visible.
    pub(crate) max_count: Option<u64>,
    /// Events older than this are hidden.
    pub(crate) max_age: Option<Duration>,
    /// Events before this revision are hidden (exclusive).
    pub(crate) truncate_before: Option<Revision>,
}

impl StreamMetadata {
    /// Reads what is stored. What cannot be read is no metadata, and a value that makes no sense is
    /// ignored, since other programs write these events too.
    pub(crate) fn read(data: &[u8]) -> Self {
        let Ok(Value::Object(json)) = serde_json::from_slice(data) else {
            return Self::default();
        };
        Self::from_json(json)
    }

    /// Reads what a caller wants to write.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for field `metadata`, when it is no JSON object or one of the store's keys
    /// has a value that would be ignored.
    pub(crate) fn parse(data: &[u8]) -> Result<Self> {
        let json: Map<String, Value> = serde_json::from_slice(data)
            .map_err(|error| Error::invalid("metadata", format!("is no JSON object: {error}")))?;
        for (key, least) in [
            (MAX_COUNT, 1),
            (MAX_AGE, 1),
            ("$cacheControl", 1),
            (TRUNCATE_BEFORE, 0),
        ] {
            let Some(value) = json.get(key) else { continue };
            if value.as_i64().is_none_or(|number| number < least) {
                return Err(Error::invalid(
                    "metadata",
                    format!("`{key}` is {value}, it must be a whole number from {least} on"),
                ));
            }
        }
        Ok(Self::from_json(json))
    }

    fn from_json(json: Map<String, Value>) -> Self {
        let number = |key: &str| json.get(key).and_then(Value::as_u64);
        let positive = |key: &str| number(key).filter(|number| *number > 0);
        let truncate_before = number(TRUNCATE_BEFORE)
            .map(Revision::new)
            .filter(|revision| *revision <= SOFT_DELETED);
        Self {
            max_count: positive(MAX_COUNT),
            max_age: positive(MAX_AGE).map(Duration::from_secs),
            truncate_before,
            json,
        }
    }

    /// Whether it marks its stream as soft-deleted.
    pub(crate) fn is_soft_deleted(&self) -> bool {
        self.truncate_before == Some(SOFT_DELETED)
    }

    /// The same metadata with another `$tb`.
    pub(crate) fn truncated_before(&self, revision: Revision) -> Self {
        let mut json = self.json.clone();
        json.insert(TRUNCATE_BEFORE.to_owned(), Value::from(revision.get()));
        Self {
            json,
            truncate_before: Some(revision),
            ..*self
        }
    }

    /// The JSON object as an event's data.
    pub(crate) fn to_bytes(&self) -> Bytes {
        Value::Object(self.json.clone()).to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_values_are_ignored_when_read_and_refused_when_written() {
        for bad in [
            r#"{"$maxCount":0}"#,
            r#"{"$maxAge":-5}"#,
            r#"{"$tb":-1}"#,
            r#"{"$tb":"x"}"#,
        ] {
            let read = StreamMetadata::read(bad.as_bytes());
            assert_eq!(
                (read.max_count, read.max_age, read.truncate_before),
                (None, None, None)
            );
            assert!(StreamMetadata::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(StreamMetadata::read(b"not json"), StreamMetadata::default());
        assert!(StreamMetadata::parse(b"[]").is_err());
    }

    #[test]
    fn truncation_keeps_the_other_keys() {
        let metadata = StreamMetadata::read(br#"{"$maxAge":60,"owner":"me"}"#);
        let deleted = metadata.truncated_before(SOFT_DELETED);
        assert!(deleted.is_soft_deleted());
        let again = StreamMetadata::read(&deleted.to_bytes());
        assert_eq!(again, deleted);
        assert_eq!(again.max_age, Some(Duration::from_secs(60)));
        assert_eq!(again.json["owner"], "me");
    }
}
