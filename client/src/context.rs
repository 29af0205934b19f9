//! What is said about events beside their data: who caused them, by which command, and why. It stands in
//! their metadata, a JSON object.

use crate::id::new_event_id;
use bytes::Bytes;
use icecore_core::{Error, RecordedEvent, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

/// What a command brings along, and what its events carry in their metadata: the audit trail.
///
/// | key | what |
/// | --- | --- |
/// | `$correlationId` | the conversation: the same for everything that one request sets off |
/// | `$causationId` | the command, or the event, that these events follow from |
/// | `user` | by whom |
/// | `reason` | why |
/// | `schemaVersion` | of the data; absent for 1 (see [`crate::Upcast`]) |
///
/// The first two are KurrentDB's; `$correlationId` finds all events of a conversation.
///
/// ```
/// use icecore_client::Context;
/// use uuid::Uuid;
///
/// let context = Context::new()
///     .command_id(Uuid::from_u128(7))
///     .by("anna")
///     .because("the customer called");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Context {
    command_id: Option<Uuid>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    user: Option<String>,
    reason: Option<String>,
}

/// The metadata as JSON has it. Of metadata that others wrote, what is not as expected counts as absent.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    #[serde(rename = "$correlationId")]
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(rename = "$causationId")]
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    causation_id: Option<String>,
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    schema_version: Option<u32>,
}

/// What every read of an event looks at.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Version {
    #[serde(deserialize_with = "lenient")]
    schema_version: Option<u32>,
}

fn lenient<'de, T: DeserializeOwned, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(T::deserialize(value).ok())
}

impl Context {
    /// Nothing is known. The command gets an id of its own when it is executed.
    pub fn new() -> Self {
        Self::default()
    }

    /// What follows from an event: of the same conversation, caused by it.
    pub fn caused_by(event: &RecordedEvent) -> Self {
        let id = event.id.to_string();
        let conversation = Self::of(event).correlation_id;
        Self {
            correlation_id: Some(conversation.unwrap_or_else(|| id.clone())),
            causation_id: Some(id),
            ..Self::default()
        }
    }

    /// What the metadata of an event says. Metadata of another kind says nothing.
    pub fn of(event: &RecordedEvent) -> Self {
        let metadata = parse::<Metadata>(&event.metadata);
        Self {
            command_id: None,
            correlation_id: metadata.correlation_id,
            causation_id: metadata.causation_id,
            user: metadata.user,
            reason: metadata.reason,
        }
    }

    /// The id of the command, chosen by whoever sends it. Sent again with the same id it takes effect
    /// once.
    pub fn command_id(mut self, id: Uuid) -> Self {
        self.command_id = Some(id);
        self
    }

    /// The conversation that the command belongs to; its own id unless said.
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// What the command follows from; its own id unless said.
    pub fn causation_id(mut self, id: impl Into<String>) -> Self {
        self.causation_id = Some(id.into());
        self
    }

    /// By whom.
    pub fn by(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Why.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// The id of the command, if it has one.
    pub fn command(&self) -> Option<Uuid> {
        self.command_id
    }

    /// The conversation, if it is known.
    pub fn correlation(&self) -> Option<&str> {
        self.correlation_id.as_deref()
    }

    /// What caused it, if that is known.
    pub fn causation(&self) -> Option<&str> {
        self.causation_id.as_deref()
    }

    /// By whom, if that is known.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Why, if that is known.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// With an id of the command, a new one unless one was given; correlation and causation are that id
    /// unless they were given.
    pub fn identified(mut self) -> Self {
        let id = *self.command_id.get_or_insert_with(new_event_id);
        self.correlation_id.get_or_insert_with(|| id.to_string());
        self.causation_id.get_or_insert_with(|| id.to_string());
        self
    }

    /// The metadata of an event whose data has this version.
    pub(crate) fn metadata(&self, version: u32) -> Result<Bytes> {
        let metadata = Metadata {
            correlation_id: self.correlation_id.clone(),
            causation_id: self.causation_id.clone(),
            user: self.user.clone(),
            reason: self.reason.clone(),
            schema_version: (version > 1).then_some(version),
        };
        let json = serde_json::to_vec(&metadata)
            .map_err(|error| Error::invalid("metadata", error.to_string()))?;
        Ok(if json == b"{}" {
            Bytes::new()
        } else {
            json.into()
        })
    }
}

/// The version that metadata tells; 1 when it tells none.
pub(crate) fn version_in(metadata: &[u8]) -> u32 {
    parse::<Version>(metadata)
        .schema_version
        .unwrap_or(1)
        .max(1)
}

fn parse<T: DeserializeOwned + Default>(metadata: &[u8]) -> T {
    if metadata.is_empty() {
        return T::default();
    }
    serde_json::from_slice(metadata).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_without_more_is_its_own_conversation_and_cause() {
        let context = Context::new().by("anna").identified();
        let id = context.command().unwrap();
        let json: serde_json::Value =
            serde_json::from_slice(&context.metadata(1).unwrap()).unwrap();
        let expected = serde_json::json!({
            "$correlationId": id.to_string(), "$causationId": id.to_string(), "user": "anna",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn what_was_given_stays() {
        let given = Context::new()
            .command_id(Uuid::from_u128(1))
            .correlation_id("request-9");
        let context = given.identified();
        assert_eq!(context.command(), Some(Uuid::from_u128(1)));
        assert_eq!(context.correlation(), Some("request-9"));
        assert_eq!(
            context.causation(),
            Some(Uuid::from_u128(1).to_string().as_str())
        );
    }

    #[test]
    fn nothing_said_is_no_metadata_and_other_metadata_says_nothing() {
        assert!(Context::new().metadata(1).unwrap().is_empty());
        assert_eq!(version_in(&Context::new().metadata(3).unwrap()), 3);
        for (foreign, version) in [
            ("", 1),
            ("no json", 1),
            ("[1]", 1),
            (r#"{"schemaVersion":"2.1"}"#, 1),
            (r#"{"schemaVersion":0}"#, 1),
            (r#"{"user":{"id":7},"schemaVersion":2}"#, 2),
        ] {
            assert_eq!(version_in(foreign.as_bytes()), version, "{foreign}");
        }
    }
}
