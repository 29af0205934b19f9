//! What a reader or subscriber wants to see. The filter is only *said* here; regular expressions are
//! compiled and indexes chosen where it runs (`eventstore`).

use crate::limits::{NAMES_PER_LIST_MAX, REGEX_BYTES_MAX};
use crate::{Category, Error, Result, Tag};
use bytestring::ByteString;

/// Selects events of a read or subscription. All parts that are set must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// On the stream's name.
    pub stream: Option<NameMatch>,
    /// On the event's type.
    pub event_type: Option<NameMatch>,
    /// The stream is of this category.
    pub category: Option<Category>,
    /// The event has all of these tags.
    pub tags: Vec<Tag>,
    /// What happens to streams whose name begins with `$`.
    pub system: SystemStreams,
}

/// How a name is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameMatch {
    /// Equal to one of these.
    AnyOf(Vec<ByteString>),
    /// Begins with one of these.
    Prefixes(Vec<ByteString>),
    /// Matches this regular expression somewhere; look-ahead is allowed.
    Regex(ByteString),
}

/// Whether streams whose name begins with `$` are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SystemStreams {
    /// They are left out.
    #[default]
    Exclude,
    /// They are seen like others.
    Include,
}

impl Filter {
    /// Everything, system streams too.
    pub fn everything() -> Self {
        Self {
            system: SystemStreams::Include,
            ..Self::default()
        }
    }

    /// Checks the sizes of the lists.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the part: an empty list, too many names, a regular expression
    /// that is empty or too long.
    pub fn check(&self) -> Result<()> {
        if let Some(stream) = &self.stream {
            stream.check("filter.stream")?;
        }
        if let Some(event_type) = &self.event_type {
            event_type.check("filter.type")?;
        }
        check_count("filter.tags", self.tags.len())
    }
}

impl NameMatch {
    fn check(&self, field: &'static str) -> Result<()> {
        match self {
            Self::AnyOf(names) | Self::Prefixes(names) => {
                if names.is_empty() || names.iter().any(|name| name.is_empty()) {
                    return Err(Error::invalid(field, "has an empty name or none at all"));
                }
                check_count(field, names.len())
            }
            Self::Regex(regex) if regex.is_empty() => Err(Error::invalid(field, "is empty")),
            Self::Regex(regex) if regex.len() > REGEX_BYTES_MAX => Err(Error::invalid(
                field,
                format!(
                    "is a regex of {} bytes, the limit is {REGEX_BYTES_MAX}",
                    regex.len()
                ),
            )),
            Self::Regex(_) => Ok(()),
        }
    }
}

fn check_count(field: &'static str, count: usize) -> Result<()> {
    if count > NAMES_PER_LIST_MAX {
        return Err(Error::invalid(
            field,
            format!("has {count} entries, the limit is {NAMES_PER_LIST_MAX}"),
        ));
    }
    Ok(())
}
