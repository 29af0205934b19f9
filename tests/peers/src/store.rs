//! The connections to the store, and the condition that stands for an expected revision.

use crate::Server;
use anyhow::{Context, Result};
use std::sync::Arc;
use umadb_client::{AsyncUmaDbClient, UmaDbClient};
use umadb_dcb::{DcbAppendCondition, DcbEventStoreAsync, DcbQuery, DcbQueryItem};

/// The connections, handed out in turn.
pub(crate) struct Store(Vec<Arc<AsyncUmaDbClient>>);

impl Store {
    pub(crate) async fn connect(server: &Server) -> Result<Self> {
        let mut clients = Vec::new();
        for _ in 0..server.connections.max(1) {
            let mut client = UmaDbClient::new(server.url.clone());
            if let Some(events) = server.batch_size {
                client = client.batch_size(events);
            }
            clients.push(Arc::new(client.connect_async().await.context("connect")?));
        }
        Ok(Self(clients))
    }

    /// The connection of this client.
    pub(crate) fn client(&self, number: usize) -> Arc<AsyncUmaDbClient> {
        Arc::clone(&self.0[number % self.0.len()])
    }

    /// How many events it holds.
    pub(crate) async fn events(&self) -> Result<u64> {
        let head = self.0[0].head().await.context("ask for the head")?;
        Ok(head.unwrap_or(0))
    }
}

/// Nothing has come to these streams after this position, or ever: what an exact revision, or no stream,
/// says elsewhere.
pub(crate) fn unchanged_since(
    streams: impl Iterator<Item = DcbQueryItem>,
    position: Option<u64>,
) -> DcbAppendCondition {
    DcbAppendCondition::new(DcbQuery::with_items(streams)).after(position)
}
