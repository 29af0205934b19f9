//! A checkpoint as an event: KurrentDB's text as data, and in the metadata what it has no place for.

use super::History;
use crate::group::progress::Checkpoint;
use icecore_core::{Error, GroupId, RecordedEvent, Result};
use serde_json::{Map, Value, json};

/// The data and the metadata of a checkpoint.
pub(super) fn encode(group: &GroupId, checkpoint: &Checkpoint) -> (Value, Value) {
    let done = checkpoint.done.map_or("-1".to_owned(), |n| n.to_string());
    let data = match group.stream() {
        Some(_) => done,
        None => format!("C:{done}/P:{done}"),
    };
    let unfinished = checkpoint.unfinished.iter();
    let unfinished: Map<_, _> = unfinished
        .map(|(place, tries)| (place.to_string(), (*tries).into()))
        .collect();
    let metadata = json!({"seen": checkpoint.seen, "unfinished": unfinished});
    (data.into(), metadata)
}

/// To which history a checkpoint belongs, if it says so.
pub(super) fn history(event: &RecordedEvent) -> Option<History> {
    let metadata: Value = serde_json::from_slice(&event.metadata).ok()?;
    History::read(&metadata["history"])
}

/// Reads a checkpoint.
///
/// # Errors
///
/// `Corrupted`, when it is none: a group that began somewhere else instead would skip or repeat events.
pub(super) fn read(event: &RecordedEvent) -> Result<Checkpoint> {
    let bad = || {
        Error::corrupted(format!(
            "event {} of `{}` is no checkpoint",
            event.revision, event.stream
        ))
    };
    let data: Value = serde_json::from_slice(&event.data).map_err(|_| bad())?;
    let text = match &data {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text = text.strip_prefix("C:").unwrap_or(&text);
    let number = text.split_once('/').map_or(text, |(commit, _)| commit);
    let done = match number {
        "-1" => None,
        number => Some(number.parse().map_err(|_| bad())?),
    };
    let metadata: Value = serde_json::from_slice(&event.metadata).unwrap_or(Value::Null);
    let unfinished = metadata["unfinished"].as_object().into_iter().flatten();
    let unfinished = unfinished.map(|(place, tries)| {
        let tries = u32::try_from(tries.as_u64()?).unwrap_or(u32::MAX);
        Some((place.parse().ok()?, tries))
    });
    Ok(Checkpoint {
        done,
        seen: metadata["seen"].as_u64().or(done).max(done),
        unfinished: unfinished.collect::<Option<_>>().ok_or_else(bad)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_events::event;
    use icecore_core::{GroupName, StreamName};
    use std::collections::BTreeMap;

    fn stored(data: &str, metadata: &str) -> RecordedEvent {
        RecordedEvent {
            data: data.to_owned().into(),
            metadata: metadata.to_owned().into(),
            ..event("checkpoints", 3, 9)
        }
    }

    #[test]
    fn checkpoints_come_back_as_they_were() {
        let name = || GroupName::new("g").unwrap();
        let of_stream = GroupId::of_stream(StreamName::new("s").unwrap(), name()).unwrap();
        let unfinished = BTreeMap::from([(5, 0), (9, 2)]);
        for group in [of_stream, GroupId::of_all(name())] {
            for (done, seen, unfinished) in [
                (None, Some(9), BTreeMap::from([(0, 1)])),
                (Some(4), Some(12), unfinished.clone()),
                (Some(4), Some(4), BTreeMap::new()),
            ] {
                let checkpoint = Checkpoint {
                    done,
                    seen,
                    unfinished,
                };
                let (data, metadata) = encode(&group, &checkpoint);
                let stored = stored(&data.to_string(), &metadata.to_string());
                assert_eq!(read(&stored).unwrap(), checkpoint);
            }
        }
    }

    #[test]
    fn what_others_wrote_is_read_and_what_is_none_is_refused() {
        for data in ["7", r#""7""#, r#""C:7/P:7""#] {
            let checkpoint = read(&stored(data, "")).unwrap();
            assert_eq!((checkpoint.done, checkpoint.seen), (Some(7), Some(7)));
            assert!(checkpoint.unfinished.is_empty());
        }
        for (data, metadata) in [
            ("x", ""),
            (r#""C:x""#, ""),
            ("7", r#"{"unfinished":{"x":1}}"#),
        ] {
            let error = read(&stored(data, metadata)).unwrap_err();
            assert!(
                matches!(error, Error::Corrupted { .. }),
                "{data} {metadata}"
            );
        }
    }
}
