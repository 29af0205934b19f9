//! Exports of stores that have more than living streams: with `--system` an export is the whole
//! store, metadata and deletions included.

use crate::{icecore, sized, stream};
use icecore_client::{Client, DeleteKind, Error, ExpectedRevision, Revision, StreamState};
use serde_json::json;

async fn fill(client: &Client) {
    let any = ExpectedRevision::Any;
    for name in ["kept-1", "short-1", "gone-1", "closed-1", "reopened-1"] {
        for _ in 0..4 {
            client
                .append(&stream(name), any, [sized(10)])
                .await
                .unwrap();
        }
    }
    let metadata = json!({ "$maxCount": 2, "owner": "anna" });
    let short = stream("short-1");
    client.set_metadata(&short, any, &metadata).await.unwrap();
    for name in ["gone-1", "reopened-1"] {
        client
            .delete(&stream(name), any, DeleteKind::Soft)
            .await
            .unwrap();
    }
    let (closed, tombstone) = (stream("closed-1"), DeleteKind::Tombstone);
    client.delete(&closed, any, tombstone).await.unwrap();
    let reopened = stream("reopened-1");
    client.append(&reopened, any, [sized(10)]).await.unwrap();
    let kept = stream("kept-1");
    client.truncate(&kept, Revision::new(1)).await.unwrap();
}

async fn check(client: &Client) {
    let revisions = async |name: &str| {
        let events = client.read_stream(&stream(name)).await.unwrap();
        events.iter().map(|e| e.revision.get()).collect::<Vec<_>>()
    };
    assert_eq!(revisions("kept-1").await, [1, 2, 3]);
    assert_eq!(revisions("short-1").await, [2, 3]);
    assert_eq!(revisions("reopened-1").await, [4]);
    let gone = client.get_stream(&stream("gone-1")).await.unwrap();
    assert!(matches!(gone.state, StreamState::SoftDeleted { .. }));
    let closed = client.read_stream(&stream("closed-1")).await;
    assert!(matches!(closed, Err(Error::StreamDeleted { .. })));
}

#[tokio::test]
async fn the_whole_store_goes_over() {
    let directory = tempfile::tempdir().unwrap();
    let icecore = icecore();
    let one = icecore.serve(&directory.path().join("one")).await.unwrap();
    fill(&one.client()).await;
    check(&one.client()).await;
    let whole = ["export", "--all", "--system"];
    let exported = icecore.must(&one, &whole).await.unwrap();
    let file = directory.path().join("whole.ndjson");
    std::fs::write(&file, &exported).unwrap();

    let two = icecore.serve(&directory.path().join("two")).await.unwrap();
    let import = ["import", file.to_str().unwrap()];
    icecore.must(&two, &import).await.unwrap();
    check(&two.client()).await;
    let again = icecore.must(&two, &whole).await.unwrap();
    assert_eq!(again, exported);
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}

/// Without `--system` only what readers see goes over, numbered anew.
#[tokio::test]
async fn what_readers_see_goes_over() {
    let directory = tempfile::tempdir().unwrap();
    let icecore = icecore();
    let one = icecore.serve(&directory.path().join("one")).await.unwrap();
    fill(&one.client()).await;
    let visible = ["export", "--all"];
    let exported = icecore.must(&one, &visible).await.unwrap();
    assert_eq!(exported.lines().count(), 3 + 2 + 1);
    let file = directory.path().join("visible.ndjson");
    std::fs::write(&file, &exported).unwrap();
    let two = icecore.serve(&directory.path().join("two")).await.unwrap();
    let import = ["import", file.to_str().unwrap()];
    icecore.must(&two, &import).await.unwrap();
    let again = icecore.must(&two, &visible).await.unwrap();
    assert_eq!(again, exported);
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}

/// A bad line stops an import with its number; what was written is said and stays, and the corrected
/// file goes on from there.
#[tokio::test]
async fn a_bad_line_stops_an_import() {
    let directory = tempfile::tempdir().unwrap();
    let icecore = icecore();
    let server = icecore
        .serve(&directory.path().join("store"))
        .await
        .unwrap();
    let line = |n: usize| {
        let (stream, id) = (format!("order-{}", n % 7), n);
        json!({ "stream": stream, "type": "Noted", "data": { "n": id } }).to_string() + "\n"
    };
    let good: Vec<_> = (1..=50).map(line).collect();
    let mut bad = good.clone();
    bad[29] = "{\"stream\":\"order-1\"}\n".to_owned();
    let file = directory.path().join("log.ndjson");
    std::fs::write(&file, bad.concat()).unwrap();
    let path = file.to_str().unwrap();
    let output = icecore.run(&server, &["import", path]).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        said.contains("line 30") && said.contains("`type`"),
        "{said}"
    );

    std::fs::write(&file, good.concat()).unwrap();
    icecore
        .must(&server, &["import", "--resume", path])
        .await
        .unwrap();
    let events = server.client().read_all().await.unwrap();
    assert_eq!(events.len(), 50);
    server.stop().await.unwrap();
}
