//! Requests whose bytes were changed on the way: whatever can still be read as a message is answered, with
//! what it asks for or with a refusal that does not cost the client its connection.

use crate::sessions::record_of;
use crate::support::*;
use futures::{StreamExt, stream};
use icecore_kurrent::proto::event_store::client::streams::read_req::options::{
    FilterOptions, filter_options,
};
use icecore_kurrent::proto::event_store::client::streams::{
    AppendReq, BatchAppendReq, DeleteReq, ReadReq, TombstoneReq, append_req, batch_append_req,
    delete_req, tombstone_req,
};
use icecore_kurrent::proto::kurrentdb::protocol::v2::streams::consistency_check::{
    StreamStateCheck, Type,
};
use icecore_kurrent::proto::kurrentdb::protocol::v2::streams::streams_service_client::StreamsServiceClient;
use icecore_kurrent::proto::kurrentdb::protocol::v2::streams::{
    AppendRecordsRequest, AppendRequest, ConsistencyCheck,
};
use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message;
use std::time::Duration;
use tokio::time::timeout;
use tonic::{Code, Response, Status, Streaming};

/// A place in the bytes, and what becomes of it.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, u8),
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        1 => any::<Index>().prop_map(Change::Cut),
    ]
}

/// The message after these changes, if it can still be read.
fn changed<M: Message + Default>(message: &M, changes: &[Change]) -> Option<M> {
    let mut bytes = message.encode_to_vec();
    for change in changes {
        match change {
            _ if bytes.is_empty() => {}
            Change::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Change::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
            Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
    M::decode(&bytes[..]).ok()
}

/// Holds an outcome to what clients may be told.
fn check<T>(outcome: Result<T, Status>) -> Option<T> {
    match outcome {
        Ok(answer) => Some(answer),
        Err(status) => {
            let told = matches!(
                status.code(),
                Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::Aborted
            );
            assert!(told, "{status:?}");
            None
        }
    }
}

/// The first answers of a call that may go on.
async fn hear<M>(call: Result<Response<Streaming<M>>, Status>) {
    let Some(answers) = check(call) else { return };
    let mut answers = answers.into_inner().take(5);
    let moment = Duration::from_secs(60);
    while let Ok(Some(answer)) = timeout(moment, answers.next()).await {
        if check(answer).is_none() {
            return;
        }
    }
}

fn reads() -> [ReadReq; 3] {
    let filter = FilterOptions {
        filter: Some(filter_options::Filter::StreamIdentifier(
            filter_options::Expression {
                regex: r"^(?!(\$.+$))".to_owned(),
                prefix: vec!["order-".to_owned()],
            },
        )),
        window: Some(filter_options::Window::Max(30)),
        checkpoint_interval_multiplier: 5,
    };
    let filtered = Options {
        filter_option: Some(FilterOption::Filter(filter)),
        ..followed(of_all(at(1)))
    };
    let options = [
        backwards(counted(from_revision("living", 1), 5)),
        followed(of_stream("living")),
        filtered,
    ];
    options.map(|options| ReadReq {
        options: Some(options),
    })
}

fn batch() -> BatchAppendReq {
    let single = event(1, "T", "{}");
    let metadata = single.metadata.into_iter().map(|entry| {
        batch_append_req::proposed_message::MetadataEntry {
            key: entry.key,
            value: entry.value,
        }
    });
    let proposed = batch_append_req::ProposedMessage {
        id: single.id,
        metadata: metadata.collect(),
        custom_metadata: r#"{"$tags":["customer:7"]}"#.into(),
        data: single.data,
    };
    BatchAppendReq {
        correlation_id: Some(text_id(9)),
        options: Some(batch_append_req::Options {
            stream_identifier: Some(identifier("living")),
            expected_stream_position: Some(
                batch_append_req::options::ExpectedStreamPosition::StreamPosition(1),
            ),
            deadline_option: Some(batch_append_req::options::DeadlineOption::Deadline(
                prost_types::Duration {
                    seconds: 5,
                    nanos: 7,
                },
            )),
        }),
        proposed_messages: vec![proposed],
        is_final: true,
    }
}

async fn first_version(door: &Door, changes: &[Change]) {
    for read in reads() {
        if let Some(read) = changed(&read, changes) {
            hear(door.streams().read(read).await).await;
        }
    }
    let options = append_req::Options {
        stream_identifier: Some(identifier("living")),
        expected_stream_revision: Some(append_expectation(exact(1))),
    };
    let contents = [
        append_req::Content::Options(options),
        append_req::Content::ProposedMessage(event(1, "T", "{}")),
    ];
    let messages = contents.map(|content| AppendReq {
        content: Some(content),
    });
    let messages: Vec<_> = messages
        .iter()
        .filter_map(|m| changed(m, changes))
        .collect();
    check(door.streams().append(stream::iter(messages)).await);
    if let Some(batch) = changed(&batch(), changes) {
        hear(door.streams().batch_append(stream::iter([batch])).await).await;
    }
    let delete = DeleteReq {
        options: Some(delete_req::Options {
            stream_identifier: Some(identifier("living")),
            expected_stream_revision: Some(delete_req::options::ExpectedStreamRevision::Revision(
                1,
            )),
        }),
    };
    if let Some(delete) = changed(&delete, changes) {
        check(door.streams().delete(delete).await);
    }
    let tombstone = TombstoneReq {
        options: Some(tombstone_req::Options {
            stream_identifier: Some(identifier("deleted")),
            expected_stream_revision: Some(
                tombstone_req::options::ExpectedStreamRevision::Revision(1),
            ),
        }),
    };
    if let Some(tombstone) = changed(&tombstone, changes) {
        check(door.streams().tombstone(tombstone).await);
    }
}

async fn second_version(door: &Door, changes: &[Change]) {
    let mut client = StreamsServiceClient::new(door.kurrent.clone());
    let records = AppendRecordsRequest {
        records: vec![record_of("living", 2), record_of("new", 3)],
        checks: vec![ConsistencyCheck {
            r#type: Some(Type::StreamState(StreamStateCheck {
                stream: "living".to_owned(),
                expected_state: 1,
            })),
        }],
    };
    if let Some(records) = changed(&records, changes) {
        check(client.append_records(records).await);
    }
    let session = AppendRequest {
        stream: "living".to_owned(),
        records: vec![record_of("", 4)],
        expected_revision: Some(-4),
    };
    if let Some(session) = changed(&session, changes) {
        check(client.append_session(stream::iter([session])).await);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_are_answered(changes in prop::collection::vec(change(), 1..4)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let door = Door::open().await;
            door.bring("living", Before::Living).await;
            door.bring("deleted", Before::SoftDeleted).await;
            first_version(&door, &changes).await;
            second_version(&door, &changes).await;
        });
    }
}
