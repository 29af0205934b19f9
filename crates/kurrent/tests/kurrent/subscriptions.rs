//! Catch-up subscriptions: confirmation, events, checkpoints, the word that they have caught up, their end.

use crate::support::*;
use icecore_kurrent::proto::event_store::client::Empty;
use icecore_kurrent::proto::event_store::client::streams::read_req::options::{
    FilterOptions, filter_options,
};
use icecore_kurrent::proto::event_store::client::streams::{ReadResp, read_resp};
use tonic::{Code, Streaming};

/// The messages of a subscription.
struct Messages(Streaming<ReadResp>);

impl Messages {
    /// Begins a subscription, which is confirmed first.
    async fn of(door: &Door, options: Options) -> Self {
        let mut messages = Self(door.begin_read(followed(options)).await.unwrap());
        let first = messages.next().await;
        let Content::Confirmation(confirmed) = first else {
            panic!("not confirmed: {first:?}");
        };
        assert!(uuid::Uuid::try_parse(&confirmed.subscription_id).is_ok());
        messages
    }

    async fn next(&mut self) -> Content {
        let message = self.0.message().await.unwrap();
        message.expect("it goes on").content.unwrap()
    }

    /// Positions of events up to the word that the subscription has caught up.
    async fn caught_up(&mut self) -> (Vec<u64>, read_resp::CaughtUp) {
        let mut positions = Vec::new();
        loop {
            match self.next().await {
                Content::Event(found) => positions.push(found.event.unwrap().commit_position),
                Content::CaughtUp(caught_up) => return (positions, caught_up),
                other => panic!("neither an event nor caught up: {other:?}"),
            }
        }
    }

    /// Position of the next message, which is an event.
    async fn event(&mut self) -> u64 {
        match self.next().await {
            Content::Event(found) => found.event.unwrap().commit_position,
            other => panic!("no event: {other:?}"),
        }
    }

