//! Groups: created, changed, told about, listed, deleted, and what is refused and how.

use crate::support::*;
use icecore_core::{ConsumerStrategy, Group, GroupId, GroupName, GroupSettings};
use icecore_kurrent::proto::event_store::client as shared;
use icecore_kurrent::proto::event_store::client::persistent_subscriptions as proto;
use proto::create_req::all_options::AllOption;
use proto::create_req::stream_options::RevisionOption;
use proto::create_req::{Settings, settings};
use proto::{create_req, delete_req, list_req, update_req};
use tonic::{Code, Status};

const EMPTY: shared::Empty = shared::Empty {};

async fn delete(door: &Door, stream: Option<&str>, group: &str) -> Result<(), Status> {
    use delete_req::options::StreamOption;
    let options = Some(delete_req::Options {
        group_name: group.to_owned(),
        stream_option: Some(match stream {
            Some(stream) => StreamOption::StreamIdentifier(identifier(stream)),
            None => StreamOption::All(EMPTY),
        }),
    });
    let deleted = door.groups().delete(proto::DeleteReq { options }).await;
    deleted.map(drop)
}

async fn list(door: &Door, option: list_req::options::ListOption) -> Result<Vec<String>, Status> {
    let options = Some(list_req::Options {
        list_option: Some(option),
    });
    let listed = door.groups().list(proto::ListReq { options }).await?;
    let found = listed.into_inner().subscriptions.into_iter();
    let names = found.map(|info| format!("{}::{}", info.event_source, info.group_name));
    Ok(names.collect())
}

fn of_source(option: list_req::stream_option::StreamOption) -> list_req::options::ListOption {
    list_req::options::ListOption::ListForStream(list_req::StreamOption {
        stream_option: Some(option),
    })
}

