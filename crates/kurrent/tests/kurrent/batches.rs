//! Batch appends: many over one call, in parts, with deadlines, each with its own answer.

use crate::support::*;
use futures::stream;
use icecore_core::ExpectedRevision;
use icecore_kurrent::proto::event_store::client as shared;
use icecore_kurrent::proto::event_store::client::streams::batch_append_req::options::{
    DeadlineOption, ExpectedStreamPosition as Expected,
};
use icecore_kurrent::proto::event_store::client::streams::batch_append_req::proposed_message::MetadataEntry;
use icecore_kurrent::proto::event_store::client::streams::batch_append_resp::{
    self, Result as Outcome, success,
};
use icecore_kurrent::proto::event_store::client::streams::{
    BatchAppendReq, BatchAppendResp, batch_append_req,
};
use icecore_kurrent::proto::google::rpc;
use prost::{Message, Name};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

fn options(stream: &str, expected: ExpectedRevision) -> batch_append_req::Options {
    batch_append_req::Options {
        stream_identifier: Some(identifier(stream)),
        expected_stream_position: Some(match expected {
            ExpectedRevision::Exact(revision) => Expected::StreamPosition(revision.get()),
            NoStream => Expected::NoStream(()),
            StreamExists => Expected::StreamExists(()),
            _ => Expected::Any(()),
        }),
        deadline_option: None,
    }
}

fn proposed(id: u128) -> batch_append_req::ProposedMessage {
    let single = event(id, "T", "{}");
    let metadata = single.metadata.into_iter().map(|entry| MetadataEntry {
        key: entry.key,
        value: entry.value,
    });
    batch_append_req::ProposedMessage {
        id: single.id,
        metadata: metadata.collect(),
        custom_metadata: single.custom_metadata,
        data: single.data,
    }
}

/// A whole batch in one part.
fn batch(number: u128, stream: &str, expected: ExpectedRevision, ids: &[u128]) -> BatchAppendReq {
    BatchAppendReq {
        correlation_id: Some(text_id(number)),
        options: Some(options(stream, expected)),
        proposed_messages: ids.iter().copied().map(proposed).collect(),
        is_final: true,
    }
}

/// A call that stays open.
struct Call {
    requests: mpsc::Sender<BatchAppendReq>,
    answers: Streaming<BatchAppendResp>,
}

impl Call {
    async fn open(door: &Door) -> Self {
        let (requests, received) = mpsc::channel(16);
        let mut client = door.streams();
        let answers = client.batch_append(ReceiverStream::new(received)).await;
        let answers = answers.unwrap().into_inner();
        Self { requests, answers }
    }

    async fn send(&self, request: BatchAppendReq) {
        self.requests.send(request).await.unwrap();
    }

    async fn answer(&mut self) -> BatchAppendResp {
        self.answers
            .message()
            .await
            .unwrap()
            .expect("it stays open")
    }

    async fn ask(&mut self, request: BatchAppendReq) -> BatchAppendResp {
        self.send(request).await;
        self.answer().await
    }
}

/// The last revision and the position of a batch that went well.
fn written(answer: &BatchAppendResp) -> (Option<u64>, Option<u64>) {
    let Some(Outcome::Success(batch_append_resp::Success {
        current_revision_option: Some(revision),
        position_option: Some(position),
    })) = &answer.result
    else {
        panic!("not written: {answer:?}");
    };
    let revision = match revision {
        success::CurrentRevisionOption::CurrentRevision(revision) => Some(*revision),
        success::CurrentRevisionOption::NoStream(()) => None,
    };
    let position = match position {
        success::PositionOption::Position(position) => Some(position.commit_position),
        success::PositionOption::NoPosition(()) => None,
    };
    (revision, position)
}

/// The detail of a batch that failed, which is of this type.
#[track_caller]
fn failed<M: Message + Name + Default>(answer: &BatchAppendResp, code: rpc::Code) -> M {
    let Some(Outcome::Error(status)) = &answer.result else {
        panic!("it went well: {answer:?}");
    };
    assert_eq!(status.code(), code, "{status:?}");
    let [detail] = &status.details[..] else {
        panic!("not one detail: {status:?}");
    };
    let url = format!("type.googleapis.com/{}", M::full_name());
    assert_eq!(detail.type_url, url);
    M::decode(&detail.value[..]).unwrap()
}

#[tokio::test]
async fn many_batches_go_over_one_call_in_their_order() {
    let door = Door::open().await;
    let requests: Vec<_> = (1..=300)
        .map(|n| {
            let expected = if n == 1 { NoStream } else { exact(n - 2) };
            batch(n.into(), "s", expected, &[n.into()])
        })
        .collect();
    let answers = door.streams().batch_append(stream::iter(requests)).await;
    let mut answers = answers.unwrap().into_inner();
    for n in 1..=300 {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.correlation_id, Some(text_id(n.into())));
        assert_eq!(written(&answer), (Some(n - 1), Some(n)));
    }
    assert!(answers.message().await.unwrap().is_none());
}

