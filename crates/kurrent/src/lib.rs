//! The door for KurrentDB and EventStoreDB clients: their gRPC services over Icecore's store.
//!
//! Owns the generated messages ([`proto`]), the translation between them and Icecore's vocabulary, and
//! the statuses, trailers and texts that those clients look at. No rule of the store lives here:
//! expectations, retries, deletion and visibility are `eventstore`'s, for both protocols the same.
//! A server mounts [`Kurrent`] beside its own services.
//!
//! What differs between the vocabularies:
//!
//! | there | here |
//! | --- | --- |
//! | commit and prepare position | both are the event's position |
//! | type, content-type, created | entries of an event's metadata map; created is the recorded time |
//! | custom metadata | the event's metadata |
//! | no word for tags | `$tags` in the custom metadata, a list of texts (`tags.rs`) |
//! | metadata of a stream | events of `$$stream`, as here |

mod appending;
mod body;
pub mod client;
mod errors;
mod event;
mod expectation;
mod filter;
mod gossip;
mod id;
mod monitoring;
mod operations;
mod persistent;
mod projections;
mod server_features;
mod services;
mod streams;
mod tags;
mod ticks;
mod users;
mod v2;

pub use gossip::{gossip_document, info_document};
pub use services::{FILE_DESCRIPTOR_SET, Kurrent};

/// The messages and client stubs, as generated. What their fields mean stands in `proto/kurrent`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}
