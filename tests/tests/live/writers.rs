//! Appends: who wins a race, in which order a session is decided, what a refusal tells, what a retry
//! gets.

use crate::{event, exact, fill, sized, stream};
use futures::future::join_all;
use icecore_client::limits::{APPEND_BYTES_MAX, EVENT_BYTES_MAX};
use icecore_client::{
    Append, AppendBuilder, Client, Condition, Error, EventData, EventDataExt, EventType,
    ExpectedRevision, Position, Query, QueryItem, Refusal, Revision, StreamState, Tag,
    ViolationKind,
};
use icecore_testing::TestServer;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Barrier;
use uuid::Uuid;

const WRITERS: usize = 64;

/// Revisions that the writers race for.
const RACES: u64 = 40;

/// What an append was refused for.
#[track_caller]
fn refusal<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Refusal {
    match outcome {
        Err(Error::Refused(refusal)) => *refusal,
        other => panic!("it was not refused: {other:?}"),
    }
}

/// Goes for each revision in turn; gives the ids of the events with which it won, by revision.
async fn race(client: Client, start: Arc<Barrier>) -> HashMap<u64, Uuid> {
    let counter = stream("counter-1");
    let mut won = HashMap::new();
    let mut next = 0;
    start.wait().await;
    while next < RACES {
        let expected = match next.checked_sub(1) {
            None => ExpectedRevision::NoStream,
            Some(last) => exact(last),
        };
        let mine = event("Counted");
        let id = mine.id;
        match client.append(&counter, expected, [mine]).await {
            Ok(appended) => {
                assert_eq!(appended.streams[0].last_revision, Some(Revision::new(next)));
                won.insert(next, id);
                next += 1;
            }
            Err(Error::Refused(refused)) => {
                let StreamState::Living { last } = refused.violations[0].state else {
                    panic!("refused for {refused}");
                };
                assert!(last.get() >= next, "refused although {last} < {next}");
                next = last.get() + 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    won
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_writers_exactly_one_wins_each_revision() {
    let server = TestServer::start().await;
    let clients: Vec<_> = (0..8).map(|_| server.client()).collect();
    let start = Arc::new(Barrier::new(WRITERS));
    let writers = clients.iter().cycle().take(WRITERS);
    let writers = writers.map(|client| tokio::spawn(race(client.clone(), Arc::clone(&start))));
    let mut winners = HashMap::new();
    for won in join_all(writers).await {
        for (revision, id) in won.unwrap() {
            let before = winners.insert(revision, id);
            assert_eq!(before, None, "revision {revision} was won twice");
        }
    }
    let events = clients[0].read_stream(&stream("counter-1")).await.unwrap();
    assert_eq!(events.len() as u64, RACES);
    for event in events {
        assert_eq!(winners[&event.revision.get()], event.id);
    }
    server.stop().await;
}

/// Each append expects what the one before it does, so any other order would be refused.
#[tokio::test]
async fn a_session_decides_ten_thousand_appends_in_their_order() {
    const APPENDS: u64 = 10_000;
    let server = TestServer::start().await;
    let client = server.client();
    let mut session = client.append_session().await.unwrap();
    let (answers, mut pending) = tokio::sync::mpsc::unbounded_channel();
    let sending = async {
        for n in 0..APPENDS {
            let expected = n.checked_sub(1).map_or(ExpectedRevision::NoStream, exact);
            let append = Append::to_stream(stream("order-1"), expected, vec![event("Noted")]);
            let sent = session.append(&append.unwrap()).await.unwrap();
            answers.send(sent).unwrap();
        }
        drop(answers);
    };
    let receiving = async {
        let mut n = 0;
        while let Some(answer) = pending.recv().await {
            let appended = answer.await.unwrap();
            assert_eq!(appended.last_position, Position::new(n + 1));
            n += 1;
        }
        assert_eq!(n, APPENDS);
    };
    tokio::join!(sending, receiving);
    session.close().await;
    server.stop().await;
}

/// The order holds as well when the server has just begun and knows none of the streams.
#[tokio::test]
async fn a_session_decides_in_order_when_streams_are_cold() {
    const ROUNDS: u64 = 60;
    let mut server = TestServer::start().await;
    let client = server.client();
    let streams = ["order-1", "order-2", "order-3"];
    for name in streams {
        fill(&client, name, 1).await;
    }
    server.restart().await;
    let mut session = client.append_session().await.unwrap();
    let mut answers = Vec::new();
    for n in 0..ROUNDS {
        for name in streams {
            let append = Append::to_stream(stream(name), exact(n), vec![event("Noted")]);
            answers.push(session.append(&append.unwrap()).await.unwrap());
        }
    }
    for (n, answer) in answers.into_iter().enumerate() {
        let appended = answer.await;
        assert!(appended.is_ok(), "append {n}: {appended:?}");
    }
    server.stop().await;
}

/// A session takes the appends of others that are refused and goes on.
#[tokio::test]
async fn a_refusal_does_not_end_a_session() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let mut session = client.append_session().await.unwrap();
    let mut outcomes = Vec::new();
    for expected in [ExpectedRevision::NoStream, exact(7), exact(0)] {
        let append = Append::to_stream(stream("order-1"), expected, vec![event("Noted")]);
        outcomes.push(session.append(&append.unwrap()).await.unwrap());
    }
    let mut outcomes = outcomes.into_iter();
    outcomes.next().unwrap().await.unwrap();
    let refused = refusal(outcomes.next().unwrap().await);
    assert_eq!(refused.violations[0].expected, exact(7));
    let third = outcomes.next().unwrap().await.unwrap();
    assert_eq!(third.last_position, Position::new(2));
    server.stop().await;
}

/// The largest append there is goes in parts and comes back whole.
#[tokio::test]
async fn an_append_of_64_mib_goes_in_parts() {
    let server = TestServer::start().await;
    let client = server.client();
    let overhead = sized("Large", 0).size();
    let mut events: Vec<_> = (0..3)
        .map(|_| sized("Large", EVENT_BYTES_MAX - overhead))
        .collect();
    events.extend((0..1_000).map(|_| event("Small")));
    let left = APPEND_BYTES_MAX - events.iter().map(EventData::size).sum::<usize>();
    events.push(sized("Large", left - overhead));
    let append = Append::to_stream(stream("large-1"), ExpectedRevision::NoStream, events);
    let append = append.unwrap();
    assert_eq!(append.size(), APPEND_BYTES_MAX);

    let appended = client.append_request(&append).await.unwrap();
    assert_eq!(appended.last_position, Position::new(1_004));
    let again = client.append_request(&append).await.unwrap();
    assert_eq!(again, appended, "a retry gets the same answer");
    let found = client.read_stream(&stream("large-1")).await.unwrap();
    assert_eq!(found.len(), append.events().len());
    for (found, sent) in found.iter().zip(append.events()) {
        assert_eq!(found.id, sent.event.id);
        assert!(found.data == sent.event.data, "the data of {}", found.id);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_brings_the_missed_events_when_asked() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    fill(&client, "order-1", 5).await;
    let refused = async |missed_limit| {
        let mut append = AppendBuilder::default();
        let order = append.stream(stream("order-1"), exact(1)).unwrap();
        append.event(order, event("Late"), None).unwrap();
        append.missed_limit(missed_limit);
        refusal(client.append_request(&append.build().unwrap()).await)
    };
    let nothing = refused(0).await;
    assert!(nothing.missed.is_empty());
    let Refusal {
        violations, missed, ..
    } = refused(2).await;
    assert_eq!(
        violations[0].state,
        StreamState::Living {
            last: Revision::new(4)
        }
    );
    assert_eq!(missed[0].events.len(), 2);
    assert!(!missed[0].end);
    let all = refused(1_000).await.missed;
    let revisions: Vec<_> = all[0].events.iter().map(|e| e.revision.get()).collect();
    assert_eq!((revisions, all[0].end), (vec![2, 3, 4], true));
    let stored = client.read_stream(&stream("order-1")).await.unwrap();
    assert_eq!(all[0].events, stored[2..]);
    server.stop().await;
}

/// Every expectation that does not hold is listed, also of streams that are only checked, and then no
/// stream gets an event.
#[tokio::test]
async fn an_append_to_several_streams_is_whole_or_refused_with_every_violation() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    fill(&client, "order-1", 1).await;
    let append = |checked| {
        let mut append = AppendBuilder::default();
        let order = append.stream(stream("order-1"), exact(0)).unwrap();
        let stock = append
            .stream(stream("stock-1"), ExpectedRevision::NoStream)
            .unwrap();
        append.stream(stream("customer-1"), checked).unwrap();
        append.event(order, event("OrderPaid"), None).unwrap();
        append.event(stock, event("Reserved"), None).unwrap();
        append.event(order, event("OrderShipped"), None).unwrap();
        append.build().unwrap()
    };
    let refused = refusal(
        client
            .append_request(&append(ExpectedRevision::StreamExists))
            .await,
    );
    assert_eq!(refused.violations.len(), 1);
    assert_eq!(refused.violations[0].stream, stream("customer-1"));
    assert_eq!(client.stats().await.unwrap().last_position, Position::FIRST);

    let whole = append(ExpectedRevision::NoStream);
    let appended = client.append_request(&whole).await.unwrap();
    assert_eq!(appended.last_position, Position::new(4));
    let types: Vec<_> = client.read_all().from(Position::new(2)).await.unwrap();
    let types: Vec<_> = types.iter().map(|e| e.event_type.as_str()).collect();
    assert_eq!(types, ["OrderPaid", "Reserved", "OrderShipped"]);

    let refused = refusal(
        client
            .append_request(&append(ExpectedRevision::StreamExists))
            .await,
    );
    let streams: Vec<_> = refused
        .violations
        .iter()
        .map(|v| v.stream.as_str())
        .collect();
    assert_eq!(streams, ["order-1", "stock-1", "customer-1"]);
    server.stop().await;
}

/// The same ids get the same answer and write nothing; some of them among others are refused.
#[tokio::test]
async fn a_retry_is_written_once() {
    let server = TestServer::start().await;
    let client = server.client();
    let order = stream("order-1");
    let (one, two) = (event("OrderPlaced"), event("OrderPaid"));
    for expected in [ExpectedRevision::Any, ExpectedRevision::NoStream] {
        let order = stream(&format!("order-{expected}"));
        let both = [one.clone(), two.clone()];
        let first = client.append(&order, expected, both.clone()).await.unwrap();
        fill(&client, order.as_str(), 1).await;
        let again = client.append(&order, expected, both).await.unwrap();
        assert_eq!(again, first);
        assert_eq!(client.read_stream(&order).await.unwrap().len(), 3);
    }
    let none = ExpectedRevision::NoStream;
    client.append(&order, none, [one.clone()]).await.unwrap();
    let mixed = [one, event("OrderShipped")];
    let refused = refusal(client.append(&order, none, mixed.clone()).await);
    assert_eq!(refused.violations[0].kind, ViolationKind::PartlyWritten);
    let any = ExpectedRevision::Any;
    let refused = refusal(client.append(&order, any, mixed).await);
    assert_eq!(refused.violations[0].kind, ViolationKind::PartlyWritten);
    server.stop().await;
}

/// A seat is given once, although the two bookings write to different streams.
#[tokio::test]
async fn a_condition_over_types_and_tags_holds_over_the_wire() {
    let server = TestServer::start().await;
    let client = server.client();
    fill(&client, "noise-1", 3).await;
    let book = |booking: &str, after: u64| {
        let taken = QueryItem {
            types: vec![EventType::new("SeatBooked").unwrap()],
            tags: vec![Tag::new("seat:12A").unwrap()],
        };
        let mut append = AppendBuilder::default();
        let to = append.stream(stream(booking), ExpectedRevision::NoStream);
        let booked = event("SeatBooked").with_tag("seat:12A").unwrap();
        append.event(to.unwrap(), booked, None).unwrap();
        append.condition(Condition {
            query: Query::new(vec![taken]).unwrap(),
            after: Position::new(after),
        });
        append.build().unwrap()
    };
    let outcomes = join_all(
        [book("booking-1", 3), book("booking-2", 3)]
            .iter()
            .map(|append| client.append_request(append)),
    )
    .await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 1));
    for lost in lost {
        assert_eq!(refusal(lost).condition, Some(Position::new(4)));
    }
    let refused = refusal(client.append_request(&book("booking-3", 0)).await);
    assert_eq!(refused.condition, Some(Position::new(4)));
    client.append_request(&book("booking-4", 4)).await.unwrap();
    server.stop().await;
}
