//! One seed drives a paused runtime, a storage that fails, and clients that append, try again, read,
//! subscribe and delete. `ICECORE_SIMULATION_SEED` runs one seed alone.

use crate::support::{
    Any, Fault, NoStream, SoftDeleted, StreamExists, TestStore, append_to, check_log, condition,
    events, name, open_with, settle,
};
use futures::StreamExt;
use icecore_core::{
    Append, Appended, DeleteKind, Error, ExpectedRevision, Filter, Position, Read, RecordedEvent,
    Start, Subscribe, SubscribeFrom, SubscriptionMessage,
};
use icecore_eventstore::{EventStore, StoreConfig};
use icecore_storage::contract::generate::Random;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SEEDS: u64 = 200;
const CLIENTS: u64 = 4;
const STEPS: usize = 25;
const STREAMS: usize = 4;

/// What the clients were told.
#[derive(Default)]
struct Told {
    acknowledged: Vec<(Append, Appended)>,
    refused: Vec<Append>,
    unknown: Vec<Append>,
}

type Shared = Arc<Mutex<Told>>;

#[test]
fn whatever_fails_nothing_is_lost_doubled_or_torn() {
    let one = std::env::var("ICECORE_SIMULATION_SEED").ok();
    let seeds = match one.and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..SEEDS,
    };
    for seed in seeds {
        let run = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            let limit = Duration::from_secs(3_600);
            runtime.block_on(async {
                let simulated = tokio::time::timeout(limit, simulate(seed));
                simulated.await.expect("somebody waits for ever");
            });
        }));
        assert!(
            run.is_ok(),
            "seed {seed}: set ICECORE_SIMULATION_SEED={seed} to see it alone"
        );
    }
}

async fn simulate(seed: u64) {
    let mut random = Random::new(seed);
    let pick = |random: &mut Random, choices: &[usize]| choices[random.below(choices.len())];
    let config = StoreConfig {
        ring_bytes: pick(&mut random, &[0, 1_500, 1 << 20]),
        id_window_events: pick(&mut random, &[1_000, 1_000, 1_000_000]),
        stream_states: pick(&mut random, &[1, 4, 1_000]),
        group_appends: pick(&mut random, &[1, 3, 1_000]),
        queue_appends: pick(&mut random, &[1, 100]),
        ..StoreConfig::default()
    };
    let store = open_with(config).await;
    plan_faults(&store, &mut random);
    let told = Shared::default();
    let followed = Arc::new(Mutex::new(Vec::new()));
    let followers: Vec<_> = (0..2u64)
        .map(|n| tokio::spawn(follow(store.store.clone(), Arc::clone(&followed), n)))
        .collect();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let random = Random::new(seed * 1_000 + client);
            tokio::spawn(act(store.store.clone(), random, client, Arc::clone(&told)))
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    store.close().await.unwrap();
    for follower in followers {
        follower.await.unwrap();
    }
    let log = store.log().await;
    check_log(&log);
    check_told(&log, &told.lock().unwrap());
    for seen in followed.lock().unwrap().iter() {
        assert_eq!(*seen, log[..seen.len()], "a subscription is the log");
    }
}

fn plan_faults(store: &TestStore, random: &mut Random) {
    let millis = [0, 1, 20][random.below(3)];
    store.storage.delay_commits(Duration::from_millis(millis));
    let fault = |random: &mut Random| match random.below(12) {
        0 => Some(Fault::UnknownPresent),
        1 => Some(Fault::UnknownAbsent),
        2 => Some(Fault::UnknownPart(random.below(3))),
        3 => Some(Fault::Fenced),
        _ => None,
    };
    let faults: Vec<_> = (0..60).map(|_| fault(random)).collect();
    store.storage.fail_next(faults);
}

/// One client: acts, tries again what it does not know, and checks after each step what it can see.
async fn act(store: EventStore, mut random: Random, client: u64, told: Shared) {
    let mut next_id = u128::from(client + 1) * 1_000_000;
    for _ in 0..STEPS {
        match random.below(12) {
            0 => {
                let stream = name(&format!("s-{}", random.below(STREAMS)));
                drop(store.delete(&stream, Any, DeleteKind::Soft).await);
            }
            1 => {
                let stream = name(&format!("s-{}", random.below(STREAMS)));
                let json = br#"{"$maxCount":5}"#;
                drop(store.set_metadata(&stream, Any, json).await);
            }
            2 if random.below(8) == 0 => {
                let stream = name(&format!("s-{}", random.below(STREAMS)));
                drop(store.delete(&stream, Any, DeleteKind::Tombstone).await);
            }
            3 => tokio::time::sleep(Duration::from_millis(5)).await,
            _ => {
                let append = some_append(&store, &mut random, &mut next_id).await;
                send(&store, append, &mut random, &told).await;
            }
        }
        let mut read = Read::all();
        read.filter = Filter::everything();
        check_log(&events(&store, read).await.unwrap());
    }
}

