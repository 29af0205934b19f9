//! Filters of reads and subscriptions of all streams, and the indexes that clients ask for by such a filter.

use crate::proto::event_store::client::streams::read_req::options::FilterOptions;
use crate::proto::event_store::client::streams::read_req::options::filter_options;
use icecore_core::{Category, Error, EventType, Filter, NameMatch, Result, StreamName};

/// Events that are looked at before a subscription is told how far it is, where the caller leaves
/// that to the server.
const WINDOW: u32 = 32;

/// What the names of indexes begin with. Clients read one as if it were the only prefix of streams' names.
mod index {
    pub(super) const ANY: &str = "$idx-";
    pub(super) const ALL: &str = "$idx-all";
    pub(super) const CATEGORY: &str = "$idx-ce-";
    pub(super) const EVENT_TYPE: &str = "$idx-et-";
}

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
        let filter = match options.filter {
            Some(filter_options::Filter::StreamIdentifier(names)) => match named_index(&names) {
                Some(name) => of_index(name)?,
                None => Filter {
                    stream: names_of(names)?,
                    ..Filter::everything()
                },
            },
            Some(filter_options::Filter::EventType(names)) => Filter {
                event_type: names_of(names)?,
                ..Filter::everything()
            },
            None => return Err(Error::invalid("filter", "says neither streams nor types")),
        };
        filter.check()?;
        Ok(Self { filter, interval })
    }
}

/// The index that is asked for, if it is one.
fn named_index(names: &filter_options::Expression) -> Option<&str> {
    match &names.prefix[..] {
        [name] if names.regex.is_empty() && name.starts_with(index::ANY) => Some(name),
        _ => None,
    }
}

/// What an index holds: of the streams that are not the system's all events, those of a category, or those
/// of a type.
fn of_index(name: &str) -> Result<Filter> {
    if name == index::ALL {
        return Ok(Filter::default());
    }
    if let Some(category) = name.strip_prefix(index::CATEGORY) {
        return Ok(Filter {
            category: Some(Category::new(category.to_owned())?),
            ..Filter::default()
        });
    }
    if let Some(event_type) = name.strip_prefix(index::EVENT_TYPE) {
        let event_type = EventType::new(event_type.to_owned())?;
        return Ok(Filter {
            event_type: Some(NameMatch::AnyOf(vec![event_type.into_inner()])),
            ..Filter::default()
        });
    }
    let stream = StreamName::new(name.to_owned())?;
    Err(Error::StreamNotFound { stream })
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
    fn an_index_is_asked_for_by_its_name_alone() {
        let filter = |prefix: &[&str]| Filtered::try_from(options("", prefix)).map(|f| f.filter);
        assert_eq!(filter(&["$idx-all"]).unwrap(), Filter::default());
        let orders = filter(&["$idx-ce-order"]).unwrap();
        assert_eq!(orders.category, Category::new("order").ok());
        let placed = filter(&["$idx-et-OrderPlaced"]).unwrap();
        let types = NameMatch::AnyOf(vec!["OrderPlaced".into()]);
        assert_eq!(placed.event_type, Some(types));
        for unknown in ["$idx-", "$idx-user-mine", "$idx-all-"] {
            let error = filter(&[unknown]).unwrap_err();
            assert!(matches!(error, Error::StreamNotFound { .. }), "{unknown}");
        }
        assert!(filter(&["$idx-ce-"]).is_err());
        let two = filter(&["$idx-all", "a"]).unwrap();
        assert!(matches!(two.stream, Some(NameMatch::Prefixes(_))));
        let regex = Filtered::try_from(options("^a", &["$idx-all"])).unwrap();
        assert!(matches!(regex.filter.stream, Some(NameMatch::Regex(_))));
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
