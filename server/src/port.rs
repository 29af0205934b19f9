//! What comes in at the port, told apart once: gRPC calls, and everything else that speaks HTTP. Most
//! calls are small appends, so there is as little as possible between the connection and the service.

use crate::grpc::Grpc;
use axum::Router;
use futures::future::BoxFuture;
use http::{Request, Response, Version, header};
use http_body::Body;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use tonic::body::Body as GrpcBody;
use tonic::transport::server::TcpConnectInfo;
use tower::Service;

/// The services of one port.
#[derive(Clone)]
pub(crate) struct Port {
    grpc: Grpc,
    http: Router,
}

impl Port {
    pub(crate) fn new(grpc: Grpc, http: Router) -> Self {
        Self { grpc, http }
    }

    /// The port as a connection from there sees it.
    pub(crate) fn for_peer(&self, peer: SocketAddr) -> Connection {
        Connection {
            port: self.clone(),
            peer,
        }
    }
}

/// One connection to the port. Services learn from where their calls come.
#[derive(Clone)]
pub(crate) struct Connection {
    port: Port,
    peer: SocketAddr,
}

impl<B> Service<Request<B>> for Connection
where
    B: Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<tonic::codegen::StdError>,
{
    type Response = Response<GrpcBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    /// Both always take the next call.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if is_grpc(&request) {
            let peer = TcpConnectInfo {
                local_addr: None,
                remote_addr: Some(self.peer),
            };
            request.extensions_mut().insert(peer);
            return self.port.grpc.call(request);
        }
        let answer = self.port.http.call(request);
        Box::pin(async move { Ok(answer.await?.map(GrpcBody::new)) })
    }
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let says_grpc =
        content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    says_grpc && request.version() == Version::HTTP_2
}
