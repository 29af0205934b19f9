//! How events of earlier versions become those of today. Pure; where it is used: `event.rs`.

use crate::context::version_in;
use bytes::Bytes;
use icecore_core::RecordedEvent;
use serde_json::Value;
use std::panic::catch_unwind;

/// Turns the data of one version into that of the next. A refusal says what is wrong with the data.
///
/// `data["key"] = value` panics when the data is not an object. A panic counts as a refusal, without a
/// reason; [`as_object_mut`](serde_json::Value::as_object_mut) lets it give one.
pub type UpcastFn = fn(Value) -> Result<Value, String>;

/// One step from an earlier form of an event to a later one. The steps that fit are taken one after the
/// other, until none is left.
///
/// ```
/// use icecore_client::Upcast;
///
/// const STEPS: &[Upcast] = &[
///     // `MoneyIn` was renamed.
///     Upcast::renamed("MoneyIn", "Deposited"),
///     // Version 1 of `Deposited` had no currency.
///     Upcast::version("Deposited", 1, |mut data| {
///         data["currency"] = "EUR".into();
///         Ok(data)
///     }),
///     // Nobody needs `Viewed` any more.
///     Upcast::retired("Viewed"),
/// ];
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Upcast {
    event_type: &'static str,
    step: Step,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Version { from: u32, upcast: UpcastFn },
    Renamed { to: &'static str },
    Retired,
}

impl Upcast {
    /// Turns version `from` of a type, 1 or higher, into the next one. An event of a version from which no
    /// step leads on cannot be read.
    pub const fn version(event_type: &'static str, from: u32, upcast: UpcastFn) -> Self {
        let step = Step::Version { from, upcast };
        Self { event_type, step }
    }

    /// The type has another name today. Its version stays what it was, also for events that are written
    /// under the new name.
    pub const fn renamed(event_type: &'static str, to: &'static str) -> Self {
        let step = Step::Renamed { to };
        Self { event_type, step }
    }

    /// Events of this type mean nothing any more and are left out.
    pub const fn retired(event_type: &'static str) -> Self {
        let step = Step::Retired;
        Self { event_type, step }
    }

    /// The type that this step begins with.
    pub(crate) fn event_type(&self) -> &'static str {
        self.event_type
    }

    fn fits(&self, event_type: &str, version: u32) -> bool {
        let version_fits = match self.step {
            Step::Version { from, .. } => from == version,
            Step::Renamed { .. } | Step::Retired => true,
        };
        version_fits && self.event_type == event_type
    }
}

/// The version in which events of a type are written. A rename keeps the version, so the steps of earlier
/// names count too.
pub(crate) fn version_of(steps: &[Upcast], event_type: &str) -> u32 {
    let mut earlier = Vec::new();
    let mut version = 1;
    for step in steps.iter().rev() {
        let of_type = |name: &str| name == event_type || earlier.contains(&name);
        match step.step {
            Step::Version { from, .. } if of_type(step.event_type) => {
                version = version.max(from.saturating_add(1));
            }
            Step::Renamed { to } if of_type(to) => earlier.push(step.event_type),
            _ => {}
        }
    }
    version
}

/// What became of an event.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It is as it is written today.
    Unchanged,
    /// It has this type and data today.
    Changed {
        event_type: &'static str,
        data: Bytes,
    },
    /// It is left out.
    Retired,
    /// It was written by a newer program.
    Newer { version: u32, known: u32 },
}

/// Takes an event through all steps that fit. The refusal says which step failed and why.
pub(crate) fn upcast(steps: &[Upcast], event: &RecordedEvent) -> Result<Outcome, String> {
    let mut version = version_in(&event.metadata);
    let mut event_type = event.event_type.as_str();
    let mut renamed = None;
    let mut data = None;
    // No more steps than there are, so that those which lead in a circle end.
    for _ in steps {
        let Some(step) = steps.iter().find(|step| step.fits(event_type, version)) else {
            break;
        };
        match step.step {
            Step::Retired => return Ok(Outcome::Retired),
            Step::Renamed { to } => {
                event_type = to;
                renamed = Some(to);
            }
            Step::Version { from, upcast } => {
                let failed = |reason| format!("could not be turned from version {from}: {reason}");
                let earlier = match data.take() {
                    Some(data) => data,
                    None => read(&event.data).map_err(failed)?,
                };
                data = Some(guarded(upcast, earlier).map_err(failed)?);
                renamed = Some(step.event_type);
                version += 1;
            }
        }
    }
    let known = version_of(steps, event_type);
    if version > known {
        return Ok(Outcome::Newer { version, known });
    }
    if version < known {
        return Err(format!(
            "has version {version}, and no step leads on from there"
        ));
    }
    let Some(event_type) = renamed else {
        return Ok(Outcome::Unchanged);
    };
    let data = data.map_or_else(|| event.data.clone(), |data| data.to_string().into());
    Ok(Outcome::Changed { event_type, data })
}

/// A panic is a refusal: what stands in the store must not end the program that reads it.
fn guarded(upcast: UpcastFn, earlier: Value) -> Result<Value, String> {
    let upcast = catch_unwind(move || upcast(earlier));
    upcast.unwrap_or_else(|_| Err("the upcast panicked".into()))
}

fn read(data: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(data).map_err(|error| error.to_string())
}
