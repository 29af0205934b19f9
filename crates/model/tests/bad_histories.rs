//! Histories made by hand: one that is as it must be, and with each test one thing that must not be.
//! A checker that finds nothing wrong with the latter would find nothing wrong with any store.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use icecore_core::{
    Append, AppendBuilder, Appended, Condition, DeleteKind, Error, EventData, ExpectedRevision,
    Filter, Position, Query, Read, RecordedEvent, Refusal, Revision, Start, StoreId,
    StreamAppended, StreamName, StreamState, Subscribe, SubscribeFrom, SubscriptionMessage, Tag,
    Timestamp, Violation, ViolationKind, event_types,
};
use icecore_model::{Connection, History, Kind, Outcome, Request, Tick, Write, check};
use uuid::Uuid;

use ExpectedRevision::{Any, Exact, NoStream};

fn store_id() -> StoreId {
    StoreId::new(Uuid::from_u128(7))
}

fn name(stream: &str) -> StreamName {
    StreamName::new(stream.to_owned()).unwrap()
}

fn data(id: u128) -> EventData {
    let mut event = EventData::json(Uuid::from_u128(id), "T", "{}").unwrap();
    event.tags = vec![Tag::new(format!("n:{id}")).unwrap()];
    event
}

fn append(stream: &str, expected: ExpectedRevision, ids: &[u128]) -> Append {
    let events = ids.iter().map(|id| data(*id)).collect();
    Append::to_stream(name(stream), expected, events).unwrap()
}

/// The event of this id at its place.
fn recorded(stream: &str, revision: u64, position: u64, id: u128) -> RecordedEvent {
    let EventData {
        id,
        event_type,
        content_type,
        data,
        metadata,
        tags,
    } = data(id);
    RecordedEvent {
        stream: name(stream),
        revision: Revision::new(revision),
        position: Position::new(position),
        id,
        event_type,
        content_type,
        data,
        metadata,
        tags,
        recorded_at: Timestamp::from_nanos(1_000),
        created_at: None,
        erased: false,
    }
}

fn appended(last_position: u64, streams: &[(&str, u64)]) -> Outcome {
    let streams = streams.iter().map(|(stream, revision)| StreamAppended {
        stream: name(stream),
        last_revision: Some(Revision::new(*revision)),
    });
    Outcome::Appended(Appended {
        store_id: store_id(),
        last_position: Position::new(last_position),
        streams: streams.collect(),
    })
}

fn wrong(stream: &str, expected: ExpectedRevision, state: StreamState) -> Outcome {
    let violation = Violation {
        stream: name(stream),
        expected,
        state,
        kind: ViolationKind::WrongExpectedRevision,
    };
    Outcome::Refused(Refusal::new(vec![violation], None))
}

fn living(last: u64) -> StreamState {
    StreamState::Living {
        last: Revision::new(last),
    }
}

fn write(sent: Tick, answered: Tick, request: impl Into<Sent>, outcome: Outcome) -> Write {
    Write {
        sent,
        answered,
        request: request.into().0,
        outcome,
    }
}

struct Sent(Request);

impl From<Append> for Sent {
    fn from(append: Append) -> Self {
        Self(Request::Append(append))
    }
}

impl From<Request> for Sent {
    fn from(request: Request) -> Self {
        Self(request)
    }
}

/// `a` gets 1 and 2, then `b` gets 3; a third append is refused and the first is sent again.
fn good() -> (History, Vec<RecordedEvent>) {
    let log = vec![
        recorded("a", 0, 1, 1),
        recorded("a", 1, 2, 2),
        recorded("b", 0, 3, 3),
    ];
    let history = History {
        writes: vec![
            write(
                0,
                1,
                append("a", NoStream, &[1, 2]),
                appended(2, &[("a", 1)]),
            ),
            write(2, 5, append("b", Any, &[3]), appended(3, &[("b", 0)])),
            write(
                3,
                6,
                append("a", NoStream, &[4]),
                wrong("a", NoStream, living(1)),
            ),
            write(
                7,
                8,
                append("a", NoStream, &[1, 2]),
                appended(2, &[("a", 1)]),
            ),
            write(9, Tick::MAX, append("a", Any, &[5, 6]), Outcome::Unknown),
        ],
        reads: vec![read(
            10,
            11,
            Read::all(),
            Ok((log.clone(), Position::new(3))),
        )],
        connections: vec![connection(
            Subscribe::all(),
            vec![
                SubscriptionMessage::Events(log[..2].to_vec()),
                SubscriptionMessage::CaughtUp {
                    position: Position::new(2),
                },
                SubscriptionMessage::Events(log[2..].to_vec()),
            ],
        )],
    };
    (history, log)
}

type Found = icecore_core::Result<(Vec<RecordedEvent>, Position)>;

