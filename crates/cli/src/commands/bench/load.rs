//! The events that are written, and who writes them: streams named by number, each the property of one
//! writer, who therefore knows its revision and checks it with each append.

use super::LoadArgs;
use anyhow::{Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use icecore_client::{
    Append, AppendBuilder, Client, ContentType, Error, EventData, EventType, ExpectedRevision,
    Revision, StreamName, Tag,
};
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// One stream in so many is a rare one: it has a category, an event type and a tag of its own, so that
/// filters have something to find.
const RARE_EVERY: u64 = 1_000;

/// Payloads to choose from, in bytes. So many that two events of a chunk are hardly ever the same.
const POOL_BYTES: usize = 4 * 1_024 * 1_024;

/// What a JSON payload has around its pad.
const AROUND_PAD_BYTES: usize = r#"{"pad":""}"#.len();

/// Categories tried for streams that nobody has written yet.
const CATEGORIES_MAX: u32 = 1_000;

/// What is written. Shared by all writers.
#[derive(Clone)]
pub(super) struct Load {
    category: Arc<str>,
    streams: u64,
    writers: u64,
    pub(super) events_per_append: u64,
    interleaved: bool,
    payloads: Payloads,
    types: Types,
    since: Instant,
}

/// The values that all events of a kind share.
#[derive(Clone)]
struct Types {
    usual: EventType,
    rare: EventType,
    rare_tag: Tag,
}

/// One writer, and how far its streams are.
pub(super) struct Writer {
    load: Load,
    /// Last revisions of the streams that it owns.
    last: Vec<Option<Revision>>,
    number: u64,
    next: usize,
    random: Random,
}

/// A name that nobody can mistake for a business's.
pub(super) fn stream_name(category: &str, number: u64) -> Result<StreamName, Error> {
    let rare = if is_rare(number) { "rare" } else { "" };
    StreamName::new(format!("{category}{rare}-{number}"))
}

fn is_rare(number: u64) -> bool {
    number % RARE_EVERY == RARE_EVERY - 1
}

/// The first of `bench`, `bench2`, `bench3` ... of which the store has no stream.
pub(super) async fn fresh_category(client: &Client) -> Result<String> {
    for number in 1..=CATEGORIES_MAX {
        let category = match number {
            1 => Load::CATEGORY.to_owned(),
            _ => format!("{}{number}", Load::CATEGORY),
        };
        match client.get_stream(&stream_name(&category, 0)?).await {
            Err(Error::StreamNotFound { .. }) => return Ok(category),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("the store has the streams of {CATEGORIES_MAX} runs already; take an empty one")
}

impl Load {
    /// What a store is filled with before it is read.
    pub(super) const CATEGORY: &str = "bench";

    pub(super) fn new(args: &LoadArgs, category: &str, writers: u64, events: u64) -> Self {
        let name = |text: &str| EventType::new(text.to_owned()).expect("it is a valid name");
        Self {
            category: category.into(),
            streams: args.streams.get(),
            writers,
            events_per_append: events,
            interleaved: args.interleaved,
            payloads: Payloads::new(args.payload_bytes),
            types: Types {
                usual: name("BenchEvent"),
                rare: name("BenchRare"),
                rare_tag: Tag::new("rare:yes").expect("it is a valid tag"),
            },
            since: Instant::now(),
        }
    }

    /// The writer with this number, counted from 0. It owns every stream whose number is its own modulo
    /// the number of writers.
    pub(super) fn writer(&self, number: u64) -> Writer {
        let streams = (self.streams - number).div_ceil(self.writers);
        Writer {
            load: self.clone(),
            last: vec![None; usize::try_from(streams).expect("a number of streams fits")],
            number,
            next: 0,
            random: Random::new(number),
        }
    }

    /// Microseconds since the moment that an event's metadata gives, if it was written by this load.
    pub(super) fn age_us(&self, metadata: &[u8]) -> Option<u64> {
        let sent = metadata.get(SENT_AT..SENT_AT + SENT_DIGITS)?;
        let sent = u64::from_str_radix(std::str::from_utf8(sent).ok()?, 16).ok()?;
        self.now_us().checked_sub(sent)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_micros()).expect("a run ends before that")
    }

    /// Who caused it, and when it was sent, in microseconds since the load began.
    fn metadata(&self) -> Bytes {
        format!(r#"{{"sent":"{:012x}","user":"u-1"}}"#, self.now_us()).into()
    }
}

/// Where [`Load::metadata`] says when, and in how many digits.
const SENT_AT: usize = r#"{"sent":""#.len();
const SENT_DIGITS: usize = 12;

impl Writer {
    /// The next append. What it expects holds once the appends before it took effect.
    pub(super) fn append(&mut self) -> Result<Append, Error> {
        let mut append = AppendBuilder::default();
        let metadata = self.load.metadata();
        if self.load.interleaved {
            for _ in 0..self.load.events_per_append {
                self.fill(&mut append, 1, &metadata)?;
            }
        } else {
            self.fill(&mut append, self.load.events_per_append, &metadata)?;
        }
        append.build()
    }

    /// Adds so many events of the next stream.
    fn fill(
        &mut self,
        append: &mut AppendBuilder,
        events: u64,
        metadata: &Bytes,
    ) -> Result<(), Error> {
        let number = self.number + self.next as u64 * self.load.writers;
        let last = &mut self.last[self.next];
        let expected = last.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        let first = last.map_or(0, |last| last.get() + 1);
        *last = Some(Revision::new(first + events - 1));
        self.next = (self.next + 1) % self.last.len();

        let stream = append.stream(stream_name(&self.load.category, number)?, expected)?;
        for _ in 0..events {
            append.event(stream, self.event(is_rare(number), metadata.clone()), None)?;
        }
        Ok(())
    }

    fn event(&mut self, is_rare: bool, metadata: Bytes) -> EventData {
        let types = &self.load.types;
        let (event_type, tags) = if is_rare {
            (types.rare.clone(), vec![types.rare_tag.clone()])
        } else {
            (types.usual.clone(), Vec::new())
        };
        EventData {
            id: self.random.id(),
            event_type,
            content_type: ContentType::JSON,
            data: self.load.payloads.next(&mut self.random),
            metadata,
            tags,
        }
    }
}

/// JSON of a given size that hardly compresses, made beforehand: what is measured is the server.
#[derive(Clone)]
struct Payloads {
    all: Bytes,
    bytes: usize,
}

impl Payloads {
    fn new(bytes: usize) -> Self {
        let bytes = bytes.max(AROUND_PAD_BYTES);
        let mut random = Random::new(u64::MAX);
        let mut all = Vec::with_capacity(POOL_BYTES + bytes);
        while all.len() < POOL_BYTES {
            let pad_bytes = bytes - AROUND_PAD_BYTES;
            let noise: Vec<u8> = (0..=pad_bytes / 8)
                .flat_map(|_| random.next().to_le_bytes())
                .collect();
            let pad = &BASE64_URL_SAFE_NO_PAD.encode(noise)[..pad_bytes];
            all.extend_from_slice(format!(r#"{{"pad":"{pad}"}}"#).as_bytes());
        }
        let all = all.into();
        Self { all, bytes }
    }

    fn next(&self, random: &mut Random) -> Bytes {
        let from = self.bytes * random.below(self.all.len() / self.bytes);
        self.all.slice(from..from + self.bytes)
    }
}

/// Numbers that need not be good, only different and cheap (`SplitMix64`).
pub(super) struct Random(u64);

impl Random {
    /// Numbers that no other seed gives in this process, nor this seed in another.
    pub(super) fn new(seed: u64) -> Self {
        let (high, low) = icecore_client::new_event_id().as_u64_pair();
        Self(high ^ low.rotate_left(17) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which must not be 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let below = (u128::from(self.next()) * end as u128) >> 64;
        usize::try_from(below).expect("it is below a usize")
    }

    fn id(&mut self) -> Uuid {
        uuid::Builder::from_u128((u128::from(self.next()) << 64) | u128::from(self.next()))
            .with_version(uuid::Version::Random)
            .with_variant(uuid::Variant::RFC4122)
            .into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::num::NonZeroU64;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn load(line: &str, writers: u64) -> Result<Load> {
        let line = Line::parse_from(format!("bench {line}").split_whitespace());
        line.load.load("bench", writers, NonZeroU64::MIN)
    }

    fn expectations(append: &Append) -> Vec<String> {
        let streams = append.streams().iter();
        streams
            .map(|s| format!("{} {}", s.stream, s.expected))
            .collect()
    }

    #[test]
    fn an_append_goes_to_one_stream_after_the_other() {
        let mut writer = load("--streams 5 --events-per-append 2", 2)
            .unwrap()
            .writer(1);
        let appends: Vec<_> = (0..3).map(|_| writer.append().unwrap()).collect();
        assert_eq!(expectations(&appends[0]), ["bench-1 no-stream"]);
        assert_eq!(expectations(&appends[1]), ["bench-3 no-stream"]);
        assert_eq!(expectations(&appends[2]), ["bench-1 1"]);
        assert!(appends.iter().all(|append| append.events().len() == 2));
    }

    #[test]
    fn an_interleaved_append_gives_each_event_to_another_stream() {
        let line = "--streams 4 --events-per-append 2 --interleaved";
        let mut writer = load(line, 1).unwrap().writer(0);
        let streams = ["bench-0 no-stream", "bench-1 no-stream"];
        assert_eq!(expectations(&writer.append().unwrap()), streams);
        writer.append().unwrap();
        let streams = ["bench-0 0", "bench-1 0"];
        assert_eq!(expectations(&writer.append().unwrap()), streams);
    }

    #[test]
    fn writers_that_would_share_a_stream_are_refused() {
        assert!(load("--streams 3", 3).is_ok());
        let error = load("--streams 3", 4).err().unwrap().to_string();
        assert!(error.contains("at least 4"), "{error}");
        assert!(load("--streams 7 --events-per-append 4 --interleaved", 2).is_err());
    }

    #[test]
    fn events_are_json_of_the_size_asked_for_and_tell_their_age() {
        let load = load("--payload-bytes 300 --streams 1000", 1).unwrap();
        let mut writer = load.writer(0);
        let appends: Vec<_> = (0..RARE_EVERY).map(|_| writer.append().unwrap()).collect();
        let first = &appends[0].events()[0].event;
        assert_eq!(first.data.len(), 300);
        let _: serde_json::Value = serde_json::from_slice(&first.data).unwrap();
        let _: serde_json::Value = serde_json::from_slice(&first.metadata).unwrap();
        assert!(load.age_us(&first.metadata).is_some());
        assert_eq!(load.age_us(b"{}"), None);
        assert!(first.tags.is_empty());
        let rare = &appends[999];
        assert_eq!(expectations(rare), ["benchrare-999 no-stream"]);
        assert_eq!(rare.events()[0].event.tags.len(), 1);
        assert_ne!(rare.events()[0].event.data, first.data);
    }
}
