//! Icecore for tests: a real server in the process of the test, and histories to fill it with.
//!
//! [`TestServer`] listens on a port of its own, keeps its events in a directory that goes with it, and
//! can be stopped and started again, so that a test sees what a restart does to its program.
//! [`History`] makes events that look like those of a small shop and are the same for the same seed.
//!
//! ```
//! use icecore_client::{ExpectedRevision, StreamName, json_event};
//! use icecore_testing::TestServer;
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let mut server = TestServer::start().await;
//! let client = server.client();
//!
//! let order = StreamName::new("order-1")?;
//! let placed = json_event("OrderPlaced", "{}")?;
//! client.append(&order, ExpectedRevision::NoStream, [placed]).await?;
//!
//! server.restart().await;
//! assert_eq!(client.read_stream(&order).await?.len(), 1);
//! server.stop().await;
//! # Ok::<(), icecore_client::Error>(()) }).unwrap();
//! ```

mod history;
mod server;

pub use history::{History, HistoryEvent};
pub use server::{TestServer, TestServerBuilder};