#[tokio::test]
async fn an_answer_repeats_what_was_asked() {
    let door = Door::open().await;
    let mut call = Call::open(&door).await;
    let structured = shared::Uuid {
        value: Some(shared::uuid::Value::Structured(shared::uuid::Structured {
            most_significant_bits: -5,
            least_significant_bits: i64::MIN,
        })),
    };
    let request = BatchAppendReq {
        correlation_id: Some(structured.clone()),
        ..batch(1, "s", NoStream, &[1])
    };
    let answer = call.ask(request).await;
    assert_eq!(answer.correlation_id, Some(structured));
    assert_eq!(answer.stream_identifier, Some(identifier("s")));
    let expected = batch_append_resp::ExpectedStreamPosition::NoStream(());
    assert_eq!(answer.expected_stream_position, Some(expected));
    let answer = call.ask(batch(2, "s", exact(0), &[2])).await;
    let expected = batch_append_resp::ExpectedStreamPosition::StreamPosition(0);
    assert_eq!(answer.expected_stream_position, Some(expected));
}

#[tokio::test]
async fn a_batch_comes_in_parts_between_those_of_others() {
    let door = Door::open().await;
    let mut call = Call::open(&door).await;
    let part = |number, ids: &[u128], is_final| BatchAppendReq {
        options: None,
        is_final,
        ..batch(number, "unused", Any, ids)
    };
    let begin = |number, stream, ids: &[u128]| BatchAppendReq {
        is_final: false,
        ..batch(number, stream, NoStream, ids)
    };
    call.send(begin(1, "a", &[1, 2])).await;
    call.send(begin(2, "b", &[3])).await;
    call.send(part(1, &[4], false)).await;
    let second = call.ask(part(2, &[5], true)).await;
    assert_eq!(second.correlation_id, Some(text_id(2)));
    assert_eq!(written(&second), (Some(1), Some(2)));
    let first = call.ask(part(1, &[], true)).await;
    assert_eq!(first.correlation_id, Some(text_id(1)));
    assert_eq!(written(&first), (Some(2), Some(5)));
}

/// Tries each expectation on a stream in this state: `+` it is written, `w` wrong version, `d` deleted.
async fn tried(before: Before) -> String {
    let door = Door::open().await;
    let mut call = Call::open(&door).await;
    let mut found = String::new();
    let expectations = [Any, NoStream, StreamExists, exact(1), exact(0)];
    for (number, expected) in (0..).zip(expectations) {
        let stream = format!("s-{number}");
        door.bring(&stream, before).await;
        let answer = call.ask(batch(number, &stream, expected, &[1])).await;
        found.push(match &answer.result {
            Some(Outcome::Success(_)) => '+',
            Some(Outcome::Error(status)) if status.code() == rpc::Code::AlreadyExists => 'w',
            Some(Outcome::Error(status)) if status.code() == rpc::Code::NotFound => 'd',
            other => panic!("{other:?}"),
        });
    }
    found
}

#[tokio::test]
async fn every_expectation_in_every_state() {
    // Any, no stream, exists, the last revision, another one.
    assert_eq!(tried(Before::Absent).await, "++www");
    assert_eq!(tried(Before::OnlyMetadata).await, "+++ww");
    assert_eq!(tried(Before::Living).await, "+w++w");
    assert_eq!(tried(Before::SoftDeleted).await, "++d+w");
    assert_eq!(tried(Before::Tombstoned).await, "ddddd");
}

#[tokio::test]
async fn a_batch_that_fails_leaves_the_call_open() {
    use shared::wrong_expected_version::{
        CurrentStreamRevisionOption as Current, ExpectedStreamPositionOption as Position,
    };

    let door = Door::open().await;
    door.bring("living", Before::Living).await;
    door.bring("closed", Before::Tombstoned).await;
    door.bring("deleted", Before::SoftDeleted).await;
    let mut call = Call::open(&door).await;

    let answer = call.ask(batch(1, "living", NoStream, &[1])).await;
    let wrong: shared::WrongExpectedVersion = failed(&answer, rpc::Code::AlreadyExists);
    assert_eq!(
        wrong.current_stream_revision_option,
        Some(Current::CurrentStreamRevision(1))
    );
    assert_eq!(
        wrong.expected_stream_position_option,
        Some(Position::ExpectedNoStream(()))
    );
    let answer = call.ask(batch(2, "absent", exact(4), &[1])).await;
    let wrong: shared::WrongExpectedVersion = failed(&answer, rpc::Code::AlreadyExists);
    assert_eq!(
        wrong.current_stream_revision_option,
        Some(Current::CurrentNoStream(()))
    );
    for (stream, expected) in [("closed", Any), ("deleted", StreamExists)] {
        let answer = call.ask(batch(3, stream, expected, &[1])).await;
        let deleted: shared::StreamDeleted = failed(&answer, rpc::Code::NotFound);
        assert_eq!(deleted.stream_identifier, Some(identifier(stream)));
    }
    let answer = call.ask(batch(4, "living", exact(1), &[1])).await;
    assert_eq!(written(&answer).0, Some(2));
}

