//! `icecore.v1.Groups`: decode, call, encode. No rule lives here. The two directions of a consumer's
//! call stand in `groups/consume.rs`.

mod consume;

use futures::StreamExt;
use futures::stream::BoxStream;
use icecore_core::{Error, Group, GroupId, GroupSettings, ParkedRange};
use icecore_eventstore::EventStore;
use icecore_wire::proto::groups_server::Groups;
use icecore_wire::{ListParked, ReplayParked, group_id, proto, status};
use std::time::Duration;
use tonic::{Request, Response, Status, Streaming};

/// The service over a store.
pub(crate) struct GroupsService {
    store: EventStore,
    /// How long the first message of a consumer may take to come.
    message_timeout: Duration,
}

impl GroupsService {
    pub(crate) fn new(store: EventStore, message_timeout: Duration) -> Self {
        Self {
            store,
            message_timeout,
        }
    }
}

/// An answer, or the status of an error.
type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Groups for GroupsService {
    async fn create_group(
        &self,
        request: Request<proto::CreateGroupRequest>,
    ) -> Answer<proto::CreateGroupResponse> {
        let group = Group::try_from(request.into_inner()).map_err(status::from_error)?;
        let created = self.store.create_group(group).await;
        answer(created, |()| proto::CreateGroupResponse {})
    }

    async fn update_group(
        &self,
        request: Request<proto::UpdateGroupRequest>,
    ) -> Answer<proto::UpdateGroupResponse> {
        let (id, settings): (GroupId, GroupSettings) = request
            .into_inner()
            .try_into()
            .map_err(status::from_error)?;
        let updated = self.store.update_group(&id, settings).await;
        answer(updated, |()| proto::UpdateGroupResponse {})
    }

    async fn delete_group(
        &self,
        request: Request<proto::DeleteGroupRequest>,
    ) -> Answer<proto::DeleteGroupResponse> {
        let id = group_id(request.into_inner().group).map_err(status::from_error)?;
        let deleted = self.store.delete_group(&id).await;
        answer(deleted, |()| proto::DeleteGroupResponse {})
    }

    async fn get_group(
        &self,
        request: Request<proto::GetGroupRequest>,
    ) -> Answer<proto::GetGroupResponse> {
        let id = group_id(request.into_inner().group).map_err(status::from_error)?;
        let info = self.store.group_info(&id).await;
        answer(info, |info| proto::GetGroupResponse {
            group: Some(info.into()),
        })
    }

    async fn list_groups(
        &self,
        _request: Request<proto::ListGroupsRequest>,
    ) -> Answer<proto::ListGroupsResponse> {
        let infos = self.store.list_groups().await;
        answer(infos, |infos| proto::ListGroupsResponse {
            groups: infos.into_iter().map(Into::into).collect(),
        })
    }

    type ConsumeStream = BoxStream<'static, Result<proto::ConsumeResponse, Status>>;

    async fn consume(
        &self,
        request: Request<Streaming<proto::ConsumeRequest>>,
    ) -> Answer<Self::ConsumeStream> {
        let address = request.remote_addr();
        let address = address.map_or_else(String::new, |address| address.to_string());
        let mut requests = request.into_inner();
        let join = consume::first(&mut requests, self.message_timeout).await?;
        let joined = self.store.consume(join.into_consume(address)).await;
        let (consumer, deliveries) = joined.map_err(status::from_error)?;
        let store_id = self.store.store_id();
        let answers = consume::answers(store_id, consumer, deliveries, requests);
        Ok(Response::new(answers.boxed()))
    }

    async fn list_parked(
        &self,
        request: Request<proto::ListParkedRequest>,
    ) -> Answer<proto::ListParkedResponse> {
        let ListParked { group, from, limit } = request
            .into_inner()
            .try_into()
            .map_err(status::from_error)?;
        let page = self.store.parked_events(&group, from, limit).await;
        answer(page, Into::into)
    }

    async fn replay_parked(
        &self,
        request: Request<proto::ReplayParkedRequest>,
    ) -> Answer<proto::ReplayParkedResponse> {
        let ReplayParked {
            group,
            range,
            dry_run,
        } = request
            .into_inner()
            .try_into()
            .map_err(status::from_error)?;
        let count = if dry_run {
            self.store.count_parked(&group, range).await
        } else {
            self.store.replay_parked(&group, range).await
        };
        answer(count, |count| proto::ReplayParkedResponse { count })
    }

    async fn discard_parked(
        &self,
        request: Request<proto::DiscardParkedRequest>,
    ) -> Answer<proto::DiscardParkedResponse> {
        let (group, range): (GroupId, ParkedRange) = request
            .into_inner()
            .try_into()
            .map_err(status::from_error)?;
        let count = self.store.discard_parked(&group, range).await;
        answer(count, |count| proto::DiscardParkedResponse { count })
    }

    async fn restart_group(
        &self,
        request: Request<proto::RestartGroupRequest>,
    ) -> Answer<proto::RestartGroupResponse> {
        let id = group_id(request.into_inner().group).map_err(status::from_error)?;
        let restarted = self.store.restart_group(&id).await;
        answer(restarted, |()| proto::RestartGroupResponse {})
    }
}

fn answer<T, M>(outcome: Result<T, Error>, message: impl FnOnce(T) -> M) -> Answer<M> {
    match outcome {
        Ok(value) => Ok(Response::new(message(value))),
        Err(error) => Err(status::from_error(error)),
    }
}
