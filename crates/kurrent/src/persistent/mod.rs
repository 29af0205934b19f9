//! `event_store.client.persistent_subscriptions.PersistentSubscriptions`: decode, call, encode. What a
//! group does is `eventstore`'s.
//!
//! Which group a call means: `source.rs`; what it shall be: `wanted.rs` and `settings.rs`; what it
//! tells: `info.rs`; a consumer's call: `consuming.rs` and `answer.rs`; what goes wrong: `failure.rs`.

mod answer;
mod consuming;
mod failure;
mod info;
mod settings;
mod source;
mod wanted;

use crate::errors::status;
use crate::proto::event_store::client as shared;
use crate::proto::event_store::client::persistent_subscriptions as proto;
use crate::services::persistent_subscriptions_server::PersistentSubscriptions;
use failure::{failure, no_groups};
use futures::stream::BoxStream;
use icecore_core::{Error, Group};
use icecore_eventstore::EventStore;
use proto::{list_req, replay_parked_req, truncate_parked_req};
use source::{Source, parked_range};
use std::time::Duration;
use tonic::{Request, Response, Status, Streaming};
use wanted::Wanted;

/// The service over a store.
pub(crate) struct PersistentService {
    store: EventStore,
    /// How long a consumer may take to say which group it wants.
    message_timeout: Duration,
}

impl PersistentService {
    pub(crate) fn new(store: EventStore, message_timeout: Duration) -> Self {
        Self {
            store,
            message_timeout,
        }
    }

    async fn groups_of(
        &self,
        options: list_req::Options,
    ) -> Result<Vec<proto::SubscriptionInfo>, Status> {
        use list_req::options::ListOption;
        let wanted = match options.list_option {
            Some(ListOption::ListAllSubscriptions(_)) => None,
            Some(ListOption::ListForStream(option)) => Some(
                Source::from(option.stream_option)
                    .stream()
                    .map_err(status)?,
            ),
            None => return Err(status(missing("list_option"))),
        };
        let mut groups = self.store.list_groups().await.map_err(status)?;
        if let Some(stream) = wanted {
            groups.retain(|info| info.group.id.stream() == stream.as_ref());
            if groups.is_empty() {
                return Err(no_groups(stream.as_ref()));
            }
        }
        Ok(groups.iter().map(info::shown).collect())
    }
}

fn missing(field: &'static str) -> Error {
    Error::invalid(field, "is missing")
}

/// The options of a call.
fn given<T>(options: Option<T>) -> Result<T, Status> {
    options.ok_or_else(|| status(missing("options")))
}

#[tonic::async_trait]
impl PersistentSubscriptions for PersistentService {
    async fn create(
        &self,
        request: Request<proto::CreateReq>,
    ) -> Result<Response<proto::CreateResp>, Status> {
        let options = given(request.into_inner().options)?;
        let Wanted {
            id,
            filter,
            behaviour,
        } = options.try_into().map_err(status)?;
        let settings = behaviour.settings().map_err(|error| failure(&id, error))?;
        let group = Group {
            id: id.clone(),
            filter,
            settings,
        };
        let created = self.store.create_group(group).await;
        created.map_err(|error| failure(&id, error))?;
        Ok(Response::new(proto::CreateResp {}))
    }

    async fn update(
        &self,
        request: Request<proto::UpdateReq>,
    ) -> Result<Response<proto::UpdateResp>, Status> {
        let options = proto::create_req::Options::from(given(request.into_inner().options)?);
        let Wanted { id, behaviour, .. } = options.try_into().map_err(status)?;
        let failed = |error| failure(&id, error);
        let before = self.store.group_info(&id).await.map_err(failed)?;
        let mut settings = behaviour.settings().map_err(failed)?;
        settings.strategy = settings::updated(before.group.settings.strategy, settings.strategy);
        let updated = self.store.update_group(&id, settings).await;
        updated.map_err(failed)?;
        Ok(Response::new(proto::UpdateResp {}))
    }

    async fn delete(
        &self,
        request: Request<proto::DeleteReq>,
    ) -> Result<Response<proto::DeleteResp>, Status> {
        let options = given(request.into_inner().options)?;
        let id = Source::from(options.stream_option).group(options.group_name);
        let id = id.map_err(status)?;
        let deleted = self.store.delete_group(&id).await;
        deleted.map_err(|error| failure(&id, error))?;
        Ok(Response::new(proto::DeleteResp {}))
    }

    type ReadStream = BoxStream<'static, Result<proto::ReadResp, Status>>;

    async fn read(
        &self,
        request: Request<Streaming<proto::ReadReq>>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let answers = consuming::answers(&self.store, request, self.message_timeout);
        Ok(Response::new(answers.await?))
    }

    async fn get_info(
        &self,
        request: Request<proto::GetInfoReq>,
    ) -> Result<Response<proto::GetInfoResp>, Status> {
        let options = given(request.into_inner().options)?;
        let id = Source::from(options.stream_option).group(options.group_name);
        let id = id.map_err(status)?;
        let found = self.store.group_info(&id).await;
        let found = found.map_err(|error| failure(&id, error))?;
        Ok(Response::new(proto::GetInfoResp {
            subscription_info: Some(info::shown(&found)),
        }))
    }

    async fn replay_parked(
        &self,
        request: Request<proto::ReplayParkedReq>,
    ) -> Result<Response<proto::ReplayParkedResp>, Status> {
        use replay_parked_req::options::StopAtOption;
        let options = given(request.into_inner().options)?;
        let id = Source::from(options.stream_option).group(options.group_name);
        let id = id.map_err(status)?;
        let range = parked_range(match options.stop_at_option {
            Some(StopAtOption::StopAt(revision)) => Some(revision),
            Some(StopAtOption::NoLimit(_)) | None => None,
        });
        let replayed = self.store.replay_parked(&id, range.map_err(status)?).await;
        replayed.map_err(|error| failure(&id, error))?;
        Ok(Response::new(proto::ReplayParkedResp {}))
    }

    async fn list(
        &self,
        request: Request<proto::ListReq>,
    ) -> Result<Response<proto::ListResp>, Status> {
        let options = given(request.into_inner().options)?;
        let subscriptions = self.groups_of(options).await?;
        Ok(Response::new(proto::ListResp { subscriptions }))
    }

    async fn restart_subsystem(
        &self,
        _request: Request<shared::Empty>,
    ) -> Result<Response<shared::Empty>, Status> {
        self.store.restart_groups().await.map_err(status)?;
        Ok(Response::new(shared::Empty {}))
    }

    /// Gives parked events up.
    async fn truncate_parked(
        &self,
        request: Request<proto::TruncateParkedReq>,
    ) -> Result<Response<proto::TruncateParkedResp>, Status> {
        use truncate_parked_req::options::StopAtOption;
        let options = given(request.into_inner().options)?;
        let id = Source::from(options.stream_option).group(options.group_name);
        let id = id.map_err(status)?;
        let range = parked_range(match options.stop_at_option {
            Some(StopAtOption::StopAt(revision)) => Some(revision),
            Some(StopAtOption::NoLimit(_)) | None => None,
        });
        let discarded = self.store.discard_parked(&id, range.map_err(status)?).await;
        discarded.map_err(|error| failure(&id, error))?;
        Ok(Response::new(proto::TruncateParkedResp {}))
    }
}
