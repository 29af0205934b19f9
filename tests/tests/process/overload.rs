//! More connections, subscribers and appends than a server has room for.

use crate::icecore;
use icecore_tests::Overload;

/// Memory stays bounded, whoever reads gets everything, small appends go on, and who asks for too much
/// is told so. `just torture` does more of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_takes_no_more_than_there_is() {
    let overload = Overload {
        appends: 20,
        ..Overload::FULL
    };
    let withstood = overload.run(&icecore()).await;
    let withstood = withstood.unwrap_or_else(|error| panic!("{error:#}"));
    println!("{withstood}");
    assert!(withstood.turned_away > 0 && withstood.large > 0);
}
