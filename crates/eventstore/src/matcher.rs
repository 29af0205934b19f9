//! A filter made ready to run: its regular expressions compiled, and the index terms that it allows
//! to be asked instead of looking at every event.

use fancy_regex::{Regex, RegexBuilder};
use icecore_core::{
    Category, Error, EventType, Filter, NameMatch, RecordedEvent, Result, StreamName, SystemStreams,
};
use icecore_storage::IndexTerm;

/// Steps that a regular expression may take back on one name.
const BACKTRACK_MAX: usize = 100_000;

/// A [`Filter`] that can be asked.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    filter: Filter,
    stream_regex: Option<Regex>,
    type_regex: Option<Regex>,
    /// The system streams are asked for by naming the stream.
    one_stream: bool,
    /// What an index finds by this, and nothing else.
    term: Option<IndexTerm>,
}

impl Matcher {
    /// Compiles a filter for all streams.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the part: see [`Filter::check`], or a regular expression that
    /// cannot be read.
    pub(crate) fn all(filter: &Filter) -> Result<Self> {
        filter.check()?;
        Ok(Self {
            stream_regex: compile("filter.stream", filter.stream.as_ref())?,
            type_regex: compile("filter.type", filter.event_type.as_ref())?,
            filter: filter.clone(),
            one_stream: false,
            term: None,
        })
    }

    /// Compiles a filter for one stream, whose name is not asked.
    pub(crate) fn one_stream(filter: &Filter) -> Result<Self> {
        Ok(Self {
            one_stream: true,
            ..Self::all(filter)?
        })
    }

    /// What an index finds by this, system streams too.
    pub(crate) fn term(term: IndexTerm) -> Self {
        Self {
            filter: Filter::everything(),
            stream_regex: None,
            type_regex: None,
            one_stream: false,
            term: Some(term),
        }
    }

    /// Whether the filter lets this event through.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, when a regular expression takes too many steps on a name.
    pub(crate) fn matches(&self, event: &RecordedEvent) -> Result<bool> {
        let Filter {
            stream,
            event_type,
            category,
            tags,
            ..
        } = &self.filter;
        if self.term.as_ref().is_some_and(|term| !term.holds(event)) {
            return Ok(false);
        }
        if self.hides(&event.stream) || !tags.iter().all(|tag| event.tags.contains(tag)) {
            return Ok(false);
        }
        if category.is_some() && event.stream.category() != *category {
            return Ok(false);
        }
        let name = event.stream.as_str();
        let type_name = event.event_type.as_str();
        Ok(matches_name(
            "filter.stream",
            stream.as_ref(),
            self.stream_regex.as_ref(),
            name,
        )? && matches_name(
            "filter.type",
            event_type.as_ref(),
            self.type_regex.as_ref(),
            type_name,
        )?)
    }

    /// Whether most events may not get through.
    pub(crate) fn is_selective(&self) -> bool {
        let Filter {
            stream,
            event_type,
            category,
            tags,
            ..
        } = &self.filter;
        stream.is_some() || event_type.is_some() || category.is_some() || !tags.is_empty()
    }

    fn hides(&self, stream: &StreamName) -> bool {
        !self.one_stream && self.filter.system == SystemStreams::Exclude && stream.is_system()
    }

    /// Index terms of which every matching event has at least one; `None` when there are none such
    /// and every event must be looked at.
    pub(crate) fn terms(&self) -> Option<Vec<IndexTerm>> {
        let Filter {
            stream,
            event_type,
            category,
            tags,
            ..
        } = &self.filter;
        if let Some(term) = &self.term {
            return Some(vec![term.clone()]);
        }
        if let Some(tag) = tags.first() {
            return Some(vec![IndexTerm::Tag(tag.clone())]);
        }
        if let Some(NameMatch::AnyOf(types)) = event_type {
            let term = |name: &bytestring::ByteString| {
                EventType::new(name.clone()).ok().map(IndexTerm::EventType)
            };
            return Some(types.iter().filter_map(term).collect());
        }
        if let Some(category) = category {
            return Some(vec![IndexTerm::Category(category.clone())]);
        }
        match stream {
            Some(NameMatch::AnyOf(names) | NameMatch::Prefixes(names)) => categories(names),
            _ => None,
        }
    }
}

