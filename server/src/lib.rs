//! Icecore's server as a library: [`serve`] takes a listener, a configuration and a signal to stop.
//!
//! Owns the port: gRPC for `icecore.v1`, health and reflection, and plain HTTP for health and
//! metrics beside it. It translates and guards; the rules are `eventstore`'s, the bytes the engine's.

mod config;
mod engine;
mod grpc;
mod http;
mod metrics;
pub mod offline;
mod port;
mod process;
mod serve;

pub use config::{Config, Engine};
pub use icecore_eventstore::TreeKey;
pub use serve::{ServeError, serve};
