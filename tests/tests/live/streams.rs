//! Streams as a whole, over the wire: states, deletion and reopening, tombstones, truncation,
//! metadata, listings.

use crate::{event, exact, fill, stream};
use icecore_client::{
    Client, DeleteKind, Error, ExpectedRevision, ListCategories, ListStreams, Revision,
    StreamState, SystemStreams, ViolationKind,
};
use icecore_testing::TestServer;
use serde_json::json;

async fn revisions(client: &Client, name: &str) -> Vec<u64> {
    let events = client.read_stream(&stream(name)).await.unwrap();
    events.iter().map(|event| event.revision.get()).collect()
}

#[tokio::test]
async fn a_soft_deleted_stream_is_reopened_and_its_revisions_go_on() {
    let mut server = TestServer::start().await;
    let client = server.client();
    let order = stream("order-1");
    fill(&client, "order-1", 3).await;
    let refused = client.delete(&order, exact(1), DeleteKind::Soft).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    client
        .delete(&order, exact(2), DeleteKind::Soft)
        .await
        .unwrap();
    let gone = client.read_stream(&order).await;
    assert!(
        matches!(gone, Err(Error::StreamNotFound { .. })),
        "{gone:?}"
    );
    let last = Revision::new(2);
    let state = client.get_stream(&order).await.unwrap().state;
    assert_eq!(state, StreamState::SoftDeleted { last });

    // Reads of all see hidden events until they are scavenged.
    assert_eq!(client.read_all().await.unwrap().len(), 3);
    server.restart().await;
    let exists = ExpectedRevision::StreamExists;
    let refused = client.append(&order, exists, [event("Late")]).await;
    let Err(Error::Refused(refused)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(refused.violations[0].kind, ViolationKind::StreamDeleted);
    let none = ExpectedRevision::NoStream;
    let reopened = client.append(&order, none, [event("Reopened")]).await;
    let last_revision = reopened.unwrap().streams[0].last_revision;
    assert_eq!(last_revision, Some(Revision::new(3)));
    assert_eq!(revisions(&client, "order-1").await, [3]);
    server.stop().await;
}

#[tokio::test]
async fn a_tombstone_closes_a_stream_for_ever() {
    let mut server = TestServer::start().await;
    let client = server.client();
    let order = stream("order-1");
    fill(&client, "order-1", 2).await;
    let tombstone = DeleteKind::Tombstone;
    client.delete(&order, exact(1), tombstone).await.unwrap();
    server.restart().await;
    let gone = client.read_stream(&order).await;
    assert!(matches!(gone, Err(Error::StreamDeleted { .. })), "{gone:?}");
    for expected in [
        ExpectedRevision::Any,
        ExpectedRevision::NoStream,
        ExpectedRevision::StreamExists,
        exact(1),
    ] {
        let refused = client.append(&order, expected, [event("Late")]).await;
        let Err(Error::Refused(refused)) = refused else {
            panic!("{expected}: {refused:?}");
        };
        assert_eq!(refused.violations[0].kind, ViolationKind::StreamDeleted);
        assert_eq!(refused.violations[0].state, StreamState::Tombstoned);
    }
    let again = client
        .delete(&order, ExpectedRevision::Any, tombstone)
        .await;
    assert!(matches!(again, Err(Error::Refused(_))), "{again:?}");
    server.stop().await;
}

#[tokio::test]
async fn what_never_was_cannot_be_deleted_softly() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let nothing = stream("nothing-1");
    let any = ExpectedRevision::Any;
    let outcome = client.delete(&nothing, any, DeleteKind::Soft).await;
    assert!(
        matches!(
            outcome,
            Err(Error::Refused(_) | Error::StreamNotFound { .. })
        ),
        "{outcome:?}"
    );
    client
        .delete(&nothing, any, DeleteKind::Tombstone)
        .await
        .unwrap();
    let closed = client.append(&nothing, any, [event("Late")]).await;
    assert!(matches!(closed, Err(Error::Refused(_))), "{closed:?}");
    server.stop().await;
}

#[tokio::test]
async fn truncation_and_max_count_hide_the_oldest_events() {
    let mut server = TestServer::start().await;
    let client = server.client();
    let order = stream("order-1");
    fill(&client, "order-1", 10).await;
    client.truncate(&order, Revision::new(4)).await.unwrap();
    assert_eq!(revisions(&client, "order-1").await, [4, 5, 6, 7, 8, 9]);
    let any = ExpectedRevision::Any;
    let metadata = json!({ "$maxCount": 3, "owner": "anna" });
    client.set_metadata(&order, any, &metadata).await.unwrap();
    server.restart().await;
    assert_eq!(revisions(&client, "order-1").await, [7, 8, 9]);
    let info = client.get_stream(&order).await.unwrap();
    assert_eq!(info.first.unwrap().revision, Revision::new(7));
    assert_eq!(info.last.unwrap().revision, Revision::new(9));
    let kept: serde_json::Value = serde_json::from_slice(&info.metadata).unwrap();
    assert_eq!(kept, metadata);
    assert_eq!(info.metadata_revision, Some(Revision::new(1)));
    let read = client.read_stream(&stream("$$order-1")).await.unwrap();
    assert_eq!(read.len(), 2);
    assert!(read.iter().all(|e| e.event_type.as_str() == "$metadata"));
    let refused = client.set_metadata(&order, exact(0), &metadata).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    server.stop().await;
}

#[tokio::test]
async fn listings_come_in_pages_and_without_system_streams() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let names = ["a-1", "a-2", "b", "b-1", "c-1", "$settings", "ü-1"];
    for name in names {
        fill(&client, name, 1).await;
    }
    let list = async |limit, prefix: &str, system| {
        let mut list = ListStreams {
            prefix: prefix.into(),
            limit,
            system,
            ..ListStreams::default()
        };
        let mut found = Vec::new();
        loop {
            let page = client.list_streams(list.clone()).await.unwrap();
            assert!(page.streams.len() <= limit);
            let names = page.streams.iter().map(|entry| entry.stream.to_string());
            found.extend(names);
            match page.next_after {
                Some(after) => list.after = Some(after),
                None => return found,
            }
        }
    };
    for limit in [1, 2, 100] {
        let found = list(limit, "", SystemStreams::Exclude).await;
        assert_eq!(found, ["a-1", "a-2", "b", "b-1", "c-1", "ü-1"]);
        let found = list(limit, "", SystemStreams::Include).await;
        assert_eq!(found, ["$settings", "a-1", "a-2", "b", "b-1", "c-1", "ü-1"]);
        assert_eq!(
            list(limit, "a-", SystemStreams::Exclude).await,
            ["a-1", "a-2"]
        );
        assert_eq!(
            list(limit, "$", SystemStreams::Exclude).await,
            ["$settings"]
        );
        let mut after = None;
        let mut categories = Vec::new();
        loop {
            let system = SystemStreams::Exclude;
            let list = ListCategories {
                after,
                limit,
                system,
            };
            let page = client.list_categories(list).await.unwrap();
            categories.extend(page.categories.iter().map(ToString::to_string));
            after = page.next_after;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(categories, ["a", "b", "c", "ü"]);
    }
    server.stop().await;
}
