//! Groups over the wire: consumers that share, answer, leave and come again; what is parked; appends
//! that finish deliveries.

use crate::{event, fill, stream};
use futures::StreamExt;
use icecore_client::{
    Append, Client, ConsumerStrategy, Error, ExpectedRevision, Filter, Group, GroupEvent,
    GroupEvents, GroupId, GroupName, GroupProblem, GroupSettings, GroupStatus, NackAction,
    NameMatch, ParkedRange, RetryPolicy, Revision,
};
use icecore_testing::TestServer;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

fn of_all(name: &str) -> GroupId {
    GroupId::of_all(GroupName::new(name.to_owned()).unwrap())
}

fn of_stream(name: &str, group: &str) -> GroupId {
    GroupId::of_stream(stream(name), GroupName::new(group.to_owned()).unwrap()).unwrap()
}

async fn create(client: &Client, id: &GroupId, strategy: ConsumerStrategy) {
    let settings = GroupSettings {
        strategy,
        ..GroupSettings::default()
    };
    let group = Group {
        settings,
        ..Group::new(id.clone())
    };
    client.create_group(group).await.unwrap();
}

async fn next(events: &mut GroupEvents) -> GroupEvent {
    let next = tokio::time::timeout(Duration::from_secs(30), events.next()).await;
    next.expect("an event comes").unwrap().unwrap()
}

/// An event as `STREAM/REVISION`.
fn word(event: &GroupEvent) -> String {
    let event = event.event().unwrap();
    format!("{}/{}", event.stream, event.revision)
}

