//! The gRPC side of the port: which services there are and what every call passes through.
//!
//! From the outside in: a request span (`http.rs`), the door that tells gRPC from HTTP (`../port.rs`),
//! then the admission of messages by size ([`admission`]), then the service.

mod admission;
mod groups;
mod maintenance;
mod operations;
mod session;
mod streams;

use crate::config::Config;
use admission::{Admission, AdmissionLayer};
use futures::future::BoxFuture;
use icecore_core::limits::MESSAGE_BYTES_MAX;
use icecore_eventstore::{Admitted, EventStore, Room};
use icecore_kurrent::Kurrent;
use icecore_wire::FILE_DESCRIPTOR_SET;
use icecore_wire::proto::groups_server::GroupsServer;
use icecore_wire::proto::maintenance_server::MaintenanceServer;
use icecore_wire::proto::operations_server::OperationsServer;
use icecore_wire::proto::streams_server::{SERVICE_NAME as STREAMS_NAME, StreamsServer};
use std::convert::Infallible;
use std::task::{Context, Poll};
use tonic::body::Body as GrpcBody;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::{Layer, Service};

/// The names under which health is asked; the empty one stands for the server as a whole.
const HEALTH_NAMES: [&str; 5] = [
    "",
    "icecore.v1.Streams",
    "icecore.v1.Operations",
    "icecore.v1.Maintenance",
    "icecore.v1.Groups",
];

/// What a call with one message has taken.
fn room_of<T>(request: &tonic::Request<T>) -> Room {
    let admitted = request.extensions().get::<Admitted>();
    admitted.map(Admitted::room).unwrap_or_default()
}

/// All services behind the admission of messages.
pub(crate) type Grpc = Admission<Services>;

/// The services. The one that is called most comes first, then those of KurrentDB's clients; the others
/// are found by a table.
#[derive(Clone)]
pub(crate) struct Services {
    streams: StreamsServer<streams::StreamsService>,
    kurrent: Kurrent,
    others: Routes,
}

impl Service<http::Request<GrpcBody>> for Services {
    type Response = http::Response<GrpcBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    /// They always take the next call.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<GrpcBody>) -> Self::Future {
        let path = request.uri().path().strip_prefix('/');
        let method = path.and_then(|path| path.strip_prefix(STREAMS_NAME));
        if method.is_some_and(|method| method.starts_with('/')) {
            self.streams.call(request)
        } else if Kurrent::serves(request.uri().path()) {
            self.kurrent.call(request)
        } else {
            Box::pin(self.others.call(request))
        }
    }
}

/// All services, and a switch for what they say about their health.
pub(crate) async fn services(store: &EventStore, config: &Config) -> (Grpc, HealthSwitch) {
    // The admission layer holds messages to the limit and says so in our own words.
    let streams = StreamsServer::new(streams::StreamsService::new(
        store.clone(),
        config.message_timeout,
    ))
    .max_decoding_message_size(usize::MAX)
    .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let operations = OperationsServer::new(operations::OperationsService::new(store.clone()))
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let maintenance = MaintenanceServer::new(maintenance::MaintenanceService::new(store.clone()))
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX);
    let groups = groups::GroupsService::new(store.clone(), config.message_timeout);
    let groups = GroupsServer::new(groups)
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX);
    let (reporter, health) = tonic_health::server::health_reporter();
    let switch = HealthSwitch(reporter);
    switch.set(ServingStatus::Serving).await;
    let (v1, v1alpha) = (reflection().build_v1(), reflection().build_v1alpha());
    let why = "the descriptors are compiled with the code";
    let routes = Routes::new(health)
        .add_service(operations)
        .add_service(maintenance)
        .add_service(groups)
        .add_service(v1.expect(why))
        .add_service(v1alpha.expect(why));
    let admission = AdmissionLayer::new(store.admission(), config);
    let services = Services {
        streams,
        kurrent: Kurrent::new(store, config.message_timeout),
        others: routes.prepare(),
    };
    (admission.layer(services), switch)
}

/// Lets tools like grpcurl ask what there is to call.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(icecore_kurrent::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Says over `grpc.health.v1` whether the server serves.
pub(crate) struct HealthSwitch(HealthReporter);

impl HealthSwitch {
    /// From now on the answer is that it does not.
    pub(crate) async fn not_serving(&self) {
        self.set(ServingStatus::NotServing).await;
    }

    async fn set(&self, status: ServingStatus) {
        for name in HEALTH_NAMES {
            self.0.set_service_status(name, status).await;
        }
    }
}
