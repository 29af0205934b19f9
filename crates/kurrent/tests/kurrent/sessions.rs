//! Sessions: appends to several streams, what their records become, and the details of what was refused.

use crate::support::*;
use futures::stream;
use icecore_core::limits::EVENT_BYTES_MAX;
use icecore_kurrent::proto::google::rpc;
use icecore_kurrent::proto::kurrentdb::protocol::v2::streams::errors::{
    AppendRecordSizeExceededErrorDetails, StreamAlreadyInAppendSessionErrorDetails,
    StreamRevisionConflictErrorDetails, StreamTombstonedErrorDetails,
};
use icecore_kurrent::proto::kurrentdb::protocol::v2::streams::streams_service_client::StreamsServiceClient;
use icecore_kurrent::proto::kurrentdb::protocol::v2::streams::{
    AppendRecord, AppendRequest, AppendSessionResponse, SchemaFormat, SchemaInfo,
};
use prost::{Message, Name};
use tonic::{Code, Status};
use uuid::Uuid;

fn record(id: u128) -> AppendRecord {
    AppendRecord {
        record_id: Some(Uuid::from_u128(id).to_string()),
        properties: std::collections::HashMap::new(),
        schema: Some(SchemaInfo {
            format: SchemaFormat::Json.into(),
            name: "T".to_owned(),
            id: None,
        }),
        data: "{}".into(),
        stream: String::new(),
    }
}

pub(crate) fn record_of(stream: &str, id: u128) -> AppendRecord {
    AppendRecord {
        stream: stream.to_owned(),
        ..record(id)
    }
}

fn request(stream: &str, expected: Option<i64>, ids: &[u128]) -> AppendRequest {
    AppendRequest {
        stream: stream.to_owned(),
        records: ids.iter().copied().map(record).collect(),
        expected_revision: expected,
    }
}

async fn session(
    door: &Door,
    requests: impl IntoIterator<Item = AppendRequest>,
) -> Result<AppendSessionResponse, Status> {
    let requests: Vec<_> = requests.into_iter().collect();
    let mut client = StreamsServiceClient::new(door.kurrent.clone());
    let answer = client.append_session(stream::iter(requests)).await?;
    Ok(answer.into_inner())
}

/// The last detail of a status, after the name of the error.
#[track_caller]
pub(crate) fn detail<M: Message + Name + Default>(status: &Status, code: Code, reason: &str) -> M {
    assert_eq!(status.code(), code, "{status:?}");
    let details = rpc::Status::decode(status.details()).unwrap();
    assert_eq!(details.code, i32::from(code));
    assert_eq!(details.message, status.message());
    let [name, detail] = &details.details[..] else {
        panic!("not two details: {details:?}");
    };
    assert_eq!(name.type_url, "type.googleapis.com/google.rpc.ErrorInfo");
    assert_eq!(
        rpc::ErrorInfo::decode(&name.value[..]).unwrap().reason,
        reason
    );
    let url = format!("type.googleapis.com/{}", M::full_name());
    assert_eq!(detail.type_url, url);
    M::decode(&detail.value[..]).unwrap()
}

#[tokio::test]
async fn a_session_writes_all_of_its_streams() {
    let door = Door::open().await;
    success(door.put("a", Any, &[1]).await.unwrap());
    let requests = [
        request("a", Some(0), &[2, 3]),
        request("b", Some(-1), &[4]),
        request("c", None, &[5]),
    ];
    let answer = session(&door, requests.clone()).await.unwrap();
    assert_eq!(answer.position, 5);
    let output = answer.output.iter();
    let output: Vec<_> = output
        .map(|o| (o.stream.as_str(), o.stream_revision))
        .collect();
    assert_eq!(output, [("a", 2), ("b", 0), ("c", 0)]);
    assert_eq!(session(&door, requests).await.unwrap(), answer, "a retry");
    assert_eq!(door.store.last_position().get(), 5);
}

#[tokio::test]
async fn a_session_is_written_as_a_whole_or_not_at_all() {
    let door = Door::open().await;
    for (stream, before) in [
        ("living", Before::Living),
        ("closed", Before::Tombstoned),
        ("deleted", Before::SoftDeleted),
    ] {
        door.bring(stream, before).await;
    }
    let last = door.store.last_position();
    let try_with = |bad| session(&door, [request("new", None, &[1]), bad]);

    let failed = Code::FailedPrecondition;
    let status = try_with(request("living", Some(7), &[2]))
        .await
        .unwrap_err();
    let reason = "STREAMS_ERROR_STREAM_REVISION_CONFLICT";
    let conflict: StreamRevisionConflictErrorDetails = detail(&status, failed, reason);
    let numbers = (conflict.expected_revision, conflict.actual_revision);
    assert_eq!((conflict.stream.as_str(), numbers), ("living", (7, 1)));

    let status = try_with(request("absent", Some(-4), &[2]))
        .await
        .unwrap_err();
    let conflict: StreamRevisionConflictErrorDetails = detail(&status, failed, reason);
    let numbers = (conflict.expected_revision, conflict.actual_revision);
    assert_eq!(numbers, (-4, -1));

    let status = try_with(request("closed", None, &[2])).await.unwrap_err();
    let reason = "STREAMS_ERROR_STREAM_TOMBSTONED";
    let closed: StreamTombstonedErrorDetails = detail(&status, failed, reason);
    assert_eq!(closed.stream, "closed");

    let status = try_with(request("deleted", Some(-4), &[2]))
        .await
        .unwrap_err();
    let deleted: StreamTombstonedErrorDetails = detail(&status, failed, reason);
    assert_eq!(deleted.stream, "deleted");

    let status = try_with(request("NEW", None, &[2])).await.unwrap_err();
    let reason = "STREAMS_ERROR_STREAM_ALREADY_IN_APPEND_SESSION";
    let twice: StreamAlreadyInAppendSessionErrorDetails = detail(&status, Code::Aborted, reason);
    assert_eq!(twice.stream, "NEW");
    assert_eq!(door.store.last_position(), last);
}