#[tokio::test(start_paused = true)]
async fn a_group_is_there_once_until_it_is_deleted() {
    let door = Door::open().await;
    door.create(of_stream("s", "g")).await.unwrap();
    let again = door.create(of_stream("s", "g")).await.unwrap_err();
    let trailers = [
        ("exception", "persistent-subscription-exists"),
        ("stream-name", "s"),
        ("group-name", "g"),
    ];
    check_status(&again, Code::AlreadyExists, &trailers);
    door.create(of_all("g", START, None)).await.unwrap();
    let door = door.reopen().await;
    assert!(door.info(Some("s"), "g").await.is_ok());
    for stream in [Some("s"), None] {
        delete(&door, stream, "g").await.unwrap();
        let gone = delete(&door, stream, "g").await.unwrap_err();
        check_missing(&gone, stream.unwrap_or("$all"), "g");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_not_found_in_every_call() {
    let door = Door::open().await;
    let missing = |status: Status| check_missing(&status, "s", "g");
    missing(door.info(Some("s"), "g").await.unwrap_err());
    missing(door.join(Some("s"), "g").await.err().unwrap());
    let options = Some(update_options("s", "g"));
    let request = proto::UpdateReq { options };
    missing(door.groups().update(request).await.unwrap_err());
    let all = door.info(None, "g").await.unwrap_err();
    check_missing(&all, "$all", "g");
}

#[tokio::test(start_paused = true)]
async fn lists_are_of_all_or_of_one_source() {
    use list_req::options::ListOption;
    use list_req::stream_option::StreamOption;
    let door = Door::open().await;
    let everything = || ListOption::ListAllSubscriptions(EMPTY);
    assert!(list(&door, everything()).await.unwrap().is_empty());
    let none = list(&door, of_source(StreamOption::All(EMPTY))).await;
    check_missing(&none.unwrap_err(), "$all", "");
    for group in ["a", "b"] {
        door.create(of_stream("s", group)).await.unwrap();
    }
    door.create(of_all("c", START, None)).await.unwrap();
    let of_s = || of_source(StreamOption::Stream(identifier("s")));
    assert_eq!(list(&door, of_s()).await.unwrap(), ["s::a", "s::b"]);
    let of_all = of_source(StreamOption::All(EMPTY));
    assert_eq!(list(&door, of_all).await.unwrap(), ["$all::c"]);
    let all = list(&door, everything()).await.unwrap();
    assert_eq!(all, ["$all::c", "s::a", "s::b"]);
    let other = of_source(StreamOption::Stream(identifier("t")));
    check_missing(&list(&door, other).await.unwrap_err(), "t", "");
}

#[tokio::test(start_paused = true)]
async fn settings_come_back_as_they_were_said() {
    let door = Door::open().await;
    let mut options = of_stream("s", "g");
    options.settings = Some(Settings {
        resolve_links: true,
        revision: 0,
        extra_statistics: true,
        message_timeout: Some(settings::MessageTimeout::MessageTimeoutMs(1)),
        max_retry_count: 2,
        checkpoint_after: Some(settings::CheckpointAfter::CheckpointAfterMs(3)),
        min_checkpoint_count: 4,
        max_checkpoint_count: 5,
        max_subscriber_count: 6,
        live_buffer_size: 7,
        read_batch_size: 8,
        history_buffer_size: 9,
        named_consumer_strategy: 0,
        consumer_strategy: "PinnedByCorrelation".to_owned(),
    });
    door.create(options).await.unwrap();
    let info = door.info(Some("s"), "g").await.unwrap();
    let wanted = proto::SubscriptionInfo {
        event_source: "s".to_owned(),
        group_name: "g".to_owned(),
        status: "Behind".to_owned(),
        start_from: "0".to_owned(),
        resolve_link_tos: true,
        extra_statistics: true,
        message_timeout_milliseconds: 1,
        max_retry_count: 2,
        check_point_after_milliseconds: 3,
        min_check_point_count: 4,
        max_check_point_count: 5,
        max_subscriber_count: 6,
        live_buffer_size: 7,
        read_batch_size: 8,
        buffer_size: 9,
        named_consumer_strategy: "PinnedByCorrelation".to_owned(),
        ..proto::SubscriptionInfo::default()
    };
    assert_eq!(info, wanted);
}

#[tokio::test(start_paused = true)]
async fn a_start_is_told_as_it_was_given() {
    let door = Door::open().await;
    door.put("s", &[1, 2, 3]).await;
    for (number, (from, told)) in [
        (RevisionOption::Start(EMPTY), "0"),
        (RevisionOption::Revision(2), "2"),
        (RevisionOption::End(EMPTY), "-1"),
        (RevisionOption::Revision(u64::MAX), "-1"),
    ]
    .into_iter()
    .enumerate()
    {
        let group = format!("g{number}");
        door.create(from_revision("s", &group, from)).await.unwrap();
        let info = door.info(Some("s"), &group).await.unwrap();
        assert_eq!(info.start_from, told);
    }
    let position = |at| {
        AllOption::Position(create_req::Position {
            commit_position: at,
            prepare_position: at,
        })
    };
    for (number, (from, told)) in [
        (START, "C:0/P:0"),
        (position(2), "C:2/P:2"),
        (AllOption::End(EMPTY), "C:-1/P:-1"),
    ]
    .into_iter()
    .enumerate()
    {
        let group = format!("g{number}");
        door.create(of_all(&group, from, None)).await.unwrap();
        assert_eq!(door.info(None, &group).await.unwrap().start_from, told);
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_group_can_be_is_refused_with_the_reason() {
    let door = Door::open().await;
    door.put("s", &[1]).await;
    let with = |change: fn(&mut Settings)| {
        let mut options = of_stream("s", "g");
        change(options.settings.as_mut().unwrap());
        options
    };
    let position = |commit_position, prepare_position| {
        let position = create_req::Position {
            commit_position,
            prepare_position,
        };
        of_all("g", AllOption::Position(position), None)
    };
    for (bad, reason) in [
        (with(|s| s.consumer_strategy = "Any".to_owned()), "strategy"),
        (with(|s| s.max_retry_count = -1), "max_retry_count"),
        (with(|s| s.read_batch_size = 501), "read_batch_size"),
        (position(1, 2), "position"),
        (position(u64::MAX, 0), "position"),
        (position(100, 100), "start"),
    ] {
        let refused = door.create(bad).await.unwrap_err();
        let trailers = [
            ("exception", "persistent-subscription-failed"),
            ("group-name", "g"),
        ];
        check_status(&refused, Code::Internal, &trailers);
        let told = refused.metadata().get("reason").unwrap().to_str().unwrap();
        assert!(told.starts_with(reason), "{refused:?}");
        assert!(refused.message().contains(told), "{refused:?}");
    }
    check_missing(&door.info(None, "g").await.unwrap_err(), "$all", "g");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_says_too_little_is_invalid() {
    let door = Door::open().await;
    let whole = of_stream("s", "g");
    let mut no_start = of_all("g", START, None);
    no_start.stream_option = Some(create_req::options::StreamOption::All(
        create_req::AllOptions::default(),
    ));
    let mut bad_filter = prefixed("a");
    bad_filter.filter = None;
    for bad in [
        create_req::Options {
            settings: None,
            ..whole.clone()
        },
        create_req::Options {
            group_name: String::new(),
            ..whole.clone()
        },
        create_req::Options {
            stream_option: None,
            ..whole
        },
        no_start,
        of_all("g", START, Some(bad_filter)),
        of_stream("$all", "g"),
    ] {
        let refused = door.create(bad).await.unwrap_err();
        check_status(&refused, Code::InvalidArgument, &[]);
    }
    let empty = door.groups().delete(proto::DeleteReq::default()).await;
    check_status(&empty.unwrap_err(), Code::InvalidArgument, &[]);
}

#[tokio::test(start_paused = true)]
async fn the_first_clients_say_it_in_their_own_way() {
    let door = Door::open().await;
    door.put("s", &[1, 2]).await;
    let options = create_req::Options {
        stream_identifier: Some(identifier("s")),
        group_name: "old".to_owned(),
        settings: Some(Settings {
            revision: 1,
            message_timeout: Some(settings::MessageTimeout::MessageTimeoutTicks(20_000_000)),
            named_consumer_strategy: create_req::ConsumerStrategy::Pinned.into(),
            consumer_strategy: String::new(),
            ..default_settings()
        }),
        stream_option: None,
    };
    door.create(options).await.unwrap();
    let info = door.info(Some("s"), "old").await.unwrap();
    assert_eq!(info.start_from, "1");
    assert_eq!(info.message_timeout_milliseconds, 2_000);
    assert_eq!(info.named_consumer_strategy, "Pinned");
    door.join(Some("s"), "old")
        .await
        .unwrap()
        .gets(&["s/1", "-"])
        .await;
}

fn update_options(stream: &str, group: &str) -> update_req::Options {
    use update_req::stream_options::RevisionOption;
    update_req::Options {
        stream_identifier: None,
        group_name: group.to_owned(),
        settings: Some(update_req::Settings {
            max_retry_count: 3,
            max_checkpoint_count: 10,
            live_buffer_size: 11,
            read_batch_size: 12,
            history_buffer_size: 13,
            message_timeout: Some(update_req::settings::MessageTimeout::MessageTimeoutMs(14)),
            checkpoint_after: Some(update_req::settings::CheckpointAfter::CheckpointAfterTicks(
                150_000,
            )),
            ..update_req::Settings::default()
        }),
        stream_option: Some(update_req::options::StreamOption::Stream(
            update_req::StreamOptions {
                stream_identifier: Some(identifier(stream)),
                revision_option: Some(RevisionOption::End(EMPTY)),
            },
        )),
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_replaces_the_settings_and_drops_the_consumers() {
    let door = Door::open().await;
    door.create(of_stream("s", "g")).await.unwrap();
    let mut consumer = door.join(Some("s"), "g").await.unwrap();
    let options = Some(update_options("s", "g"));
    let request = proto::UpdateReq { options };
    door.groups().update(request).await.unwrap();
    let dropped = consumer.end().await.unwrap();
    let trailers = [
        ("exception", "persistent-subscription-dropped"),
        ("stream-name", "s"),
        ("group-name", "g"),
    ];
    check_status(&dropped, Code::Cancelled, &trailers);
    let info = door.info(Some("s"), "g").await.unwrap();
    assert_eq!(info.start_from, "-1");
    assert_eq!(info.named_consumer_strategy, "DispatchToSingle");
    let numbers = [
        info.max_retry_count,
        info.max_check_point_count,
        info.live_buffer_size,
        info.read_batch_size,
        info.buffer_size,
        info.message_timeout_milliseconds,
        info.check_point_after_milliseconds,
    ];
    assert_eq!(numbers, [3, 10, 11, 12, 13, 14, 15]);
}

#[tokio::test(start_paused = true)]
async fn a_change_keeps_a_strategy_that_it_cannot_say() {
    let door = Door::open().await;
    let id = GroupId::of_all(GroupName::new("g").unwrap());
    let settings = GroupSettings {
        strategy: ConsumerStrategy::Ordered,
        ..GroupSettings::default()
    };
    let group = Group {
        settings,
        ..Group::new(id)
    };
    door.store.create_group(group).await.unwrap();
    let mut options = update_options("s", "g");
    options.stream_option = Some(update_req::options::StreamOption::All(
        update_req::AllOptions {
            all_option: Some(update_req::all_options::AllOption::Start(EMPTY)),
        },
    ));
    let request = proto::UpdateReq {
        options: Some(options),
    };
    door.groups().update(request).await.unwrap();
    let info = door.info(None, "g").await.unwrap();
    assert_eq!(info.named_consumer_strategy, "Ordered");
    assert_eq!(info.max_retry_count, 3);
}

#[tokio::test(start_paused = true)]
async fn consumers_hear_that_their_group_is_deleted_or_restarted() {
    let door = Door::open().await;
    door.create(of_stream("s", "g")).await.unwrap();
    let mut consumer = door.join(Some("s"), "g").await.unwrap();
    door.groups().restart_subsystem(EMPTY).await.unwrap();
    let trailers = [("exception", "persistent-subscription-dropped")];
    let dropped = consumer.end().await.unwrap();
    check_status(&dropped, Code::Cancelled, &trailers);
    let mut consumer = door.join(Some("s"), "g").await.unwrap();
    delete(&door, Some("s"), "g").await.unwrap();
    check_missing(&consumer.end().await.unwrap(), "s", "g");
}
