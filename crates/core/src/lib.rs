//! The vocabulary of Icecore: values, pure rules, the error.
//!
//! Owns what a stream name, a revision, an append or a violation *is* and which of them are valid.
//! Knows nothing of disks, sockets, time sources or serialization: those who carry these values
//! somewhere (`wire`, the engines) translate them at their own border, so neither the network nor
//! the disk freezes this crate.
//!
//! ```
//! use icecore_core::{Append, EventData, ExpectedRevision, StreamName};
//!
//! let stream = StreamName::new("order-1")?;
//! let placed = EventData::json(uuid::Uuid::from_u128(1), "OrderPlaced", r#"{"total":12}"#)?;
//! let append = Append::to_stream(stream, ExpectedRevision::NoStream, vec![placed])?;
//! assert_eq!(append.events().len(), 1);
//! # Ok::<(), icecore_core::Error>(())
//! ```

mod append;
mod delivery;
mod entry;
mod error;
mod event;
mod expectation;
mod filter;
mod group;
mod growing_tree;
mod info;
pub mod limits;
pub mod merkle;
mod number;
mod page;
mod query;
mod read;
mod refusal;
mod store_id;
mod stream_name;
mod text;
mod time;
mod tree_head;
mod verify;

pub use append::{
    Append, AppendBuilder, AppendEvent, Appended, ImportTimes, StreamAppended, StreamExpectation,
};
pub use delivery::{Delivery, SharedEvents};
pub use entry::{EntryContent, Hash, LogEntry, Mark, Salt, payload_hash};
pub use error::{Error, GroupProblem, Result};
pub use event::{
    ContentType, CorrelationId, EventData, EventType, RecordedEvent, Tag, event_types,
    system_streams,
};
pub use expectation::{ExpectedRevision, Role, StreamState, Verdict};
pub use filter::{Filter, NameMatch, SystemStreams};
pub use group::{
    Consume, ConsumerId, ConsumerInfo, ConsumerStrategy, DeliveryNumber, Finish, Group,
    GroupDelivery, GroupId, GroupInfo, GroupName, GroupSettings, GroupStart, GroupStatus,
    NackAction, ParkedEvent, ParkedPage, ParkedRange, Settled,
};
pub use growing_tree::GrowingTree;
pub use info::{
    DeleteKind, Erased, Imported, ListStreams, ScavengeMode, ScavengePhase, ScavengeProgress,
    StoreStats, StreamEntry, StreamInfo, StreamPage, StreamPlace,
};
pub use number::{Position, Revision};
pub use page::{Direction, Page, PageLimit};
pub use query::{Condition, Query, QueryItem};
pub use read::{Read, ReadBatch, ReadFrom, Start, Subscribe, SubscribeFrom, SubscriptionMessage};
pub use refusal::{MissedEvents, Refusal, Violation, ViolationKind};
pub use store_id::StoreId;
pub use stream_name::{Category, StreamName};
pub use text::beginning;
pub use time::Timestamp;
pub use tree_head::{ConsistencyProof, InclusionProof, TreeHead, TreeSignature};
pub use verify::{Finding, LogBatch, Verified, VerifyMessage, VerifyProgress, VerifyStep};