/// The categories of all streams whose names begin like these; `None` when one of them leaves the
/// category open.
fn categories(names: &[bytestring::ByteString]) -> Option<Vec<IndexTerm>> {
    let mut terms: Vec<IndexTerm> = Vec::new();
    for name in names {
        let (category, _) = name.split_once('-')?;
        let term = IndexTerm::Category(Category::new(category.to_owned()).ok()?);
        if !terms.contains(&term) {
            terms.push(term);
        }
    }
    Some(terms)
}

fn compile(field: &'static str, names: Option<&NameMatch>) -> Result<Option<Regex>> {
    let Some(NameMatch::Regex(regex)) = names else {
        return Ok(None);
    };
    let compiled = RegexBuilder::new(regex)
        .backtrack_limit(BACKTRACK_MAX)
        .build();
    compiled.map(Some).map_err(|error| {
        Error::invalid(
            field,
            format!("`{regex}` is no regular expression: {error}"),
        )
    })
}

fn matches_name(
    field: &'static str,
    names: Option<&NameMatch>,
    regex: Option<&Regex>,
    name: &str,
) -> Result<bool> {
    match names {
        None => Ok(true),
        Some(NameMatch::AnyOf(names)) => Ok(names.iter().any(|n| **n == *name)),
        Some(NameMatch::Prefixes(prefixes)) => Ok(prefixes.iter().any(|p| name.starts_with(&**p))),
        Some(NameMatch::Regex(source)) => {
            let regex = regex.expect("a regex of the filter is compiled with it");
            regex.is_match(name).map_err(|error| {
                Error::invalid(
                    field,
                    format!("the regular expression `{source}` gave up on `{name}`: {error}"),
                )
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_events::event;

    fn named(names: NameMatch) -> Filter {
        Filter {
            stream: Some(names),
            ..Filter::default()
        }
    }

    fn matches(filter: &Filter, stream: &str) -> bool {
        Matcher::all(filter)
            .unwrap()
            .matches(&event(stream, 0, 1))
            .unwrap()
    }

    #[test]
    fn names_match_by_prefix_regex_and_look_ahead() {
        let prefixes = named(NameMatch::Prefixes(vec!["order-".into(), "cart".into()]));
        assert!(matches(&prefixes, "order-1") && matches(&prefixes, "carts"));
        assert!(!matches(&prefixes, "my-order-1"));
        let regex = named(NameMatch::Regex("^(?!order-)".into()));
        assert!(matches(&regex, "cart-1") && !matches(&regex, "order-1"));
    }

    #[test]
    fn system_streams_are_left_out_unless_asked_for() {
        assert!(!matches(&Filter::default(), "$$order-1"));
        assert!(matches(&Filter::everything(), "$$order-1"));
        let one = Matcher::one_stream(&Filter::default()).unwrap();
        assert!(one.matches(&event("$$order-1", 0, 1)).unwrap());
    }

    #[test]
    fn a_regex_that_cannot_be_read_or_never_ends_names_its_field() {
        let bad = Matcher::all(&named(NameMatch::Regex("order-(".into()))).unwrap_err();
        let beginning = "filter.stream: `order-(` is no regular expression: ";
        assert!(bad.to_string().starts_with(beginning), "{bad}");

        let slow = named(NameMatch::Regex("(a|b|ab)*(?=x)\\1y".into()));
        let slow = Matcher::all(&slow).unwrap();
        let error = slow.matches(&event(&"ab".repeat(30), 0, 1)).unwrap_err();
        assert!(error.to_string().starts_with("filter.stream"), "{error}");
    }

    #[test]
    fn prefixes_with_a_category_use_its_index() {
        let terms = |names| Matcher::all(&named(names)).unwrap().terms();
        let category = IndexTerm::Category(Category::new("order").unwrap());
        let prefixes = NameMatch::Prefixes(vec!["order-1".into(), "order-2".into()]);
        assert_eq!(terms(prefixes), Some(vec![category]));
        assert_eq!(terms(NameMatch::Prefixes(vec!["order".into()])), None);
        assert_eq!(terms(NameMatch::Prefixes(vec!["-1".into()])), None);
    }
}
