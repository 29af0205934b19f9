//! Gossip: which nodes there are, over gRPC and over HTTP. There is one, it leads, and it is where the
//! client came to.

use crate::id::halves;
use crate::proto::event_store::client as shared;
use crate::proto::event_store::client::gossip::member_info::VNodeState;
use crate::proto::event_store::client::gossip::{ClusterInfo, EndPoint, MemberInfo};
use crate::server_features::VERSION;
use crate::services::gossip_server::Gossip;
use crate::ticks::ticks;
use http::uri::Authority;
use icecore_eventstore::EventStore;
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

/// The port where a client comes to that names none.
const DEFAULT_PORT: u16 = 2_113;

/// The address that a client called, which is one that it reaches.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    host: String,
    port: u16,
}

impl Origin {
    /// Where this request was sent to.
    pub(crate) fn of<B>(request: &http::Request<B>) -> Self {
        let authority = request.uri().authority().cloned().or_else(|| {
            let host = request.headers().get(http::header::HOST)?;
            host.to_str().ok()?.parse::<Authority>().ok()
        });
        match authority {
            Some(authority) => Self {
                // The brackets around an address of IPv6 belong to the authority.
                host: authority.host().trim_matches(['[', ']']).to_owned(),
                port: authority.port_u16().unwrap_or(DEFAULT_PORT),
            },
            None => Self {
                host: "localhost".to_owned(),
                port: DEFAULT_PORT,
            },
        }
    }
}

/// What HTTP answers at `/gossip`: the same in JSON, and what else the Rust clients' operators take for
/// granted. There is no other port, and nobody was ever elected.
pub fn gossip_document<B>(store: &EventStore, request: &http::Request<B>) -> Value {
    let Origin { host, port } = Origin::of(request);
    let (id, last) = (store.store_id().to_string(), store.last_position().get());
    let node = json!({
        "instanceId": id,
        "timeStamp": store.now().to_string(),
        "state": VNodeState::Leader.as_str_name(),
        "isAlive": true,
        "internalTcpIp": host,
        "internalTcpPort": 0,
        "internalSecureTcpPort": 0,
        "externalTcpIp": host,
        "externalTcpPort": 0,
        "externalSecureTcpPort": 0,
        "httpEndPointIp": host,
        "httpEndPointPort": port,
        "lastCommitPosition": last,
        "writerCheckpoint": last,
        "chaserCheckpoint": last,
        "epochPosition": 0,
        "epochNumber": 0,
        "epochId": id,
        "nodePriority": 0,
    });
    json!({ "members": [node], "serverIp": host, "serverPort": port })
}

/// What HTTP answers at `/info`.
pub fn info_document() -> Value {
    json!({
        "esVersion": VERSION,
        "state": "leader",
        "features": { "projections": false, "userManagement": false, "atomPub": false },
        "authentication": { "type": "insecure" },
    })
}

/// The service over a store.
pub(crate) struct GossipService {
    store: EventStore,
}

impl GossipService {
    pub(crate) fn new(store: EventStore) -> Self {
        Self { store }
    }
}

#[tonic::async_trait]
impl Gossip for GossipService {
    async fn read(&self, request: Request<shared::Empty>) -> Result<Response<ClusterInfo>, Status> {
        let origin = request.extensions().get::<Origin>();
        let Origin { host, port } = origin.cloned().ok_or_else(|| {
            Status::failed_precondition("it is not known where this call was sent to")
        })?;
        let id = halves(self.store.store_id().get());
        let node = MemberInfo {
            instance_id: Some(shared::Uuid {
                value: Some(shared::uuid::Value::Structured(id)),
            }),
            time_stamp: ticks(self.store.now()),
            state: VNodeState::Leader.into(),
            is_alive: true,
            http_end_point: Some(EndPoint {
                address: host,
                port: port.into(),
            }),
        };
        let members = vec![node];
        Ok(Response::new(ClusterInfo { members }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(uri: &str, host: Option<&str>) -> (String, u16) {
        let mut request = http::Request::builder().uri(uri);
        if let Some(host) = host {
            request = request.header(http::header::HOST, host);
        }
        let Origin { host, port } = Origin::of(&request.body(()).unwrap());
        (host, port)
    }

    #[test]
    fn it_is_where_the_client_came_to() {
        let path = "/event_store.client.gossip.Gossip/Read";
        let called = |authority: &str| origin(&format!("http://{authority}{path}"), None);
        assert_eq!(called("db.example:2114"), ("db.example".into(), 2_114));
        assert_eq!(called("db.example"), ("db.example".into(), 2_113));
        assert_eq!(called("[::1]:7"), ("::1".into(), 7));
        assert_eq!(origin(path, Some("here:8")), ("here".into(), 8));
        assert_eq!(origin(path, None), ("localhost".into(), 2_113));
    }
}
