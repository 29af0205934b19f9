//! `icecore append`: events for one stream, all of them or none.

use super::connect;
use crate::args::{ConnectionArgs, by_flag, event_type, expected, id, stream_name, tag};
use crate::exit::{Hint, Usage};
use crate::output::{self, Format, OutputArgs};
use crate::{input, ndjson};
use anyhow::{Context as _, Result};
use bytes::Bytes;
use clap::{ArgGroup, Args};
use icecore_client::{
    Append, AppendBuilder, Appended, Condition, ContentType, Error, EventData, EventType,
    ExpectedRevision, Position, Query, QueryItem, StreamName, Tag, new_event_id,
};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Fields of the one event that is not in a file, and the flags that set them.
const EVENT_FLAGS: [(&str, &str); 5] = [
    ("tags", "--tag"),
    ("data", "--data"),
    ("content_type", "--content-type"),
    ("events.type", "--type"),
    ("events.data", "--data"),
];

/// Fields of the condition, and the flags that set them.
const CONDITION_FLAGS: [(&str, &str); 2] = [
    ("condition.after", "--condition-after"),
    ("query", "--condition-type and --condition-tag"),
];

/// Append one event to a stream, or many at once: all of them or none
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore append order-1 --type OrderPlaced --data '{\"total\":12}' --expected no-stream
  icecore append order-1 --type OrderPaid --data '{}' --expected 0 --tag order:1
  echo '{\"type\":\"OrderShipped\",\"data\":{\"parcels\":2}}' | icecore append order-1 --from -
  icecore append seat-7 --type SeatBooked --data '{}' --tag seat:7 \\
      --condition-type SeatBooked --condition-tag seat:7      # only if nobody has booked it")]
pub(crate) struct AppendArgs {
    /// The stream
    #[arg(value_parser = stream_name)]
    stream: StreamName,
    /// Type of the event
    #[arg(
        long = "type",
        value_name = "T",
        value_parser = event_type,
        required_unless_present = "from",
        conflicts_with = "from"
    )]
    event_type: Option<EventType>,
    /// Data of the event: JSON, a file with it, or - for standard input
    #[arg(
        long,
        value_name = "JSON|@FILE|-",
        required_unless_present = "from",
        conflicts_with = "from",
        allow_negative_numbers = true
    )]
    data: Option<String>,
    /// Metadata of the event, like who did it and why
    #[arg(long, value_name = "JSON|@FILE|-", conflicts_with = "from")]
    metadata: Option<String>,
    /// Label of the event, like order:1; may be repeated
    #[arg(long = "tag", value_name = "K:V", value_parser = tag, conflicts_with = "from")]
    tags: Vec<Tag>,
    /// Id of the event: sent again with the same id, it is written once [default: a new one]
    #[arg(long, value_name = "UUID", value_parser = id, conflicts_with = "from")]
    id: Option<Uuid>,
    /// What the data is; anything but application/json is not looked at
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "application/json",
        conflicts_with = "from"
    )]
    content_type: String,
    /// Many events, one JSON object a line as import reads them, without stream and time;
    /// - is standard input
    #[arg(long, value_name = "FILE|-")]
    from: Option<PathBuf>,
    /// What the stream must be like: any, no-stream, exists, or the revision of its last event
    #[arg(
        long,
        value_name = "REVISION",
        default_value = "any",
        value_parser = expected,
        allow_negative_numbers = true
    )]
    expected: ExpectedRevision,
    #[command(flatten)]
    condition: ConditionArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(
    next_help_heading = "Condition (refuse if an event in any stream matches all of this)",
    group = ArgGroup::new("condition").multiple(true).args(["condition_types", "condition_tags"])
)]
#[allow(clippy::struct_field_names)] // clap takes the names of all flags from one set.
struct ConditionArgs {
    /// An event of this type; given again: or of that type
    #[arg(long = "condition-type", value_name = "T", value_parser = event_type)]
    condition_types: Vec<EventType>,
    /// An event with this tag; given again: and with that tag
    #[arg(long = "condition-tag", value_name = "K:V", value_parser = tag)]
    condition_tags: Vec<Tag>,
    /// Only events after this position count
    #[arg(
        long = "condition-after",
        value_name = "N",
        default_value_t = 0,
        requires = "condition"
    )]
    condition_after: u64,
}