fn read(sent: Tick, answered: Tick, request: Read, result: Found) -> icecore_model::Read {
    icecore_model::Read {
        sent,
        answered,
        request,
        result,
    }
}

/// A connection of late: everything in the log is old.
fn connection(request: Subscribe, messages: Vec<SubscriptionMessage>) -> Connection {
    let confirmed = SubscriptionMessage::Confirmed {
        store_id: store_id(),
    };
    let messages = [confirmed].into_iter().chain(messages);
    Connection {
        sent: 20,
        request,
        messages: (21..).zip(messages).collect(),
        ended: None,
    }
}

/// What is found when the good history is changed like this.
#[track_caller]
fn finds(wanted: &[Kind], change: impl FnOnce(&mut History, &mut Vec<RecordedEvent>)) {
    let (mut history, mut log) = good();
    change(&mut history, &mut log);
    let violations = check(&history, &log);
    let mut kinds: Vec<_> = violations.iter().map(|violation| violation.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, wanted, "{violations:#?}");
}

#[test]
fn nothing_is_wrong_with_a_good_history() {
    finds(&[], |_, _| {});
}

#[test]
fn an_unknown_append_may_be_there() {
    finds(&[], |_, log| {
        log.extend([recorded("a", 2, 4, 5), recorded("a", 3, 5, 6)]);
    });
}

#[test]
fn an_unknown_append_is_whole_or_absent() {
    finds(&[Kind::Whole], |_, log| log.push(recorded("a", 2, 4, 5)));
}

#[test]
fn the_log_is_dense() {
    finds(&[Kind::Log], |_, log| log[2].position = Position::new(4));
    finds(&[Kind::Log], |_, log| log[1].revision = Revision::new(2));
    finds(&[Kind::Log], |_, log| {
        log[2].recorded_at = Timestamp::from_nanos(999);
    });
}

#[test]
fn nobody_sent_this() {
    finds(&[Kind::Whole], |_, log| log.push(recorded("a", 2, 4, 77)));
    finds(&[Kind::Whole], |history, log| {
        // Sent, but its data is another's.
        log.extend([recorded("a", 2, 4, 5), recorded("a", 3, 5, 6)]);
        log[4].data = "[]".into();
        assert_eq!(history.writes.len(), 5);
    });
}

#[test]
fn an_append_is_written_once() {
    finds(&[Kind::Whole], |_, log| {
        log.extend([recorded("a", 2, 4, 1), recorded("a", 3, 5, 2)]);
    });
}

#[test]
fn an_accepted_append_was_admitted_at_its_place() {
    finds(&[Kind::Whole, Kind::Answer], |history, _| {
        history.writes[1].request = Request::Append(append("b", Exact(Revision::FIRST), &[3]));
    });
    finds(&[Kind::Whole], |history, _| {
        // The event at 1 is excluded.
        let mut built = AppendBuilder::default();
        let stream = built.stream(name("b"), Any).unwrap();
        built.event(stream, data(3), None).unwrap();
        built.condition(Condition {
            query: Query::default(),
            after: Position::START,
        });
        history.writes[1].request = Request::Append(built.build().unwrap());
    });
}

#[test]
fn what_was_acknowledged_is_there() {
    finds(&[Kind::Answer], |history, log| {
        log.pop();
        history.reads.clear();
        history.connections.clear();
    });
}

#[test]
fn an_answer_says_where_it_stands() {
    finds(&[Kind::Answer], |history, _| {
        history.writes[1].outcome = appended(3, &[("b", 1)]);
    });
    finds(&[Kind::Answer], |history, _| {
        history.writes[1].outcome = appended(2, &[("b", 0)]);
    });
}

#[test]
fn a_retry_is_answered_as_the_original() {
    finds(&[Kind::Answer], |history, _| {
        history.writes[3].outcome = appended(3, &[("a", 1)]);
    });
    finds(&[Kind::Refusal], |history, _| {
        history.writes[3].outcome = wrong("a", NoStream, living(1));
    });
}

#[test]
fn what_was_answered_before_stands_before() {
    // `b` is answered before `a` is sent, and `a` stands before it.
    finds(&[Kind::RealTime], |history, _| {
        (history.writes[1].sent, history.writes[1].answered) = (0, 1);
        (history.writes[0].sent, history.writes[0].answered) = (2, 3);
    });
}

#[test]
fn what_was_read_before_stands_before() {
    finds(
        &[Kind::RealTime, Kind::Answer, Kind::Read, Kind::Subscription],
        |history, _| {
            (history.reads[0].sent, history.reads[0].answered) = (2, 3);
            (history.writes[1].sent, history.writes[1].answered) = (30, 31);
        },
    );
}

#[test]
fn what_was_refused_is_not_there() {
    finds(&[Kind::Nothing], |history, _| {
        history.writes[1].outcome = Outcome::NotWritten;
    });
    finds(&[Kind::Nothing], |history, _| {
        history.writes[1].outcome = wrong("b", Any, living(1));
    });
}

