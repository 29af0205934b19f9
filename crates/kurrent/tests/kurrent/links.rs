//! Links to events of other streams, resolved and not.

use crate::support::*;
use icecore_kurrent::proto::event_store::client::streams::read_resp::ReadEvent;

fn resolved(options: Options) -> Options {
    Options {
        resolve_links: true,
        ..options
    }
}

async fn found(door: &Door, options: Options) -> Vec<ReadEvent> {
    let contents = door.read(options).await.unwrap();
    let found = contents.into_iter().map(|content| match content {
        Content::Event(found) => found,
        other => panic!("no event: {other:?}"),
    });
    found.collect()
}

/// What is found, as places: of the event, and of the link through which it was found.
fn places(found: &[ReadEvent]) -> Vec<(Option<u64>, Option<u64>)> {
    let place = |event: &Option<Recorded>| event.as_ref().map(|event| event.commit_position);
    found
        .iter()
        .map(|found| (place(&found.event), place(&found.link)))
        .collect()
}

/// Events 1 to 5 in `order-1`, and `links` from position 6 on.
async fn linked(links: &[&str]) -> Door {
    let door = Door::open().await;
    success(
        door.put("order-1", NoStream, &[1, 2, 3, 4, 5])
            .await
            .unwrap(),
    );
    let links = (10..).zip(links).map(|(id, link)| event(id, "$>", link));
    success(door.append("list", NoStream, links).await.unwrap());
    door
}

#[tokio::test]
async fn a_link_comes_with_what_it_leads_to() {
    let door = linked(&["3@order-1", "0@order-1", "1@order-1"]).await;
    let found = found(&door, resolved(of_stream("list"))).await;
    let expected = [(4, 6), (1, 7), (2, 8)].map(|(event, link)| (Some(event), Some(link)));
    assert_eq!(places(&found), expected);
    let position = icecore_kurrent::proto::event_store::client::streams::read_resp::read_event::Position::CommitPosition(6);
    assert_eq!(found[0].position, Some(position));
    assert_eq!(found[0].event.as_ref().unwrap().stream_revision, 3);
    assert_eq!(found[0].link.as_ref().unwrap().stream_revision, 0);
}

#[tokio::test]
async fn nobody_gets_events_who_did_not_ask_for_them() {
    let door = linked(&["3@order-1"]).await;
    let found = found(&door, of_stream("list")).await;
    assert_eq!(places(&found), [(Some(6), None)]);
    assert_eq!(found[0].event.as_ref().unwrap().data, "3@order-1");
}

#[tokio::test]
async fn a_link_whose_target_is_gone_stands_alone() {
    let door = linked(&["0@order-1", "9@order-1", "0@absent", "rubbish", "4@order-1"]).await;
    door.set_metadata("order-1", 100, r#"{"$tb":1}"#).await;
    let links = found(&door, resolved(of_stream("list"))).await;
    let alone = |link| (None, Some(link));
    let expected = [alone(6), alone(7), alone(8), alone(9), (Some(5), Some(10))];
    assert_eq!(places(&links), expected);
    door.tombstone("order-1", Any).await.unwrap();
    let links = found(&door, resolved(backwards(from_end("list")))).await;
    assert_eq!(places(&links)[0], alone(10));
}

#[tokio::test]
async fn links_are_resolved_among_all_and_in_subscriptions() {
    let door = linked(&["2@order-1"]).await;
    let all = found(&door, resolved(of_all(at(5)))).await;
    assert_eq!(places(&all), [(Some(5), None), (Some(3), Some(6))]);
    let options = resolved(followed(of_all(at(4))));
    let mut answers = door.begin_read(options).await.unwrap();
    let mut links = Vec::new();
    while links.len() < 2 {
        let answer = answers.message().await.unwrap().unwrap();
        if let Some(Content::Event(found)) = answer.content {
            links.push(found);
        }
    }
    assert_eq!(places(&links), [(Some(5), None), (Some(3), Some(6))]);
}

#[tokio::test]
async fn many_links_to_many_streams_and_large_events() {
    let door = Door::open().await;
    let data = format!("\"{}\"", "x".repeat(300_000));
    for stream in 0..80_u128 {
        let name = format!("order-{stream}");
        let events = [event(stream, "T", &data), event(1_000 + stream, "T", "{}")];
        success(door.append(&name, NoStream, events).await.unwrap());
    }
    let targets = (0..240_u64).map(|n| (n % 2, n % 80));
    let links = targets
        .clone()
        .zip(5_000..)
        .map(|((revision, stream), id)| event(id, "$>", &format!("{revision}@order-{stream}")));
    success(door.append("list", NoStream, links).await.unwrap());
    let found = found(&door, resolved(of_stream("list"))).await;
    let read = found.iter().map(|found| {
        let event = found.event.as_ref().unwrap();
        let stream = event.stream_identifier.clone().unwrap().stream_name;
        (event.stream_revision, stream)
    });
    let expected = targets.map(|(revision, stream)| (revision, format!("order-{stream}").into()));
    assert!(read.eq(expected));
}
