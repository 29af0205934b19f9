//! What messages say about their event beside its data, the same at every broker.

use icecore_core::{RecordedEvent, Tag};
use serde::de::IgnoredAny;
use std::fmt::Write;

/// Longest metadata that goes with a message, in bytes of the header. RabbitMQ takes 128 KiB of headers in all.
const METADATA_BYTES_MAX: usize = 64 * 1_024;

/// The headers of a message that carries this event: names and values without line breaks.
///
/// | name | value |
/// | --- | --- |
/// | `icecore-event-id` | the id, unique within the stream |
/// | `icecore-stream`, `icecore-revision` | the stream and the place in it |
/// | `icecore-position` | the place in the store |
/// | `icecore-event-type`, `icecore-content-type` | what happened, and what the data is |
/// | `icecore-recorded-at` | when, as RFC 3339; also `icecore-created-at`, where an import gave it |
/// | `icecore-tags` | the tags as a JSON array, if there are any |
/// | `icecore-metadata` | the metadata, where it is JSON: on one line |
/// | `icecore-metadata-hex` | other metadata, in hexadecimal digits |
/// | `icecore-metadata-omitted` | `true`, when the metadata is longer than 64 KiB: the store has it |
/// | `icecore-erased` | `true`, when the data was erased for good |
pub fn message_headers(event: &RecordedEvent) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("icecore-event-id", event.id.to_string()),
        ("icecore-stream", event.stream.to_string()),
        ("icecore-revision", event.revision.to_string()),
        ("icecore-position", event.position.to_string()),
        ("icecore-event-type", event.event_type.to_string()),
        ("icecore-content-type", event.content_type.to_string()),
        ("icecore-recorded-at", event.recorded_at.to_string()),
    ];
    if let Some(created_at) = event.created_at {
        headers.push(("icecore-created-at", created_at.to_string()));
    }
    if !event.tags.is_empty() {
        let tags = event.tags.iter().map(Tag::as_str);
        let tags: serde_json::Value = tags.collect();
        headers.push(("icecore-tags", tags.to_string()));
    }
    if !event.metadata.is_empty() {
        headers.push(metadata(&event.metadata));
    }
    if event.erased {
        headers.push(("icecore-erased", "true".into()));
    }
    headers
}

fn metadata(metadata: &[u8]) -> (&'static str, String) {
    let json = std::str::from_utf8(metadata).ok();
    let json = json.filter(|json| serde_json::from_str::<IgnoredAny>(json).is_ok());
    let (name, value) = if let Some(json) = json {
        // In JSON these stand only between tokens, where a space means the same.
        let one_line = json.replace(['\n', '\r', '\t'], " ");
        ("icecore-metadata", one_line)
    } else {
        ("icecore-metadata-hex", hex(metadata))
    };
    if value.len() > METADATA_BYTES_MAX {
        return ("icecore-metadata-omitted", "true".into());
    }
    (name, value)
}

fn hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_one_line() {
        let cases: [(&[u8], _, _); 5] = [
            (br#"{"by":"anna"}"#, "icecore-metadata", r#"{"by":"anna"}"#),
            (
                b"{\n\t\"a\\n\": 1\r\n}",
                "icecore-metadata",
                "{  \"a\\n\": 1  }",
            ),
            ("\"grün\"".as_bytes(), "icecore-metadata", "\"grün\""),
            (b"by: anna\n", "icecore-metadata-hex", "62793a20616e6e610a"),
            (b"\xff\x00", "icecore-metadata-hex", "ff00"),
        ];
        for (given, name, value) in cases {
            assert_eq!(metadata(given), (name, value.to_owned()));
        }
        let (name, _) = metadata(&vec![0; METADATA_BYTES_MAX]);
        assert_eq!(name, "icecore-metadata-omitted");
    }
}
