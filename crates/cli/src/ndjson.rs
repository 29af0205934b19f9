//! Events as lines of JSON: reading the lines of `import` and `append --from`, writing those of
//! `export`, `read` and `subscribe`.
//!
//! JSON data goes through byte for byte, as the writer of the event spelled it. What does not fit
//! into a line as it is (bytes that are no JSON, JSON over several lines) travels as base64.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use icecore_client::{
    ContentType, Error, EventData, EventType, RecordedEvent, StreamName, Tag, Timestamp,
};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::io::{self, Write};
use uuid::Uuid;

/// Streams in which the store keeps the progress of imports.
pub(crate) const IMPORT_STREAM_PREFIX: &str = "$import-";

/// Whether a stream of this name only says how far an import has come, or holds the metadata of such a
/// stream: `$import-`, 32 hexadecimal digits, and from the second import of a file on its number.
/// Other names with this beginning are their users'.
pub(crate) fn is_import_progress(stream: &str) -> bool {
    let stream = stream.strip_prefix("$$").unwrap_or(stream);
    let Some(rest) = stream.strip_prefix(IMPORT_STREAM_PREFIX) else {
        return false;
    };
    let (digits, number) = match rest.split_once('-') {
        Some((digits, number)) => (digits, Some(number)),
        None => (rest, None),
    };
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_number = |text: &str| {
        let number: Option<u32> = text.parse().ok();
        number.is_some_and(|number| number > 1 && number.to_string() == text)
    };
    digits.len() == 32 && digits.bytes().all(is_digit) && number.is_none_or(is_number)
}

/// What is wrong with a line, for somebody who looks at the line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct LineError(String);

impl LineError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<Error> for LineError {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidArgument { field, reason } => Self(format!("`{field}`: {reason}")),
            other => Self(other.to_string()),
        }
    }
}

/// An event as `import` reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImportLine {
    /// Where it goes.
    pub(crate) stream: StreamName,
    /// The event. Its id is the line's, or what the caller made for a line without one.
    pub(crate) event: EventData,
    /// The recorded time that it shall get.
    pub(crate) time: Option<Timestamp>,
    /// When it really happened, where the store that it comes from had clamped its time.
    pub(crate) created_at: Option<Timestamp>,
}

/// A line as it stands there. `data` and `metadata` are kept as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    stream: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    time: Option<String>,
    created_at: Option<String>,
    #[serde(borrow, default, deserialize_with = "as_written")]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
    #[serde(borrow, default, deserialize_with = "as_written")]
    metadata: Option<&'a RawValue>,
    metadata_base64: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    id: Option<String>,
    content_type: Option<String>,
    /// Said by an export; what is written then is an event without data.
    #[serde(default, rename = "erased")]
    _erased: bool,
}

/// Keeps a `null` apart from a field that is not there.
fn as_written<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Reads a line of `import`. `new_id` gives the id of an event whose line has none.
pub(crate) fn import_line(
    line: &[u8],
    new_id: impl FnOnce() -> Uuid,
) -> Result<ImportLine, LineError> {
    let line = parse(line)?;
    let stream = stream(line.stream.as_deref())?;
    let time = time("time", line.time.as_deref())?;
    let created_at = time_before(time, line.created_at.as_deref())?;
    Ok(ImportLine {
        stream,
        time,
        created_at,
        event: event(line, new_id)?,
    })
}

/// Reads a line of `append --from`: like one of `import`, but the stream is given already and the
/// store's clock gives the time.
pub(crate) fn append_line(
    line: &[u8],
    new_id: impl FnOnce() -> Uuid,
) -> Result<EventData, LineError> {
    let line = parse(line)?;
    let given = [
        ("stream", line.stream.is_some()),
        ("time", line.time.is_some()),
        ("created_at", line.created_at.is_some()),
    ];
    if let Some((field, _)) = given.iter().find(|(_, is_given)| *is_given) {
        return Err(LineError::new(format!(
            "`{field}` cannot be set by an append; `icecore import` takes it"
        )));
    }
    event(line, new_id)
}

fn parse(line: &[u8]) -> Result<Line<'_>, LineError> {
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err(LineError::new("it is no JSON object"));
    }
    serde_json::from_slice(line).map_err(|error| LineError(json_error(&error)))
}

/// What serde says, without its line number: it counts within the line.
fn json_error(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(text) if error.column() > 0 => format!("{text} (column {})", error.column()),
        Some(text) => text.to_owned(),
        None => text,
    }
}

fn stream(name: Option<&str>) -> Result<StreamName, LineError> {
    let name = name.ok_or_else(|| LineError::new("`stream` is missing"))?;
    if is_import_progress(name) {
        return Err(LineError::new(format!(
            "`stream`: `{name}` is a stream in which the store keeps the progress of imports"
        )));
    }
    let is_derived = name.starts_with('$') && !name.starts_with("$$");
    let stream = if is_derived {
        StreamName::derived(name.to_owned())
    } else {
        StreamName::new(name.to_owned())
    };
    Ok(stream?)
}

