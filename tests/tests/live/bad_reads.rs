//! Reads, subscriptions and calls about streams that are wrong.

use crate::bench::{Bench, read_all};
use crate::raw::{append, check_status};
use bytes::Bytes;
use icecore_client::limits::{NAMES_PER_LIST_MAX, REGEX_BYTES_MAX};
use icecore_wire::proto;
use icecore_wire::proto::name_match::Match;
use icecore_wire::proto::{read_request, start, subscribe_request};
use tonic::Code;

const INVALID: Code = Code::InvalidArgument;

fn by_stream(matches: Match) -> proto::Filter {
    proto::Filter {
        stream: Some(proto::NameMatch {
            r#match: Some(matches),
        }),
        ..Default::default()
    }
}

fn regex(text: impl Into<Bytes>) -> proto::Filter {
    by_stream(Match::Regex(text.into()))
}

fn of_stream(name: impl Into<Bytes>, from: Option<u64>) -> read_request::Target {
    let stream = name.into();
    read_request::Target::Stream(read_request::Stream { stream, from })
}

#[tokio::test]
async fn reads_that_cannot_be() {
    let mut bench = Bench::start().await;
    bench.read("target", |r| r.target = None).await;
    bench.read("limit", |r| r.limit = Some(0)).await;
    bench.read("direction", |r| r.direction = 7).await;
    let nameless = |name: &'static [u8]| of_stream(Bytes::from_static(name), None);
    bench
        .read("stream", |r| r.target = Some(nameless(b"")))
        .await;
    bench
        .read("stream", |r| r.target = Some(nameless(b"\xff")))
        .await;
    let both = |r: &mut proto::ReadRequest| {
        r.target = Some(of_stream("order-1", None));
        r.filter = Some(regex("order"));
    };
    bench.read("filter", both).await;
    bench.finish(0).await;
}

#[tokio::test]
async fn filters_that_cannot_be() {
    let mut bench = Bench::start().await;
    for pattern in [
        "(",
        "[a-",
        "a{999999999}",
        "",
        &"a".repeat(REGEX_BYTES_MAX + 1),
    ] {
        let filter = regex(pattern.to_owned());
        bench
            .read("filter.stream", |r| r.filter = Some(filter))
            .await;
    }
    let names = |count| proto::name_match::Names {
        names: vec!["order-".into(); count],
    };
    for count in [0, NAMES_PER_LIST_MAX + 1] {
        let filter = by_stream(Match::Prefixes(names(count)));
        bench
            .read("filter.stream", |r| r.filter = Some(filter))
            .await;
        let filter = by_stream(Match::AnyOf(names(count)));
        bench
            .read("filter.stream", |r| r.filter = Some(filter))
            .await;
    }
    let tags = proto::Filter {
        tags: vec!["order:1".into(), "colonless".into()],
        ..Default::default()
    };
    bench
        .read("filter.tags[1]", |r| r.filter = Some(tags))
        .await;
    let category = proto::Filter {
        category: "a-b".into(),
        ..Default::default()
    };
    bench
        .read("filter.category", |r| r.filter = Some(category))
        .await;
    let bad = regex("(");
    bench
        .subscribe(INVALID, "filter.stream", |r| r.filter = Some(bad))
        .await;
    bench.finish(0).await;
}

/// A regex that would backtrack for ever on a name is given up, and says so.
#[tokio::test]
async fn a_regex_that_backtracks_for_ever_is_given_up() {
    let mut bench = Bench::start().await;
    let name = "ab".repeat(200);
    bench.stubs.streams.append(append(name)).await.unwrap();
    let endless = regex("(a|b|ab)*(?=x)\\1y");
    bench
        .read("filter.stream", |r| r.filter = Some(endless.clone()))
        .await;
    bench
        .subscribe(INVALID, "filter.stream", |r| r.filter = Some(endless))
        .await;
    bench.finish(1).await;
}

/// Beyond the end there is nothing, and that is no error.
#[tokio::test]
async fn a_read_beyond_the_end_is_empty() {
    let mut bench = Bench::start().await;
    bench.stubs.streams.append(append("order-1")).await.unwrap();
    for from in [2, 1_000, u64::MAX] {
        let all = read_request::All { from: Some(from) };
        let request = proto::ReadRequest {
            target: Some(read_request::Target::All(all)),
            ..read_all()
        };
        assert_eq!(bench.read_to_end(request).await.unwrap(), 0, "from {from}");
        let request = proto::ReadRequest {
            target: Some(of_stream("order-1", Some(from))),
            ..read_all()
        };
        assert_eq!(bench.read_to_end(request).await.unwrap(), 0, "from {from}");
    }
    bench.finish(1).await;
}

