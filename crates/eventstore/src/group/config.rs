//! What groups there are, as the last event of `$persistentSubscriptionConfig`, in the shape of
//! KurrentDB's: all of them in one object, with its names where it has them.

use super::books::History;
use bytes::Bytes;
use icecore_core::{
    Category, ConsumerStrategy, Error, Filter, Group, GroupId, GroupName, GroupSettings,
    GroupStart, NameMatch, Result, StreamName, SystemStreams, Tag, Timestamp,
};
use serde_json::{Value, json};
use std::time::Duration;

/// Type of the event.
pub(super) const CONFIG: &str = "$PersistentConfig";

/// A group, and where it begins when it has no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupRecord {
    pub(super) group: Group,
    /// The first place to look at (inclusive): its start, with the end as it was at the creation.
    pub(super) begin: u64,
}

/// What groups there are, and in which history of events their places lie, if that is said. Groups of
/// another store are none of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List {
    pub(super) records: Vec<GroupRecord>,
    pub(super) history: Option<History>,
}

/// The event's data.
pub(super) fn encode<'a>(
    groups: impl IntoIterator<Item = &'a GroupRecord>,
    history: Option<&History>,
    now: Timestamp,
) -> Bytes {
    let entries: Vec<_> = groups.into_iter().map(entry).collect();
    let mut config = json!({"version": "2", "updated": now.to_string(), "entries": entries});
    if let Some(history) = history {
        config["history"] = history.encode();
    }
    config.to_string().into()
}

/// Reads what [`encode`] wrote.
///
/// # Errors
///
/// `Corrupted`, when it is something else.
pub(super) fn decode(data: &[u8]) -> Result<List> {
    let config: Value = serde_json::from_slice(data)
        .map_err(|error| Error::corrupted(format!("the list of groups is no JSON: {error}")))?;
    let entries = config["entries"].as_array().into_iter().flatten();
    Ok(List {
        records: entries.map(record).collect::<Result<_>>()?,
        history: History::read(&config["history"]),
    })
}

fn entry(record: &GroupRecord) -> Value {
    let GroupRecord { group, begin } = record;
    let settings = &group.settings;
    let start = match settings.start {
        GroupStart::Beginning => json!("beginning"),
        GroupStart::End => json!("end"),
        GroupStart::From(place) => json!(place),
    };
    json!({
        "stream": group.id.stream().map(StreamName::as_str),
        "group": group.id.name().as_str(),
        "filter": filter(&group.filter),
        "startFrom": start,
        "begin": begin,
        "resolveLinkTos": settings.resolve_links,
        "extraStatistics": settings.extra_statistics,
        "messageTimeout": millis(settings.message_timeout),
        "maxRetryCount": settings.max_retry_count,
        "checkPointAfter": millis(settings.checkpoint_after),
        "minCheckPointCount": settings.min_checkpoint_count,
        "maxCheckPointCount": settings.max_checkpoint_count,
        "maxSubscriberCount": settings.max_subscriber_count,
        "liveBufferSize": settings.live_buffer_size,
        "readBatchSize": settings.read_batch_size,
        "historyBufferSize": settings.history_buffer_size,
        "namedConsumerStrategy": settings.strategy.as_str(),
    })
}

fn record(entry: &Value) -> Result<GroupRecord> {
    let group = read_group(entry);
    let group = group.map_err(|error| Error::corrupted(format!("a group is unreadable: {error}")));
    Ok(GroupRecord {
        group: group?,
        begin: number(entry, "begin")?,
    })
}

fn read_group(entry: &Value) -> Result<Group> {
    let name = GroupName::new(text(entry, "group")?.to_owned())?;
    let id = match entry["stream"].as_str() {
        Some(stream) => GroupId::of_stream(StreamName::derived(stream.to_owned())?, name)?,
        None => GroupId::of_all(name),
    };
    let start = match &entry["startFrom"] {
        Value::String(end) if end == "end" => GroupStart::End,
        Value::Number(_) => GroupStart::From(number(entry, "startFrom")?),
        _ => GroupStart::Beginning,
    };
    let settings = GroupSettings {
        start,
        resolve_links: flag(entry, "resolveLinkTos"),
        extra_statistics: flag(entry, "extraStatistics"),
        message_timeout: Duration::from_millis(number(entry, "messageTimeout")?),
        max_retry_count: size(entry, "maxRetryCount")?,
        checkpoint_after: Duration::from_millis(number(entry, "checkPointAfter")?),
        min_checkpoint_count: size(entry, "minCheckPointCount")?,
        max_checkpoint_count: size(entry, "maxCheckPointCount")?,
        max_subscriber_count: size(entry, "maxSubscriberCount")?,
        live_buffer_size: size(entry, "liveBufferSize")?,
        read_batch_size: size(entry, "readBatchSize")?,
        history_buffer_size: size(entry, "historyBufferSize")?,
        strategy: text(entry, "namedConsumerStrategy")?.parse::<ConsumerStrategy>()?,
    };
    let filter = read_filter(&entry["filter"])?;
    let group = Group {
        id,
        filter,
        settings,
    };
    group.check()?;
    Ok(group)
}

