//! Random operations against a model that is as simple as the tables: streams as vectors of ids, and
//! their states.

use crate::support::{
    Any, NoStream, SoftDeleted, StreamExists, append, exact, name, open_with, outcome, reopen,
};
use icecore_core::{DeleteKind, ExpectedRevision};
use icecore_eventstore::StoreConfig;
use proptest::prelude::*;
use std::collections::HashMap;

#[derive(Clone, Copy, Debug)]
enum Operation {
    /// Appends this many events to the stream.
    Append(usize, ExpectedRevision, usize),
    /// Sends one of the earlier appends again, whatever became of it.
    Again(usize),
    Delete(usize, DeleteKind),
    Metadata(usize),
    Reopen,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Life {
    #[default]
    Open,
    Soft,
    Closed,
}

/// A stream: the ids of its events, and the first revision that is visible.
#[derive(Clone, Debug, Default)]
struct Stream {
    ids: Vec<u128>,
    has_metadata: bool,
    life: Life,
    first: usize,
}

#[derive(Default)]
struct Model {
    streams: HashMap<usize, Stream>,
    /// Each append that was sent.
    sent: Vec<(usize, ExpectedRevision, Vec<u128>)>,
}

impl Model {
    /// What the append does; a word as [`outcome`] gives it, without the position.
    fn append(&mut self, place: usize, expected: ExpectedRevision, ids: &[u128]) -> String {
        let stream = self.streams.entry(place).or_default();
        if stream.life == Life::Closed {
            return "deleted".to_owned();
        }
        if let Some(first) = stream.ids.iter().position(|id| *id == ids[0]) {
            // Ids are never used for anything else, so this is a retry. Where no stream was expected,
            // its place must be known: the beginning, or where the metadata says that it goes on.
            let is_open = stream.life == Life::Open;
            let places = [0, stream.first];
            if is_open && expected == ExpectedRevision::NoStream && !places.contains(&first) {
                return "wrong".to_owned();
            }
            return format!("ok {}", first + ids.len() - 1);
        }
        let count = stream.ids.len();
        let is_soft = stream.life == Life::Soft;
        let holds = match expected {
            ExpectedRevision::Any => true,
            ExpectedRevision::NoStream => count == 0 || is_soft,
            ExpectedRevision::StreamExists if is_soft => return "deleted".to_owned(),
            ExpectedRevision::StreamExists => count > 0 || stream.has_metadata,
            ExpectedRevision::Exact(last) => last.get() + 1 == count as u64,
            ExpectedRevision::SoftDeleted => is_soft,
            ExpectedRevision::Tombstoned => false,
        };
        if !holds {
            return "wrong".to_owned();
        }
        if is_soft {
            (stream.life, stream.first) = (Life::Open, count);
        }
        stream.ids.extend(ids);
        format!("ok {}", stream.ids.len() - 1)
    }

    fn delete(&mut self, place: usize, kind: DeleteKind) -> &'static str {
        let stream = self.streams.entry(place).or_default();
        if stream.life == Life::Closed {
            return "deleted";
        }
        match kind {
            DeleteKind::Soft if stream.ids.is_empty() => return "wrong",
            DeleteKind::Soft => (stream.life, stream.has_metadata) = (Life::Soft, true),
            DeleteKind::Tombstone => stream.life = Life::Closed,
        }
        "ok"
    }

    fn metadata(&mut self, place: usize) -> &'static str {
        let stream = self.streams.entry(place).or_default();
        match stream.life {
            Life::Closed => return "deleted",
            Life::Soft => (stream.life, stream.first) = (Life::Open, stream.ids.len()),
            // It says nothing of a truncation, so that everything is visible again.
            Life::Open => stream.first = 0,
        }
        stream.has_metadata = true;
        "ok"
    }

    /// What a reader of the stream sees; `None` when it gets an error.
    fn visible(&self, place: usize) -> Option<Vec<u64>> {
        let stream = self.streams.get(&place)?;
        let is_there = stream.life == Life::Open && !stream.ids.is_empty();
        is_there.then(|| (stream.first as u64..stream.ids.len() as u64).collect())
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let expected = prop_oneof![
        3 => Just(Any),
        2 => Just(NoStream),
        1 => Just(StreamExists),
        1 => Just(SoftDeleted),
        4 => (0..8u64).prop_map(exact),
    ];
    prop_oneof![
        8 => (0..3usize, expected, 1..4usize).prop_map(|(s, e, n)| Operation::Append(s, e, n)),
        5 => (0..64usize).prop_map(Operation::Again),
        3 => (0..3usize).prop_map(|stream| Operation::Delete(stream, DeleteKind::Soft)),
        1 => (2..4usize).prop_map(|stream| Operation::Delete(stream, DeleteKind::Tombstone)),
        1 => (0..4usize).prop_map(Operation::Metadata),
        1 => Just(Operation::Reopen),
    ]
}

/// The first word and, for an append, its revision.
fn word(outcome: &str, words: usize) -> String {
    let outcome = outcome.split('@').next().unwrap_or_default();
    let words: Vec<_> = outcome.split(' ').take(words).collect();
    words.join(" ")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_store_does_what_the_tables_say(
        operations in proptest::collection::vec(operation(), 1..60),
        stream_states in proptest::sample::select(vec![1usize, 2, 1_000]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let config = StoreConfig { stream_states, ..StoreConfig::default() };
            let mut store = open_with(config.clone()).await;
            let mut model = Model::default();
            let mut next_id = 1u128;
            for operation in operations {
                match operation {
                    Operation::Append(..) | Operation::Again(_) => {
                        let (place, expected, ids) = match operation {
                            Operation::Append(place, expected, count) => {
                                let ids: Vec<_> = (next_id..next_id + count as u128).collect();
                                next_id += 10;
                                model.sent.push((place, expected, ids.clone()));
                                (place, expected, ids)
                            }
                            Operation::Again(n) if !model.sent.is_empty() => {
                                model.sent[n % model.sent.len()].clone()
                            }
                            _ => continue,
                        };
                        let wanted = model.append(place, expected, &ids);
                        let append = append(&format!("s-{place}"), expected, &ids);
                        let found = outcome(&store.append(append).await);
                        assert_eq!(word(&found, 2), wanted, "{operation:?}");
                    }
                    Operation::Delete(place, kind) => {
                        let wanted = model.delete(place, kind);
                        let stream = name(&format!("s-{place}"));
                        let found = outcome(&store.delete(&stream, Any, kind).await);
                        assert_eq!(word(&found, 1), wanted, "{operation:?}");
                    }
                    Operation::Metadata(place) => {
                        let wanted = model.metadata(place);
                        let stream = name(&format!("s-{place}"));
                        let found = outcome(&store.set_metadata(&stream, Any, b"{}").await);
                        assert_eq!(word(&found, 1), wanted, "{operation:?}");
                    }
                    Operation::Reopen => {
                        store = reopen(store.storage.clone(), config.clone()).await;
                    }
                }
                for place in 0..4 {
                    let found = store.revisions(&format!("s-{place}")).await.ok();
                    assert_eq!(found, model.visible(place), "after {operation:?}");
                }
            }
            crate::support::check_log(&store.log().await);
        });
    }
}
