//! Clients that vanish in the middle of a body: what they had begun is not written, the room that it
//! had taken is given back, and the server goes on.

use crate::bench::Bench;
use crate::raw::{Frames, append, event, framed, prefix};
use crate::{sized, stream};
use bytes::Bytes;
use icecore_client::limits::EVENT_BYTES_MAX;
use icecore_client::{ExpectedRevision, Position};
use icecore_wire::proto;
use prost::Message;

/// Larger than anything that the socket holds on its way.
const ANNOUNCED_BYTES: usize = 16 * 1_024 * 1_024;

/// So many bodies of that size do not fit into what may be in flight.
const CLIENTS: usize = 12;

/// A body that begins like this and never ends is cut off; then nothing is written and all the room
/// there is can be taken.
async fn check(path: &str, begin: impl Fn() -> Bytes) {
    let bench = Bench::start().await;
    for _ in 0..CLIENTS {
        let mut call = Frames::open(&bench.server, path).await;
        call.send(begin());
        // The server has seen the beginning once it answers a ping behind it.
        call.ping().await;
        call.vanish().await;
    }
    // One append of the largest size needs nearly all of the room.
    let client = bench.server.client();
    assert_eq!(client.stats().await.unwrap().last_position, Position::START);
    let events = (0..4).map(|_| sized("Noted", EVENT_BYTES_MAX - 100));
    let (to, none) = (stream("large-1"), ExpectedRevision::NoStream);
    client.append(&to, none, events).await.unwrap();
    bench.finish(4).await;
}

#[tokio::test]
async fn in_an_append() {
    check("/icecore.v1.Streams/Append", || {
        let mut begin = prefix(ANNOUNCED_BYTES);
        begin.extend_from_slice(&append("order-1").encode_to_vec());
        begin.freeze()
    })
    .await;
}

#[tokio::test]
async fn in_an_import() {
    check("/icecore.v1.Operations/Import", || {
        let append = append("order-1");
        let import = proto::ImportRequest {
            streams: append.streams,
            events: vec![proto::ImportEvent {
                event: Some(event()),
                ..Default::default()
            }],
        };
        let mut begin = prefix(ANNOUNCED_BYTES);
        begin.extend_from_slice(&import.encode_to_vec());
        begin.freeze()
    })
    .await;
}

/// The first part of an append in parts is whole, the second is not.
#[tokio::test]
async fn in_a_session_within_an_append() {
    check("/icecore.v1.Streams/AppendSession", || {
        let part = proto::AppendSessionRequest {
            sequence: 1,
            append: Some(append("order-1")),
            more: true,
        };
        let mut begin = bytes::BytesMut::from(framed(&part.encode_to_vec()));
        begin.unsplit(prefix(ANNOUNCED_BYTES));
        begin.freeze()
    })
    .await;
}

/// Between two messages of a session: what came before is written, once.
#[tokio::test]
async fn in_a_session_between_two_appends() {
    let bench = Bench::start().await;
    let mut call = Frames::open(&bench.server, "/icecore.v1.Streams/AppendSession").await;
    let whole = proto::AppendSessionRequest {
        sequence: 1,
        append: Some(append("order-1")),
        more: false,
    };
    call.send(framed(&whole.encode_to_vec()));
    let client = bench.server.client();
    let mut events = client.subscribe_all().start().events();
    let written = futures::StreamExt::next(&mut events).await;
    assert_eq!(written.unwrap().unwrap().position, Position::FIRST);
    call.vanish().await;
    drop(events);
    bench.finish(1).await;
}