fn filter(filter: &Filter) -> Value {
    let tags = filter.tags.iter().map(Tag::as_str);
    json!({
        "stream": filter.stream.as_ref().map(names),
        "type": filter.event_type.as_ref().map(names),
        "category": filter.category.as_ref().map(Category::as_str),
        "tags": tags.collect::<Vec<_>>(),
        "system": filter.system == SystemStreams::Include,
    })
}

fn read_filter(value: &Value) -> Result<Filter> {
    let category = value["category"].as_str();
    let tags = value["tags"].as_array().into_iter().flatten();
    let tags = tags.map(|tag| Tag::new(tag.as_str().unwrap_or_default().to_owned()));
    let system = if flag(value, "system") {
        SystemStreams::Include
    } else {
        SystemStreams::Exclude
    };
    Ok(Filter {
        stream: read_names(&value["stream"]),
        event_type: read_names(&value["type"]),
        category: category
            .map(|category| Category::new(category.to_owned()))
            .transpose()?,
        tags: tags.collect::<Result<_>>()?,
        system,
    })
}

fn names(names: &NameMatch) -> Value {
    let list = |names: &[_]| -> Vec<String> { names.iter().map(ToString::to_string).collect() };
    match names {
        NameMatch::AnyOf(names) => json!({"anyOf": list(names)}),
        NameMatch::Prefixes(names) => json!({"prefixes": list(names)}),
        NameMatch::Regex(regex) => json!({"regex": regex.to_string()}),
    }
}

fn read_names(value: &Value) -> Option<NameMatch> {
    let list = |key: &str| {
        let names = value[key].as_array()?.iter();
        Some(
            names
                .filter_map(|name| Some(name.as_str()?.to_owned().into()))
                .collect(),
        )
    };
    let regex = || Some(NameMatch::Regex(value["regex"].as_str()?.to_owned().into()));
    let any_of = list("anyOf").map(NameMatch::AnyOf);
    let prefixes = || list("prefixes").map(NameMatch::Prefixes);
    any_of.or_else(prefixes).or_else(regex)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn missing(key: &str) -> Error {
    Error::corrupted(format!("it has no `{key}`"))
}

fn text<'a>(entry: &'a Value, key: &str) -> Result<&'a str> {
    entry[key].as_str().ok_or_else(|| missing(key))
}

fn number(entry: &Value, key: &str) -> Result<u64> {
    entry[key].as_u64().ok_or_else(|| missing(key))
}

fn size(entry: &Value, key: &str) -> Result<u32> {
    u32::try_from(number(entry, key)?).map_err(|_| missing(key))
}

fn flag(entry: &Value, key: &str) -> bool {
    entry[key].as_bool().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_back_as_they_were() {
        let name = |name: &str| GroupName::new(name.to_owned()).unwrap();
        let orders = StreamName::new("orders").unwrap();
        let of_stream = GroupRecord {
            group: Group::new(GroupId::of_stream(orders, name("a::b")).unwrap()),
            begin: 0,
        };
        let of_all = GroupRecord {
            group: Group {
                id: GroupId::of_all(name("b")),
                filter: Filter {
                    stream: Some(NameMatch::Prefixes(vec!["order-".into()])),
                    event_type: Some(NameMatch::Regex("^(?!x)".into())),
                    category: Some(Category::new("order").unwrap()),
                    tags: vec![Tag::new("a:b").unwrap()],
                    system: SystemStreams::Include,
                },
                settings: GroupSettings {
                    start: GroupStart::From(7),
                    resolve_links: true,
                    extra_statistics: true,
                    message_timeout: Duration::from_millis(1),
                    strategy: ConsumerStrategy::PinnedByCorrelation,
                    ..GroupSettings::default()
                },
            },
            begin: 7,
        };
        let mut ends = of_all.clone();
        ends.group.settings.start = GroupStart::End;
        ends.group.filter.stream = Some(NameMatch::AnyOf(vec!["a".into(), "b".into()]));
        let groups = [of_stream, of_all, ends];
        let data = encode(&groups, None, Timestamp::from_nanos(0));
        assert_eq!(decode(&data).unwrap().records, groups);
        assert!(matches!(decode(b"x"), Err(Error::Corrupted { .. })));
        assert!(decode(br#"{"entries":[{"group":"g"}]}"#).is_err());
    }
}
