//! Appends that finish deliveries: the events and the checkpoint, or neither.

use super::{Member, create, join, of_all, put, round_robin};
use crate::support::{
    Any, Fault, NoStream, StreamExists, TestStore, append, append_to, open, reopen, settle,
};
use icecore_core::{
    Append, Appended, Error, Finish, GroupId, GroupProblem, GroupSettings, NackAction, ParkedRange,
    Result,
};
use icecore_eventstore::{Room, StoreConfig};
use std::time::Duration;

async fn finish(
    store: &TestStore,
    group: &GroupId,
    member: &Member,
    append: Append,
) -> Result<Appended> {
    let finish = Finish {
        group: group.clone(),
        consumer: member.consumer.id(),
        deliveries: member.numbers(),
    };
    store
        .append_finishing(append, finish, Room::default())
        .await
}

fn is_lost<T: std::fmt::Debug>(result: &Result<T>) -> bool {
    matches!(
        result,
        Err(Error::Group {
            problem: GroupProblem::DeliveryLost,
            ..
        })
    )
}

/// A store with a group and two events, of which the consumer has the first.
async fn begin(settings: GroupSettings) -> (TestStore, GroupId, Member) {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["in-1", "in-2"]).await;
    create(&store, &group, settings).await;
    let mut member = join(&store, &group, 1).await;
    member.gets(&["in-1/0"]).await;
    (store, group, member)
}

#[tokio::test(start_paused = true)]
async fn events_and_checkpoint_are_one_commit() {
    let (store, group, mut member) = begin(round_robin()).await;
    let commits = *store.storage.commits.lock().unwrap();
    let appended = finish(&store, &group, &member, append("out", NoStream, &[100]))
        .await
        .unwrap();
    assert_eq!(*store.storage.commits.lock().unwrap(), commits + 1);
    assert_eq!(appended.streams.len(), 1);
    assert_eq!(appended.streams[0].stream.as_str(), "out");
    assert_eq!(
        appended.last_position,
        store.last_position(),
        "the caller's event is the last"
    );
    // Whatever happens now, it is done.
    let copy = reopen(store.storage.clone(), StoreConfig::default()).await;
    let mut other = join(&copy, &group, 1).await;
    assert_eq!(other.process_all().await, ["in-2/0", "out/0"]);
    member.held.clear();
}

