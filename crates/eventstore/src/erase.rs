//! Erasure of one event: its data, metadata and tags go for good, its place, id, type, times and hash
//! stay. The act is an event of `$erasures`, written before anything goes and followed by another one
//! when log and indexes have followed, so that a restart finishes what was interrupted.

use crate::maintenance::Removals;
use crate::store::EventStore;
use icecore_core::{
    Direction, Erased, Error, PageLimit, Position, RecordedEvent, Result, Revision, StreamName,
    event_types, system_streams,
};
use icecore_storage::{Removal, RemovalKind, correlation_id};
use serde_json::json;

/// Most bytes of the reason that goes into the log.
const REASON_BYTES_MAX: usize = 4_096;

impl EventStore {
    /// Erases data, metadata and tags of one event, also of a hidden one. Nothing brings them back.
    /// Erasing an event twice does nothing more.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a stream of the store's own (`$...`), a tombstone, a revision that the
    /// stream does not have or that was scavenged; `StreamNotFound`; `Unavailable`.
    pub async fn erase(
        &self,
        stream: &StreamName,
        revision: Revision,
        reason: &str,
    ) -> Result<Erased> {
        if stream.is_system() {
            return Err(Error::invalid(
                "stream",
                format!("`{stream}` is one of the store's own, it holds what the store needs"),
            ));
        }
        if reason.len() > REASON_BYTES_MAX {
            return Err(Error::invalid(
                "reason",
                format!("is {} bytes, the limit is {REASON_BYTES_MAX}", reason.len()),
            ));
        }
        let _alone = self.maintenance().at_work.lock().await;
        let event = self.event_to_erase(stream, revision).await?;
        let position = event.position;
        if event.erased {
            return Ok(Erased {
                position,
                was_erased: true,
            });
        }
        let mut removals = self.maintenance().removals();
        if !event.tags.is_empty() {
            removals.add(&event);
        }
        let is_indexed = !event.tags.is_empty() || correlation_id(&event.metadata).is_some();
        let act = json!({
            "stream": stream.as_str(),
            "revision": revision.get(),
            "position": position.get(),
            "tagged": is_indexed,
            "reason": reason,
            "removals": removals.to_json(),
        });
        self.write_act(system_streams::ERASURES, event_types::EVENT_ERASED, act)
            .await?;
        self.maintenance().note(&removals);
        self.finish_erasure(position, is_indexed, &removals).await?;
        Ok(Erased {
            position,
            was_erased: false,
        })
    }

    async fn event_to_erase(
        &self,
        stream: &StreamName,
        revision: Revision,
    ) -> Result<RecordedEvent> {
        let limit = PageLimit::events(1);
        let storage = self.storage();
        let page = storage
            .read_stream(stream, revision, Direction::Forwards, limit)
            .await?;
        let found = page.events.into_iter().next();
        match found.filter(|event| event.revision == revision) {
            Some(event) if event.is_tombstone() => Err(Error::invalid(
                "revision",
                "is the tombstone, which has nothing to erase",
            )),
            Some(event) => Ok(event),
            None => match storage.stream_tails(std::slice::from_ref(stream)).await?[..] {
                [Some(tail)] => Err(Error::invalid(
                    "revision",
                    format!(
                        "`{stream}` has no event {revision}: it ends at {}, or the event was \
                         scavenged",
                        tail.last_revision
                    ),
                )),
                _ => Err(Error::StreamNotFound {
                    stream: stream.clone(),
                }),
            },
        }
    }

    /// Takes the payload out of everything that holds it, and says so. `is_indexed`: tags or a correlation
    /// id of it stand in the index.
    async fn finish_erasure(
        &self,
        position: Position,
        is_indexed: bool,
        removals: &Removals,
    ) -> Result<()> {
        let removal = Removal {
            position,
            kind: RemovalKind::Payload,
        };
        let lease = self.lease();
        self.storage().remove(&lease, vec![removal]).await?;
        self.ring().forget(position);
        if is_indexed {
            self.storage().compact(&lease, position, position).await?;
        }
        let act = json!({ "position": position.get(), "removals": removals.to_json() });
        self.write_act(
            system_streams::ERASURES,
            event_types::ERASURE_COMPLETED,
            act,
        )
        .await?;
        Ok(())
    }

    /// Finishes an erasure that was interrupted.
    pub(crate) async fn resume_erasure(&self) -> Result<()> {
        let act = self.last_act(system_streams::ERASURES).await?;
        let Some(act) = act.filter(crate::maintenance::Act::is_unfinished) else {
            return Ok(());
        };
        let position = Position::new(act.number("position")?);
        tracing::info!(stream = act.text("stream")?, %position, "finishing an erasure");
        let is_indexed = act.data["tagged"].as_bool().unwrap_or(true);
        let removals = act.removals();
        self.finish_erasure(position, is_indexed, &removals).await
    }
}
