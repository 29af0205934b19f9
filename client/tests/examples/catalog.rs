//! The catalogue.

#[path = "../../examples/catalog/lines.rs"]
#[expect(dead_code, reason = "the program uses what its tests do not")]
mod lines;
#[path = "../../examples/catalog/product.rs"]
mod product;
#[path = "../../examples/catalog/queries.rs"]
#[expect(dead_code, reason = "the program uses what its tests do not")]
mod queries;

use crate::program::{Said, run, run_at};
use icecore_testing::TestServer;

#[tokio::test]
async fn three_readers_see_every_change_and_agree() {
    let server = TestServer::in_memory().start().await;
    let show = ["show", "--readers", "3", "--changes", "5"];
    let out = run("catalog", &server, show).await.done();
    assert_eq!(out.matches("20 changes, lag: median").count(), 3, "{out}");
    for seller in 0..4 {
        assert!(
            out.contains(&format!(
                "every reader: lamp-{seller} 10.05 after 5 changes"
            )),
            "{out}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn without_a_store_it_says_how_to_get_one() {
    let said: Said = run_at("catalog", "http://127.0.0.1:9", ["show"]).await;
    assert!(!said.ok && said.err.contains("icecore serve"), "{said:?}");
}