pub(crate) async fn run(args: AppendArgs, connection: &ConnectionArgs) -> Result<()> {
    let is_in_a_file = args.from.is_some();
    let named = |error: Error| match by_flag(error, &CONDITION_FLAGS) {
        error if is_in_a_file => error,
        error => by_flag(error, &EVENT_FLAGS),
    };
    let events = args.events()?;
    let hint = retry_hint(&args, &events);
    let format = args.output.format();
    let append = args.append(events).map_err(named)?;
    let client = connect(connection).await?;
    let appended = match client.append_request(&append).await {
        Err(error @ Error::OutcomeUnknown { .. }) => return Err(error).context(hint),
        other => other.map_err(named)?,
    };
    show(format, &append, &appended)
}

impl AppendArgs {
    fn events(&self) -> Result<Vec<EventData>> {
        match &self.from {
            Some(path) => lines(path),
            None => Ok(vec![self.event()?]),
        }
    }

    fn event(&self) -> Result<EventData> {
        let (Some(event_type), Some(data)) = (&self.event_type, &self.data) else {
            return Err(Usage::new("--type and --data make an event").into());
        };
        if data == "-" && self.metadata.as_deref() == Some("-") {
            return Err(Usage::new("--data and --metadata cannot both be standard input").into());
        }
        let content_type = ContentType::new(self.content_type.clone());
        let content_type = content_type.map_err(|error| by_flag(error, &EVENT_FLAGS))?;
        let data = if content_type.is_json() {
            input::json("--data", data)
        } else {
            input::value("--data", data)
        };
        let metadata = self
            .metadata
            .as_deref()
            .map(|json| input::json("--metadata", json));
        Ok(EventData {
            id: self.id.unwrap_or_else(new_event_id),
            event_type: event_type.clone(),
            content_type,
            data: data?,
            metadata: metadata.transpose()?.unwrap_or_default(),
            tags: self.tags.clone(),
        })
    }

    fn append(self, events: Vec<EventData>) -> Result<Append, Error> {
        let mut append = AppendBuilder::default();
        let stream = append.stream(self.stream, self.expected)?;
        for event in events {
            append.event(stream, event, None)?;
        }
        if let Some(condition) = self.condition.condition()? {
            append.condition(condition);
        }
        append.build()
    }
}

impl ConditionArgs {
    fn condition(self) -> Result<Option<Condition>, Error> {
        let (types, tags) = (self.condition_types, self.condition_tags);
        if types.is_empty() && tags.is_empty() {
            return Ok(None);
        }
        let query = Query::new(vec![QueryItem { types, tags }])?;
        Ok(Some(Condition {
            query,
            after: Position::new(self.condition_after),
        }))
    }
}

/// The events of a file, one a line; empty lines are left out.
fn lines(path: &Path) -> Result<Vec<EventData>> {
    let text: Bytes = input::file_or_stdin(path)?;
    let lines = text
        .strip_prefix(input::BOM)
        .unwrap_or(&text)
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .enumerate();
    let events = lines.filter(|(_, line)| !line.is_empty()).map(|(n, line)| {
        ndjson::append_line(line, new_event_id).map_err(|error| {
            let (path, n) = (input::name(path), n + 1);
            Usage::new(format!("{path}, line {n}: {error}; nothing was written")).into()
        })
    });
    let events = events.collect::<Result<Vec<_>>>()?;
    if events.is_empty() {
        return Err(Usage::new(format!("{} holds no events", input::name(path))).into());
    }
    Ok(events)
}

/// What to do when nobody knows whether the append was written.
fn retry_hint(args: &AppendArgs, events: &[EventData]) -> Hint {
    Hint(match (&args.from, events) {
        (None, [event]) => format!("repeat the command with --id {}", event.id),
        _ => format!(
            "see whether it was written: icecore read {} --backwards",
            args.stream
        ),
    })
}

fn show(format: Format, append: &Append, appended: &Appended) -> Result<()> {
    let revision = appended
        .streams
        .first()
        .and_then(|stream| stream.last_revision);
    let revision = revision.context("read the revision in the server's answer")?;
    let stream = append.streams()[0].stream.as_str();
    let (position, events) = (appended.last_position, append.events().len());
    if format == Format::Table {
        let events = if events > 1 {
            format!("  events {events}")
        } else {
            String::new()
        };
        return output::print(format_args!(
            "{stream}  revision {revision}  position {position}{events}"
        ));
    }
    output::show_properties(format, &[], |json| {
        json.string("stream", stream)?;
        json.number("revision", revision.get())?;
        json.number("position", position.get())?;
        json.number("events", events as u64)
    })
}
