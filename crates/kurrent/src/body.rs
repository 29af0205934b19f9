//! Bodies of requests. Whoever mounts the services admits messages by size, and ends a body that does not
//! fit with a status of its own; here it gets the words of these clients, and loses the details of another
//! protocol.

use crate::errors::{self, plain};
use crate::services::{streams_server, streams_service_server};
use crate::v2;
use http_body_util::BodyExt;
use tonic::body::Body;
use tonic::{Code, Status};

/// The request with a body that ends in the words of its service.
pub(crate) fn in_our_words(request: http::Request<Body>) -> http::Request<Body> {
    let message_too_large = match service(request.uri().path()) {
        streams_server::SERVICE_NAME => errors::message_too_large,
        streams_service_server::SERVICE_NAME => v2::message_too_large,
        _ => plain,
    };
    request.map(|body| {
        Body::new(body.map_err(move |status| match status.code() {
            Code::InvalidArgument => message_too_large(&status),
            // Too much is under way.
            Code::ResourceExhausted => Status::unavailable(status.message()),
            _ => plain(&status),
        }))
    })
}

fn service(path: &str) -> &str {
    let mut parts = path.split('/');
    parts.nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_service() {
        assert_eq!(service("/a.B/C"), "a.B");
        for none in ["", "/", "a.B"] {
            assert_eq!(service(none), "");
        }
    }
}
