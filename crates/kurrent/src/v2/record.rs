//! Records: events of the second version, whose metadata is a map of properties.

use super::errors::{record_too_large, too_large};
use crate::errors::status;
use crate::proto::kurrentdb::protocol::v2::streams::{AppendRecord, SchemaFormat, SchemaInfo};
use crate::tags;
use bytes::Bytes;
use icecore_core::limits::{APPEND_BYTES_MAX, EVENT_BYTES_MAX};
use icecore_core::{ContentType, Error, EventData, EventType, Result, StreamName};
use icecore_eventstore::EventStore;
use prost_types::value::Kind;
use serde_json::{Map, Number, Value};
use std::collections::HashMap;
use tonic::Status;
use uuid::Uuid;

/// What is kept of a schema beside the properties.
const FORMAT: &str = "$schema.format";
const SCHEMA_ID: &str = "$schema.id";

/// Integers that a floating-point number holds exactly reach from minus this to this.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Turns the records of one append into events and holds them to the limits.
pub(super) struct Records<'a> {
    store: &'a EventStore,
    bytes: usize,
}

impl<'a> Records<'a> {
    pub(super) fn new(store: &'a EventStore) -> Self {
        Self { store, bytes: 0 }
    }

    /// The event that a record of this stream is.
    pub(super) fn event(
        &mut self,
        stream: &StreamName,
        record: AppendRecord,
    ) -> Result<EventData, Status> {
        let event = self.decode(record).map_err(status)?;
        let bytes = event.size();
        if bytes > EVENT_BYTES_MAX {
            return Err(record_too_large(stream, event.id, bytes));
        }
        self.bytes += bytes;
        if self.bytes > APPEND_BYTES_MAX {
            return Err(too_large(self.bytes));
        }
        Ok(event)
    }

    fn decode(&self, record: AppendRecord) -> Result<EventData> {
        let schema = record.schema.unwrap_or_default();
        let format = schema.format();
        if format == SchemaFormat::Unspecified {
            return Err(Error::invalid("schema.format", "is not specified"));
        }
        let metadata = metadata(record.properties, format, &schema);
        let (metadata, tags) = tags::take_out(metadata);
        Ok(EventData {
            id: match record.record_id {
                Some(id) => Uuid::try_parse(&id)
                    .map_err(|_| Error::invalid("record_id", format!("`{id}` is no UUID")))?,
                None => self.store.next_id(),
            },
            event_type: EventType::new(schema.name)
                .map_err(|error| Error::invalid("schema.name", error.to_string()))?,
            content_type: match format {
                SchemaFormat::Json => ContentType::JSON,
                _ => ContentType::OCTET_STREAM,
            },
            data: record.data,
            metadata,
            tags,
        })
    }
}

/// The stream that a record or request names.
pub(super) fn stream(name: String) -> Result<StreamName, Status> {
    StreamName::new(name).map_err(status)
}

/// Properties as JSON, with what the schema says beside its name; empty without any.
fn metadata(
    properties: HashMap<String, prost_types::Value>,
    format: SchemaFormat,
    schema: &SchemaInfo,
) -> Bytes {
    let properties = properties.into_iter();
    let mut map: Map<_, _> = properties.map(|(key, value)| (key, json(value))).collect();
    let name = match format {
        SchemaFormat::Unspecified | SchemaFormat::Json => None,
        SchemaFormat::Protobuf => Some("Protobuf"),
        SchemaFormat::Avro => Some("Avro"),
        SchemaFormat::Bytes => Some("Bytes"),
    };
    map.extend(name.map(|name| (FORMAT.to_owned(), name.into())));
    let id = schema.id.clone();
    map.extend(id.map(|id| (SCHEMA_ID.to_owned(), id.into())));
    if map.is_empty() {
        return Bytes::new();
    }
    Value::Object(map).to_string().into()
}

fn json(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => value.into(),
        Some(Kind::StringValue(value)) => value.into(),
        Some(Kind::NumberValue(value)) => number(value),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json).collect(),
        Some(Kind::StructValue(fields)) => {
            let fields = fields.fields.into_iter();
            fields.map(|(key, value)| (key, json(value))).collect()
        }
    }
}

/// A number as it would be written, without a fraction that is none. JSON has no infinities.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() <= EXACT_MAX {
        #[allow(clippy::cast_possible_truncation)] // It is a whole number within the bounds.
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(kind: Kind) -> prost_types::Value {
        prost_types::Value { kind: Some(kind) }
    }

    #[test]
    fn properties_are_json() {
        let list = vec![value(Kind::NumberValue(1.0)), value(Kind::NumberValue(0.5))];
        let list = prost_types::ListValue { values: list };
        let properties = HashMap::from([
            ("list".to_owned(), value(Kind::ListValue(list))),
            ("nothing".to_owned(), value(Kind::NullValue(0))),
            ("never".to_owned(), value(Kind::NumberValue(f64::NAN))),
        ]);
        let schema = SchemaInfo {
            id: Some("7".into()),
            ..SchemaInfo::default()
        };
        assert_eq!(
            metadata(properties, SchemaFormat::Avro, &schema),
            r#"{"$schema.format":"Avro","$schema.id":"7","list":[1,0.5],"never":null,"nothing":null}"#
        );
        let none = metadata(HashMap::new(), SchemaFormat::Json, &SchemaInfo::default());
        assert!(none.is_empty());
    }
}
