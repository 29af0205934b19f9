//! Figures of the store, at once and then each period, until the client has enough.

use crate::errors::status;
use crate::proto::event_store::client::monitoring::{StatsReq, StatsResp};
use crate::services::monitoring_server::Monitoring;
use futures::stream::{BoxStream, try_unfold};
use futures::{StreamExt, TryStreamExt};
use icecore_core::StoreStats;
use icecore_eventstore::EventStore;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tonic::{Request, Response, Status};

/// The shortest period. Figures are asked of the disk, too.
const PERIOD_MIN: Duration = Duration::from_millis(100);

/// The service over a store.
pub(crate) struct MonitoringService {
    store: EventStore,
}

impl MonitoringService {
    pub(crate) fn new(store: EventStore) -> Self {
        Self { store }
    }
}

#[tonic::async_trait]
impl Monitoring for MonitoringService {
    type StatsStream = BoxStream<'static, Result<StatsResp, Status>>;

    async fn stats(
        &self,
        request: Request<StatsReq>,
    ) -> Result<Response<Self::StatsStream>, Status> {
        let period = request.into_inner().refresh_time_period_in_ms;
        let period = Duration::from_millis(period).max(PERIOD_MIN);
        let store = self.store.clone();
        let first = Instant::now();
        let figures = try_unfold(first, move |due| {
            let store = store.clone();
            async move {
                tokio::select! {
                    () = sleep_until(due) => {}
                    () = store.stopping() => return Ok(None),
                }
                let stats = store.stats().await?;
                Ok(Some((figures(stats), due + period)))
            }
        });
        Ok(Response::new(figures.map_err(status).boxed()))
    }
}

fn figures(stats: StoreStats) -> StatsResp {
    let own = [
        ("es-lastPosition", stats.last_position.get()),
        ("es-streams", stats.streams),
        ("es-diskBytes", stats.disk_bytes),
        ("es-subscriptions", stats.subscriptions),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value.to_string()));
    let details = stats.details.into_iter();
    let details = details.map(|(name, value)| (format!("es-{name}"), value.to_string()));
    StatsResp {
        stats: own.into_iter().chain(details).collect(),
    }
}