fn time(field: &str, text: Option<&str>) -> Result<Option<Timestamp>, LineError> {
    let parse = |text| match Timestamp::parse(text) {
        Ok(time) => Ok(time),
        Err(Error::InvalidArgument { reason, .. }) => {
            Err(LineError(format!("`{field}`: {reason}")))
        }
        Err(other) => Err(other.into()),
    };
    text.map(parse).transpose()
}

fn time_before(
    recorded: Option<Timestamp>,
    text: Option<&str>,
) -> Result<Option<Timestamp>, LineError> {
    let created_at = time("created_at", text)?;
    match (created_at, recorded) {
        (Some(_), None) => Err(LineError::new(
            "`created_at` needs a `time` beside it: the time at which a store recorded the event",
        )),
        (Some(created_at), Some(recorded)) if created_at >= recorded => Err(LineError::new(
            "`created_at` must lie before `time`; give `time` alone",
        )),
        _ => Ok(created_at),
    }
}

fn event(line: Line<'_>, new_id: impl FnOnce() -> Uuid) -> Result<EventData, LineError> {
    let event_type = line
        .event_type
        .ok_or_else(|| LineError::new("`type` is missing"))?;
    let content_type = match (line.content_type, &line.data_base64) {
        (Some(content_type), _) => ContentType::new(content_type)?,
        (None, Some(_)) => ContentType::OCTET_STREAM,
        (None, None) => ContentType::JSON,
    };
    let id = match line.id {
        Some(id) => id
            .parse()
            .map_err(|_| LineError(format!("`id`: `{id}` is no UUID")))?,
        None => new_id(),
    };
    let tags = line.tags.into_iter().map(Tag::new);
    Ok(EventData {
        id,
        event_type: EventType::new(event_type)?,
        content_type,
        data: payload("data", line.data, line.data_base64)?,
        metadata: payload("metadata", line.metadata, line.metadata_base64)?,
        tags: tags.collect::<Result<_, _>>()?,
    })
}

fn payload(
    field: &str,
    json: Option<&RawValue>,
    base64: Option<String>,
) -> Result<Bytes, LineError> {
    match (json, base64) {
        (Some(_), Some(_)) => Err(LineError(format!(
            "`{field}` and `{field}_base64` are both given"
        ))),
        (Some(json), None) => Ok(Bytes::copy_from_slice(json.get().as_bytes())),
        (None, Some(base64)) => match BASE64_STANDARD.decode(base64) {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) => Err(LineError(format!("`{field}_base64`: {error}"))),
        },
        (None, None) => Ok(Bytes::new()),
    }
}

/// Writes a line that `import` reads back as the same event. It carries no position and no revision.
pub(crate) fn write_export(to: &mut impl Write, event: &RecordedEvent) -> io::Result<()> {
    let mut line = Object::begin(to);
    line.string("stream", event.stream.as_str())?;
    line.string("type", event.event_type.as_str())?;
    line.string("time", &event.recorded_at.to_string())?;
    if let Some(created_at) = event.created_at {
        line.string("created_at", &created_at.to_string())?;
    }
    let data = Payload::as_it_is(&event.data, says_json(&event.content_type));
    line.payload("data", "data_base64", &data)?;
    let metadata = Payload::as_it_is(&event.metadata, true);
    line.payload("metadata", "metadata_base64", &metadata)?;
    if !event.tags.is_empty() {
        line.tags(&event.tags)?;
    }
    line.string("id", &event.id.to_string())?;
    let implied = match data {
        Payload::Base64(_) => ContentType::OCTET_STREAM,
        Payload::Empty | Payload::Json(_) => ContentType::JSON,
    };
    if event.content_type != implied {
        line.string("content_type", event.content_type.as_str())?;
    }
    if event.erased {
        line.raw("erased", b"true")?;
    }
    line.end()
}

/// Writes a line of `read` or `subscribe`: everything about the event.
pub(crate) fn write_event(to: &mut impl Write, event: &RecordedEvent) -> io::Result<()> {
    let mut line = Object::begin(to);
    line.string("stream", event.stream.as_str())?;
    line.number("revision", event.revision.get())?;
    line.number("position", event.position.get())?;
    line.string("id", &event.id.to_string())?;
    line.string("type", event.event_type.as_str())?;
    line.string("time", &event.recorded_at.to_string())?;
    if let Some(created_at) = event.created_at {
        line.string("created_at", &created_at.to_string())?;
    }
    line.string("content_type", event.content_type.as_str())?;
    let data = Payload::in_one_line(&event.data, says_json(&event.content_type));
    line.payload("data", "data_base64", &data)?;
    let metadata = Payload::in_one_line(&event.metadata, true);
    line.payload("metadata", "metadata_base64", &metadata)?;
    line.tags(&event.tags)?;
    if event.erased {
        line.raw("erased", b"true")?;
    }
    line.end()
}