#[tokio::test]
async fn subscriptions_that_cannot_be() {
    let mut bench = Bench::start().await;
    bench.stubs.streams.append(append("order-1")).await.unwrap();
    let after = |after| {
        Some(proto::Start {
            start: Some(start::Start::After(after)),
        })
    };
    let all = |from| {
        let start = after(from);
        Some(subscribe_request::Target::All(subscribe_request::All {
            start,
        }))
    };
    let of = |name: &'static str, from| {
        Some(subscribe_request::Target::Stream(
            subscribe_request::Stream {
                stream: name.into(),
                start: after(from),
            },
        ))
    };
    bench
        .subscribe(INVALID, "target", |r| r.target = None)
        .await;
    for beyond in [2, u64::MAX] {
        let target = all(beyond);
        bench
            .subscribe(INVALID, "after", |r| r.target = target)
            .await;
        let target = of("order-1", beyond);
        bench
            .subscribe(INVALID, "after", |r| r.target = target)
            .await;
    }
    let target = of("order-2", 0);
    bench
        .subscribe(INVALID, "after", |r| r.target = target)
        .await;
    let target = of("", 0);
    bench
        .subscribe(INVALID, "stream", |r| r.target = target)
        .await;
    let short = Bytes::from_static(b"short");
    bench
        .subscribe(INVALID, "store_id", |r| r.store_id = short)
        .await;
    let other = Bytes::copy_from_slice(&[7; 16]);
    bench
        .subscribe(Code::FailedPrecondition, "wrong_store", |r| {
            r.store_id = other;
        })
        .await;
    bench.finish(1).await;
}

#[tokio::test]
async fn calls_about_streams_that_cannot_be() {
    let mut bench = Bench::start().await;
    bench.stubs.streams.append(append("order-1")).await.unwrap();
    let streams = &mut bench.stubs.streams;
    let any = append("any").streams[0].expected;

    let request = |stream: &'static [u8]| proto::GetStreamRequest {
        stream: Bytes::from_static(stream),
    };
    let status = streams.get_stream(request(b"")).await.unwrap_err();
    check_status("get", &status, INVALID, "stream");
    let status = streams.get_stream(request(b"\xff")).await.unwrap_err();
    check_status("get", &status, INVALID, "stream");
    let status = streams.get_stream(request(b"order-2")).await.unwrap_err();
    check_status("get", &status, Code::NotFound, "stream_not_found");

    let list = proto::ListStreamsRequest {
        prefix: "p".repeat(2_049).into(),
        ..Default::default()
    };
    let status = streams.list_streams(list).await.unwrap_err();
    check_status("list", &status, INVALID, "prefix");
    let list = proto::ListStreamsRequest {
        prefix: Bytes::from_static(b"\xff"),
        ..Default::default()
    };
    let status = streams.list_streams(list).await.unwrap_err();
    check_status("list", &status, INVALID, "prefix");

    for (field, stream, metadata) in [
        ("stream", "$$order-1", "{}"),
        ("metadata", "order-1", "[]"),
        ("metadata", "order-1", "{"),
        ("metadata", "order-1", r#"{"$maxCount":0}"#),
        ("metadata", "order-1", r#"{"$maxAge":"long"}"#),
    ] {
        let set = proto::SetStreamMetadataRequest {
            stream: stream.into(),
            metadata: metadata.into(),
            expected: None,
        };
        let status = streams.set_stream_metadata(set).await.unwrap_err();
        check_status(metadata, &status, INVALID, field);
    }

    let truncate = |stream: &'static str, before| proto::TruncateRequest {
        stream: stream.into(),
        before,
    };
    let status = streams.truncate(truncate("order-1", 9)).await.unwrap_err();
    check_status("truncate", &status, INVALID, "before");
    let status = streams.truncate(truncate("order-2", 0)).await.unwrap_err();
    check_status("truncate", &status, Code::NotFound, "stream_not_found");

    let delete = |expected, kind| proto::DeleteRequest {
        stream: "order-1".into(),
        expected,
        kind,
    };
    let status = streams.delete(delete(any, 0)).await.unwrap_err();
    check_status("delete", &status, INVALID, "kind");
    let status = streams.delete(delete(any, 9)).await.unwrap_err();
    check_status("delete", &status, INVALID, "kind");
    let status = streams.delete(delete(None, 1)).await.unwrap_err();
    check_status("delete", &status, INVALID, "expected");
    bench.finish(1).await;
}
