//! Messages take room by their size, however their bytes come.

use super::*;
use futures::FutureExt;
use futures::StreamExt;
use futures::stream::{iter, pending};
use http_body_util::{BodyExt, StreamBody};
use std::convert::Infallible;

/// A gRPC message of this many bytes behind its prefix.
fn message(bytes: usize) -> Vec<u8> {
    let length = u32::try_from(bytes).unwrap().to_be_bytes();
    [vec![0], length.to_vec(), vec![7; bytes]].concat()
}

/// A body whose data comes in these frames.
fn admitting<S>(frames: S, room: &Arc<Semaphore>) -> AdmissionBody<StreamBody<S>> {
    AdmissionBody {
        inner: Box::pin(StreamBody::new(frames)),
        prefix: [0; PREFIX_BYTES],
        prefix_bytes: 0,
        message_left: 0,
        held_back: None,
        room: Some(Places {
            small: Arc::new(Semaphore::new(0)),
            all: Arc::clone(room),
        }),
        limits: Limits {
            admission: Duration::from_secs(1),
            message: Duration::from_secs(10),
        },
        waiting: None,
        deadline: None,
        admitted: Admitted::default(),
    }
}

type Frames = futures::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>;

/// A body whose data comes in pieces of `piece` bytes.
fn body(data: &[u8], piece: usize, room: &Arc<Semaphore>) -> AdmissionBody<StreamBody<Frames>> {
    let frames: Vec<_> = data
        .chunks(piece)
        .map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk))))
        .collect();
    admitting(iter(frames), room)
}

#[tokio::test]
async fn each_message_takes_its_room_however_its_bytes_come() {
    let data = [message(10), message(0), message(300)].concat();
    for piece in [1, 2, 5, 6, 7, 100, 1_000] {
        let room = Arc::new(Semaphore::new(1_000));
        let body = body(&data, piece, &room);
        let admitted = body.admitted.clone();
        let passed = body.collect().await.unwrap().to_bytes();
        assert_eq!(passed, data, "in pieces of {piece}");
        assert_eq!(room.available_permits(), 1_000 - 310);
        let sizes: Vec<_> = std::iter::from_fn(|| admitted.take())
            .map(|permit| permit.num_permits())
            .collect();
        assert_eq!(sizes, [10, 0, 300]);
        assert_eq!(room.available_permits(), 1_000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_waits_for_room_and_is_turned_away_at_last() {
    let room = Arc::new(Semaphore::new(100));
    let taken = Arc::clone(&room).acquire_many_owned(60).await.unwrap();
    let data = message(50);
    let mut waiting = body(&data, 20, &room);
    assert!(waiting.frame().now_or_never().is_none(), "there is no room");
    drop(taken);
    assert!(waiting.frame().await.unwrap().is_ok());

    let mut turned_away = body(&message(60), 20, &room);
    let status = turned_away.frame().await.unwrap().unwrap_err();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
}

#[tokio::test]
async fn a_small_message_does_not_wait_behind_large_ones() {
    let room = Arc::new(Semaphore::new(100));
    let small = Arc::new(Semaphore::new(60));
    let places = Places {
        small: Arc::clone(&small),
        all: Arc::clone(&room),
    };
    let taken = Arc::clone(&room).acquire_many_owned(100).await.unwrap();
    let beginning = |data: &[u8]| {
        let mut body = body(data, data.len(), &room);
        body.room = Some(places.clone());
        body
    };
    let mut first = beginning(&message(50));
    assert!(first.frame().await.unwrap().is_ok());
    assert_eq!(small.available_permits(), 10);
    // When the small ones have used up what is theirs, they wait like all others.
    let mut second = beginning(&message(50));
    assert!(second.frame().now_or_never().is_none());
    drop(taken);
    assert!(second.frame().await.unwrap().is_ok());
    drop((first, second));
    assert_eq!(small.available_permits(), 60);
    let mut large = beginning(&message(SMALL_MESSAGE_BYTES_MAX + 1));
    let waits = large.frame().now_or_never().is_none();
    assert!(waits, "there is not so much room");
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_by_its_prefix() {
    let room = Arc::new(Semaphore::new(100));
    let length = u32::try_from(MESSAGE_BYTES_MAX + 1).unwrap().to_be_bytes();
    let prefix = [vec![0], length.to_vec()].concat();
    let status = body(&prefix, 5, &room).frame().await.unwrap().unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("message"), "{}", status.message());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_stalls_gives_its_room_back() {
    let room = Arc::new(Semaphore::new(100));
    let begun = Bytes::copy_from_slice(&message(50)[..20]);
    let frames = iter([Ok::<_, Infallible>(Frame::data(begun))]).chain(pending());
    let mut body = admitting(frames, &room);
    assert!(body.frame().await.unwrap().is_ok());
    assert_eq!(room.available_permits(), 50);
    let status = body.frame().await.unwrap().unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(
        status.message().contains("did not come"),
        "{}",
        status.message()
    );
    drop(body);
    assert_eq!(room.available_permits(), 100);
}