/// Whether the media type is JSON or based on it, like `application/cloudevents+json`.
fn says_json(content_type: &ContentType) -> bool {
    let text = content_type.as_str();
    let essence = text.split_once(';').map_or(text, |(essence, _)| essence);
    content_type.is_json() || essence == "application/json" || essence.ends_with("+json")
}

/// How data or metadata stands in a line.
enum Payload {
    Empty,
    /// JSON without line breaks.
    Json(Bytes),
    Base64(Bytes),
}

impl Payload {
    /// JSON only where that gives back the same bytes.
    fn as_it_is(bytes: &Bytes, may_be_json: bool) -> Self {
        if bytes.is_empty() {
            Self::Empty
        } else if may_be_json && is_json(bytes) && !has_line_break(bytes) && !is_padded(bytes) {
            Self::Json(bytes.clone())
        } else {
            Self::Base64(bytes.clone())
        }
    }

    /// JSON wherever it is JSON, brought into one line if need be.
    fn in_one_line(bytes: &Bytes, may_be_json: bool) -> Self {
        if bytes.is_empty() {
            Self::Empty
        } else if !may_be_json || !is_json(bytes) {
            Self::Base64(bytes.clone())
        } else if has_line_break(bytes) {
            Self::Json(without_whitespace(bytes).into())
        } else {
            Self::Json(bytes.trim_ascii().to_vec().into())
        }
    }
}

/// Data as JSON in one line; `None` where it is not JSON, or nothing.
pub(crate) fn json_in_one_line(data: &Bytes, content_type: &ContentType) -> Option<Bytes> {
    match Payload::in_one_line(data, says_json(content_type)) {
        Payload::Json(json) => Some(json),
        Payload::Empty | Payload::Base64(_) => None,
    }
}

/// Whether the bytes are one JSON value.
fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(bytes).is_ok()
}

/// What is wrong with a text that should be one JSON value, and where.
pub(crate) fn check_json(text: &[u8]) -> Result<(), LineError> {
    match serde_json::from_slice::<&RawValue>(text) {
        Ok(_) => Ok(()),
        Err(_) if text.trim_ascii().is_empty() => Err(LineError::new("it is empty")),
        Err(error) => Err(LineError(error.to_string())),
    }
}

fn has_line_break(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r'))
}

fn is_padded(bytes: &[u8]) -> bool {
    bytes.trim_ascii().len() != bytes.len()
}

/// The same JSON without the whitespace between its tokens.
fn without_whitespace(json: &[u8]) -> Vec<u8> {
    let (mut in_string, mut is_escaped) = (false, false);
    let keep = |byte: &&u8| {
        let byte = **byte;
        if in_string {
            in_string = byte != b'"' || is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            return true;
        }
        in_string = byte == b'"';
        !byte.is_ascii_whitespace()
    };
    json.iter().filter(keep).copied().collect()
}

/// Writes one JSON object as one line.
pub(crate) struct Object<'a, W> {
    to: &'a mut W,
    separator: &'static [u8],
}

impl<'a, W: Write> Object<'a, W> {
    pub(crate) fn begin(to: &'a mut W) -> Self {
        let separator = b"{";
        Self { to, separator }
    }

    /// `key` must not need escapes.
    fn key(&mut self, key: &str) -> io::Result<()> {
        self.to.write_all(self.separator)?;
        self.separator = b",";
        write!(self.to, "\"{key}\":")
    }

    pub(crate) fn string(&mut self, key: &str, value: &str) -> io::Result<()> {
        self.key(key)?;
        write_string(self.to, value)
    }

    pub(crate) fn number(&mut self, key: &str, value: u64) -> io::Result<()> {
        self.key(key)?;
        write!(self.to, "{value}")
    }

    pub(crate) fn raw(&mut self, key: &str, json: &[u8]) -> io::Result<()> {
        self.key(key)?;
        self.to.write_all(json)
    }

    fn tags(&mut self, tags: &[Tag]) -> io::Result<()> {
        self.key("tags")?;
        self.to.write_all(b"[")?;
        for (n, tag) in tags.iter().enumerate() {
            if n > 0 {
                self.to.write_all(b",")?;
            }
            write_string(self.to, tag.as_str())?;
        }
        self.to.write_all(b"]")
    }

    fn payload(&mut self, json_key: &str, base64_key: &str, payload: &Payload) -> io::Result<()> {
        match payload {
            Payload::Empty => Ok(()),
            Payload::Json(json) => self.raw(json_key, json),
            Payload::Base64(bytes) => self.string(base64_key, &BASE64_STANDARD.encode(bytes)),
        }
    }

    pub(crate) fn end(self) -> io::Result<()> {
        if self.separator == b"{" {
            self.to.write_all(b"{")?;
        }
        self.to.write_all(b"}\n")
    }
}

fn write_string(to: &mut impl Write, text: &str) -> io::Result<()> {
    serde_json::to_writer(to, text).map_err(io::Error::from)
}

#[cfg(test)]
mod tests;
