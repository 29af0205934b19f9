//! Process managers of other kinds: one that hears its own words, one of a wrong name, one whose timeouts
//! are odd.

use icecore_client::{
    BoxError, Changes, Client, Context, Dispatch, Error, Event, ExpectedRevision, GroupId,
    GroupName, ProcessManager, ProcessRunner, Reaction, RecordedEvent, RecordedEventExt, Revision,
    StreamName, VirtualClock, encode, json_event, new_event_id,
};
use icecore_testing::TestServer;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What everybody says, managers too.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Word {
    Said { what: String },
}

impl Event for Word {}

fn said(what: &str) -> Word {
    Word::Said { what: what.into() }
}

struct Nobody;

impl Dispatch<Infallible> for Nobody {
    async fn dispatch(&self, never: &Infallible, _: &Context) -> Result<Vec<Changes>, BoxError> {
        match *never {}
    }
}

async fn say(client: &Client, stream: &str, what: &str) {
    let stream = StreamName::new(stream.to_owned()).unwrap();
    let word = encode(&said(what), new_event_id(), &Context::new()).unwrap();
    let any = ExpectedRevision::Any;
    client.append(&stream, any, [word]).await.unwrap();
}

async fn heard(client: &Client, stream: &str) -> Vec<String> {
    let stream = StreamName::new(stream.to_owned()).unwrap();
    let events = client.read_stream(&stream).await.unwrap_or_default();
    let words = events.iter().map(icecore_client::decode);
    words
        .map(|word| match word.unwrap() {
            Some(Word::Said { what }) => what,
            None => "?".into(),
        })
        .collect()
}

/// Says again what it hears.
#[derive(Default)]
struct Echo;

impl ProcessManager for Echo {
    const NAME: &'static str = "echo";
    type Input = Word;
    type Event = Word;
    type Command = Infallible;

    fn process_of(_: &Word, recorded: &RecordedEvent) -> Option<String> {
        recorded
            .stream
            .as_str()
            .split('-')
            .next_back()
            .map(Into::into)
    }

    fn apply(&mut self, _: &Word) {}

    fn react(&self, _: &str, Word::Said { what }: &Word) -> Reaction<Self> {
        Reaction::new().record(said(what))
    }
}

#[tokio::test]
async fn a_manager_does_not_hear_itself() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let runner = ProcessRunner::<Echo, _>::new(client.clone(), Nobody);
    let running = tokio::spawn(runner.run(std::future::pending()));
    say(&client, "hill-1", "hello").await;
    while heard(&client, "echo-1").await.is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
    say(&client, "hill-1", "goodbye").await;
    while heard(&client, "echo-1").await.len() < 2 {
        sleep(Duration::from_millis(10)).await;
    }
    say(&client, "hill-2", "end").await;
    while heard(&client, "echo-2").await.is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(heard(&client, "echo-1").await, ["hello", "goodbye"]);
    running.abort();
}

/// A name that is no category.
#[derive(Default)]
struct Dashed;

impl ProcessManager for Dashed {
    const NAME: &'static str = "order-saga";
    type Input = Word;
    type Event = Word;
    type Command = Infallible;

    fn process_of(_: &Word, _: &RecordedEvent) -> Option<String> {
        None
    }

    fn apply(&mut self, _: &Word) {}

    fn react(&self, _: &str, _: &Word) -> Reaction<Self> {
        Reaction::new()
    }
}

#[tokio::test]
async fn a_manager_whose_name_is_no_category_does_not_begin() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let runner = ProcessRunner::<Dashed, _>::new(client.clone(), Nobody);
    let error = runner.run(std::future::pending()).await.unwrap_err();
    assert!(
        matches!(&error, Error::InvalidArgument { field, .. } if *field == "category"),
        "{error}"
    );
    assert!(client.list_groups().await.unwrap().is_empty());
}

/// Waits for what it hears, in several ways.
#[derive(Default)]
struct Waiting;

impl ProcessManager for Waiting {
    const NAME: &'static str = "waiting";
    type Input = Word;
    type Event = Word;
    type Command = Infallible;

    fn process_of(_: &Word, recorded: &RecordedEvent) -> Option<String> {
        recorded
            .stream
            .as_str()
            .split_once('-')
            .map(|(_, process)| process.into())
    }

