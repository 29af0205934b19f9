//! Groups of persistent subscriptions: what there are, and what they have parked. How to take part in
//! one: `group/consume.rs`.

mod consume;

pub use consume::{ConsumeCall, GroupEvent, GroupEvents};

use crate::call::{not_understood, reading};
use crate::client::Client;
use crate::retry::Repeat;
use icecore_core::{
    Append, Appended, Error, Finish, Group, GroupId, GroupInfo, GroupSettings, ParkedPage,
    ParkedRange, Result, Revision,
};
use icecore_wire::{ListParked, ReplayParked, fits_message, proto};

impl Client {
    /// Creates a group.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the field; `Group` with `Exists`; `OutcomeUnknown`: see whether it
    /// is there.
    pub async fn create_group(&self, group: Group) -> Result<()> {
        let request = proto::CreateGroupRequest::from(group);
        self.call(Repeat::Harmful, request, |client, request| async move {
            client.groups().create_group(request).await
        })
        .await
        .map(drop)
    }

    /// Replaces all settings of a group. Its consumers are dropped and join again.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the setting; `Group` with `NotFound`; `OutcomeUnknown`.
    pub async fn update_group(&self, id: &GroupId, settings: GroupSettings) -> Result<()> {
        let request = proto::UpdateGroupRequest::from((id.clone(), settings));
        self.call(Repeat::Harmless, request, |client, request| async move {
            client.groups().update_group(request).await
        })
        .await
        .map(drop)
    }

    /// Deletes a group, its place and what it has parked.
    ///
    /// # Errors
    ///
    /// `Group` with `NotFound`; `OutcomeUnknown`: see whether it is there.
    pub async fn delete_group(&self, id: &GroupId) -> Result<()> {
        let request = proto::DeleteGroupRequest {
            group: Some(id.clone().into()),
        };
        self.call(Repeat::Harmful, request, |client, request| async move {
            client.groups().delete_group(request).await
        })
        .await
        .map(drop)
    }

    /// What a group is and does.
    ///
    /// # Errors
    ///
    /// `Group` with `NotFound`.
    pub async fn get_group(&self, id: &GroupId) -> Result<GroupInfo> {
        let request = proto::GetGroupRequest {
            group: Some(id.clone().into()),
        };
        let response = self
            .call(Repeat::Harmless, request, |client, request| async move {
                client.groups().get_group(request).await
            })
            .await
            .map_err(reading)?;
        let info = response.group.map(GroupInfo::try_from);
        let missing = || Err(Error::internal("the server's answer has no group"));
        info.unwrap_or_else(missing).map_err(not_understood)
    }

    /// All groups, ordered by `stream::name`.
    pub async fn list_groups(&self) -> Result<Vec<GroupInfo>> {
        let request = proto::ListGroupsRequest {};
        let response = self
            .call(Repeat::Harmless, request, |client, request| async move {
                client.groups().list_groups(request).await
            })
            .await
            .map_err(reading)?;
        let infos = response.groups.into_iter().map(GroupInfo::try_from);
        infos.collect::<Result<_>>().map_err(not_understood)
    }

    /// The events that a group has parked, from a revision of its parked stream on (inclusive);
    /// `limit` 0 takes the server's page size.
    ///
    /// # Errors
    ///
    /// `Group` with `NotFound`.
    pub async fn parked_events(
        &self,
        id: &GroupId,
        from: Revision,
        limit: usize,
    ) -> Result<ParkedPage> {
        let group = id.clone();
        let request = proto::ListParkedRequest::from(ListParked { group, from, limit });
        let page = self
            .call(Repeat::Harmless, request, |client, request| async move {
                client.groups().list_parked(request).await
            })
            .await
            .map_err(reading)?;
        page.try_into().map_err(not_understood)
    }

    /// How many parked events [`Self::replay_parked`] would send to the consumers.
    ///
    /// # Errors
    ///
    /// `Group` with `NotFound`.
    pub async fn count_parked(&self, id: &GroupId, range: ParkedRange) -> Result<u64> {
        self.replay(id, range, true).await.map_err(reading)
    }

    /// Sends parked events to the consumers again, and says how many. Each stays parked until it is
    /// processed.
    ///
    /// # Errors
    ///
    /// `Group` with `NotFound`; `InvalidArgument` for field `revision`, when nothing is parked there.
    pub async fn replay_parked(&self, id: &GroupId, range: ParkedRange) -> Result<u64> {
        self.replay(id, range, false).await
    }

    async fn replay(&self, id: &GroupId, range: ParkedRange, dry_run: bool) -> Result<u64> {
        let group = id.clone();
        let request = proto::ReplayParkedRequest::from(ReplayParked {
            group,
            range,
            dry_run,
        });
        let response = self
            .call(Repeat::Harmful, request, |client, request| async move {
                client.groups().replay_parked(request).await
            })
            .await?;
        Ok(response.count)
    }

    /// Gives parked events up, and says how many. Streams that wait behind them go on.
    ///
    /// # Errors
    ///
    /// As [`Self::replay_parked`].
    pub async fn discard_parked(&self, id: &GroupId, range: ParkedRange) -> Result<u64> {
        let request = proto::DiscardParkedRequest::from((id.clone(), range));
        let response = self
            .call(Repeat::Harmful, request, |client, request| async move {
                client.groups().discard_parked(request).await
            })
            .await?;
        Ok(response.count)
    }

    /// Drops the consumers of a group, who join again, and begins anew with what is written.
    ///
    /// # Errors
    ///
    /// `Group` with `NotFound`.
    pub async fn restart_group(&self, id: &GroupId) -> Result<()> {
        let request = proto::RestartGroupRequest {
            group: Some(id.clone().into()),
        };
        self.call(Repeat::Harmless, request, |client, request| async move {
            client.groups().restart_group(request).await
        })
        .await
        .map(drop)
    }

    /// Makes an append that finishes deliveries of a group ([`GroupEvent::finish`]): both take effect
    /// or neither, so what is appended for an event is there exactly once. One that breaks off is sent
    /// again with the same event ids.
    ///
    /// # Errors
    ///
    /// As [`Client::append_request`]; `Group` with `DeliveryLost`, when the consumer does not have one
    /// of the deliveries any more: nothing was written, and another consumer sees to it.
    /// `InvalidArgument` for an append that is larger than a message.
    pub async fn append_finishing(&self, append: &Append, finish: Finish) -> Result<Appended> {
        let request = proto::AppendRequest {
            finish: Some(finish.into()),
            ..proto::AppendRequest::try_from(append)?
        };
        if !fits_message(&request) {
            let reason = "an append that finishes deliveries must fit a message";
            return Err(Error::invalid("events", reason));
        }
        let response = self
            .call(Repeat::Harmless, request, |client, request| async move {
                client.streams().append(request).await
            })
            .await?;
        Appended::try_from(response).map_err(not_understood)
    }
}
