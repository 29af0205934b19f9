//! What clients and operators ask of the node itself.

use crate::support::*;
use icecore_kurrent::proto::event_store::client::gossip::gossip_client::GossipClient;
use icecore_kurrent::proto::event_store::client::gossip::member_info::VNodeState;
use icecore_kurrent::proto::event_store::client::monitoring::StatsReq;
use icecore_kurrent::proto::event_store::client::monitoring::monitoring_client::MonitoringClient;
use icecore_kurrent::proto::event_store::client::operations::operations_client::OperationsClient;
use icecore_kurrent::proto::event_store::client::operations::scavenge_resp::ScavengeResult;
use icecore_kurrent::proto::event_store::client::operations::{
    StartScavengeReq, StopScavengeReq, stop_scavenge_req,
};
use icecore_kurrent::proto::event_store::client::persistent_subscriptions::ListReq;
use icecore_kurrent::proto::event_store::client::persistent_subscriptions::persistent_subscriptions_client::PersistentSubscriptionsClient;
use icecore_kurrent::proto::event_store::client::server_features::server_features_client::ServerFeaturesClient;
use icecore_kurrent::proto::event_store::client::users::users_client::UsersClient;
use icecore_kurrent::proto::event_store::client::users::{
    CreateReq, DeleteReq, DetailsReq, delete_req, details_req,
};
use icecore_kurrent::proto::event_store::client::Empty;
use tonic::Code;

#[tokio::test]
async fn the_node_is_where_the_client_came_to() {
    let door = Door::open().await;
    let origin = "http://db.example:2114".parse().unwrap();
    let mut client = GossipClient::with_origin(door.kurrent.clone(), origin);
    let members = client.read(Empty {}).await.unwrap().into_inner().members;
    let [node] = &members[..] else {
        panic!("not one node: {members:?}");
    };
    assert!(node.is_alive);
    assert_eq!(node.state(), VNodeState::Leader);
    let end_point = node.http_end_point.clone().unwrap();
    assert_eq!(
        (end_point.address.as_str(), end_point.port),
        ("db.example", 2_114)
    );
}

#[tokio::test]
async fn over_http_the_node_says_the_same() {
    let door = Door::open().await;
    success(door.put("s", Any, &[1, 2]).await.unwrap());
    let request = http::Request::builder().uri("/gossip");
    let request = request.header("host", "db.example:2114").body(()).unwrap();
    let gossip = icecore_kurrent::gossip_document(&door.store, &request);
    let node = &gossip["members"][0];
    assert_eq!(
        (&node["state"], &node["isAlive"]),
        (&"Leader".into(), &true.into())
    );
    let end_point = (&node["httpEndPointIp"], &node["httpEndPointPort"]);
    assert_eq!(end_point, (&"db.example".into(), &2_114.into()));
    for checkpoint in ["lastCommitPosition", "writerCheckpoint", "chaserCheckpoint"] {
        assert_eq!(node[checkpoint], 2);
    }
    // What has no meaning here is there nevertheless: the Rust clients' operators ask for it.
    let numbers = "internalTcpPort internalSecureTcpPort externalSecureTcpPort epochPosition epochNumber \
                   nodePriority";
    for number in numbers.split_whitespace() {
        assert_eq!(node[number], 0, "{number}");
    }
    for host in ["internalTcpIp", "externalTcpIp"] {
        assert_eq!(node[host], "db.example");
    }
    assert_eq!(node["epochId"], node["instanceId"]);
    let info = icecore_kurrent::info_document();
    assert_eq!(info["esVersion"], "26.1.0");
}

#[tokio::test]
async fn only_what_can_be_called_is_announced() {
    let door = Door::open().await;
    let mut client = ServerFeaturesClient::new(door.kurrent.clone());
    let answer = client
        .get_supported_methods(Empty {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.event_store_server_version, "26.1.0");
    let announced = |service: &str| {
        let mut methods = answer.methods.iter();
        methods.any(|method| method.service_name.contains(service))
    };
    assert!(announced("streams.streams") && announced("v2.streams"));
    let mut client = PersistentSubscriptionsClient::new(door.kurrent.clone());
    let called = client.list(ListReq::default()).await;
    let is_there = !called.is_err_and(|status| status.code() == Code::Unimplemented);
    assert_eq!(announced("persistentsubscriptions"), is_there);
}

#[tokio::test(start_paused = true)]
async fn figures_come_at_once_and_again() {
    let door = Door::open().await;
    success(door.put("s", Any, &[1, 2]).await.unwrap());
    let mut client = MonitoringClient::new(door.kurrent.clone());
    let request = StatsReq {
        use_metadata: false,
        refresh_time_period_in_ms: 60_000,
    };
    let mut figures = client.stats(request).await.unwrap().into_inner();
    let first = figures.message().await.unwrap().unwrap();
    assert_eq!(first.stats["es-lastPosition"], "2");
    success(door.put("s", Any, &[3]).await.unwrap());
    let second = figures.message().await.unwrap().unwrap();
    assert_eq!(second.stats["es-lastPosition"], "3");
}

#[tokio::test]
async fn a_scavenge_is_a_real_one() {
    let door = Door::open().await;
    success(door.put("s", Any, &[1, 2, 3]).await.unwrap());
    door.set_metadata("s", 4, r#"{"$tb":2}"#).await;
    let mut client = OperationsClient::new(door.kurrent.clone());
    let request = StartScavengeReq { options: None };
    let answer = client.start_scavenge(request).await.unwrap().into_inner();
    assert_eq!(answer.scavenge_result(), ScavengeResult::Started);
    // Its last word is an event.
    while !door
        .revisions(of_stream("$scavenges"))
        .await
        .unwrap()
        .contains(&1)
    {
        tokio::task::yield_now().await;
    }
    let left = door.positions(of_all(START)).await.unwrap();
    assert_eq!(left[..2], [3, 4]);
    let unknown = StopScavengeReq {
        options: Some(stop_scavenge_req::Options {
            scavenge_id: "nothing".to_owned(),
        }),
    };
    let status = client.stop_scavenge(unknown).await.unwrap_err();
    let trailers = [
        ("exception", "scavenge-not-found"),
        ("scavenge-id", "nothing"),
    ];
    check_status(&status, Code::NotFound, &trailers);
    client.merge_indexes(Empty {}).await.unwrap();
    let status = client.shutdown(Empty {}).await.unwrap_err();
    check_status(&status, Code::Unimplemented, &[]);
}

#[tokio::test]
async fn there_are_no_users() {
    let door = Door::open().await;
    let mut client = UsersClient::new(door.kurrent.clone());
    let everybody = DetailsReq {
        options: Some(details_req::Options::default()),
    };
    let mut details = client.details(everybody).await.unwrap().into_inner();
    assert_eq!(details.message().await.unwrap(), None);
    let status = client
        .create(CreateReq { options: None })
        .await
        .unwrap_err();
    check_status(&status, Code::Unimplemented, &[]);
    let login_name = "zoë".to_owned();
    let request = DeleteReq {
        options: Some(delete_req::Options { login_name }),
    };
    let status = client.delete(request).await.unwrap_err();
    let trailers = [("exception", "user-not-found"), ("login-name", "zo%C3%AB")];
    check_status(&status, Code::NotFound, &trailers);
}