/// Tries each expectation on a stream in this state: `+` it is written, `w` a conflict, `d` deleted.
async fn tried(before: Before) -> String {
    let door = Door::open().await;
    let mut found = String::new();
    let expectations = [None, Some(-2), Some(-1), Some(-4), Some(1), Some(0)];
    for (number, expected) in expectations.into_iter().enumerate() {
        let stream = format!("s-{number}");
        door.bring(&stream, before).await;
        found.push(
            match session(&door, [request(&stream, expected, &[1])]).await {
                Ok(_) => '+',
                Err(status) => {
                    let details = rpc::Status::decode(status.details()).unwrap().details;
                    let name = rpc::ErrorInfo::decode(&details[0].value[..]).unwrap();
                    match name.reason.as_str() {
                        "STREAMS_ERROR_STREAM_REVISION_CONFLICT" => 'w',
                        "STREAMS_ERROR_STREAM_TOMBSTONED" => 'd',
                        other => panic!("{other}"),
                    }
                }
            },
        );
    }
    found
}

#[tokio::test]
async fn every_expectation_in_every_state() {
    // None, any, no stream, exists, the last revision, another one: as in appends.
    assert_eq!(tried(Before::Absent).await, "+++www");
    assert_eq!(tried(Before::OnlyMetadata).await, "++++ww");
    assert_eq!(tried(Before::Living).await, "++w++w");
    assert_eq!(tried(Before::SoftDeleted).await, "+++d+w");
    assert_eq!(tried(Before::Tombstoned).await, "dddddd");
}

#[tokio::test]
async fn a_session_without_requests_is_refused() {
    let door = Door::open().await;
    let status = session(&door, []).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let details = rpc::Status::decode(status.details()).unwrap().details;
    let name = rpc::ErrorInfo::decode(&details[0].value[..]).unwrap();
    assert_eq!(name.reason, "STREAMS_ERROR_APPEND_SESSION_NO_REQUESTS");
}

#[tokio::test]
async fn what_is_too_large_or_makes_no_sense_is_refused() {
    let door = Door::open().await;
    let with = |record| AppendRequest {
        stream: "s".to_owned(),
        records: vec![record],
        expected_revision: None,
    };
    let large = AppendRecord {
        data: vec![b'1'; EVENT_BYTES_MAX].into(),
        ..record(1)
    };
    let status = session(&door, [with(large)]).await.unwrap_err();
    let reason = "STREAMS_ERROR_APPEND_RECORD_SIZE_EXCEEDED";
    let large: AppendRecordSizeExceededErrorDetails =
        detail(&status, Code::InvalidArgument, reason);
    assert_eq!(large.record_id, Uuid::from_u128(1).to_string());
    assert_eq!(large.max_size, i32::try_from(EVENT_BYTES_MAX).unwrap());

    let schema = |format: SchemaFormat, name: &str| {
        Some(SchemaInfo {
            format: format.into(),
            name: name.to_owned(),
            id: None,
        })
    };
    for bad in [
        AppendRecord {
            record_id: Some("order-1".to_owned()),
            ..record(1)
        },
        AppendRecord {
            schema: None,
            ..record(1)
        },
        AppendRecord {
            schema: schema(SchemaFormat::Unspecified, "T"),
            ..record(1)
        },
        AppendRecord {
            schema: schema(SchemaFormat::Json, ""),
            ..record(1)
        },
    ] {
        let status = session(&door, [with(bad)]).await.unwrap_err();
        check_status(&status, Code::InvalidArgument, &[]);
    }
    for bad in [
        request("", None, &[1]),
        request("s", None, &[]),
        request("s", Some(-3), &[1]),
        request("s", Some(-5), &[1]),
    ] {
        let status = session(&door, [bad]).await.unwrap_err();
        check_status(&status, Code::InvalidArgument, &[]);
    }
    assert_eq!(door.store.last_position().get(), 0);
}

#[tokio::test]
async fn properties_are_read_as_metadata() {
    use prost_types::value::Kind;
    let door = Door::open().await;
    let text = |text: &str| prost_types::Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    let json = AppendRecord {
        properties: [("user".to_owned(), text("me"))].into(),
        ..record(1)
    };
    let binary = AppendRecord {
        record_id: None,
        schema: Some(SchemaInfo {
            format: SchemaFormat::Protobuf.into(),
            name: "Scanned".to_owned(),
            id: Some("schema-7".to_owned()),
        }),
        data: vec![0, 255].into(),
        ..record(2)
    };
    let requests = [AppendRequest {
        stream: "s".to_owned(),
        records: vec![json, binary],
        expected_revision: None,
    }];
    session(&door, requests).await.unwrap();
    let read = events(door.read(of_stream("s")).await.unwrap());
    assert_eq!(read[0].custom_metadata, r#"{"user":"me"}"#);
    assert_eq!(read[0].metadata["content-type"], "application/json");
    let schema = r#"{"$schema.format":"Protobuf","$schema.id":"schema-7"}"#;
    assert_eq!(read[1].custom_metadata, schema);
    assert_eq!(read[1].metadata["content-type"], "application/octet-stream");
    assert_eq!(read[1].metadata["type"], "Scanned");
    assert!(read[1].id.is_some());
}