#[tokio::test(start_paused = true)]
async fn a_repeated_append_gets_the_first_answer() {
    for expected in [NoStream, Any] {
        let (store, group, member) = begin(round_robin()).await;
        let again = || append("out", expected, &[100, 101]);
        let first = finish(&store, &group, &member, again()).await.unwrap();
        let second = finish(&store, &group, &member, again()).await.unwrap();
        assert_eq!(first, second);
        let restarted = reopen(store.storage.clone(), StoreConfig::default()).await;
        let third = finish(&restarted, &group, &member, again()).await.unwrap();
        assert_eq!(first, third);
        assert_eq!(restarted.revisions("out").await.unwrap(), [0, 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_lost_a_delivery_writes_nothing() {
    let settings = || GroupSettings {
        message_timeout: Duration::from_secs(1),
        ..round_robin()
    };
    // It took too long, and another has it.
    let (store, group, member) = begin(settings()).await;
    let mut other = join(&store, &group, 1).await;
    other.gets(&["in-2/0"]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let last = store.last_position();
    assert!(is_lost(
        &finish(&store, &group, &member, append("out", Any, &[100])).await
    ));
    assert_eq!(store.last_position(), last);

    // It was answered.
    let (store, group, mut member) = begin(settings()).await;
    let numbers = member.held.clone();
    member.ack().await;
    member.held = numbers;
    assert!(is_lost(
        &finish(&store, &group, &member, append("out", Any, &[100])).await
    ));

    // The consumer has left, or nobody is there at all.
    let (store, group, member) = begin(settings()).await;
    let Member {
        consumer,
        deliveries,
        held,
    } = member;
    drop(deliveries);
    let gone = Finish {
        group: group.clone(),
        consumer: consumer.id(),
        deliveries: held.iter().map(|delivery| delivery.number).collect(),
    };
    tokio::task::yield_now().await;
    let outcome = store
        .append_finishing(append("out", Any, &[100]), gone, Room::default())
        .await;
    assert!(is_lost(&outcome));

    // It is another's.
    let (store, group, mut member) = begin(settings()).await;
    let other = join(&store, &group, 1).await;
    let others = Member {
        held: member.held.clone(),
        ..other
    };
    assert!(is_lost(
        &finish(&store, &group, &others, append("out", Any, &[100])).await
    ));
    member.held.clear();
    let nothing = finish(&store, &group, &member, append("out", Any, &[100])).await;
    assert!(
        matches!(nothing, Err(Error::InvalidArgument { field, .. }) if field == "finish.deliveries")
    );
    assert!(store.revisions("out").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_append_that_is_refused_finishes_nothing() {
    let (store, group, mut member) = begin(round_robin()).await;
    put(&store, 50, &["out"]).await;
    let refused = finish(&store, &group, &member, append("out", NoStream, &[100])).await;
    let refusal = crate::support::refusal(refused);
    assert_eq!(refusal.violations.len(), 1);
    assert_eq!(refusal.violations[0].stream.as_str(), "out");
    // The consumer still has it, and may do better.
    finish(&store, &group, &member, append("out", Any, &[101]))
        .await
        .unwrap();
    member.held.clear();
    assert_eq!(member.process_all().await, ["in-2/0", "out/0", "out/1"]);
}

#[tokio::test(start_paused = true)]
async fn an_append_to_the_groups_own_streams_is_invalid() {
    let (store, group, mut member) = begin(round_robin()).await;
    let own = append_to(&[(group.checkpoint_stream().as_str(), Any, &[100])])
        .build()
        .unwrap();
    let outcome = finish(&store, &group, &member, own).await;
    assert!(matches!(outcome, Err(Error::InvalidArgument { field, .. }) if field == "streams"));
    finish(&store, &group, &member, append("out", Any, &[101]))
        .await
        .unwrap();
    member.held.clear();
}

#[tokio::test(start_paused = true)]
async fn replayed_events_and_those_behind_them_are_finished_as_well() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["a", "a", "a"]).await;
    create(&store, &group, GroupSettings::default()).await;
    let mut member = join(&store, &group, 1).await;
    member.gets(&["a/0"]).await;
    member.nack(NackAction::Park).await;
    member.gets(&["-"]).await;
    store.replay_parked(&group, ParkedRange::All).await.unwrap();
    for (word, id) in [("a/0", 100), ("a/1", 101)] {
        member.gets(&[word]).await;
        finish(&store, &group, &member, append("$out", Any, &[id]))
            .await
            .unwrap();
        member.held.clear();
    }
    // Without a checkpoint by the way: what is written is all there is.
    let copy = reopen(store.storage.clone(), StoreConfig::default()).await;
    assert_eq!(join(&copy, &group, 1).await.process_all().await, ["a/2"]);
    assert_eq!(copy.group_info(&group).await.unwrap().parked_count, 0);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_cleared_up_by_a_repetition() {
    for (fault, comes) in [
        (Fault::UnknownPresent, "in-2/0"),
        (Fault::UnknownAbsent, "in-1/0"),
    ] {
        let (store, group, mut member) = begin(round_robin()).await;
        store.storage.fail_next([Some(fault)]);
        let again = || append("out", NoStream, &[100]);
        let outcome = finish(&store, &group, &member, again()).await;
        assert!(
            matches!(outcome, Err(Error::OutcomeUnknown { .. })),
            "{outcome:?}"
        );
        let repeated = finish(&store, &group, &member, again()).await;
        assert_eq!(
            is_lost(&repeated),
            fault == Fault::UnknownAbsent,
            "{repeated:?}"
        );
        assert_eq!(repeated.is_ok(), fault == Fault::UnknownPresent);
        member.held.clear();
        assert_eq!(member.next().await, "! unavailable");
        join(&store, &group, 1).await.gets(&[comes]).await;
    }
}

/// Finishes what each of these has, all at once: with an append to `out-N`, or, where it `fails`, with one
/// that is refused.
async fn finish_all(
    store: &TestStore,
    group: &GroupId,
    members: &[Member],
    fails: Option<usize>,
) -> Vec<Result<Appended>> {
    let finishing = members.iter().enumerate().map(|(number, member)| {
        let expected = if fails == Some(number) {
            StreamExists
        } else {
            NoStream
        };
        let id = 100 + number as u128;
        let append = append(&format!("$out-{number}"), expected, &[id]);
        finish(store, group, member, append)
    });
    futures::future::join_all(finishing).await
}

/// Four consumers that have an event each.
async fn four() -> (TestStore, GroupId, Vec<Member>) {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["in-1", "in-2", "in-3", "in-4"]).await;
    create(&store, &group, round_robin()).await;
    let mut members = Vec::new();
    for stream in ["in-1/0", "in-2/0", "in-3/0", "in-4/0"] {
        let mut member = join(&store, &group, 1).await;
        member.gets(&[stream]).await;
        members.push(member);
    }
    (store, group, members)
}

#[tokio::test(start_paused = true)]
async fn appends_that_finish_are_committed_together() {
    let (store, group, members) = four().await;
    let before = *store.storage.commits.lock().unwrap();
    store.storage.hold();
    let release = async {
        settle().await;
        store.storage.release_all();
    };
    let (outcomes, ()) = tokio::join!(finish_all(&store, &group, &members, None), release);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let commits = *store.storage.commits.lock().unwrap() - before;
    assert!(commits <= 2, "{commits} commits");
    let copy = reopen(store.storage.clone(), StoreConfig::default()).await;
    assert_eq!(join(&copy, &group, 9).await.process_all().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_takes_no_other_with_it() {
    for fails in 0..4 {
        let (store, group, members) = four().await;
        let outcomes = finish_all(&store, &group, &members, Some(fails)).await;
        for (number, outcome) in outcomes.into_iter().enumerate() {
            if number == fails {
                let refusal = crate::support::refusal(outcome);
                let stream = format!("$out-{fails}");
                assert_eq!(refusal.violations[0].stream.as_str(), stream);
            } else {
                outcome.unwrap();
            }
        }
        let copy = reopen(store.storage.clone(), StoreConfig::default()).await;
        let left = join(&copy, &group, 9).await.process_all().await;
        assert_eq!(left, [format!("in-{}/0", fails + 1)]);
    }
}
