//! Read models in memory: gone with the process, built from the start with the next one. One
//! transaction at a time, on a copy that takes the place of the model when it is committed.

use super::sink::{
    Advance, Checkpoint, GenerationState, OldGeneration, ParkedEvent, ProjectionId, Sink,
    SinkError, StoredGeneration,
};
use bytestring::ByteString;
use icecore_core::Position;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OwnedMutexGuard;

/// A sink that keeps read models of one type in memory, one for each projection. Clones are the same
/// sink.
///
/// The program builds its read models anew at each start, which suits those of some ten thousand
/// events. A transaction works on a copy of the model: `M::clone` is called once for each batch.
///
/// ```
/// use icecore_client::MemorySink;
/// use std::collections::BTreeMap;
///
/// let sink = MemorySink::<BTreeMap<String, u64>>::new();
/// assert!(sink.model("balances").is_none(), "no projection has begun to build it");
/// ```
pub struct MemorySink<M>(Arc<Shared<M>>);

struct Shared<M> {
    /// Whoever has this may write.
    writing: Arc<tokio::sync::Mutex<()>>,
    projections: Mutex<HashMap<ByteString, Vec<Build<M>>>>,
}

/// A generation.
struct Build<M> {
    stored: StoredGeneration,
    model: Arc<M>,
    parked: BTreeMap<Position, ParkedEvent>,
}

/// What a projection into a [`MemorySink`] writes with: the model as the batch has left it so far.
///
/// ```
/// use icecore_client::MemoryTransaction;
/// use std::collections::BTreeMap;
///
/// fn deposit(balances: &mut MemoryTransaction<BTreeMap<String, u64>>, account: &str, amount: u64) {
///     *balances.entry(account.to_owned()).or_default() += amount;
/// }
/// ```
pub struct MemoryTransaction<M> {
    projection: ProjectionId,
    /// The generation as it shall be.
    stored: StoredGeneration,
    model: Arc<M>,
    parked: BTreeMap<Position, ParkedEvent>,
    _writing: OwnedMutexGuard<()>,
}

impl<M: Default> MemorySink<M> {
    /// A sink without read models.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            writing: Arc::default(),
            projections: Mutex::default(),
        }))
    }
}

impl<M> MemorySink<M> {
    /// The living read model of a projection as the last transaction has left it; it does not change
    /// in the hands of its reader. `None` before the projection was started for the first time.
    pub fn model(&self, projection: &str) -> Option<Arc<M>> {
        let projections = self.projections();
        let live = projections
            .get(projection)?
            .iter()
            .find(|build| is_live(build))?;
        Some(Arc::clone(&live.model))
    }

    fn projections(&self) -> MutexGuard<'_, HashMap<ByteString, Vec<Build<M>>>> {
        // Every change is one assignment, so a panic elsewhere has left nothing half done.
        let projections = &self.0.projections;
        projections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.0.writing).lock_owned().await
    }
}

