//! Filters, queries and conditions.

use crate::event::{event_types, tag_bytes, tags};
use crate::field::{InField, required, text, text_bytes};
use crate::proto;
use crate::proto::name_match::{Match, Names};
use bytestring::ByteString;
use icecore_core::{
    Category, Condition, Error, Filter, NameMatch, Position, Query, QueryItem, Result,
    SystemStreams,
};

/// The filter of a request; without one everything passes but system streams. Its sizes are checked
/// with the read or subscription as a whole.
pub(crate) fn filter(message: Option<proto::Filter>) -> Result<Filter> {
    message
        .map(Filter::try_from)
        .transpose()
        .map(Option::unwrap_or_default)
        .inside(|| "filter".into())
}

impl TryFrom<proto::Filter> for Filter {
    type Error = Error;

    fn try_from(message: proto::Filter) -> Result<Self> {
        let category = (!message.category.is_empty())
            .then(|| text(message.category).and_then(Category::new))
            .transpose();
        Ok(Self {
            stream: name_match(message.stream).named("stream")?,
            event_type: name_match(message.r#type).named("type")?,
            category: category.named("category")?,
            tags: tags(message.tags)?,
            system: system_streams(message.include_system),
        })
    }
}

impl From<Filter> for proto::Filter {
    fn from(filter: Filter) -> Self {
        Self {
            stream: filter.stream.map(Into::into),
            r#type: filter.event_type.map(Into::into),
            category: filter
                .category
                .map(|category| text_bytes(category.into_inner()))
                .unwrap_or_default(),
            tags: tag_bytes(filter.tags),
            include_system: include_system(filter.system),
        }
    }
}

/// What `include_system` of a message means.
pub(crate) fn system_streams(include: bool) -> SystemStreams {
    if include {
        SystemStreams::Include
    } else {
        SystemStreams::Exclude
    }
}

/// How it is said in a message.
pub(crate) fn include_system(system: SystemStreams) -> bool {
    system == SystemStreams::Include
}

fn name_match(message: Option<proto::NameMatch>) -> Result<Option<NameMatch>> {
    message.map(NameMatch::try_from).transpose()
}

impl TryFrom<proto::NameMatch> for NameMatch {
    type Error = Error;

    fn try_from(message: proto::NameMatch) -> Result<Self> {
        let names = |names: Names| -> Result<Vec<ByteString>> {
            names.names.into_iter().map(text).collect()
        };
        Ok(match required(message.r#match, "match")? {
            Match::AnyOf(list) => Self::AnyOf(names(list)?),
            Match::Prefixes(list) => Self::Prefixes(names(list)?),
            Match::Regex(regex) => Self::Regex(text(regex)?),
        })
    }
}

impl From<NameMatch> for proto::NameMatch {
    fn from(name_match: NameMatch) -> Self {
        let names = |list: Vec<ByteString>| Names {
            names: list.into_iter().map(text_bytes).collect(),
        };
        Self {
            r#match: Some(match name_match {
                NameMatch::AnyOf(list) => Match::AnyOf(names(list)),
                NameMatch::Prefixes(list) => Match::Prefixes(names(list)),
                NameMatch::Regex(regex) => Match::Regex(text_bytes(regex)),
            }),
        }
    }
}

impl TryFrom<proto::Condition> for Condition {
    type Error = Error;

    fn try_from(message: proto::Condition) -> Result<Self> {
        let query = required(message.query, "query")?;
        Ok(Self {
            query: query.try_into()?,
            after: Position::new(message.after),
        })
    }
}

impl From<Condition> for proto::Condition {
    fn from(condition: Condition) -> Self {
        Self {
            query: Some(condition.query.into()),
            after: condition.after.get(),
        }
    }
}

impl TryFrom<proto::Query> for Query {
    type Error = Error;

    fn try_from(message: proto::Query) -> Result<Self> {
        let items = message.items.into_iter().enumerate().map(|(n, item)| {
            let item = QueryItem {
                types: event_types(item.types).inside(|| format!("query.items[{n}]"))?,
                tags: tags(item.tags).inside(|| format!("query.items[{n}]"))?,
            };
            Ok(item)
        });
        Query::new(items.collect::<Result<_>>()?)
    }
}

impl From<Query> for proto::Query {
    fn from(query: Query) -> Self {
        let items = query.items().iter().map(|item| proto::QueryItem {
            types: item
                .types
                .iter()
                .map(|event_type| text_bytes(event_type.clone().into_inner()))
                .collect(),
            tags: tag_bytes(item.tags.clone()),
        });
        Self {
            items: items.collect(),
        }
    }
}