#[tokio::test]
async fn what_makes_no_sense_is_told_to_its_batch() {
    let door = Door::open().await;
    let mut call = Call::open(&door).await;
    let mut bad = batch(1, "s", Any, &[1]);
    bad.proposed_messages[0].metadata.clear();
    let no_options = BatchAppendReq {
        options: None,
        ..batch(2, "s", Any, &[1])
    };
    for bad in [bad, no_options, batch(3, "", Any, &[1])] {
        let id = bad.correlation_id.clone();
        let answer = call.ask(bad).await;
        assert_eq!(answer.correlation_id, id);
        let bad: shared::BadRequest = failed(&answer, rpc::Code::InvalidArgument);
        assert!(!bad.message.is_empty());
    }
    let mut large = batch(4, "s", Any, &[1]);
    large.proposed_messages[0].data = vec![b'1'; 16 * 1_024 * 1_024].into();
    let answer = call.ask(large).await;
    let large: shared::MaximumAppendEventSizeExceeded = failed(&answer, rpc::Code::InvalidArgument);
    assert_eq!(large.max_append_event_size, 16 * 1_024 * 1_024);

    // Without a correlation id nobody can be told.
    let nameless = BatchAppendReq {
        correlation_id: None,
        ..batch(5, "s", Any, &[1])
    };
    call.send(nameless).await;
    let status: Status = call.answers.message().await.unwrap_err();
    check_status(&status, Code::InvalidArgument, &[]);
    assert_eq!(door.store.last_position().get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_late_is_told_so() {
    let door = Door::open().await;
    let mut call = Call::open(&door).await;
    let begin = BatchAppendReq {
        is_final: false,
        ..batch(1, "s", Any, &[1])
    };
    let answer = call.ask(begin.clone()).await;
    assert_eq!(answer.correlation_id, Some(text_id(1)));
    let _: shared::Timeout = failed(&answer, rpc::Code::DeadlineExceeded);

    let with = |deadline| {
        let mut request = batch(2, "s", Any, &[2]);
        request.options.as_mut().unwrap().deadline_option = Some(deadline);
        request
    };
    let duration = |seconds| prost_types::Duration { seconds, nanos: 0 };
    let moment = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
    let now = BEGIN.nanos() / SECOND;
    for over in [
        DeadlineOption::Deadline(duration(0)),
        DeadlineOption::Deadline(duration(-1)),
        DeadlineOption::Deadline21100(moment(now - 1)),
    ] {
        let answer = call.ask(with(over)).await;
        let _: shared::Timeout = failed(&answer, rpc::Code::DeadlineExceeded);
    }
    assert_eq!(door.store.last_position().get(), 0);
    for time in [
        DeadlineOption::Deadline(duration(now)),
        DeadlineOption::Deadline(duration(315_576_000_000)),
        DeadlineOption::Deadline21100(moment(now + 5)),
    ] {
        assert_eq!(written(&call.ask(with(time)).await).0, Some(0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_given_up_is_answered_once() {
    let door = Door::open().await;
    let mut call = Call::open(&door).await;
    let begin = BatchAppendReq {
        is_final: false,
        ..batch(1, "s", Any, &[1])
    };
    let _: shared::Timeout = failed(&call.ask(begin.clone()).await, rpc::Code::DeadlineExceeded);
    // The rest comes after all.
    for is_final in [false, true] {
        let rest = BatchAppendReq {
            options: None,
            is_final,
            ..batch(1, "s", Any, &[2])
        };
        call.send(rest).await;
    }
    let answer = call.ask(batch(2, "t", Any, &[3])).await;
    assert_eq!(answer.correlation_id, Some(text_id(2)));
    assert_eq!(door.revisions(of_stream("s")).await.unwrap(), [0; 0]);
    // It may be sent once more, under the same id.
    let _: shared::Timeout = failed(&call.ask(begin).await, rpc::Code::DeadlineExceeded);
    assert_eq!(
        written(&call.ask(batch(1, "s", Any, &[1])).await).0,
        Some(0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_before_it_is_late_says_why() {
    let door = Door::open().await;
    let mut call = Call::open(&door).await;
    let mut bad = batch(1, "s", Any, &[1]);
    bad.proposed_messages[0].metadata.clear();
    bad.is_final = false;
    let _: shared::BadRequest = failed(&call.ask(bad).await, rpc::Code::InvalidArgument);
}

#[tokio::test]
async fn the_call_ends_when_the_server_stops() {
    let door = Door::open().await;
    let mut call = Call::open(&door).await;
    written(&call.ask(batch(1, "s", Any, &[1])).await);
    door.store.stop().await.unwrap();
    let status = call.answers.message().await.unwrap_err();
    check_status(&status, Code::Unavailable, &[]);
}