    async fn checkpoint(&mut self) -> u64 {
        match self.next().await {
            Content::Checkpoint(checkpoint) => {
                assert_eq!(checkpoint.commit_position, checkpoint.prepare_position);
                assert!(checkpoint.timestamp.is_some());
                checkpoint.commit_position
            }
            other => panic!("no checkpoint: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_stream_is_followed_from_its_start_and_then_live() {
    let door = Door::open().await;
    success(door.put("s", Any, &[1, 2]).await.unwrap());
    success(door.put("other", Any, &[3]).await.unwrap());
    let mut messages = Messages::of(&door, of_stream("s")).await;
    let (positions, caught_up) = messages.caught_up().await;
    assert_eq!(positions, [1, 2]);
    assert_eq!(caught_up.stream_revision, Some(1));
    assert_eq!(caught_up.position, None);
    assert_eq!(caught_up.timestamp.unwrap().seconds, BEGIN.nanos() / SECOND);
    success(door.put("other", Any, &[4]).await.unwrap());
    success(door.put("s", Any, &[5]).await.unwrap());
    assert_eq!(messages.event().await, 5);
}

#[tokio::test]
async fn a_subscription_begins_after_its_place() {
    let door = Door::open().await;
    success(door.put("s", Any, &[1, 2, 3]).await.unwrap());
    let mut after = Messages::of(&door, from_revision("s", 0)).await;
    assert_eq!(after.caught_up().await.0, [2, 3]);
    let mut end = Messages::of(&door, from_end("s")).await;
    let (positions, caught_up) = end.caught_up().await;
    assert_eq!((positions, caught_up.stream_revision), (vec![], Some(2)));
    let mut all = Messages::of(&door, of_all(at(2))).await;
    let (positions, caught_up) = all.caught_up().await;
    let position = read_resp::Position {
        commit_position: 3,
        prepare_position: 3,
    };
    assert_eq!((positions, caught_up.position), (vec![3], Some(position)));
    assert_eq!(caught_up.stream_revision, None);
    let mut new = Messages::of(&door, of_all(END)).await;
    assert_eq!(new.caught_up().await.0, [0; 0]);
    success(door.put("s", Any, &[4]).await.unwrap());
    for messages in [&mut after, &mut end, &mut all, &mut new] {
        assert_eq!(messages.event().await, 4);
    }
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_waited_for() {
    let door = Door::open().await;
    let mut messages = Messages::of(&door, of_stream("s")).await;
    let (positions, caught_up) = messages.caught_up().await;
    assert_eq!((positions, caught_up.stream_revision), (vec![], None));
    success(door.put("s", NoStream, &[1]).await.unwrap());
    assert_eq!(messages.event().await, 1);
}

#[tokio::test]
async fn all_streams_are_followed_with_those_of_the_system() {
    let door = Door::open().await;
    success(door.put("s", Any, &[1]).await.unwrap());
    door.set_metadata("s", 2, "{}").await;
    let mut messages = Messages::of(&door, of_all(START)).await;
    assert_eq!(messages.caught_up().await.0, [1, 2]);
}

fn orders(window: u32) -> Options {
    Options {
        filter_option: Some(FilterOption::Filter(FilterOptions {
            filter: Some(filter_options::Filter::StreamIdentifier(
                filter_options::Expression {
                    regex: String::new(),
                    prefix: vec!["order-".to_owned()],
                },
            )),
            window: Some(filter_options::Window::Max(window)),
            checkpoint_interval_multiplier: 1,
        })),
        ..of_all(START)
    }
}

#[tokio::test]
async fn a_filtered_subscription_is_told_how_far_it_is() {
    let door = Door::open().await;
    success(door.put("order-1", Any, &[1]).await.unwrap());
    for id in 2..=25 {
        success(door.put("cart-1", Any, &[id]).await.unwrap());
    }
    success(door.put("order-1", Any, &[26]).await.unwrap());
    let mut messages = Messages::of(&door, orders(10)).await;
    assert_eq!(messages.event().await, 1);
    assert_eq!(messages.checkpoint().await, 25);
    assert_eq!(messages.event().await, 26);
    assert_eq!(messages.checkpoint().await, 26, "it goes live");
    assert_eq!(messages.caught_up().await.0, [0; 0]);
    // Live, too, and also where nothing matches.
    for id in 27..=36 {
        success(door.put("cart-1", Any, &[id]).await.unwrap());
    }
    assert_eq!(messages.checkpoint().await, 36);
    success(door.put("order-1", Any, &[37]).await.unwrap());
    assert_eq!(messages.event().await, 37);
}

#[tokio::test]
async fn checkpoints_come_between_events_that_match() {
    let door = Door::open().await;
    success(door.put("order-1", Any, &[1, 2, 3, 4, 5]).await.unwrap());
    let mut messages = Messages::of(&door, orders(2)).await;
    let mut found = Vec::new();
    loop {
        match messages.next().await {
            Content::Event(event) => found.push(event.event.unwrap().commit_position.to_string()),
            Content::Checkpoint(at) => found.push(format!("up to {}", at.commit_position)),
            _ => break,
        }
    }
    assert_eq!(
        found,
        ["1", "2", "up to 2", "3", "4", "up to 4", "5", "up to 5"]
    );
}

#[tokio::test]
async fn a_tombstone_is_delivered_and_ends_the_subscription() {
    let door = Door::open().await;
    success(door.put("s", Any, &[1]).await.unwrap());
    let mut messages = Messages::of(&door, of_stream("s")).await;
    assert_eq!(messages.caught_up().await.0, [1]);
    door.tombstone("s", Any).await.unwrap();
    let Content::Event(found) = messages.next().await else {
        panic!("no event");
    };
    assert_eq!(found.event.unwrap().metadata["type"], "$streamDeleted");
    let status = messages.0.message().await.unwrap_err();
    let trailers = [("exception", "stream-deleted"), ("stream-name", "s")];
    check_status(&status, Code::FailedPrecondition, &trailers);
}

#[tokio::test]
async fn who_comes_to_a_tombstoned_stream_is_told_so() {
    let door = Door::open().await;
    door.bring("s", Before::Tombstoned).await;
    for options in [of_stream("s"), from_revision("s", 0), from_end("s")] {
        let mut messages = Messages::of(&door, options).await;
        let mut last = None;
        let status = loop {
            match messages.0.message().await {
                Ok(Some(ReadResp {
                    content: Some(Content::Event(found)),
                })) => last = found.event,
                Ok(other) => panic!("neither an event nor the end: {other:?}"),
                Err(status) => break status,
            }
        };
        assert_eq!(last.unwrap().metadata["type"], "$streamDeleted");
        let trailers = [("exception", "stream-deleted"), ("stream-name", "s")];
        check_status(&status, Code::FailedPrecondition, &trailers);
    }
}

#[tokio::test]
async fn a_subscription_ends_when_the_server_stops() {
    let door = Door::open().await;
    let mut messages = Messages::of(&door, of_all(START)).await;
    messages.caught_up().await;
    door.store.stop().await.unwrap();
    let status = messages.0.message().await.unwrap_err();
    check_status(&status, Code::Unavailable, &[]);
}

#[tokio::test]
async fn one_without_a_window_takes_the_servers() {
    let door = Door::open().await;
    success(door.put("order-1", Any, &[1]).await.unwrap());
    let mut options = orders(1);
    if let Some(FilterOption::Filter(filter)) = &mut options.filter_option {
        filter.window = Some(filter_options::Window::Count(Empty {}));
    }
    let mut messages = Messages::of(&door, options).await;
    assert_eq!(messages.event().await, 1);
    assert_eq!(messages.checkpoint().await, 1);
    assert_eq!(messages.caught_up().await.0, [0; 0]);
}
