//! kill -9 while a process manager works: what it appends for each event is there exactly once.

use crate::{icecore, sized, stream};
use futures::StreamExt;
use icecore_client::{
    Append, Client, ConsumerStrategy, Error, EventData, ExpectedRevision, Group, GroupEvent,
    GroupId, GroupName, GroupProblem, GroupSettings, new_event_id,
};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

const EVENTS: u64 = 400;
const KILLS: u64 = 6;
const WORKERS: usize = 3;

/// Appends an effect for each event, with the position of the event in it, in the append that answers
/// the event.
async fn work(client: Client, group: GroupId, done: watch::Sender<u64>) {
    let mut events = client.consume(&group).buffer_size(5).start();
    while let Some(event) = events.next().await {
        let event = event.expect("it joins again");
        let cause = event.event().expect("there are no links").position;
        let effect = EventData::json(new_event_id(), "Effect", cause.to_string()).unwrap();
        let append = Append::to_stream(stream("effects"), ExpectedRevision::Any, vec![effect]);
        if finish(&client, &append.unwrap(), &event).await {
            done.send_modify(|done| *done += 1);
        }
    }
}

/// Whether the append was written; otherwise another has the event by now, or will.
async fn finish(client: &Client, append: &Append, event: &GroupEvent) -> bool {
    loop {
        match client.append_finishing(append, event.finish()).await {
            Ok(_) => return true,
            Err(Error::Group {
                problem: GroupProblem::DeliveryLost,
                ..
            }) => return false,
            // The server is away for longer than a call is tried.
            Err(
                Error::OutcomeUnknown { .. }
                | Error::Unavailable { .. }
                | Error::Unreachable { .. },
            ) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_has_its_effect_exactly_once() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("store");
    let mut server = icecore().serve(&data).await.unwrap();
    let address = server.address().to_owned();
    let client = server.client();
    let group = GroupId::of_stream(stream("causes"), GroupName::new("effects").unwrap()).unwrap();
    let created = Group {
        settings: GroupSettings {
            strategy: ConsumerStrategy::RoundRobin,
            ..GroupSettings::default()
        },
        ..Group::new(group.clone())
    };
    client.create_group(created).await.unwrap();
    for _ in 0..EVENTS {
        let any = ExpectedRevision::Any;
        client
            .append(&stream("causes"), any, [sized(10)])
            .await
            .unwrap();
    }
    let (done, mut progress) = watch::channel(0);
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| tokio::spawn(work(client.clone(), group.clone(), done.clone())))
        .collect();
    for kill in 1..=KILLS {
        let enough = EVENTS * kill / (KILLS + 1);
        progress.wait_for(|done| *done >= enough).await.unwrap();
        server.kill().await.unwrap();
        server = icecore().serve_with(&data, &address, &[]).await.unwrap();
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    let effects = loop {
        let effects = client.read_stream(&stream("effects")).await.unwrap();
        if effects.len() as u64 >= EVENTS || tokio::time::Instant::now() > deadline {
            break effects;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let mut counts = BTreeMap::new();
    for effect in &effects {
        let cause: u64 = std::str::from_utf8(&effect.data).unwrap().parse().unwrap();
        *counts.entry(cause).or_insert(0) += 1;
    }
    let doubled: Vec<_> = counts.iter().filter(|(_, count)| **count != 1).collect();
    assert!(doubled.is_empty(), "more than one effect of {doubled:?}");
    assert_eq!(counts.len() as u64, EVENTS);
    assert!(workers.iter().all(|worker| !worker.is_finished()));
    workers.iter().for_each(tokio::task::JoinHandle::abort);
    server.stop().await.unwrap();
}
