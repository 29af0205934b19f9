//! A user's projection: what it is and how it stands, as it is written in `$projections-<name>`.

use bytes::Bytes;
use icecore_core::{Error, Result};
use serde_json::{Value, json};

/// The version of the engine where a client says none.
const FIRST_ENGINE: i32 = 1;

/// A projection of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Definition {
    pub(super) mode: Mode,
    pub(super) status: Status,
    pub(super) query: String,
    pub(super) engine_version: i32,
    pub(super) emit_enabled: bool,
    pub(super) track_emitted_streams: bool,
    /// How often its query was changed.
    pub(super) version: u64,
    /// How often it was reset.
    pub(super) epoch: u64,
}

/// How long it is meant to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    OneTime,
    Transient,
    Continuous,
}

/// How it was switched last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Running,
    Stopped,
    Aborted,
}

impl Mode {
    const EACH: [Self; 3] = [Self::OneTime, Self::Transient, Self::Continuous];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::OneTime => "OneTime",
            Self::Transient => "Transient",
            Self::Continuous => "Continuous",
        }
    }
}

impl Status {
    const EACH: [Self; 3] = [Self::Running, Self::Stopped, Self::Aborted];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Stopped => "Stopped",
            Self::Aborted => "Aborted/Stopped",
        }
    }
}

impl Definition {
    /// A projection that goes on, as it is when it has just been created.
    pub(super) fn new(query: String, engine_version: i32) -> Self {
        Self {
            mode: Mode::Continuous,
            status: Status::Running,
            query,
            engine_version: engine_version.max(FIRST_ENGINE),
            emit_enabled: false,
            track_emitted_streams: false,
            version: 0,
            epoch: 0,
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        let definition = json!({
            "mode": self.mode.as_str(),
            "status": self.status.as_str(),
            "query": self.query,
            "engineVersion": self.engine_version,
            "emitEnabled": self.emit_enabled,
            "trackEmittedStreams": self.track_emitted_streams,
            "version": self.version,
            "epoch": self.epoch,
        });
        definition.to_string().into()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    ///
    /// `Corrupted`, when it is something else: everybody may write to that stream.
    pub(super) fn decode(data: &[u8]) -> Result<Self> {
        let unreadable = || Error::corrupted("a projection's definition is unreadable");
        let value: Value = serde_json::from_slice(data).map_err(|_| unreadable())?;
        Self::read(&value).ok_or_else(unreadable)
    }

    fn read(value: &Value) -> Option<Self> {
        let (mode, status) = (value["mode"].as_str()?, value["status"].as_str()?);
        Some(Self {
            mode: Mode::EACH.into_iter().find(|each| each.as_str() == mode)?,
            status: Status::EACH
                .into_iter()
                .find(|each| each.as_str() == status)?,
            query: value["query"].as_str()?.to_owned(),
            engine_version: i32::try_from(value["engineVersion"].as_i64()?).ok()?,
            emit_enabled: value["emitEnabled"].as_bool()?,
            track_emitted_streams: value["trackEmittedStreams"].as_bool()?,
            version: value["version"].as_u64()?,
            epoch: value["epoch"].as_u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_comes_back_as_it_was() {
        for mode in Mode::EACH {
            for status in Status::EACH {
                let definition = Definition {
                    mode,
                    status,
                    emit_enabled: true,
                    version: 3,
                    epoch: 1,
                    ..Definition::new("fromAll().when({\"ü\": 1})".to_owned(), 0)
                };
                assert_eq!(
                    Definition::decode(&definition.encode()).unwrap(),
                    definition
                );
            }
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in ["", "[]", "{}", r#"{"mode":"Continuous","status":"Off"}"#] {
            let read = Definition::decode(bad.as_bytes());
            assert!(matches!(read, Err(Error::Corrupted { .. })), "{bad}");
        }
    }
}