#[test]
fn a_refusal_is_right_at_some_moment() {
    // It says a state that there never was.
    finds(&[Kind::Refusal], |history, _| {
        history.writes[2].outcome = wrong("a", NoStream, living(0));
    });
    // It is right, but too late: it was sent before and answered before `a` was there.
    finds(&[Kind::Refusal], |history, _| {
        history.writes[2].answered = 4;
        (history.writes[2].sent, history.writes[2].answered) = (0, 1);
        (history.writes[0].sent, history.writes[0].answered) = (2, 3);
        (history.writes[1].sent, history.writes[1].answered) = (4, 5);
    });
    // The stream is as expected all the time.
    finds(&[Kind::Refusal], |history, _| {
        let request = append("c", NoStream, &[4]);
        let refused = wrong("c", NoStream, StreamState::Absent);
        history.writes[2] = write(3, 6, request, refused);
    });
}

#[test]
fn missed_events_are_events_of_the_stream() {
    finds(&[Kind::Refusal], |history, log| {
        let Outcome::Refused(refusal) = &mut history.writes[2].outcome else {
            panic!("it is refused");
        };
        refusal.missed.push(icecore_core::MissedEvents {
            stream: name("a"),
            events: vec![log[2].clone()],
            end: true,
        });
    });
}

#[test]
fn a_deletion_is_right_at_some_moment() {
    let delete = |stream| Request::Delete(name(stream), Any, DeleteKind::Soft);
    finds(&[], |history, _| {
        history
            .writes
            .push(write(12, 13, delete("c"), Outcome::Forbidden));
    });
    finds(&[Kind::Refusal], |history, _| {
        history
            .writes
            .push(write(12, 13, delete("a"), Outcome::Forbidden));
    });
}

#[test]
fn a_read_is_a_prefix_of_the_log() {
    let with = |change: fn(&mut Vec<RecordedEvent>, &mut u64)| {
        move |history: &mut History, log: &mut Vec<RecordedEvent>| {
            let (mut events, mut end) = (log.clone(), 3);
            change(&mut events, &mut end);
            history.reads[0].result = Ok((events, Position::new(end)));
        }
    };
    finds(&[Kind::Read], with(|events, _| drop(events.pop())));
    finds(&[Kind::Read], with(|events, _| drop(events.remove(1))));
    finds(&[Kind::Read], with(|events, _| events.reverse()));
    finds(&[Kind::Read], with(|events, _| events[0].data = "1".into()));
    // It ends before what was answered when it was sent.
    let stale = |events: &mut Vec<RecordedEvent>, end: &mut u64| {
        events.truncate(2);
        *end = 2;
    };
    finds(&[Kind::Read], with(stale));
}

#[test]
fn a_read_shows_no_part_of_an_append() {
    finds(&[Kind::Read], |history, log| {
        history.writes[0].answered = 40;
        history.writes[3].sent = 41;
        history.writes[3].answered = 42;
        history.writes[1].answered = 43;
        history.connections.clear();
        let first = (log[..1].to_vec(), Position::new(1));
        history.reads[0] = read(10, 11, Read::all(), Ok(first));
    });
}

#[test]
fn a_read_of_a_stream_says_how_it_stands() {
    let of = |stream: &str| Read::stream(name(stream));
    let missing = |stream: &str| Error::StreamNotFound {
        stream: name(stream),
    };
    finds(&[], |history, _| {
        history.reads.push(read(12, 13, of("c"), Err(missing("c"))));
    });
    finds(&[Kind::Read], |history, _| {
        history.reads.push(read(12, 13, of("a"), Err(missing("a"))));
    });
    finds(&[Kind::Read], |history, log| {
        let both = (log[..2].to_vec(), Position::new(3));
        history.reads.push(read(12, 13, of("b"), Ok(both)));
    });
}

#[test]
fn a_read_shows_nothing_hidden() {
    let truncate = Request::Truncate(name("a"), Revision::new(1));
    let truncated = |history: &mut History, log: &mut Vec<RecordedEvent>| {
        let metadata = EventData {
            data: r#"{"$tb":1}"#.into(),
            ..EventData::json(Uuid::from_u128(9), event_types::METADATA, "").unwrap()
        };
        let event = RecordedEvent {
            event_type: metadata.event_type,
            data: metadata.data,
            tags: Vec::new(),
            ..recorded("b", 0, 4, 9)
        };
        let stream = StreamName::derived("$$a").unwrap();
        log.push(RecordedEvent { stream, ..event });
        let streams = [("$$a", 0), ("a", 1)];
        let outcome = appended(4, &streams);
        history
            .writes
            .push(write(12, 13, truncate.clone(), outcome));
    };
    finds(&[], |history, log| {
        truncated(history, log);
        let shown = (log[1..2].to_vec(), Position::new(4));
        history
            .reads
            .push(read(14, 15, Read::stream(name("a")), Ok(shown)));
    });
    finds(&[Kind::Read], |history, log| {
        truncated(history, log);
        let shown = (log[..2].to_vec(), Position::new(4));
        history
            .reads
            .push(read(14, 15, Read::stream(name("a")), Ok(shown)));
    });
}

