//! Arbitrary values of the vocabulary.

use bytes::Bytes;
use icecore_core::{
    Append, AppendBuilder, Category, Condition, ContentType, EventData, EventType,
    ExpectedRevision, Filter, ImportTimes, MissedEvents, NameMatch, Position, Query, QueryItem,
    RecordedEvent, Refusal, Revision, StoreId, StreamName, StreamPlace, StreamState, SystemStreams,
    Tag, Timestamp, Violation, ViolationKind,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

pub(super) fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

pub(super) fn store_id() -> impl Strategy<Value = StoreId> {
    uuid().prop_map(StoreId::new)
}

pub(super) fn stream() -> impl Strategy<Value = StreamName> {
    "[a-zé$][a-z0-9-]{0,20}".prop_map(|name| StreamName::derived(name).unwrap())
}

pub(super) fn category() -> impl Strategy<Value = Category> {
    "[a-z$]{1,12}".prop_map(|name| Category::new(name).unwrap())
}

pub(super) fn revision() -> impl Strategy<Value = Revision> {
    any::<u64>().prop_map(Revision::new)
}

pub(super) fn position() -> impl Strategy<Value = Position> {
    any::<u64>().prop_map(Position::new)
}

pub(super) fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_nanos)
}

pub(super) fn system() -> impl Strategy<Value = SystemStreams> {
    prop_oneof![Just(SystemStreams::Exclude), Just(SystemStreams::Include)]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn event_type() -> impl Strategy<Value = EventType> {
    "[A-Zß]{1,20}".prop_map(|text| EventType::new(text).unwrap())
}

fn tags() -> impl Strategy<Value = Vec<Tag>> {
    vec("[a-z]{1,5}:[a-z:]{1,5}", 0..4)
        .prop_map(|tags| tags.into_iter().map(|tag| Tag::new(tag).unwrap()).collect())
}

fn content_type() -> impl Strategy<Value = ContentType> {
    prop_oneof![
        Just(ContentType::JSON),
        Just(ContentType::OCTET_STREAM),
        "[a-z]{1,9}/[a-z]{1,9}".prop_map(|text| ContentType::new(text).unwrap()),
    ]
}

prop_compose! {
    pub(super) fn event_data()(
        id in uuid(),
        event_type in event_type(),
        content_type in content_type(),
        data in bytes(),
        metadata in bytes(),
        tags in tags(),
    ) -> EventData {
        EventData { id, event_type, content_type, data, metadata, tags }
    }
}

prop_compose! {
    pub(super) fn recorded_event()(
        stream in stream(),
        revision in revision(),
        position in position(),
        event in event_data(),
        recorded_at in timestamp(),
        created_at in option::of(timestamp()),
        erased: bool,
    ) -> RecordedEvent {
        let event = RecordedEvent {
            stream,
            revision,
            position,
            id: event.id,
            event_type: event.event_type,
            content_type: event.content_type,
            data: event.data,
            metadata: event.metadata,
            tags: event.tags,
            recorded_at,
            created_at,
            erased: false,
        };
        if erased { event.into_erased() } else { event }
    }
}

pub(super) fn expected() -> impl Strategy<Value = ExpectedRevision> {
    prop_oneof![
        Just(ExpectedRevision::Any),
        Just(ExpectedRevision::NoStream),
        Just(ExpectedRevision::StreamExists),
        Just(ExpectedRevision::SoftDeleted),
        Just(ExpectedRevision::Tombstoned),
        revision().prop_map(ExpectedRevision::Exact),
    ]
}

pub(super) fn state() -> impl Strategy<Value = StreamState> {
    prop_oneof![
        Just(StreamState::Absent),
        Just(StreamState::OnlyMetadata),
        revision().prop_map(|last| StreamState::Living { last }),
        revision().prop_map(|last| StreamState::SoftDeleted { last }),
        Just(StreamState::Tombstoned),
    ]
}

pub(super) fn place() -> impl Strategy<Value = StreamPlace> {
    (revision(), position(), timestamp()).prop_map(|(revision, position, recorded_at)| {
        StreamPlace {
            revision,
            position,
            recorded_at,
        }
    })
}

pub(super) fn condition() -> impl Strategy<Value = Condition> {
    let item =
        (vec(event_type(), 0..3), tags()).prop_map(|(types, tags)| QueryItem { types, tags });
    (vec(item, 0..3), position()).prop_map(|(items, after)| Condition {
        query: Query::new(items).unwrap(),
        after,
    })
}

/// Appends with events; with `times`, as an import may have them: some ask for a recorded time, and
/// there is no condition.
pub(super) fn append(times: bool) -> impl Strategy<Value = Append> {
    let import_times =
        (timestamp(), option::of(timestamp())).prop_map(|(recorded_at, created_at)| ImportTimes {
            recorded_at,
            created_at,
        });
    let import_times = option::of(import_times).prop_map(move |at| at.filter(|_| times));
    let events = vec(
        (event_data(), any::<prop::sample::Index>(), import_times),
        1..6,
    );
    let expectations = vec(
        prop_oneof![
            Just(ExpectedRevision::NoStream),
            Just(ExpectedRevision::SoftDeleted),
            revision().prop_map(ExpectedRevision::Exact),
        ],
        1..4,
    );
    (expectations, events, option::of(condition()), 0_usize..9).prop_map(
        move |(expectations, events, condition, missed_limit)| {
            let mut append = AppendBuilder::default();
            let streams = expectations.len();
            for (n, expected) in expectations.into_iter().enumerate() {
                let name = StreamName::new(format!("order-{n}")).unwrap();
                append.stream(name, expected).unwrap();
            }
            for (event, stream, at) in events {
                append.event(stream.index(streams), event, at).unwrap();
            }
            if let Some(condition) = condition.filter(|_| !times) {
                append.condition(condition);
                append.missed_limit(missed_limit);
            }
            append.build().unwrap()
        },
    )
}

fn names() -> impl Strategy<Value = NameMatch> {
    let list = || vec("[a-zé]{1,9}".prop_map(Into::into), 1..4);
    prop_oneof![
        list().prop_map(NameMatch::AnyOf),
        list().prop_map(NameMatch::Prefixes),
        "[a-z.*]{1,9}".prop_map(|regex| NameMatch::Regex(regex.into())),
    ]
}

prop_compose! {
    /// Filters; those of one stream ask nothing of its name.
    pub(super) fn filter(one_stream: bool)(
        stream in option::of(names()),
        event_type in option::of(names()),
        category in option::of(category()),
        tags in tags(),
        system in system(),
    ) -> Filter {
        Filter {
            stream: stream.filter(|_| !one_stream),
            event_type,
            category: category.filter(|_| !one_stream),
            tags,
            system,
        }
    }
}

pub(super) fn refusal() -> impl Strategy<Value = Refusal> {
    let kind = prop_oneof![
        Just(ViolationKind::WrongExpectedRevision),
        Just(ViolationKind::StreamDeleted),
        Just(ViolationKind::PartlyWritten),
    ];
    let violation =
        (stream(), expected(), state(), kind).prop_map(|(stream, expected, state, kind)| {
            Violation {
                stream,
                expected,
                state,
                kind,
            }
        });
    let missed =
        (stream(), vec(recorded_event(), 0..3), any::<bool>()).prop_map(|(stream, events, end)| {
            MissedEvents {
                stream,
                events,
                end,
            }
        });
    (
        vec(violation, 0..4),
        option::of(position()),
        vec(missed, 0..3),
    )
        .prop_map(|(violations, condition, missed)| Refusal {
            missed,
            ..Refusal::new(violations, condition)
        })
}