async fn some_append(store: &EventStore, random: &mut Random, next_id: &mut u128) -> Append {
    let count = 1 + random.below(2);
    let first = random.below(STREAMS);
    let mut streams = Vec::new();
    for n in 0..count {
        let stream = format!("s-{}", (first + n) % STREAMS);
        let last = match store.stream_info(&name(&stream)).await {
            Ok(info) => info.state.last_revision(),
            Err(_) => None,
        };
        let expected = match (random.below(6), last) {
            (0, _) => NoStream,
            (1, _) => StreamExists,
            (2, _) => SoftDeleted,
            (3 | 4, Some(last)) => ExpectedRevision::Exact(last),
            (_, _) => Any,
        };
        let ids: Vec<_> = (0..=random.below(3) as u128)
            .map(|n| *next_id + n)
            .collect();
        *next_id += 10;
        streams.push((stream, expected, ids));
    }
    let streams: Vec<_> = streams
        .iter()
        .map(|(stream, expected, ids)| (stream.as_str(), *expected, &ids[..]))
        .collect();
    let mut append = append_to(&streams);
    if random.below(5) == 0 {
        append.condition(condition("T", &[], store.last_position().get()));
    }
    append.build().unwrap()
}

/// Sends an append until its outcome is known, sometimes twice at once, sometimes again later.
async fn send(store: &EventStore, append: Append, random: &mut Random, told: &Shared) {
    // A stream that is closed meanwhile refuses even what had been written to it.
    let mut is_uncertain = false;
    for _ in 0..40 {
        let result = if random.below(4) == 0 {
            let again = store.append(append.clone());
            let (first, second) = tokio::join!(store.append(append.clone()), again);
            if let (Ok(first), Ok(second)) = (&first, &second) {
                assert_eq!(first, second, "a retry gets the original answer");
            }
            let unknown = |result| matches!(result, &Err(Error::OutcomeUnknown { .. }));
            is_uncertain |= unknown(&first) || unknown(&second);
            if first.is_ok() { first } else { second }
        } else if random.below(10) == 0 {
            drop(
                tokio::time::timeout(Duration::from_millis(3), store.append(append.clone())).await,
            );
            is_uncertain = true;
            continue;
        } else {
            store.append(append.clone()).await
        };
        match result {
            Ok(appended) => {
                told.lock().unwrap().acknowledged.push((append, appended));
                return;
            }
            Err(Error::Refused(_)) => {
                let mut told = told.lock().unwrap();
                let known = &mut *told;
                if is_uncertain {
                    known.unknown.push(append);
                } else {
                    known.refused.push(append);
                }
                return;
            }
            Err(Error::OutcomeUnknown { .. }) => {
                is_uncertain = true;
                settle().await;
            }
            Err(Error::Unavailable { .. }) => settle().await,
            Err(error) => panic!("{error}"),
        }
    }
    told.lock().unwrap().unknown.push(append);
}

fn check_told(log: &[RecordedEvent], told: &Told) {
    let places: HashMap<_, _> = log
        .iter()
        .map(|event| ((event.stream.clone(), event.id), event))
        .collect();
    let places = &places;
    let written = |append: &Append| -> Vec<_> {
        append
            .events()
            .iter()
            .map(|event| {
                let stream = append.streams()[event.stream].stream.clone();
                places.get(&(stream, event.event.id)).copied()
            })
            .collect()
    };
    for (append, appended) in &told.acknowledged {
        let found = written(append);
        let last = found
            .last()
            .unwrap()
            .expect("what was acknowledged is there");
        assert!(found.iter().all(Option::is_some), "whole");
        assert_eq!(last.position, appended.last_position);
        let first = found[0].unwrap().position.get();
        assert_eq!(
            last.position.get() - first + 1,
            found.len() as u64,
            "together"
        );
    }
    for append in &told.refused {
        assert!(
            written(append).iter().all(Option::is_none),
            "a refusal wrote nothing: {append:?}"
        );
    }
    for append in &told.unknown {
        let found = written(append);
        let count = found.iter().flatten().count();
        assert!(count == 0 || count == found.len(), "whole or absent");
    }
}

/// Follows everything, each time from where it was, until the store ends.
async fn follow(store: EventStore, all_seen: Arc<Mutex<Vec<Vec<RecordedEvent>>>>, n: u64) {
    let mut seen: Vec<RecordedEvent> = Vec::new();
    let mut open = true;
    while open {
        let last = seen.last().map_or(Position::START, |event| event.position);
        let mut subscription = Box::pin(store.subscribe(Subscribe {
            from: SubscribeFrom::All(Start::After(last)),
            filter: Filter::everything(),
            store_id: None,
        }));
        let mut messages = 0;
        while let Some(message) = subscription.next().await {
            match message {
                Ok(SubscriptionMessage::Events(events)) => seen.extend(events),
                Ok(SubscriptionMessage::CaughtUp { position }) => {
                    assert_eq!(position.get(), seen.len() as u64);
                }
                Ok(_) => {}
                Err(_) => open = false,
            }
            messages += 1;
            if n == 1 && messages % 7 == 0 {
                // It is slow, and sometimes it connects again.
                tokio::time::sleep(Duration::from_millis(30)).await;
                break;
            }
        }
    }
    all_seen.lock().unwrap().push(seen);
}
