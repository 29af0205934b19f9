//! Queries over event types and tags, and the condition that nothing matches one.

use crate::limits::{NAMES_PER_LIST_MAX, QUERY_ITEMS_MAX};
use crate::{Error, EventType, Position, RecordedEvent, Result, Tag};

/// Selects events: those that match any item. Without items it selects every event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    items: Vec<QueryItem>,
}

/// One alternative of a query: any of the types AND all of the tags. An empty list asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryItem {
    /// The event has one of these types.
    pub types: Vec<EventType>,
    /// The event has all of these tags.
    pub tags: Vec<Tag>,
}

impl Query {
    /// A query of these alternatives.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for field `query`, when there are too many items, types or tags.
    pub fn new(items: Vec<QueryItem>) -> Result<Self> {
        if items.len() > QUERY_ITEMS_MAX {
            return Err(Error::invalid(
                "query",
                format!("has {} items, the limit is {QUERY_ITEMS_MAX}", items.len()),
            ));
        }
        let longest = items
            .iter()
            .map(|item| item.types.len().max(item.tags.len()))
            .max();
        if longest.is_some_and(|longest| longest > NAMES_PER_LIST_MAX) {
            return Err(Error::invalid(
                "query",
                format!("has more than {NAMES_PER_LIST_MAX} types or tags in one item"),
            ));
        }
        Ok(Self { items })
    }

    /// The alternatives.
    pub fn items(&self) -> &[QueryItem] {
        &self.items
    }

    /// Whether the query selects an event of this type with these tags.
    pub fn matches(&self, event_type: &EventType, tags: &[Tag]) -> bool {
        self.items.is_empty() || self.items.iter().any(|item| item.matches(event_type, tags))
    }
}

impl QueryItem {
    fn matches(&self, event_type: &EventType, tags: &[Tag]) -> bool {
        (self.types.is_empty() || self.types.contains(event_type))
            && self.tags.iter().all(|tag| tags.contains(tag))
    }
}

/// A dynamic consistency boundary: no event after `after` matches `query`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What must not have happened.
    pub query: Query,
    /// Since when; exclusive. [`Position::START`] looks at the whole store.
    pub after: Position,
}

impl Condition {
    /// Whether this event makes the condition fail.
    pub fn excludes(&self, event: &RecordedEvent) -> bool {
        event.position > self.after && self.query.matches(&event.event_type, &event.tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event_type(text: &str) -> EventType {
        EventType::new(text.to_owned()).unwrap()
    }

    fn tags(texts: &[&str]) -> Vec<Tag> {
        texts
            .iter()
            .map(|text| Tag::new((*text).to_owned()).unwrap())
            .collect()
    }

    #[test]
    fn an_item_takes_any_type_and_all_tags() {
        let item = QueryItem {
            types: vec![event_type("A"), event_type("B")],
            tags: tags(&["x:1", "y:2"]),
        };
        let query = Query::new(vec![item]).unwrap();
        assert!(query.matches(&event_type("B"), &tags(&["y:2", "z:3", "x:1"])));
        assert!(!query.matches(&event_type("B"), &tags(&["x:1"])));
        assert!(!query.matches(&event_type("C"), &tags(&["x:1", "y:2"])));
    }

    #[test]
    fn items_are_alternatives_and_no_items_match_everything() {
        let only = |t: &str| QueryItem {
            types: vec![event_type(t)],
            tags: vec![],
        };
        let query = Query::new(vec![only("A"), only("B")]).unwrap();
        assert!(query.matches(&event_type("A"), &[]) && query.matches(&event_type("B"), &[]));
        assert!(!query.matches(&event_type("C"), &[]));
        assert!(Query::default().matches(&event_type("C"), &[]));
    }
}
