//! kill -9 while appends are under way: every acknowledged event is there afterwards, once and in
//! order, and every other append is there whole or not at all.

use crate::{icecore, sized, stream};
use fastrand::Rng;
use icecore_client::{
    Append, AppendBuilder, Client, Error, EventData, ExpectedRevision, RecordedEvent, RetryPolicy,
    Revision, StreamName,
};
use std::collections::HashMap;
use std::path::Path;
use tokio::sync::watch;
use uuid::Uuid;

const KILLS: u64 = 4;
const WRITERS: usize = 6;

/// What one writer sent, in its order.
struct Sent {
    append: Append,
    acknowledged: bool,
}

/// Appends to two streams of its own until the server is gone. Only the last append has no answer.
async fn write(
    client: Client,
    writer: usize,
    seed: u64,
    last: [Option<Revision>; 2],
    done: watch::Sender<u64>,
) -> Vec<Sent> {
    let mut random = Rng::with_seed(seed);
    let mut last = last;
    let mut sent = Vec::new();
    loop {
        let append = some_append(&mut random, writer, last);
        let outcome = client.append_request(&append).await;
        let acknowledged = outcome.is_ok();
        sent.push(Sent {
            append,
            acknowledged,
        });
        match outcome {
            Ok(appended) => {
                last = [0, 1].map(|n| appended.streams[n].last_revision);
                done.send_modify(|count| *count += 1);
            }
            Err(
                Error::OutcomeUnknown { .. }
                | Error::Unreachable { .. }
                | Error::Unavailable { .. },
            ) => {
                return sent;
            }
            Err(error) => panic!("writer {writer}: {error}"),
        }
    }
}

/// One to a few events for each of the writer's two streams, in turns; now and then a large one.
fn some_append(random: &mut Rng, writer: usize, last: [Option<Revision>; 2]) -> Append {
    let mut append = AppendBuilder::default();
    let places = [0, 1].map(|n| {
        let expected = last[n].map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        append.stream(name(writer, n), expected).unwrap()
    });
    for _ in 0..random.usize(1..12) {
        let bytes = if random.u8(..20) == 0 { 300_000 } else { 200 };
        for place in places {
            append
                .event(place, sized(random.usize(..bytes)), None)
                .unwrap();
        }
    }
    append.build().unwrap()
}

fn name(writer: usize, n: usize) -> StreamName {
    stream(&format!("writer-{writer}-{n}"))
}

/// Runs writers until the server has acknowledged so many appends, and kills it.
async fn until_killed(data: &Path, seed: u64, known: &Known) -> Vec<Vec<Sent>> {
    let server = icecore().serve(data).await.unwrap();
    let mut random = Rng::with_seed(seed);
    let (done, mut acknowledged) = watch::channel(0);
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let client = Client::builder(server.url()).retry(RetryPolicy::NEVER);
        let client = client.connect().await.unwrap();
        let last = [0, 1].map(|n| known.last(&name(writer, n)));
        let seed = random.u64(..);
        writers.push(tokio::spawn(write(
            client,
            writer,
            seed,
            last,
            done.clone(),
        )));
    }
    let enough = random.u64(20..120);
    acknowledged
        .wait_for(|count| *count >= enough)
        .await
        .unwrap();
    server.kill().await.unwrap();
    let mut sent = Vec::new();
    for writer in writers {
        sent.push(writer.await.unwrap());
    }
    sent
}

/// What the streams must hold.
#[derive(Default)]
struct Known(HashMap<StreamName, Vec<(Uuid, EventData)>>);

impl Known {
    fn last(&self, stream: &StreamName) -> Option<Revision> {
        let count = self.0.get(stream)?.len();
        Some(Revision::new(count as u64 - 1))
    }

    fn add(&mut self, append: &Append) {
        for event in append.events() {
            let stream = append.streams()[event.stream].stream.clone();
            let events = self.0.entry(stream).or_default();
            events.push((event.event.id, event.event.clone()));
        }
    }

    /// Checks the whole store, and takes over what of the unanswered appends is there.
    async fn check(&mut self, client: &Client, sent: Vec<Vec<Sent>>) {
        let all = client.read_all().await.unwrap();
        let positions = all.iter().map(|event| event.position.get());
        assert!(positions.eq(1..=all.len() as u64), "positions have gaps");
        for sent in sent {
            for Sent {
                append,
                acknowledged,
            } in sent
            {
                let first = append.events()[0].event.id;
                if acknowledged || all.iter().any(|event| event.id == first) {
                    self.add(&append);
                }
            }
        }
        let mut streams = HashMap::<_, Vec<RecordedEvent>>::new();
        for event in all {
            streams.entry(event.stream.clone()).or_default().push(event);
        }
        assert_eq!(streams.len(), self.0.len());
        for (stream, found) in streams {
            let expected = &self.0[&stream];
            assert_eq!(found.len(), expected.len(), "events of `{stream}`");
            for (n, (found, (id, event))) in found.iter().zip(expected).enumerate() {
                assert_eq!(found.revision.get(), n as u64, "`{stream}`");
                assert_eq!(found.id, *id, "`{stream}` at {n}");
                assert!(found.data == event.data, "`{stream}` at {n}");
            }
            let read = client.read_stream(&stream).await.unwrap();
            assert!(read == found, "`{stream}` reads differently by itself");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_survives_kills() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("store");
    let mut known = Known::default();
    for seed in 0..KILLS {
        let sent = until_killed(&data, seed, &known).await;
        let server = icecore().serve(&data).await.unwrap();
        known.check(&server.client(), sent).await;
        // Half of the time the restarted server is stopped in order, otherwise killed again.
        if seed % 2 == 0 {
            server.stop().await.unwrap();
        } else {
            server.kill().await.unwrap();
        }
    }
}

/// A client that retries does not notice: it gets one answer, and its events are there once.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_over_a_kill_is_written_once() {
    const APPENDS: u64 = 300;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("store");
    let server = icecore().serve(&data).await.unwrap();
    let address = server.address().to_owned();
    let client = server.client();
    let (sent, mut acknowledged) = watch::channel(0);
    let writing = tokio::spawn(async move {
        let order = stream("order-1");
        for n in 0..APPENDS {
            let expected = n.checked_sub(1).map_or(ExpectedRevision::NoStream, |last| {
                ExpectedRevision::Exact(Revision::new(last))
            });
            let appended = client.append(&order, expected, [sized(10)]).await.unwrap();
            assert_eq!(appended.streams[0].last_revision, Some(Revision::new(n)));
            sent.send_replace(n);
        }
        client
    });
    let mut server = server;
    for part in 1..=2 {
        let enough = APPENDS * part / 3;
        acknowledged.wait_for(|n| *n >= enough).await.unwrap();
        server.kill().await.unwrap();
        server = icecore().serve_with(&data, &address, &[]).await.unwrap();
    }
    let client = writing.await.unwrap();
    let events = client.read_stream(&stream("order-1")).await.unwrap();
    assert_eq!(events.len() as u64, APPENDS);
    server.stop().await.unwrap();
}
