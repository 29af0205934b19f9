//! Events as they come, page by page: a table whose columns are laid out by the first page, or JSON
//! lines.

use super::{Format, Out, note};
use crate::ndjson;
use anyhow::Result;
use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width, presets,
};
use icecore_client::{Position, RecordedEvent, Timestamp};

/// Space between two columns.
const GAP: u16 = 2;

/// Data is worth showing from this width on.
const DATA_WIDTH_MIN: u16 = 16;

/// Shows events on standard output.
pub(crate) struct Events {
    out: Out,
    format: Format,
    scope: Scope,
    width: u16,
    layout: Option<Layout>,
}

/// What the events are read from: with one stream its name need not be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    OneStream,
    All,
}

impl Events {
    pub(crate) fn new(format: Format, scope: Scope) -> Self {
        let (out, width) = (Out::new(), super::width());
        Self {
            out,
            format,
            scope,
            width,
            layout: None,
        }
    }

    /// Shows some events. `last_position` is the largest position to be expected.
    pub(crate) fn show(&mut self, events: &[RecordedEvent], last_position: Position) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        match self.format {
            Format::Json => {
                for event in events {
                    self.out.write(|out| ndjson::write_event(out, event))?;
                }
                Ok(())
            }
            Format::Table => self.show_rows(events, last_position),
        }
    }

    fn show_rows(&mut self, events: &[RecordedEvent], last_position: Position) -> Result<()> {
        let is_first = self.layout.is_none();
        let layout = self
            .layout
            .get_or_insert_with(|| Layout::new(self.width, self.scope, events, last_position));
        self.out.line(layout.rows(events, is_first))
    }

    /// Makes visible what was shown.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.out.flush()
    }

    /// Ends a read.
    pub(crate) fn end(mut self) -> Result<()> {
        if self.format == Format::Table && self.layout.is_none() {
            note("no events");
        }
        self.flush()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Position,
    Time,
    Stream,
    Revision,
    Type,
    Data,
    Tags,
}

/// Which columns there are and how wide each is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Layout(Vec<(Field, u16)>);

impl Layout {
    /// Lays out a table of `width` columns by its first rows. The narrower it is, the more is left
    /// out, the data last.
    fn new(width: u16, scope: Scope, events: &[RecordedEvent], last: Position) -> Self {
        let longest = |text: fn(&RecordedEvent) -> &str| {
            let longest = events.iter().map(|event| text(event).chars().count()).max();
            u16::try_from(longest.unwrap_or(0)).unwrap_or(u16::MAX)
        };
        let numbers = [
            (Field::Position, digits(last.get()).max(8)),
            (Field::Revision, 8),
        ];
        let (stream, event_type) = (
            longest(|event| event.stream.as_str()).max(6),
            longest(|event| event.event_type.as_str()).max(8),
        );
        let mut layout = Self(Vec::new());
        for (time, name_max) in [(24, 40), (24, 28), (20, 24), (0, 24), (0, 16), (0, 10)] {
            layout.0 = vec![numbers[0]];
            layout.0.extend((time > 0).then_some((Field::Time, time)));
            if scope == Scope::All {
                layout.0.push((Field::Stream, stream.min(name_max)));
            }
            layout
                .0
                .extend([numbers[1], (Field::Type, event_type.min(name_max))]);
            if layout.rest(width) >= DATA_WIDTH_MIN {
                break;
            }
        }
        layout.add_data(width, events);
        layout
    }

    fn add_data(&mut self, width: u16, events: &[RecordedEvent]) {
        let rest = self.rest(width).max(8);
        let longest = events.iter().map(|event| tags(event).chars().count()).max();
        let tags = u16::try_from(longest.unwrap_or(0))
            .unwrap_or(u16::MAX)
            .min(rest / 2);
        if tags > 0 && rest >= 2 * DATA_WIDTH_MIN + GAP {
            self.0.push((Field::Data, rest - tags - GAP));
            self.0.push((Field::Tags, tags));
        } else {
            self.0.push((Field::Data, rest));
        }
    }

    /// What the columns so far leave.
    fn rest(&self, width: u16) -> u16 {
        let used: u16 = self.0.iter().map(|(_, width)| width + GAP).sum();
        width.saturating_sub(used)
    }

    fn rows(&self, events: &[RecordedEvent], with_header: bool) -> String {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            // Cut anywhere, not only between words.
            .set_delimiter('\u{1f}');
        if with_header {
            table.set_header(self.0.iter().map(|(field, _)| field.name()));
        }
        for event in events {
            let mut row: Row = self
                .0
                .iter()
                .map(|(field, width)| field.cell(event, *width))
                .into();
            table.add_row(std::mem::take(row.max_height(1)));
        }
        for (n, (field, width)) in self.0.iter().enumerate() {
            let Some(column) = table.column_mut(n) else {
                continue;
            };
            let gap = if n + 1 < self.0.len() { GAP } else { 0 };
            column.set_padding((0, gap));
            column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width + gap)));
            if matches!(field, Field::Position | Field::Revision) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Position => "POSITION",
            Self::Time => "TIME",
            Self::Stream => "STREAM",
            Self::Revision => "REVISION",
            Self::Type => "TYPE",
            Self::Data => "DATA",
            Self::Tags => "TAGS",
        }
    }

    fn cell(self, event: &RecordedEvent, width: u16) -> String {
        match self {
            Self::Position => event.position.to_string(),
            Self::Time => time(event.recorded_at, width),
            Self::Stream => event.stream.to_string(),
            Self::Revision if event.is_tombstone() => "deleted".to_owned(),
            Self::Revision => event.revision.to_string(),
            Self::Type => event.event_type.to_string(),
            Self::Data => data(event, width),
            Self::Tags => tags(event),
        }
    }
}

