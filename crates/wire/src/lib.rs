//! The protocol `icecore.v1` and its translation to and from Icecore's vocabulary.
//!
//! Owns the generated messages, service traits and client stubs ([`proto`]), the conversions between
//! them and `icecore_core` in both directions (server and client use the same), and [`status`], which
//! maps errors to and from gRPC. An invalid request dies here, with an error that names the field;
//! what comes out is valid as far as a value alone can be. No rule of the store lives here.
//!
//! ```
//! use icecore_core::{Append, EventData, ExpectedRevision, StreamName};
//! use icecore_wire::{proto, status};
//!
//! let stream = StreamName::new("order-1")?;
//! let placed = EventData::json(uuid::Uuid::from_u128(1), "OrderPlaced", "{}")?;
//! let append = Append::to_stream(stream, ExpectedRevision::NoStream, vec![placed])?;
//!
//! let request = proto::AppendRequest::try_from(&append)?;
//! assert_eq!(Append::try_from(request)?, append);
//!
//! let error = Append::try_from(proto::AppendRequest::default()).unwrap_err();
//! assert_eq!(status::from_error(error).code(), tonic::Code::InvalidArgument);
//! # Ok::<(), icecore_core::Error>(())
//! ```

mod append;
mod encoded;
mod event;
mod expectation;
mod field;
mod filter;
mod group;
mod log;
mod log_entry;
mod maintenance;
mod operations;
mod read;
mod refusal;
mod session;
pub mod status;
mod streams;
mod subscribe;

pub use append::{AppendCall, append_response};
pub use encoded::Encoded;
pub use group::{
    ConsumeMessage, Join, ListParked, ReplayParked, decode_deliveries, group_id, joined_consumer,
};
pub use log::{decode_log_entry, encode_log_entry};
pub use maintenance::Erase;
pub use read::ReadMessage;
pub use session::{
    SessionAnswer, SessionAppend, SessionDecoder, fits_message, session_requests, session_response,
};
pub use streams::{CategoryPage, Delete, ListCategories, SetStreamMetadata, Truncate};

/// The messages, service traits and client stubs, as generated. What their fields mean stands in
/// `proto/icecore/v1`. Texts are `Bytes` here; the conversions check that they are UTF-8.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod proto {
    tonic::include_proto!("icecore.v1");
    include!(concat!(env!("OUT_DIR"), "/server/icecore.v1.rs"));
}

/// The descriptors of the protocol, an encoded `google.protobuf.FileDescriptorSet`, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/icecore.v1.bin"));

#[cfg(test)]
mod tests;
