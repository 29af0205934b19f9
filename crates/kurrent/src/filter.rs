//! Filters of reads and subscriptions of all streams.

use crate::proto::event_store::client::streams::read_req::options::FilterOptions;
use crate::proto::event_store::client::streams::read_req::options::filter_options;
use icecore_core::{Error, Filter, NameMatch, Result};

/// Events that are looked at before a subscription is told how far it is, where the caller leaves
/// that to the server.
const WINDOW: u32 = 32;

/// What a caller wants to see of all streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filtered {
    pub(crate) filter: Filter,
    /// Events between two checkpoints.
    pub(crate) interval: u64,
}

impl TryFrom<FilterOptions> for Filtered {
    type Error = Error;

    fn try_from(options: FilterOptions) -> Result<Self> {
        let window = match options.window {
            Some(filter_options::Window::Max(events)) => events,
            Some(filter_options::Window::Count(_)) => WINDOW,
            None => return Err(Error::invalid("filter.window", "is missing")),
        };
        let interval = u64::from(window) * u64::from(options.checkpoint_interval_multiplier);
        if interval == 0 {
            return Err(Error::invalid(
                "filter.checkpointIntervalMultiplier",
                "is 0, or the window is: there must be an event between two checkpoints",
            ));
        }
        let mut filter = Filter::everything();
        match options.filter {
            Some(filter_options::Filter::StreamIdentifier(names)) => {
                filter.stream = names_of(names)?;
            }
            Some(filter_options::Filter::EventType(names)) => {
                filter.event_type = names_of(names)?;
            }
            None => return Err(Error::invalid("filter", "says neither streams nor types")),
        }
        filter.check()?;
        Ok(Self { filter, interval })
    }
}

/// `None` for what begins every name.
fn names_of(expression: filter_options::Expression) -> Result<Option<NameMatch>> {
    if !expression.regex.is_empty() {
        return Ok(Some(NameMatch::Regex(expression.regex.into())));
    }
    let prefixes = expression.prefix;
    if prefixes.is_empty() {
        return Err(Error::invalid("filter", "has neither regex nor prefixes"));
    }
    if prefixes.iter().any(String::is_empty) {
        return Ok(None);
    }
    let prefixes = prefixes.into_iter().map(Into::into);
    Ok(Some(NameMatch::Prefixes(prefixes.collect())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::event_store::client::Empty;

    fn options(regex: &str, prefix: &[&str]) -> FilterOptions {
        FilterOptions {
            window: Some(filter_options::Window::Count(Empty {})),
            checkpoint_interval_multiplier: 2,
            filter: Some(filter_options::Filter::StreamIdentifier(
                filter_options::Expression {
                    regex: regex.to_owned(),
                    prefix: prefix.iter().map(|&prefix| prefix.to_owned()).collect(),
                },
            )),
        }
    }

    #[test]
    fn a_regex_goes_before_prefixes() {
        let both = Filtered::try_from(options("^a", &["b"])).unwrap();
        assert_eq!(both.filter.stream, Some(NameMatch::Regex("^a".into())));
        assert_eq!(both.interval, 64);
        let prefixes = Filtered::try_from(options("", &["a", "b"])).unwrap();
        let names = NameMatch::Prefixes(vec!["a".into(), "b".into()]);
        assert_eq!(prefixes.filter.stream, Some(names));
        let all = Filtered::try_from(options("", &["a", ""])).unwrap();
        assert_eq!(all.filter, Filter::everything());
    }

    #[test]
    fn what_filters_nothing_or_never_tells_is_refused() {
        assert!(Filtered::try_from(options("", &[])).is_err());
        let never = FilterOptions {
            checkpoint_interval_multiplier: 0,
            ..options("a", &[])
        };
        assert!(Filtered::try_from(never).is_err());
        let no_window = FilterOptions {
            window: None,
            ..options("a", &[])
        };
        assert!(Filtered::try_from(no_window).is_err());
    }
}
