//! Several projections in one process: started one by one, watched and stopped together.

use super::error::ProjectionError;
use super::runner::RunningProjection;
use super::sink::ProjectionId;
use futures::FutureExt;
use futures::future::join_all;

/// Projections that run in one process, each at its own pace and into whatever sink it likes. When
/// one fails, the others go on.
///
/// ```no_run
/// use icecore_client::{Projections, RunningProjection};
///
/// # async fn run(balances: RunningProjection, audit: RunningProjection, signal: impl Future<Output = ()>) {
/// let mut projections = Projections::default();
/// projections.add(balances);
/// projections.add(audit);
/// for (projection, error) in projections.run_until(signal).await {
///     eprintln!("{projection}: {error}");
/// }
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Projections {
    running: Vec<RunningProjection>,
}

impl Projections {
    /// Adds one that was started.
    pub fn add(&mut self, projection: RunningProjection) {
        self.running.push(projection);
    }

    /// Those that were added.
    pub fn iter(&self) -> impl Iterator<Item = &RunningProjection> {
        self.running.iter()
    }

    /// Waits until all have caught up once; `false` when one ended before.
    pub async fn caught_up(&self) -> bool {
        let all = join_all(self.running.iter().map(RunningProjection::caught_up)).await;
        all.into_iter().all(|caught_up| caught_up)
    }

    /// Waits for the signal and stops all of them, or until all have ended by themselves. What comes
    /// back are those that failed.
    pub async fn run_until(
        self,
        shutdown: impl Future<Output = ()>,
    ) -> Vec<(ProjectionId, ProjectionError)> {
        let ends = join_all(self.running.iter().map(RunningProjection::has_ended));
        tokio::select! {
            _ = ends => {}
            () = shutdown => {}
        }
        self.stop().await
    }

    /// Stops all of them, at the same time. What comes back are those that failed.
    pub async fn stop(self) -> Vec<(ProjectionId, ProjectionError)> {
        let stopping = self.running.into_iter().map(|running| {
            let id = running.id().clone();
            running
                .stop()
                .map(|ended| ended.err().map(|error| (id, error)))
        });
        let ended = join_all(stopping).await;
        ended.into_iter().flatten().collect()
    }
}