fn digits(number: u64) -> u16 {
    u16::try_from(number.max(1).ilog10() + 1).unwrap_or(u16::MAX)
}

/// RFC 3339 to the millisecond, or to the second where that is all that fits.
pub(crate) fn time(time: Timestamp, width: u16) -> String {
    let text = time.to_string();
    let text = text.trim_end_matches('Z');
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, ""));
    if usize::from(width) < seconds.len() + 5 {
        return format!("{seconds}Z");
    }
    let decimals = decimals.get(..3).unwrap_or(decimals);
    format!("{seconds}.{decimals:0<3}Z")
}

/// The beginning of the data, or how much there is of what nobody can read.
fn data(event: &RecordedEvent, width: u16) -> String {
    if event.erased {
        return "(erased)".to_owned();
    }
    let Some(json) = ndjson::json_in_one_line(&event.data, &event.content_type) else {
        let (bytes, content_type) = (event.data.len(), &event.content_type);
        return match bytes {
            0 => String::new(),
            _ => format!("({bytes} bytes of {content_type})"),
        };
    };
    // A character has at most four bytes; what follows is cut anyway.
    let enough = usize::from(width) * 4 + 4;
    let json = &json[..json.len().min(enough)];
    String::from_utf8_lossy(json)
        .trim_end_matches('\u{fffd}')
        .to_owned()
}

fn tags(event: &RecordedEvent) -> String {
    let tags: Vec<_> = event.tags.iter().map(icecore_client::Tag::as_str).collect();
    tags.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore_client::{ContentType, EventType, Revision, StreamName, Tag};

    fn event(position: u64, stream: &str, data: &str, tags: &[&str]) -> RecordedEvent {
        RecordedEvent {
            stream: StreamName::new(stream.to_owned()).unwrap(),
            revision: Revision::new(position - 1),
            position: Position::new(position),
            id: uuid::Uuid::from_u128(1),
            event_type: EventType::new("OrderPlaced").unwrap(),
            content_type: ContentType::JSON,
            data: data.to_owned().into(),
            metadata: bytes::Bytes::new(),
            tags: tags
                .iter()
                .map(|tag| Tag::new((*tag).to_owned()).unwrap())
                .collect(),
            recorded_at: Timestamp::from_nanos(1_327_968_000_546_700_000),
            created_at: None,
            erased: false,
        }
    }

    fn rows(width: u16, scope: Scope, events: &[RecordedEvent]) -> String {
        let layout = Layout::new(width, scope, events, Position::new(99));
        let text = layout.rows(events, true);
        for line in text.lines() {
            assert!(
                line.chars().count() <= usize::from(width),
                "{width}: {line}"
            );
        }
        text
    }

    #[test]
    fn a_wide_terminal_shows_everything() {
        let events = [
            event(1, "order-1", r#"{"total":12}"#, &["order:1"]),
            event(12, "order-with-a-long-name", r#"{"total":13}"#, &[]),
        ];
        let expected = "
POSITION  TIME                      STREAM                  REVISION  TYPE         DATA                                                        TAGS
       1  2012-01-31T00:00:00.546Z  order-1                        0  OrderPlaced  {\"total\":12}                                                order:1
      12  2012-01-31T00:00:00.546Z  order-with-a-long-name        11  OrderPlaced  {\"total\":13}";
        assert_eq!(rows(150, Scope::All, &events), expected.trim_start());
    }

    #[test]
    fn a_narrow_terminal_leaves_out_the_time_and_cuts_the_data() {
        let data = r#"{"customer":"Anna Meier","lines":[{"article":"tea","count":3}]}"#;
        let events = [event(1, "order-1", data, &["order:1"])];
        let expected = "
POSITION  STREAM   REVISION  TYPE         DATA
       1  order-1         0  OrderPlaced  {\"customer\":\"Anna…";
        assert_eq!(rows(60, Scope::All, &events), expected.trim_start());
        let expected = "
POSITION  TIME                      REVISION  TYPE         DATA
       1  2012-01-31T00:00:00.546Z         0  OrderPlaced  {\"customer\":\"Anna Me…";
        assert_eq!(rows(80, Scope::OneStream, &events), expected.trim_start());
    }

    #[test]
    fn binary_data_is_counted_and_wide_characters_fit() {
        let mut binary = event(1, "a", "abc", &[]);
        binary.content_type = ContentType::OCTET_STREAM;
        assert_eq!(data(&binary, 40), "(3 bytes of application/octet-stream)");
        let wide = event(1, "a", &format!("\"{}\"", "雪".repeat(100)), &[]);
        let layout = Layout::new(
            100,
            Scope::OneStream,
            std::slice::from_ref(&wide),
            Position::FIRST,
        );
        let text = layout.rows(&[wide], false);
        assert!(text.contains("雪雪") && text.ends_with('…'), "{text}");
    }
}
