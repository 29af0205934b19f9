//! core -> message -> bytes -> message -> core, for everything that is sent.

use super::strategies::{
    append, category, expected, filter, place, position, recorded_event, refusal, revision, state,
    store_id, stream, system, timestamp,
};
use crate::{
    CategoryPage, Delete, Encoded, ListCategories, ReadMessage, SessionAnswer, SetStreamMetadata,
    Truncate, append_response, proto, session_response,
};
use bytes::Bytes;
use icecore_core::{
    Append, Appended, DeleteKind, Delivery, Direction, Error, Imported, ListStreams, Read,
    ReadBatch, ReadFrom, Refusal, SharedEvents, Start, StoreStats, StreamAppended, StreamEntry,
    StreamInfo, StreamName, StreamPage, Subscribe, SubscribeFrom, SubscriptionMessage,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

/// The message, after a way over the wire.
fn sent<M: Message + Default>(message: &M) -> M {
    M::decode(Bytes::from(message.encode_to_vec())).unwrap()
}

fn refused(outcome: Result<Appended, Error>) -> Refusal {
    match outcome {
        Err(Error::Refused(refusal)) => *refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn appended() -> impl Strategy<Value = Appended> {
    let one =
        (stream(), option::of(revision())).prop_map(|(stream, last_revision)| StreamAppended {
            stream,
            last_revision,
        });
    (store_id(), position(), vec(one, 0..4)).prop_map(|(store_id, last_position, streams)| {
        Appended {
            store_id,
            last_position,
            streams,
        }
    })
}

prop_compose! {
    fn stream_info()(
        stream in stream(),
        state in state(),
        first in option::of(place()),
        last in option::of(place()),
        metadata_revision in option::of(revision()),
        metadata in vec(any::<u8>(), 0..9),
    ) -> StreamInfo {
        StreamInfo { stream, state, first, last, metadata_revision, metadata: metadata.into() }
    }
}

fn read() -> impl Strategy<Value = Read> {
    let all = (option::of(position()), filter(false))
        .prop_map(|(from, filter)| (ReadFrom::All(from), filter));
    let one = (stream(), option::of(revision()), filter(true))
        .prop_map(|(stream, from, filter)| (ReadFrom::Stream(stream, from), filter));
    let direction = prop_oneof![Just(Direction::Forwards), Just(Direction::Backwards)];
    (
        prop_oneof![all, one],
        direction,
        option::of(1_u64..),
        option::of(timestamp()),
    )
        .prop_map(|((from, filter), direction, limit, as_of)| Read {
            from,
            direction,
            filter,
            limit,
            as_of,
        })
}

fn start<At: Clone + std::fmt::Debug>(
    at: impl Strategy<Value = At>,
) -> impl Strategy<Value = Start<At>> {
    prop_oneof![
        Just(Start::Beginning),
        Just(Start::End),
        at.prop_map(Start::After)
    ]
}

fn subscribe() -> impl Strategy<Value = Subscribe> {
    let all = (start(position()), filter(false))
        .prop_map(|(start, filter)| (SubscribeFrom::All(start), filter));
    let one = (stream(), start(revision()), filter(true))
        .prop_map(|(stream, start, filter)| (SubscribeFrom::Stream(stream, start), filter));
    (prop_oneof![all, one], option::of(store_id())).prop_map(|((from, filter), store_id)| {
        Subscribe {
            from,
            filter,
            store_id,
        }
    })
}

fn subscription_message() -> impl Strategy<Value = SubscriptionMessage> {
    prop_oneof![
        store_id().prop_map(|store_id| SubscriptionMessage::Confirmed { store_id }),
        vec(recorded_event(), 1..4).prop_map(SubscriptionMessage::Events),
        position().prop_map(SubscriptionMessage::Checkpoint),
        position().prop_map(|position| SubscriptionMessage::CaughtUp { position }),
    ]
}

proptest! {
    #[test]
    fn appends(append in append(false)) {
        let request = sent(&proto::AppendRequest::try_from(&append).unwrap());
        prop_assert_eq!(Append::try_from(request).unwrap(), append);
    }

    #[test]
    fn imports(append in append(true)) {
        let request = sent(&proto::ImportRequest::try_from(&append).unwrap());
        prop_assert_eq!(Append::try_from(request).unwrap(), append);
    }

    #[test]
    fn answers_to_appends(appended in appended(), refusal in refusal(), sequence: u64) {
        let response = sent(&append_response(Ok(appended.clone()), 0).unwrap());
        prop_assert_eq!(&Appended::try_from(response).unwrap(), &appended);

        let refusing = || Err(Error::Refused(Box::new(refusal.clone())));
        let response = sent(&append_response(refusing(), 1).unwrap());
        prop_assert_eq!(&refused(response.try_into()), &refusal);
        prop_assert!(append_response(refusing(), 0).is_err());

        let answer = SessionAnswer::try_from(sent(&session_response(sequence, Ok(appended.clone()))));
        let answer = answer.unwrap();
        prop_assert_eq!((answer.sequence, answer.outcome.unwrap()), (sequence, appended));
        let answer = SessionAnswer::try_from(sent(&session_response(sequence, refusing())));
        prop_assert_eq!(refused(answer.unwrap().outcome), refusal);
    }

    #[test]
    fn reads(read in read()) {
        let request = sent(&proto::ReadRequest::from(read.clone()));
        prop_assert_eq!(Read::try_from(request).unwrap(), read);
    }

    #[test]
    fn pages(
        store_id in option::of(store_id()),
        events in vec(recorded_event(), 0..5),
        last_position in position(),
    ) {
        let message = ReadMessage { store_id, batch: ReadBatch { events, last_position } };
        let generated = proto::ReadResponse::from(message.clone());
        prop_assert_eq!(ReadMessage::try_from(sent(&generated)).unwrap(), message.clone());
        let by_hand = Encoded::from(message).encode_to_vec();
        prop_assert_eq!(by_hand, generated.encode_to_vec());
    }

    #[test]
    fn subscriptions(subscribe in subscribe(), message in subscription_message()) {
        let request = sent(&proto::SubscribeRequest::from(subscribe.clone()));
        prop_assert_eq!(Subscribe::try_from(request).unwrap(), subscribe);
        let generated = proto::SubscribeResponse::from(message.clone());
        let heard = SubscriptionMessage::try_from(sent(&generated)).unwrap();
        prop_assert_eq!(heard, message.clone());
        let by_hand = Encoded::from(Delivery::Own(message)).encode_to_vec();
        prop_assert_eq!(by_hand, generated.encode_to_vec());
    }

    #[test]
    fn what_subscribers_share(appends in vec(vec(recorded_event(), 1..4), 1..4)) {
        let shared = appends.iter().cloned().map(SharedEvents::from).collect::<Vec<_>>();
        let message = SubscriptionMessage::Events(appends.concat());
        let generated = proto::SubscribeResponse::from(message).encode_to_vec();
        for _ in 0..2 {
            let by_hand = Encoded::from(Delivery::Shared(shared.clone())).encode_to_vec();
            prop_assert_eq!(&by_hand, &generated);
        }
    }

    #[test]
    fn stream_infos(stream in stream(), store_id in store_id(), info in stream_info()) {
        let request = sent(&proto::GetStreamRequest::from(stream.clone()));
        prop_assert_eq!(StreamName::try_from(request).unwrap(), stream);
        let response = sent(&proto::GetStreamResponse::from((store_id, info.clone())));
        prop_assert_eq!(StreamInfo::try_from(response).unwrap(), info);
    }

    #[test]
    fn stream_listings(
        prefix in "[a-z$]{0,9}",
        after in option::of(stream()),
        limit in 0_usize..5_000,
        system in system(),
        entries in vec((stream(), state(), position()), 0..4),
        store_id in store_id(),
    ) {
        let list = ListStreams { prefix, after: after.clone(), limit, system };
        let request = sent(&proto::ListStreamsRequest::from(list.clone()));
        prop_assert_eq!(ListStreams::try_from(request).unwrap(), list);

        let streams = entries.into_iter().map(|(stream, state, last_position)| {
            StreamEntry { stream, state, last_position }
        });
        let page = StreamPage { streams: streams.collect(), next_after: after };
        let response = sent(&proto::ListStreamsResponse::from((store_id, page.clone())));
        prop_assert_eq!(StreamPage::try_from(response).unwrap(), page);
    }

    #[test]
    fn category_listings(
        after in option::of(category()),
        limit in 0_usize..5_000,
        system in system(),
        categories in vec(category(), 0..4),
        store_id in store_id(),
    ) {
        let list = ListCategories { after: after.clone(), limit, system };
        let request = sent(&proto::ListCategoriesRequest::from(list.clone()));
        prop_assert_eq!(ListCategories::try_from(request).unwrap(), list);
        let page = CategoryPage { categories, next_after: after };
        let response = sent(&proto::ListCategoriesResponse::from((store_id, page.clone())));
        prop_assert_eq!(CategoryPage::try_from(response).unwrap(), page);
    }

    #[test]
    fn changes_of_streams(expected in expected(), before in revision(), tombstone: bool) {
        let stream = StreamName::new("order-1").unwrap();
        let set = SetStreamMetadata {
            stream: stream.clone(),
            metadata: Bytes::from_static(br#"{"$maxCount":7}"#),
            expected,
        };
        let request = sent(&proto::SetStreamMetadataRequest::from(set.clone()));
        prop_assert_eq!(SetStreamMetadata::try_from(request).unwrap(), set);

        let truncate = Truncate { stream: stream.clone(), before };
        let request = sent(&proto::TruncateRequest::from(truncate.clone()));
        prop_assert_eq!(Truncate::try_from(request).unwrap(), truncate);

        let kind = if tombstone { DeleteKind::Tombstone } else { DeleteKind::Soft };
        let delete = Delete { stream, expected, kind };
        let request = sent(&proto::DeleteRequest::from(delete.clone()));
        prop_assert_eq!(Delete::try_from(request).unwrap(), delete);
    }

    #[test]
    fn figures(
        store_id in store_id(),
        last_position in position(),
        numbers: (u64, u64, u64),
        details in vec(("[a-z_]{1,9}", any::<u64>()), 0..4),
        clamped: u64,
    ) {
        let (streams, disk_bytes, subscriptions) = numbers;
        let stats = StoreStats {
            store_id, last_position, streams, disk_bytes, subscriptions, details,
        };
        let response = sent(&proto::StatsResponse::from(stats.clone()));
        prop_assert_eq!(StoreStats::try_from(response).unwrap(), stats);

        let imported = Imported { last_position, clamped };
        let response = sent(&proto::ImportResponse::from((store_id, imported.clone())));
        prop_assert_eq!(Imported::from(response), imported);
    }
}