fn problem<T: std::fmt::Debug>(result: Result<T, Error>) -> GroupProblem {
    match result {
        Err(Error::Group { problem, .. }) => problem,
        other => panic!("it should be a problem of the group, but is {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_share_the_events_and_none_is_lost_over_restarts() {
    const EVENTS: usize = 300;
    let mut server = TestServer::start().await;
    let client = server.client();
    let group = of_all("g");
    create(&client, &group, ConsumerStrategy::RoundRobin).await;
    let (seen, mut all) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..3 {
        let mut events = client.consume(&group).buffer_size(20).start();
        let seen = seen.clone();
        tokio::spawn(async move {
            while let Some(Ok(event)) = events.next().await {
                let position = event.event().unwrap().position.get();
                // An answer that does not arrive means that the event comes again.
                let _ = event.ack().await;
                let _ = seen.send(position);
            }
        });
    }
    let mut positions = BTreeSet::new();
    for part in 1..=3 {
        fill(&client, "order-1", EVENTS / 3).await;
        while positions.len() < part * EVENTS / 3 {
            let position = tokio::time::timeout(Duration::from_secs(60), all.recv()).await;
            positions.insert(position.expect("an event comes").unwrap());
        }
        server.restart().await;
    }
    let checkpoint = client.get_group(&group).await.unwrap().last_checkpointed;
    assert!(checkpoint.is_some(), "a shutdown writes it");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_created_listed_changed_and_deleted() {
    let server = TestServer::start().await;
    let client = server.client();
    let (one, all) = (of_stream("order-1", "a"), of_all("b"));
    let filtered = Group {
        filter: Filter {
            event_type: Some(NameMatch::AnyOf(vec!["Noted".into()])),
            ..Filter::default()
        },
        ..Group::new(all.clone())
    };
    client.create_group(filtered.clone()).await.unwrap();
    create(&client, &one, ConsumerStrategy::Pinned).await;
    let again = client.create_group(filtered.clone()).await;
    assert_eq!(problem(again), GroupProblem::Exists);
    let listed = client.list_groups().await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|info| info.group).collect();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0], filtered);

    let mut events = client
        .consume(&one)
        .reconnection(RetryPolicy::NEVER)
        .start();
    fill(&client, "order-1", 1).await;
    assert_eq!(word(&next(&mut events).await), "order-1/0");
    let info = client.get_group(&one).await.unwrap();
    assert_eq!((info.status, info.in_flight_count), (GroupStatus::Live, 1));
    client
        .update_group(&one, GroupSettings::default())
        .await
        .unwrap();
    let end = events.next().await.unwrap().map(drop);
    assert!(
        matches!(problem(end), GroupProblem::Dropped { reason } if reason.contains("settings"))
    );

    let mut events = client.consume(&one).start();
    next(&mut events).await;
    client.delete_group(&one).await.unwrap();
    let end = events.next().await.unwrap().map(drop);
    assert_eq!(problem(end), GroupProblem::NotFound);
    assert!(events.next().await.is_none());
    assert_eq!(
        problem(client.get_group(&one).await),
        GroupProblem::NotFound
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_event_is_parked_shown_and_replayed() {
    let server = TestServer::start().await;
    let client = server.client();
    let group = of_all("g");
    create(&client, &group, ConsumerStrategy::Ordered).await;
    fill(&client, "order-1", 2).await;
    fill(&client, "order-2", 1).await;
    let mut events = client.consume(&group).start();
    let mut words = BTreeSet::new();
    for _ in 0..2 {
        let event = next(&mut events).await;
        words.insert(word(&event));
        if word(&event) == "order-1/0" {
            event.nack(NackAction::Park, "poison").await.unwrap();
        } else {
            event.ack().await.unwrap();
        }
    }
    assert_eq!(
        words,
        BTreeSet::from(["order-1/0".to_owned(), "order-2/0".to_owned()])
    );
    while client.count_parked(&group, ParkedRange::All).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let page = client
        .parked_events(&group, Revision::FIRST, 0)
        .await
        .unwrap();
    let parked = &page.events[0];
    assert_eq!(
        (parked.reason.as_str(), parked.revision),
        ("poison", Revision::FIRST)
    );
    assert_eq!(parked.waiting_stream, Some(stream("order-1")));
    let none = client
        .discard_parked(&group, ParkedRange::One(Revision::new(9)))
        .await;
    assert!(matches!(none, Err(Error::InvalidArgument { field, .. }) if field == "revision"));
    let one = ParkedRange::One(parked.parked_revision);
    assert_eq!(client.replay_parked(&group, one).await.unwrap(), 1);
    for wanted in ["order-1/0", "order-1/1"] {
        let event = next(&mut events).await;
        assert_eq!(word(&event), wanted);
        event.ack().await.unwrap();
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_finishes_a_delivery_once() {
    let server = TestServer::start().await;
    let client = server.client();
    let group = of_stream("in", "g");
    create(&client, &group, ConsumerStrategy::Ordered).await;
    fill(&client, "in", 2).await;
    let mut events = client.consume(&group).buffer_size(1).start();
    let first = next(&mut events).await;
    let effect = || {
        Append::to_stream(
            stream("out"),
            ExpectedRevision::NoStream,
            vec![event("Done")],
        )
    };
    let effect = effect().unwrap();
    let appended = client
        .append_finishing(&effect, first.finish())
        .await
        .unwrap();
    assert_eq!(appended.streams.len(), 1);
    let again = client
        .append_finishing(&effect, first.finish())
        .await
        .unwrap();
    assert_eq!(again, appended);
    let any = ExpectedRevision::Any;
    let other = Append::to_stream(stream("out"), any, vec![event("Done")]).unwrap();
    let lost = client.append_finishing(&other, first.finish()).await;
    assert_eq!(problem(lost), GroupProblem::DeliveryLost);
    assert_eq!(client.read_stream(&stream("out")).await.unwrap().len(), 1);
    assert_eq!(word(&next(&mut events).await), "in/1");
    let info = client.get_group(&group).await.unwrap();
    assert_eq!(info.last_checkpointed, Some(0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_stops_ends_and_others_go_on() {
    let server = TestServer::start().await;
    let client = server.client();
    let group = of_all("g");
    create(&client, &group, ConsumerStrategy::RoundRobin).await;
    let mut stops = client.consume(&group).start();
    fill(&client, "order-1", 1).await;
    let event = next(&mut stops).await;
    event.nack(NackAction::Stop, "enough").await.unwrap();
    assert!(stops.next().await.is_none());
    for _ in 0..2 {
        let mut other = client.consume(&group).start();
        let event = next(&mut other).await;
        assert_eq!(word(&event), "order-1/0");
        assert_eq!(event.delivery().retry_count, 0, "nobody has tried it");
        other.leave().await.unwrap();
    }
    server.stop().await;
}

/// Passes on what comes for the server until it is told to stop, and then keeps the connections open.
async fn relay(server: std::net::SocketAddr, stalls: oneshot::Receiver<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(server).await.unwrap();
        tokio::select! {
            passed = copy_bidirectional(&mut client, &mut server) => drop(passed),
            _ = stalls => std::future::pending().await,
        }
    });
    url
}

#[tokio::test]
async fn nobody_waits_for_ever_for_a_server_that_does_not_let_go() {
    let server = TestServer::start().await;
    let group = of_all("g");
    create(&server.client(), &group, ConsumerStrategy::RoundRobin).await;
    fill(&server.client(), "order-1", 1).await;
    let (stall, stalls) = oneshot::channel();
    let url = relay(server.address(), stalls).await;
    let for_ever = Duration::from_secs(1 << 20);
    let client = Client::builder(url).keep_alive(for_ever, for_ever);
    let mut events = client.connect_lazy().unwrap().consume(&group).start();
    next(&mut events).await.ack().await.unwrap();
    stall.send(()).unwrap();
    tokio::time::pause();
    let left = tokio::time::timeout(for_ever, events.leave()).await;
    let left = left.expect("it gives up");
    assert!(
        matches!(left, Err(Error::OutcomeUnknown { .. })),
        "{left:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_breaks_the_protocol_is_told() {
    use icecore_wire::proto::consume_request::{Ack, Message};
    use icecore_wire::proto::{ConsumeRequest, groups_client::GroupsClient};
    let server = TestServer::start().await;
    let stubs = crate::raw::Stubs::connect(&server).await;
    let mut groups = GroupsClient::new(stubs.channel);
    let ack = Message::Ack(Ack {
        deliveries: vec![1],
    });
    let request = ConsumeRequest { message: Some(ack) };
    let status = groups
        .consume(tokio_stream::iter([request]))
        .await
        .unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let nothing = groups.consume(tokio_stream::iter([])).await.unwrap_err();
    assert_eq!(nothing.code(), tonic::Code::InvalidArgument);
    server.stop().await;
}
