//! Plain HTTP on the same port: health for orchestrators, metrics for Prometheus, what KurrentDB's tools
//! ask of a node, and a plain word for those who come to a gRPC path without gRPC.

use crate::metrics;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use icecore_eventstore::EventStore;
use icecore_kurrent::Kurrent;
use icecore_storage::Health;
use serde_json::Value;
use tower_http::classify::{GrpcErrorsAsFailures, SharedClassifier};
use tower_http::trace::{DefaultOnEos, DefaultOnFailure, DefaultOnResponse, TraceLayer};
use tracing::{Level, Span};

/// The content type of the `OpenMetrics` text format.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `/health/live`, `/health/ready`, `/metrics`, and for KurrentDB's tools `/gossip` and `/info`.
pub(crate) fn routes(store: EventStore) -> Router {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/gossip", get(gossip))
        .route("/info", get(info))
        .fallback(nothing_here)
        .with_state(store)
}

/// The process answers; whether it can work is [`ready`]'s to say.
async fn live() -> &'static str {
    "live\n"
}

/// 200 while appends are taken, 503 with the reason when not.
async fn ready(State(store): State<EventStore>) -> Response {
    match store.health() {
        Health::Healthy => "ready\n".into_response(),
        Health::Degraded(reason) => format!("ready, but: {reason}\n").into_response(),
        Health::Stalled(reason) | Health::Failed(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {reason}\n"),
        )
            .into_response(),
    }
}

async fn metrics(State(store): State<EventStore>) -> Response {
    match metrics::render(&store).await {
        Ok(text) => {
            let content_type = HeaderValue::from_static(METRICS_TYPE);
            ([(header::CONTENT_TYPE, content_type)], text).into_response()
        }
        Err(error) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("no metrics: {error}\n"),
        )
            .into_response(),
    }
}

/// The one node that there is, where the client came to.
async fn gossip(State(store): State<EventStore>, request: Request) -> impl IntoResponse {
    json(&icecore_kurrent::gossip_document(&store, &request))
}

/// What the server is, for tools that ask for a version before they go on.
async fn info() -> impl IntoResponse {
    json(&icecore_kurrent::info_document())
}

fn json(document: &Value) -> impl IntoResponse + use<> {
    let content_type = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, content_type)], document.to_string())
}

/// Answers requests that no route took.
async fn nothing_here(request: Request) -> Response {
    let path = request.uri().path();
    let is_ours = path.starts_with("/icecore.v1.") || path.starts_with("/grpc.");
    let is_method = is_ours || Kurrent::serves(path);
    if is_method {
        let text = format!(
            "{path} is a gRPC method: call it over HTTP/2 with content-type application/grpc\n"
        );
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    }
    let text = format!(
        "nothing at {path}: HTTP serves /health/live, /health/ready and /metrics, gRPC serves \
         icecore.v1\n"
    );
    (StatusCode::NOT_FOUND, text).into_response()
}

type MakeSpan<B> = fn(&http::Request<B>) -> Span;

/// A span for each request, over its whole answer: streams of answers and their end are part of it. It
/// is there for those who debug: a span costs about as much as deciding a small append.
pub(crate) fn trace<B>() -> TraceLayer<SharedClassifier<GrpcErrorsAsFailures>, MakeSpan<B>, ()> {
    let span: MakeSpan<B> = |request| tracing::debug_span!("request", path = request.uri().path(), version = ?request.version());
    TraceLayer::new_for_grpc()
        .make_span_with(span)
        .on_request(())
        .on_response(DefaultOnResponse::new().level(Level::DEBUG))
        .on_eos(DefaultOnEos::new().level(Level::DEBUG))
        // What a client did wrong is answered to it; what the store did wrong is logged where it
        // happens.
        .on_failure(DefaultOnFailure::new().level(Level::DEBUG))
}