impl<M: Clone + Default + Send + Sync + 'static> Sink for MemorySink<M> {
    type Transaction = MemoryTransaction<M>;

    async fn generations(&self, projection: &str) -> Result<Vec<StoredGeneration>, SinkError> {
        let projections = self.projections();
        let builds = projections.get(projection).into_iter().flatten();
        Ok(builds.map(|build| build.stored).collect())
    }

    async fn begin(
        &self,
        projection: &ProjectionId,
        advance: &Advance,
    ) -> Result<MemoryTransaction<M>, SinkError> {
        let writing = self.write().await;
        let projections = self.projections();
        let builds = projections.get(&projection.name);
        let build = builds.and_then(|builds| find(builds, projection));
        let (state, model, parked) = match (build, advance.from) {
            (Some(build), Some(from)) if build.is_written_from(from) => (
                build.stored.state,
                Arc::clone(&build.model),
                build.parked.clone(),
            ),
            (None, None) => {
                let live = builds.and_then(|builds| builds.iter().find(|build| is_live(build)));
                let state = match live {
                    None => GenerationState::Live,
                    Some(live) if live.stored.generation < projection.generation => {
                        GenerationState::Building
                    }
                    Some(_) => return Err(SinkError::Fenced),
                };
                (state, Arc::default(), BTreeMap::new())
            }
            _ => return Err(SinkError::Fenced),
        };
        Ok(MemoryTransaction {
            projection: projection.clone(),
            stored: StoredGeneration {
                generation: projection.generation,
                state,
                checkpoint: advance.to,
            },
            model,
            parked,
            _writing: writing,
        })
    }

    async fn commit(&self, transaction: MemoryTransaction<M>) -> Result<(), SinkError> {
        let MemoryTransaction {
            projection, stored, ..
        } = transaction;
        let build = Build {
            stored,
            model: transaction.model,
            parked: transaction.parked,
        };
        let mut projections = self.projections();
        let builds = projections.entry(projection.name).or_default();
        match builds.binary_search_by_key(&stored.generation, |build| build.stored.generation) {
            Ok(place) => builds[place] = build,
            Err(place) => builds.insert(place, build),
        }
        Ok(())
    }

    async fn park(
        &self,
        transaction: &mut MemoryTransaction<M>,
        event: &ParkedEvent,
    ) -> Result<(), SinkError> {
        transaction.parked.insert(event.position, event.clone());
        Ok(())
    }

    async fn parked(
        &self,
        projection: &ProjectionId,
        after: Position,
        limit: u32,
    ) -> Result<Vec<ParkedEvent>, SinkError> {
        let projections = self.projections();
        let builds = projections.get(&projection.name);
        let Some(build) = builds.and_then(|builds| find(builds, projection)) else {
            return Ok(Vec::new());
        };
        let parked = build.parked.range(after.next()..).map(|(_, event)| event);
        Ok(parked.take(limit as usize).cloned().collect())
    }

    async fn begin_unparked(
        &self,
        projection: &ProjectionId,
        position: Position,
    ) -> Result<Option<MemoryTransaction<M>>, SinkError> {
        let writing = self.write().await;
        let projections = self.projections();
        let builds = projections.get(&projection.name);
        let build = builds.and_then(|builds| find(builds, projection));
        let Some(build) = build.filter(|build| build.is_written()) else {
            return Ok(None);
        };
        let mut parked = build.parked.clone();
        if parked.remove(&position).is_none() {
            return Ok(None);
        }
        Ok(Some(MemoryTransaction {
            projection: projection.clone(),
            stored: build.stored,
            model: Arc::clone(&build.model),
            parked,
            _writing: writing,
        }))
    }

    async fn swap(&self, projection: &ProjectionId, old: OldGeneration) -> Result<bool, SinkError> {
        let _writing = self.write().await;
        let mut projections = self.projections();
        let Some(builds) = projections.get_mut(&projection.name) else {
            return Err(SinkError::Fenced);
        };
        let Some(new) = find(builds, projection).map(|build| build.stored) else {
            return Err(SinkError::Fenced);
        };
        let live = builds
            .iter()
            .find(|build| is_live(build))
            .map(|live| live.stored);
        match (new.state, live) {
            (GenerationState::Live, _) => return Ok(true),
            (GenerationState::Retired, _) => return Err(SinkError::Fenced),
            (_, Some(live)) if live.is_ahead_of(&new) => return Ok(false),
            _ => {}
        }
        if old == OldGeneration::Drop {
            builds.retain(|build| build.stored.state != GenerationState::Live);
        }
        for build in builds {
            if build.stored.generation == new.generation {
                build.stored.state = GenerationState::Live;
            } else if build.stored.state == GenerationState::Live {
                build.stored.state = GenerationState::Retired;
            }
        }
        Ok(true)
    }

    async fn forget(&self, projection: &ProjectionId) -> Result<bool, SinkError> {
        let _writing = self.write().await;
        let mut projections = self.projections();
        let Some(builds) = projections.get_mut(&projection.name) else {
            return Ok(false);
        };
        let before = builds.len();
        builds.retain(|build| is_live(build) || build.stored.generation != projection.generation);
        Ok(builds.len() < before)
    }

    fn passes(&self, _: &(dyn std::error::Error + 'static)) -> bool {
        false
    }
}

fn find<'a, M>(builds: &'a [Build<M>], projection: &ProjectionId) -> Option<&'a Build<M>> {
    let mut builds = builds.iter();
    builds.find(|build| build.stored.generation == projection.generation)
}

fn is_live<M>(build: &Build<M>) -> bool {
    build.stored.state == GenerationState::Live
}

impl<M> Build<M> {
    fn is_written(&self) -> bool {
        self.stored.state != GenerationState::Retired
    }

    fn is_written_from(&self, checkpoint: Checkpoint) -> bool {
        self.is_written() && self.stored.checkpoint == checkpoint
    }
}

impl<M> Deref for MemoryTransaction<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.model
    }
}

impl<M: Clone> DerefMut for MemoryTransaction<M> {
    fn deref_mut(&mut self) -> &mut M {
        Arc::make_mut(&mut self.model)
    }
}

impl<M> Clone for MemorySink<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Default> Default for MemorySink<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> fmt::Debug for MemorySink<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySink").finish_non_exhaustive()
    }
}

impl<M: fmt::Debug> fmt::Debug for MemoryTransaction<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransaction")
            .field("projection", &self.projection)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}
