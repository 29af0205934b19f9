//! The events that are written, the same as those of `icecore bench`: JSON of a given size that hardly
//! compresses, small metadata. A stream is a tag, since the store knows no streams, and metadata are
//! entries, since it takes no bytes: 23 where JSON has 35.

use anyhow::{Result, bail};
use std::sync::Arc;
use std::time::{Duration, Instant};
use umadb_client::AsyncUmaDbClient;
use umadb_dcb::{DcbEvent, DcbEventStoreAsync as _, DcbQuery, DcbQueryItem};
use uuid::Builder;

/// One stream in so many is a rare one, so that filters have something to find.
const RARE_EVERY: u64 = 1_000;

/// Random text that payloads are cut out of.
const PAD_BYTES: usize = 4 * 1_024 * 1_024;

/// What stands around a payload's pad.
const BEFORE_PAD: &str = r#"{"pad":""#;
const AFTER_PAD: &str = r#""}"#;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Categories tried for streams that nobody has written yet.
const CATEGORIES_MAX: u32 = 1_000;

/// What a store is filled with before it is read.
pub(crate) const CATEGORY: &str = "bench";

/// The name of a stream.
pub(crate) fn stream_name(category: &str, number: u64) -> String {
    let rare = if is_rare(number) { "rare" } else { "" };
    format!("{category}{rare}-{number}")
}

fn is_rare(number: u64) -> bool {
    number % RARE_EVERY == RARE_EVERY - 1
}

/// The events of this stream.
pub(crate) fn of_stream(category: &str, number: u64) -> DcbQueryItem {
    DcbQueryItem::new().tags([stream_name(category, number)])
}

/// The first of `bench`, `bench2`, `bench3` ... of which the store has no stream.
pub(crate) async fn fresh_category(client: &AsyncUmaDbClient) -> Result<String> {
    for number in 1..=CATEGORIES_MAX {
        let category = match number {
            1 => CATEGORY.to_owned(),
            _ => format!("{CATEGORY}{number}"),
        };
        let query = DcbQuery::with_items([of_stream(&category, 0)]);
        let mut first = client.read(Some(query), None, false, Some(1)).await?;
        if first.next_batch().await?.is_empty() {
            return Ok(category);
        }
    }
    bail!("the store has the streams of {CATEGORIES_MAX} runs already; take an empty one")
}

/// Makes events. Shared by all who write.
#[derive(Clone)]
pub(crate) struct Events {
    category: Arc<str>,
    pad: Arc<str>,
    payload_bytes: usize,
    since: Instant,
}

impl Events {
    pub(crate) fn new(category: &str, payload_bytes: usize) -> Self {
        let noise = |_| char::from(BASE64[fastrand::usize(..BASE64.len())]);
        let pad: String = (0..PAD_BYTES + payload_bytes).map(noise).collect();
        Self {
            category: category.into(),
            pad: pad.into(),
            payload_bytes,
            since: Instant::now(),
        }
    }

    /// The tag of this stream.
    pub(crate) fn of_stream(&self, stream: u64) -> DcbQueryItem {
        of_stream(&self.category, stream)
    }

    /// The next event of this stream, offered now.
    pub(crate) fn event(&self, stream: u64) -> DcbEvent {
        let mut tags = vec![stream_name(&self.category, stream)];
        let event_type = if is_rare(stream) {
            tags.push("rare:yes".into());
            "BenchRare"
        } else {
            "BenchEvent"
        };
        let sent = format!("{:012x}", self.since.elapsed().as_micros());
        DcbEvent {
            event_type: event_type.into(),
            tags,
            data: self.payload(),
            uuid: Some(Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid()),
            metadata: vec![("sent".into(), sent), ("user".into(), "u-1".into())],
        }
    }

    /// How long ago it was offered, if one of these made it.
    pub(crate) fn age(&self, event: &DcbEvent) -> Option<Duration> {
        let (_, sent) = event.metadata.iter().find(|(name, _)| name == "sent")?;
        let sent = u64::from_str_radix(sent, 16).ok()?;
        let now = self.since.elapsed();
        now.checked_sub(Duration::from_micros(sent))
    }

    fn payload(&self) -> Vec<u8> {
        let around = BEFORE_PAD.len() + AFTER_PAD.len();
        let length = self.payload_bytes.saturating_sub(around);
        let from = fastrand::usize(..=self.pad.len() - length);
        [BEFORE_PAD, &self.pad[from..from + length], AFTER_PAD]
            .concat()
            .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_json_of_the_size_that_was_asked_for() {
        for bytes in [10, 256, 4_096] {
            let data = Events::new(CATEGORY, bytes).event(1).data;
            assert_eq!(data.len(), bytes);
            serde_json::from_slice::<serde_json::Value>(&data).expect("read JSON");
        }
    }

    #[test]
    fn an_event_says_when_it_was_offered() {
        let events = Events::new(CATEGORY, 256);
        let event = events.event(1);
        assert!(events.age(&event).expect("it is one of these") <= events.since.elapsed());
        assert_eq!(events.age(&DcbEvent::new()), None);
    }

    #[test]
    fn one_stream_of_a_thousand_is_rare() {
        let events = Events::new(CATEGORY, 256);
        let rare = |stream: &u64| events.event(*stream).event_type == "BenchRare";
        assert_eq!((0..10_000).filter(rare).count(), 10);
        assert_eq!(events.event(999).tags, ["benchrare-999", "rare:yes"]);
        assert_eq!(events.event(1_000).tags, ["bench-1000"]);
    }
}
