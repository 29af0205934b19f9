//! Events as values: an enum of the user's whose variants are event types, and its way into the data of
//! an event and back. What is said beside the data: `context.rs`. Older versions: `upcast.rs`.
//!
//! Nothing but serde's derive is needed. Serde writes an enum as `{"Variant": content}`; the variant's
//! name becomes the type of the event, the content its data.

mod variant;

use crate::context::Context;
use crate::upcast::{Outcome, Upcast, upcast, version_of};
use bytes::Bytes;
use icecore_core::{ContentType, Error, EventData, EventType, RecordedEvent, Result, Tag};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// The events of an aggregate, or those that a projection wants to see: an enum, a variant for each
/// event type.
///
/// The name of a variant is the event type (`#[serde(rename = "...")]` gives it another one), and what
/// the variant carries is the data, as JSON. A variant that carries nothing has the data `{}`. Enums with
/// `#[serde(tag = ...)]` or `#[serde(untagged)]` cannot be events.
///
/// ```
/// use icecore_client::{Event, Upcast};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// enum AccountEvent {
///     Opened { owner: String },
///     Deposited { cents: u64 },
///     Closed,
/// }
///
/// impl Event for AccountEvent {
///     // Version 1 counted in whole units.
///     const UPCASTS: &[Upcast] = &[Upcast::version("Deposited", 1, |mut data| {
///         let amount = data["amount"].as_u64().ok_or("has no amount")?;
///         data["cents"] = (amount * 100).into();
///         Ok(data)
///     })];
/// }
/// ```
///
/// A reader needs no more than what it looks at: an enum of its own, with the variants and the fields
/// that it wants, reads the same events.
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// How events become what the enum knows today, in the order in which that happened. The version
    /// of a type is one more than the highest that is turned into a newer one here; 1 when there is
    /// none.
    const UPCASTS: &'static [Upcast] = &[];

    /// Labels of the form `key:value`, by which events are found across streams.
    fn tags(&self) -> Vec<String> {
        Vec::new()
    }

    /// What an event counts as whose type no variant names, or whose version is newer than this
    /// program.
    fn unknown(_event: &RecordedEvent) -> Substitute<Self> {
        Substitute::Refuse
    }

    /// What an event counts as whose data was erased.
    fn erased(_event: &RecordedEvent) -> Substitute<Self> {
        Substitute::Refuse
    }
}

/// What takes the place of an event that cannot be read as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Substitute<E> {
    /// Nothing: reading it is an error.
    Refuse,
    /// Nothing: it is left out.
    Skip,
    /// This event.
    With(E),
}

/// The event types that the variants of an enum name, with the older names of its upcasts: what a filter
/// asks for.
///
/// # Errors
///
/// `InvalidArgument` for field `event`: not an enum, or one that serde does not write as
/// `{"Variant": content}`.
pub fn event_types_of<E: Event>() -> Result<Vec<EventType>> {
    let variants = variant::names::<E>()
        .ok_or_else(|| Error::invalid("event", format!("{} {NO_ENUM}", name::<E>())))?;
    let earlier = E::UPCASTS.iter().map(Upcast::event_type);
    let mut types = Vec::new();
    for name in variants.iter().copied().chain(earlier) {
        let event_type = EventType::new(name)?;
        if !types.contains(&event_type) {
            types.push(event_type);
        }
    }
    Ok(types)
}

/// An event that offers this value for an append.
///
/// # Errors
///
/// `InvalidArgument` for field `event`, when serde cannot write the value as `{"Variant": content}`; for
/// `type` and `tag`, when a name or label is not valid.
pub fn encode<E: Event>(event: &E, id: Uuid, context: &Context) -> Result<EventData> {
    let (event_type, data) =
        variant::write(event).map_err(|error| Error::invalid("event", error.to_string()))?;
    // What could not be read again is not written.
    if !variant::names::<E>().is_some_and(|names| names.contains(&event_type.as_str())) {
        return Err(Error::invalid(
            "event",
            format!("{} {NO_ENUM}", name::<E>()),
        ));
    }
    let version = version_of(E::UPCASTS, &event_type);
    let tags = event.tags().into_iter().map(Tag::new);
    Ok(EventData {
        id,
        content_type: ContentType::JSON,
        data,
        metadata: context.metadata(version)?,
        tags: tags.collect::<Result<_>>()?,
        event_type: EventType::new(event_type)?,
    })
}

/// The value of a recorded event, in today's version. `None`, when it is left out by
/// [`Event::unknown`], [`Event::erased`] or [`Upcast::retired`].
///
/// # Errors
///
/// `InvalidArgument`, with type and position: no variant is of that type, the data does not fit the
/// variant, an upcast failed, the version is newer than the enum, or the data was erased.
pub fn decode<E: Event>(event: &RecordedEvent) -> Result<Option<E>> {
    if event.erased {
        let substitute = E::erased(event);
        return replaced(substitute, event, || "was erased".into());
    }
    let outcome = upcast(E::UPCASTS, event).map_err(|reason| unreadable(event, &reason))?;
    let (event_type, data) = match outcome {
        Outcome::Unchanged => (event.event_type.as_str(), event.data.clone()),
        Outcome::Changed { event_type, data } => (event_type, data),
        Outcome::Retired => return Ok(None),
        Outcome::Newer { version, known } => {
            let substitute = E::unknown(event);
            return replaced(substitute, event, || {
                format!("has version {version}, this program knows up to {known}")
            });
        }
    };
    read(event, event_type, &data)
}

fn read<E: Event>(event: &RecordedEvent, event_type: &str, data: &Bytes) -> Result<Option<E>> {
    match variant::read(event_type, data) {
        Ok(value) => Ok(Some(value)),
        Err(variant::ReadError::Unknown) => replaced(E::unknown(event), event, || {
            format!("is no event of {}", name::<E>())
        }),
        Err(variant::ReadError::Data(reason)) => {
            Err(unreadable(event, &format!("is not as expected: {reason}")))
        }
    }
}

fn replaced<E: Event>(
    substitute: Substitute<E>,
    event: &RecordedEvent,
    reason: impl FnOnce() -> String,
) -> Result<Option<E>> {
    match substitute {
        Substitute::Refuse => Err(unreadable(event, &reason())),
        Substitute::Skip => Ok(None),
        Substitute::With(value) => Ok(Some(value)),
    }
}

fn unreadable(event: &RecordedEvent, reason: &str) -> Error {
    let (event_type, position) = (&event.event_type, event.position);
    Error::invalid(
        "event",
        format!(
            "the `{event_type}` at position {position} (revision {} of `{}`) {reason}",
            event.revision, event.stream
        ),
    )
}

const NO_ENUM: &str = "is no enum that serde writes as `{\"Variant\": content}`";

fn name<E>() -> &'static str {
    std::any::type_name::<E>()
}

#[cfg(test)]
mod tests;