    fn apply(&mut self, _: &Word) {}

    fn react(&self, _: &str, Word::Said { what }: &Word) -> Reaction<Self> {
        let hour = Duration::from_secs(3_600);
        let reaction = Reaction::new().record(said(what));
        match what.as_str() {
            "again" => reaction.cancel("b").timeout("b", hour),
            "for ever" => reaction.timeout("a", Duration::MAX),
            slashed => reaction.timeout(slashed, hour),
        }
    }

    fn timed_out(&self, _: &str, timeout: &str) -> Reaction<Self> {
        let reaction = Reaction::new().record(said(&format!("{timeout} is over")));
        match timeout {
            "repeated" => reaction.timeout(timeout, Duration::from_secs(3_600)),
            _ => reaction,
        }
    }
}

#[tokio::test]
async fn timeouts_do_not_disturb_each_other() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let time = VirtualClock::at_system_time();
    let runner = ProcessRunner::<Waiting, _>::new(client.clone(), Nobody).clock(time.clock());
    let running = tokio::spawn(runner.run(std::future::pending()));
    say(&client, "word-1", "again").await;
    say(&client, "word-1", "for ever").await;
    say(&client, "word-1", "2/c").await;
    say(&client, "word-1/2", "c").await;
    while heard(&client, "waiting-1").await.len() < 3
        || heard(&client, "waiting-1/2").await.is_empty()
    {
        sleep(Duration::from_millis(10)).await;
    }
    time.advance(Duration::from_secs(3 * 3_600));
    while heard(&client, "waiting-1").await.len() < 5
        || heard(&client, "waiting-1/2").await.len() < 2
    {
        sleep(Duration::from_millis(10)).await;
    }
    let mut words = heard(&client, "waiting-1").await.split_off(3);
    words.sort();
    assert_eq!(words, ["2/c is over", "b is over"]);
    assert_eq!(heard(&client, "waiting-1/2").await, ["c", "c is over"]);
    running.abort();
}

fn start(client: &Client) -> JoinHandle<Result<(), Error>> {
    let runner = ProcessRunner::<Waiting, _>::new(client.clone(), Nobody);
    tokio::spawn(runner.run(std::future::pending()))
}

/// Says something to `word-<process>` and waits until it is heard.
async fn say_and_wait(client: &Client, process: &str, what: &str) {
    say(client, &format!("word-{process}"), what).await;
    let waiting = format!("waiting-{process}");
    while heard(client, &waiting).await.is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_group_that_is_made_anew_does_nothing_twice() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let running = start(&client);
    say_and_wait(&client, "1", "hello").await;
    running.abort();
    let group = GroupId::of_all(GroupName::new(Waiting::NAME).unwrap());
    client.delete_group(&group).await.unwrap();
    let running = start(&client);
    say_and_wait(&client, "2", "hello").await;
    assert_eq!(heard(&client, "waiting-1").await, ["hello"]);
    let parked = client.parked_events(&group, Revision::FIRST, 0).await;
    assert!(parked.unwrap().events.is_empty());
    running.abort();
}

#[tokio::test]
async fn a_timeout_that_has_elapsed_may_still_be_cancelled() {
    for (cancelled, what, expected) in [
        (true, "x", vec!["x"]),
        (true, "repeated", vec!["repeated"]),
        (false, "x", vec!["x", "x is over"]),
        (false, "repeated", vec!["repeated", "repeated is over"]),
    ] {
        let server = TestServer::in_memory().start().await;
        let client = server.client();
        let running = start(&client);
        say_and_wait(&client, "1", what).await;
        running.abort();
        drop(running.await);
        let stream = StreamName::new(format!("$timeout_waiting-1/{what}")).unwrap();
        let set = client.read_stream(&stream).await.unwrap().remove(0);
        let data = set.json::<Value>().unwrap();
        let mut events = vec![json_event("$timeoutElapsed-waiting", &data).unwrap()];
        if cancelled {
            events.push(json_event("$timeoutCancelled", &json!({})).unwrap());
        }
        let exact = ExpectedRevision::Exact(set.revision);
        client.append(&stream, exact, events).await.unwrap();
        let running = start(&client);
        say_and_wait(&client, "2", "y").await;
        assert_eq!(heard(&client, "waiting-1").await, expected);
        running.abort();
    }
}
