//! The standard services beside ours: health and reflection.

use crate::raw::Stubs;
use icecore_testing::TestServer;
use icecore_wire::proto;
use prost::Message;
use prost_types::FileDescriptorProto;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

#[tokio::test]
async fn health_is_told_for_the_server_and_each_service() {
    let server = TestServer::start().await;
    let stubs = Stubs::connect(&server).await;
    let mut health = HealthClient::new(stubs.channel);
    for service in ["", "icecore.v1.Streams", "icecore.v1.Groups"] {
        let service = service.to_owned();
        let answer = health.check(HealthCheckRequest { service }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }
    let unknown = HealthCheckRequest {
        service: "icecore.v1.Nothing".into(),
    };
    let status = health.check(unknown).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    server.stop().await;
}

/// Asks one question of the reflection service.
async fn ask(server: &TestServer, question: MessageRequest) -> MessageResponse {
    let stubs = Stubs::connect(server).await;
    let mut reflection = ServerReflectionClient::new(stubs.channel);
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(question),
    };
    let questions = Request::new(tokio_stream::iter([question]));
    let answers = reflection.server_reflection_info(questions).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    answer.message_response.unwrap()
}

#[tokio::test]
async fn reflection_lists_the_services_and_knows_their_messages() {
    let server = TestServer::start().await;
    let MessageResponse::ListServicesResponse(list) =
        ask(&server, MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list of services");
    };
    let names: Vec<_> = list.service.into_iter().map(|s| s.name).collect();
    for name in [
        "icecore.v1.Streams",
        "icecore.v1.Operations",
        "grpc.health.v1.Health",
    ] {
        assert!(names.iter().any(|n| n == name), "{name} in {names:?}");
    }
    let symbol = MessageRequest::FileContainingSymbol("icecore.v1.AppendRequest".into());
    let MessageResponse::FileDescriptorResponse(files) = ask(&server, symbol).await else {
        panic!("no file has icecore.v1.AppendRequest");
    };
    let file = FileDescriptorProto::decode(&*files.file_descriptor_proto[0]).unwrap();
    let append = file
        .message_type
        .iter()
        .find(|message| message.name() == "AppendRequest");
    let fields: Vec<_> = append
        .unwrap()
        .field
        .iter()
        .map(prost_types::FieldDescriptorProto::name)
        .collect();
    let expected = ["streams", "events", "condition", "missed_limit", "finish"];
    assert_eq!(fields, expected);
    server.stop().await;
}

/// A service or a method that is not there is UNIMPLEMENTED, as tools of gRPC expect.
#[tokio::test]
async fn what_is_not_there_is_unimplemented() {
    let server = TestServer::start().await;
    let stubs = Stubs::connect(&server).await;
    for path in ["/icecore.v1.Streams/Fly", "/icecore.v1.Nothing/Append"] {
        let mut grpc = tonic::client::Grpc::new(stubs.channel.clone());
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<proto::StatsRequest, proto::StatsResponse>::default();
        let path = http::uri::PathAndQuery::from_static(path);
        let request = Request::new(proto::StatsRequest {});
        let status = grpc.unary(request, path, codec).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
    }
    server.stop().await;
}
