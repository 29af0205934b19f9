//! Another store behind the same address: a subscription that goes on there would skip in silence
//! what the other one never had.

use crate::{icecore, sized, stream};
use futures::StreamExt;
use icecore_client::{Error, ExpectedRevision};

#[tokio::test]
async fn a_subscription_does_not_go_on_in_another_store() {
    let directory = tempfile::tempdir().unwrap();
    let icecore = icecore();
    let one = icecore.serve(&directory.path().join("one")).await.unwrap();
    let address = one.address().to_owned();
    let (order, any) = (stream("order-1"), ExpectedRevision::Any);
    let client = one.client();
    client.append(&order, any, [sized(10)]).await.unwrap();
    let mut all = client.subscribe_all().start().events();
    let mut stream = client.subscribe_stream(&order).start().events();
    all.next().await.unwrap().unwrap();
    stream.next().await.unwrap().unwrap();
    let store_id = client.stats().await.unwrap().store_id;
    one.stop().await.unwrap();

    let data = directory.path().join("two");
    let two = icecore.serve_with(&data, &address, &[]).await.unwrap();
    for _ in 0..3 {
        client.append(&order, any, [sized(10)]).await.unwrap();
    }
    for end in [all.next().await, stream.next().await] {
        let Some(Err(Error::WrongStore { expected, actual })) = end else {
            panic!("it goes on with {end:?}");
        };
        assert_eq!(expected, store_id);
        assert_ne!(actual, store_id);
    }
    two.stop().await.unwrap();

    // The same store keeps its identity.
    let one = icecore.serve(&directory.path().join("one")).await.unwrap();
    assert_eq!(one.client().stats().await.unwrap().store_id, store_id);
    one.stop().await.unwrap();
}