/// What is found when the good history has this connection too.
#[track_caller]
fn hears(wanted: &[Kind], request: Subscribe, messages: Vec<SubscriptionMessage>) {
    finds(wanted, |history, _| {
        history.connections.push(connection(request, messages));
    });
}

fn events(places: &[usize]) -> SubscriptionMessage {
    let (_, log) = good();
    SubscriptionMessage::Events(places.iter().map(|place| log[*place].clone()).collect())
}

fn caught_up(position: u64) -> SubscriptionMessage {
    SubscriptionMessage::CaughtUp {
        position: Position::new(position),
    }
}

#[test]
fn a_subscription_misses_and_doubles_nothing() {
    let bad = [Kind::Subscription];
    hears(
        &[],
        Subscribe::all(),
        vec![events(&[0, 1, 2]), caught_up(3)],
    );
    hears(&bad, Subscribe::all(), vec![events(&[0, 2])]);
    hears(
        &bad,
        Subscribe::all(),
        vec![events(&[0, 1]), events(&[1, 2])],
    );
    hears(&bad, Subscribe::all(), vec![events(&[1, 0])]);
    hears(&bad, Subscribe::all(), vec![events(&[0, 1]), caught_up(3)]);
    hears(&bad, Subscribe::all(), vec![events(&[0, 1]), caught_up(1)]);
    let skipped = SubscriptionMessage::Checkpoint(Position::new(3));
    hears(&bad, Subscribe::all(), vec![events(&[0, 1]), skipped]);
    hears(&bad, Subscribe::all(), vec![caught_up(3)]);
}

#[test]
fn a_subscription_begins_where_it_was_asked_to() {
    let after = |position| Subscribe {
        from: SubscribeFrom::All(Start::After(Position::new(position))),
        ..Subscribe::all()
    };
    hears(&[], after(2), vec![events(&[2]), caught_up(3)]);
    hears(&[Kind::Subscription], after(2), vec![events(&[1, 2])]);
    hears(&[Kind::Subscription], after(1), vec![events(&[2])]);
    let from_end = Subscribe {
        from: SubscribeFrom::All(Start::End),
        ..Subscribe::all()
    };
    hears(&[], from_end.clone(), vec![caught_up(3)]);
    hears(&[Kind::Subscription], from_end, vec![events(&[2])]);
}

#[test]
fn a_subscription_delivers_what_was_asked_for() {
    let of_b = Subscribe::stream(name("b"));
    hears(&[], of_b.clone(), vec![events(&[2]), caught_up(3)]);
    hears(&[Kind::Subscription], of_b.clone(), vec![events(&[0])]);
    hears(&[Kind::Subscription], of_b, vec![caught_up(3)]);
    let tagged = Subscribe {
        filter: Filter {
            tags: vec![Tag::new("n:2").unwrap()],
            ..Filter::default()
        },
        ..Subscribe::all()
    };
    hears(&[], tagged.clone(), vec![events(&[1]), caught_up(3)]);
    hears(&[Kind::Subscription], tagged, vec![events(&[0, 1])]);
}

#[test]
fn a_subscription_shows_only_what_stays() {
    // It was shown, and then it was not there any more.
    let lost = SubscriptionMessage::Events(vec![recorded("a", 2, 4, 5)]);
    let messages = vec![events(&[0, 1, 2]), lost];
    hears(&[Kind::Subscription], Subscribe::all(), messages);
}

#[test]
fn a_subscription_shows_nothing_before_it_was_sent() {
    finds(
        &[Kind::RealTime, Kind::Read, Kind::Subscription],
        |history, _| {
            (history.writes[1].sent, history.writes[1].answered) = (50, 51);
        },
    );
}

#[test]
fn a_subscription_is_confirmed_once_and_ends_for_a_reason() {
    finds(&[Kind::Subscription], |history, _| {
        drop(history.connections[0].messages.remove(0));
    });
    finds(&[Kind::Subscription], |history, _| {
        let again = history.connections[0].messages[0].clone();
        history.connections[0].messages.push(again);
    });
    finds(&[Kind::Subscription], |history, _| {
        let stream = name("a");
        history.connections[0].ended = Some(Error::StreamDeleted { stream });
    });
    finds(&[Kind::Subscription], |history, _| {
        history.connections[0].ended = Some(Error::invalid("after", "is beyond the end"));
    });
}
