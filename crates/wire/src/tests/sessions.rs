//! Appends in parts, and the rules of a session.

use super::strategies::append;
use crate::{SessionAppend, SessionDecoder, proto, session_requests};
use icecore_core::limits::MESSAGE_BYTES_MAX;
use icecore_core::{
    Append, AppendBuilder, Condition, EventData, ExpectedRevision, Position, Query, StreamName,
};
use proptest::prelude::*;
use prost::Message;
use uuid::Uuid;

fn push_all(
    decoder: &mut SessionDecoder,
    requests: Vec<proto::AppendSessionRequest>,
) -> SessionAppend {
    let count = requests.len();
    for (n, request) in requests.into_iter().enumerate() {
        if let Some(append) = decoder.push(request).unwrap() {
            assert_eq!(n + 1, count, "only the last part completes the append");
            return append;
        }
    }
    panic!("the parts complete no append");
}

fn large_append() -> Append {
    let mut append = AppendBuilder::default();
    for n in 0..9_000 {
        let name = StreamName::new(format!("{n:0>1000}")).unwrap();
        append.stream(name, ExpectedRevision::NoStream).unwrap();
    }
    let stream = StreamName::new("last").unwrap();
    let stream = append.stream(stream, ExpectedRevision::Any).unwrap();
    for (id, bytes) in [
        (1, 16_000_000),
        (2, 10),
        (3, 16_000_000),
        (4, 3_000_000),
        (5, 3_000_000),
    ] {
        let event = EventData::json(Uuid::from_u128(id), "T", vec![b' '; bytes]).unwrap();
        append.event(stream, event, None).unwrap();
    }
    append.condition(Condition {
        query: Query::default(),
        after: Position::new(7),
    });
    append.missed_limit(3);
    append.build().unwrap()
}

#[test]
fn a_large_append_travels_in_parts_that_fit_a_message() {
    let append = large_append();
    let requests = session_requests(1, &append).unwrap();
    assert!(requests.len() > 5);
    assert!(
        requests
            .iter()
            .all(|r| r.encoded_len() <= MESSAGE_BYTES_MAX)
    );
    let mut decoder = SessionDecoder::default();
    let whole = push_all(&mut decoder, requests);
    assert_eq!(whole.sequence, 1);
    assert_eq!(whole.append.unwrap(), append);
    assert!(decoder.is_complete() && decoder.pending_bytes() == 0);
}

#[test]
fn an_invalid_append_does_not_end_the_session() {
    let append = large_append();
    let mut requests = session_requests(1, &append).unwrap();
    let part = requests[0].append.as_mut().unwrap();
    part.streams[0].stream.clear();
    let mut decoder = SessionDecoder::default();
    assert!(push_all(&mut decoder, requests).append.is_err());
    let next = push_all(&mut decoder, session_requests(2, &append).unwrap());
    assert_eq!(next.append.unwrap(), append);
}

#[test]
fn a_breach_of_the_protocol_is_an_error_of_the_session() {
    let message = |sequence, more| proto::AppendSessionRequest {
        sequence,
        append: Some(proto::AppendRequest::default()),
        more,
    };
    for (first, second) in [
        (message(2, false), message(2, false)),
        (message(2, false), message(1, false)),
        (message(2, true), message(3, false)),
    ] {
        let mut decoder = SessionDecoder::default();
        decoder.push(first).unwrap();
        assert!(decoder.push(second).is_err());
    }
    let empty = proto::AppendSessionRequest {
        append: None,
        ..message(1, false)
    };
    assert!(SessionDecoder::default().push(empty).is_err());
}

#[test]
fn a_part_that_never_ends_is_bounded_by_the_limit_of_an_append() {
    let append = large_append();
    let requests = session_requests(1, &append).unwrap();
    let mut decoder = SessionDecoder::default();
    for round in 0_u8..4 {
        for mut request in requests.clone() {
            request.more = true;
            let part = request.append.as_mut().unwrap();
            if round > 0 {
                part.streams.clear();
                part.condition = None;
            }
            for event in &mut part.events {
                event.id = bytes::Bytes::copy_from_slice(&[&event.id[..15], &[round]].concat());
            }
            assert!(decoder.push(request).unwrap().is_none());
            assert!(decoder.pending_bytes() <= icecore_core::limits::APPEND_BYTES_MAX);
        }
    }
    let last = proto::AppendSessionRequest {
        sequence: 1,
        append: Some(proto::AppendRequest::default()),
        more: false,
    };
    assert!(push_all(&mut decoder, vec![last]).append.is_err());
}

proptest! {
    #[test]
    fn small_appends_are_one_message(append in append(false), sequence: u64) {
        let requests = session_requests(sequence, &append).unwrap();
        prop_assert_eq!(requests.len(), 1);
        let taken = push_all(&mut SessionDecoder::default(), requests);
        prop_assert_eq!(taken.sequence, sequence);
        prop_assert_eq!(taken.append.unwrap(), append);
    }
}
