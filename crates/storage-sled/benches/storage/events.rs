//! The events that are written: 256 bytes of JSON that hardly compress, about 40 of metadata.

use bytes::Bytes;
use icecore_core::{Position, RecordedEvent};
use icecore_storage::NumberedAppend;
use icecore_storage::contract::generate::{Numbering, Random, tag};

/// Streams that the events are spread over.
pub(crate) const STREAMS: usize = 10_000;
/// One event in so many has the tag [`RARE`].
const RARE_DISTANCE: u64 = 1_000;
pub(crate) const RARE: &str = "rare:yes";
const PAD_BYTES: usize = 246;
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Makes events, the same ones in each run.
pub(crate) struct Events {
    numbering: Numbering,
    random: Random,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            numbering: Numbering::default(),
            random: Random::new(1),
        }
    }

    pub(crate) fn last_position(&self) -> Position {
        self.numbering.last_position()
    }

    /// The next event, of any stream.
    pub(crate) fn event(&mut self) -> RecordedEvent {
        let stream = stream_of(self.random.below(STREAMS));
        let event = self.numbering.event(&stream);
        let position = event.position.get();
        let rare = position.is_multiple_of(RARE_DISTANCE);
        RecordedEvent {
            data: self.data(),
            metadata: format!(
                r#"{{"by":"user-{:08}","trace":{position:012}}}"#,
                position % 999
            )
            .into(),
            tags: rare.then(|| tag(RARE)).into_iter().collect(),
            ..event
        }
    }

    fn data(&mut self) -> Bytes {
        let random = self.random.bytes(PAD_BYTES);
        let pad = random.iter().map(|byte| BASE64[usize::from(byte % 64)]);
        br#"{"pad":""#.iter().copied().chain(pad).chain(*br#""}"#).collect()
    }

    /// A group of appends of one event each.
    pub(crate) fn group(&mut self, count: usize) -> Vec<NumberedAppend> {
        let append = |_| NumberedAppend {
            events: [self.event()].into(),
        };
        (0..count).map(append).collect()
    }
}

pub(crate) fn stream_of(number: usize) -> String {
    format!("order-{number}")
}
