//! The services as one: which there are, and how a call finds its own.

use crate::body::in_our_words;
use crate::gossip::{GossipService, Origin};
use crate::monitoring::MonitoringService;
use crate::operations::OperationsService;
use crate::persistent::PersistentService;
use crate::projections::ProjectionsService;
use crate::server_features::ServerFeaturesService;
use crate::streams::StreamsService;
use crate::users::UsersService;
use crate::v2::StreamsV2Service;
use futures::future::BoxFuture;
use icecore_eventstore::EventStore;
use persistent_subscriptions_server::PersistentSubscriptionsServer;
use projections_server::ProjectionsServer;
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;
use streams_server::StreamsServer;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;

/// The descriptors of the protocol, an encoded `google.protobuf.FileDescriptorSet`, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kurrent.bin"));

/// The services that are mounted, by name. What is not in here is not announced to clients.
pub(crate) const MOUNTED: [&str; 9] = [
    streams_server::SERVICE_NAME,
    streams_service_server::SERVICE_NAME,
    server_features_server::SERVICE_NAME,
    gossip_server::SERVICE_NAME,
    monitoring_server::SERVICE_NAME,
    operations_server::SERVICE_NAME,
    users_server::SERVICE_NAME,
    persistent_subscriptions_server::SERVICE_NAME,
    projections_server::SERVICE_NAME,
];

/// The service traits, as generated.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
mod servers {
    pub mod streams {
        include!(concat!(
            env!("OUT_DIR"),
            "/servers/event_store.client.streams.rs"
        ));
    }
    pub mod streams_v2 {
        include!(concat!(
            env!("OUT_DIR"),
            "/servers/kurrentdb.protocol.v2.streams.rs"
        ));
    }
    pub mod server_features {
        include!(concat!(
            env!("OUT_DIR"),
            "/servers/event_store.client.server_features.rs"
        ));
    }
    pub mod gossip {
        include!(concat!(
            env!("OUT_DIR"),
            "/servers/event_store.client.gossip.rs"
        ));
    }
    pub mod monitoring {
        include!(concat!(
            env!("OUT_DIR"),
            "/servers/event_store.client.monitoring.rs"
        ));
    }
    pub mod operations {
        include!(concat!(
            env!("OUT_DIR"),
            "/servers/event_store.client.operations.rs"
        ));
    }
    pub mod persistent {
        include!(concat!(
            env!("OUT_DIR"),
            "/servers/event_store.client.persistent_subscriptions.rs"
        ));
    }
    pub mod projections {
        include!(concat!(
            env!("OUT_DIR"),
            "/servers/event_store.client.projections.rs"
        ));
    }
    pub mod users {
        include!(concat!(
            env!("OUT_DIR"),
            "/servers/event_store.client.users.rs"
        ));
    }
}

pub(crate) use servers::gossip::gossip_server;
pub(crate) use servers::monitoring::monitoring_server;
pub(crate) use servers::operations::operations_server;
pub(crate) use servers::persistent::persistent_subscriptions_server;
pub(crate) use servers::projections::projections_server;
pub(crate) use servers::server_features::server_features_server;
pub(crate) use servers::streams::streams_server;
pub(crate) use servers::streams_v2::streams_service_server;
pub(crate) use servers::users::users_server;

/// Everything that KurrentDB clients call, over one store. Cheap to clone.
///
/// It takes messages of any size: whoever mounts it admits them by size, and puts the
/// [`Admitted`](icecore_eventstore::Admitted) room into the extensions of a request. A body that ends with
/// `INVALID_ARGUMENT` had a message above
/// [`MESSAGE_BYTES_MAX`](icecore_core::limits::MESSAGE_BYTES_MAX); for one that ends with
/// `RESOURCE_EXHAUSTED` there was no room.
#[derive(Clone)]
pub struct Kurrent {
    streams: StreamsServer<StreamsService>,
    others: Routes,
}

impl Kurrent {
    /// The services over a store. An append that comes in parts is given up when its next part takes
    /// longer than `message_timeout`.
    pub fn new(store: &EventStore, message_timeout: Duration) -> Self {
        let streams = StreamsService::new(store.clone(), message_timeout);
        let v2 = StreamsV2Service::new(store.clone(), message_timeout);
        let v2 = streams_service_server::StreamsServiceServer::new(v2)
            .max_decoding_message_size(usize::MAX);
        let features = ServerFeaturesService::new();
        let gossip = GossipService::new(store.clone());
        let monitoring = MonitoringService::new(store.clone());
        let operations = OperationsService::new(store.clone());
        let persistent = PersistentService::new(store.clone(), message_timeout);
        let persistent =
            PersistentSubscriptionsServer::new(persistent).max_decoding_message_size(usize::MAX);
        let projections = ProjectionsService::new(store.clone());
        let projections = ProjectionsServer::new(projections).max_decoding_message_size(usize::MAX);
        let routes = Routes::new(v2)
            .add_service(persistent)
            .add_service(projections)
            .add_service(server_features_server::ServerFeaturesServer::new(features))
            .add_service(gossip_server::GossipServer::new(gossip))
            .add_service(monitoring_server::MonitoringServer::new(monitoring))
            .add_service(operations_server::OperationsServer::new(operations))
            .add_service(users_server::UsersServer::new(UsersService));
        Self {
            streams: StreamsServer::new(streams).max_decoding_message_size(usize::MAX),
            others: routes.prepare(),
        }
    }

    /// Whether a path is of a service of this protocol, mounted or not.
    pub fn serves(path: &str) -> bool {
        path.starts_with("/event_store.client.") || path.starts_with("/kurrentdb.protocol.")
    }
}

impl Service<http::Request<Body>> for Kurrent {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    /// They always take the next call.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut request = in_our_words(request);
        let path = request.uri().path().strip_prefix('/');
        let method = path.and_then(|path| path.strip_prefix(streams_server::SERVICE_NAME));
        if method.is_some_and(|method| method.starts_with('/')) {
            return self.streams.call(request);
        }
        let origin = Origin::of(&request);
        request.extensions_mut().insert(origin);
        Box::pin(self.others.call(request))
    }
}
