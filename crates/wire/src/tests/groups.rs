//! Groups, there and back; what is wrong is named by its field.

use super::strategies::{filter, recorded_event, revision, store_id, stream, timestamp, uuid};
use crate::{
    AppendCall, ConsumeMessage, Join, ListParked, ReplayParked, decode_deliveries, group_id,
    joined_consumer, proto,
};
use bytes::Bytes;
use icecore_core::{
    Append, ConsumerId, ConsumerInfo, ConsumerStrategy, DeliveryNumber, Error, Finish, Group,
    GroupDelivery, GroupId, GroupInfo, GroupName, GroupSettings, GroupStart, GroupStatus,
    NackAction, ParkedEvent, ParkedPage, ParkedRange, Settled,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use std::time::Duration;

fn sent<M: Message + Default>(message: &M) -> M {
    M::decode(Bytes::from(message.encode_to_vec())).unwrap()
}

fn id() -> impl Strategy<Value = GroupId> {
    let name = "[a-zß:]{1,12}".prop_map(|name| GroupName::new(name).unwrap());
    (option::of(stream()), name).prop_map(|(stream, name)| match stream {
        Some(stream) => GroupId::of_stream(stream, name).unwrap(),
        None => GroupId::of_all(name),
    })
}

fn settings() -> impl Strategy<Value = GroupSettings> {
    let start = prop_oneof![
        Just(GroupStart::Beginning),
        Just(GroupStart::End),
        any::<u64>().prop_map(GroupStart::From),
    ];
    let millis = || (0..1_000_000_u64).prop_map(Duration::from_millis);
    let flags = (any::<bool>(), any::<bool>(), any::<u32>(), any::<u32>());
    let sizes = (1..1_000_u32, 1..1_000_u32, 1..1_000_u32);
    (start, millis(), millis(), flags, sizes, 0..5_usize).prop_map(
        |(start, message_timeout, checkpoint_after, flags, sizes, strategy)| GroupSettings {
            start,
            resolve_links: flags.0,
            extra_statistics: flags.1,
            message_timeout,
            max_retry_count: flags.2,
            checkpoint_after,
            min_checkpoint_count: sizes.0.min(sizes.1),
            max_checkpoint_count: sizes.0.max(sizes.1),
            max_subscriber_count: flags.3,
            live_buffer_size: sizes.2,
            read_batch_size: sizes.0.min(sizes.2),
            history_buffer_size: sizes.0.max(sizes.2),
            strategy: ConsumerStrategy::EACH[strategy],
        },
    )
}

fn group() -> impl Strategy<Value = Group> {
    (id(), filter(true), settings()).prop_map(|(id, filter, settings)| Group {
        id,
        filter,
        settings,
    })
}

fn consumer_info() -> impl Strategy<Value = ConsumerInfo> {
    let texts = ("[a-z.:0-9]{0,9}", "[a-zé]{0,9}");
    let latency = ("[A-Z0-9%]{1,5}", any::<u64>());
    (uuid(), texts, any::<[u64; 5]>(), vec(latency, 0..3)).prop_map(
        |(id, (address, name), counts, latencies)| ConsumerInfo {
            id: ConsumerId(id),
            address,
            name,
            average_per_second: counts[0],
            total_items: counts[1],
            count_since_last_measurement: counts[2],
            available_slots: counts[3],
            in_flight_count: counts[4],
            latencies,
        },
    )
}

fn group_info() -> impl Strategy<Value = GroupInfo> {
    let status = prop_oneof![
        Just(GroupStatus::Idle),
        Just(GroupStatus::Behind),
        Just(GroupStatus::Live),
    ];
    let places = (option::of(any::<u64>()), option::of(any::<u64>()));
    let consumers = vec(consumer_info(), 0..3);
    let trouble = option::of("[a-z]{1,9}");
    let counts = (any::<[u64; 9]>(), trouble);
    (group(), status, consumers, places, counts).prop_map(
        |(group, status, consumers, (last_checkpointed, last_known), (counts, trouble))| {
            GroupInfo {
                group,
                status,
                consumers,
                last_checkpointed,
                last_known,
                average_per_second: counts[0],
                total_items: counts[1],
                count_since_last_measurement: counts[2],
                read_buffer_count: counts[3],
                live_buffer_count: counts[4],
                retry_buffer_count: counts[5],
                in_flight_count: counts[6],
                parked_count: counts[7],
                waiting_streams: counts[8],
                trouble,
            }
        },
    )
}

fn numbers() -> impl Strategy<Value = Vec<DeliveryNumber>> {
    vec(any::<u64>().prop_map(DeliveryNumber), 1..4)
}

fn message() -> impl Strategy<Value = ConsumeMessage> {
    let join = (id(), 1..100_u32, "[a-z]{0,9}");
    let action = prop_oneof![
        Just(NackAction::Park),
        Just(NackAction::Retry),
        Just(NackAction::Skip),
        Just(NackAction::Stop),
    ];
    prop_oneof![
        join.prop_map(|(group, buffer_size, name)| ConsumeMessage::Join(Join {
            group,
            buffer_size,
            name,
        })),
        numbers().prop_map(|numbers| ConsumeMessage::Settle(numbers, Settled::Ack)),
        (numbers(), action, "[a-zé ]{0,9}").prop_map(|(numbers, action, reason)| {
            ConsumeMessage::Settle(numbers, Settled::Nack { action, reason })
        }),
    ]
}

fn delivery() -> impl Strategy<Value = GroupDelivery> {
    let events = (
        option::of(recorded_event()),
        recorded_event(),
        any::<bool>(),
    );
    (any::<u64>(), any::<u32>(), events).prop_map(
        |(number, retry_count, (event, other, linked))| {
            let (event, link) = if linked {
                (event, Some(other))
            } else {
                (Some(other), None)
            };
            GroupDelivery {
                number: DeliveryNumber(number),
                event,
                link,
                retry_count,
            }
        },
    )
}

fn parked_event() -> impl Strategy<Value = ParkedEvent> {
    let places = (revision(), stream(), revision(), timestamp());
    let rest = (option::of(recorded_event()), "[a-z ]{0,9}", any::<bool>());
    (places, rest, option::of(stream())).prop_map(|(places, rest, waiting_stream)| ParkedEvent {
        parked_revision: places.0,
        stream: places.1,
        revision: places.2,
        parked_at: places.3,
        event: rest.0,
        reason: rest.1,
        replaying: rest.2,
        waiting_stream,
    })
}

fn range() -> impl Strategy<Value = ParkedRange> {
    prop_oneof![
        Just(ParkedRange::All),
        revision().prop_map(ParkedRange::Before),
        revision().prop_map(ParkedRange::One),
    ]
}

proptest! {
    #[test]
    fn groups_and_settings(group in group()) {
        let request = sent(&proto::CreateGroupRequest::from(group.clone()));
        prop_assert_eq!(&Group::try_from(request).unwrap(), &group);
        let update = (group.id, group.settings);
        let request = sent(&proto::UpdateGroupRequest::from(update.clone()));
        prop_assert_eq!(<(GroupId, GroupSettings)>::try_from(request).unwrap(), update);
    }

    #[test]
    fn what_groups_tell(info in group_info()) {
        let message = sent(&proto::GroupInfo::from(info.clone()));
        prop_assert_eq!(GroupInfo::try_from(message).unwrap(), info);
    }

    #[test]
    fn what_consumers_say(message in message()) {
        let request = sent(&proto::ConsumeRequest::from(message.clone()));
        prop_assert_eq!(ConsumeMessage::try_from(request).unwrap(), message);
    }

    #[test]
    fn what_consumers_get(
        deliveries in vec(delivery(), 1..4),
        store_id in store_id(),
        consumer in uuid(),
    ) {
        use proto::consume_response::Message;
        let response = sent(&proto::ConsumeResponse::from(deliveries.clone()));
        let Some(Message::Deliveries(message)) = response.message else { panic!() };
        prop_assert_eq!(decode_deliveries(message.deliveries).unwrap(), deliveries);
        let consumer = ConsumerId(consumer);
        let response = sent(&proto::ConsumeResponse::from((store_id, consumer)));
        let Some(Message::Joined(joined)) = response.message else { panic!() };
        prop_assert_eq!(joined_consumer(&joined).unwrap(), consumer);
    }

    #[test]
    fn parked_events(
        events in vec(parked_event(), 0..3),
        next in option::of(revision()),
        (group, range) in (id(), range()),
        dry_run: bool,
    ) {
        let page = ParkedPage { events, next };
        let response = sent(&proto::ListParkedResponse::from(page.clone()));
        prop_assert_eq!(ParkedPage::try_from(response).unwrap(), page);
        let discard = (group.clone(), range);
        let request = sent(&proto::DiscardParkedRequest::from(discard.clone()));
        prop_assert_eq!(<(GroupId, ParkedRange)>::try_from(request).unwrap(), discard);
        let replay = ReplayParked { group: group.clone(), range, dry_run };
        let request = sent(&proto::ReplayParkedRequest::from(replay.clone()));
        prop_assert_eq!(ReplayParked::try_from(request).unwrap(), replay);
        let list = ListParked { group, from: icecore_core::Revision::FIRST, limit: 7 };
        let request = sent(&proto::ListParkedRequest::from(list.clone()));
        prop_assert_eq!(ListParked::try_from(request).unwrap(), list);
    }

    #[test]
    fn appends_that_finish(
        append in super::strategies::append(false),
        (group, consumer, deliveries) in (id(), uuid(), numbers()),
    ) {
        let consumer = ConsumerId(consumer);
        let finish = Finish { group, consumer, deliveries };
        let request = proto::AppendRequest {
            finish: Some(finish.clone().into()),
            ..proto::AppendRequest::try_from(&append).unwrap()
        };
        let call = AppendCall::try_from(sent(&request)).unwrap();
        prop_assert_eq!(call.finish, Some(finish));
        prop_assert_eq!(call.append, append);
        // Where it cannot be done it must not be left out in silence.
        check(Append::try_from(request), "finish");
    }
}

#[track_caller]
fn check<T: std::fmt::Debug>(outcome: Result<T, Error>, expected: &str) {
    match outcome {
        Err(Error::InvalidArgument { field, .. }) => assert_eq!(field, expected),
        other => panic!("expected an invalid {expected}, got {other:?}"),
    }
}

fn create(spoil: impl FnOnce(&mut proto::CreateGroupRequest)) -> Result<Group, Error> {
    let group = Group::new(GroupId::of_all(GroupName::new("g").unwrap()));
    let mut request = proto::CreateGroupRequest::from(group);
    spoil(&mut request);
    Group::try_from(request)
}

#[test]
fn what_is_left_out_has_a_default() {
    let group = create(|request| {
        request.filter = None;
        request.settings = None;
    });
    assert_eq!(group.unwrap().settings, GroupSettings::default());
    let group = create(|request| request.settings = Some(proto::GroupSettings::default()));
    assert_eq!(group.unwrap().settings, GroupSettings::default());
}

#[test]
fn what_is_wrong_is_named() {
    check(group_id(None), "group");
    check(
        create(|r| r.group = Some(proto::GroupId::default())),
        "group.name",
    );
    check(
        create(|r| r.group.as_mut().unwrap().stream = Some("$all".into())),
        "group.stream",
    );
    let of_settings = |spoil: fn(&mut proto::GroupSettings)| {
        create(move |request| spoil(request.settings.as_mut().unwrap()))
    };
    check(of_settings(|s| s.strategy = 99), "settings.strategy");
    check(
        of_settings(|s| s.read_batch_size = Some(0)),
        "settings.read_batch_size",
    );
    let join = proto::consume_request::Message::Join(proto::consume_request::Join::default());
    let request = proto::ConsumeRequest {
        message: Some(join),
    };
    check(ConsumeMessage::try_from(request), "join.group");
    let nack = proto::consume_request::Message::Nack(proto::consume_request::Nack::default());
    let request = proto::ConsumeRequest {
        message: Some(nack),
    };
    check(ConsumeMessage::try_from(request), "nack.action");
    check(
        ConsumeMessage::try_from(proto::ConsumeRequest::default()),
        "message",
    );
    check(
        decode_deliveries(vec![proto::GroupDelivery::default()]),
        "deliveries[0].event",
    );
    check(Finish::try_from(proto::Finish::default()), "deliveries");
}
