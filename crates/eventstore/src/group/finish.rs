//! Appends that finish deliveries of a group: the events and the group's checkpoint are one append, so
//! what a consumer does for an event happens exactly once, whatever dies in between.

use super::command::{Command, FinishCommand};
use crate::room::Room;
use crate::store::EventStore;
use icecore_core::{
    Append, AppendBuilder, Appended, Error, ExpectedRevision, Finish, GroupId, GroupProblem,
    Result, Revision,
};
use tokio::sync::oneshot;

impl EventStore {
    /// Writes the append and finishes the deliveries, or does neither. The consumer must still have
    /// them.
    ///
    /// # Errors
    ///
    /// As [`EventStore::append`]; `Group` with `DeliveryLost`, when the consumer does not have one of
    /// the deliveries any more and nothing was written. An append that was written before with the same
    /// event ids gets its first answer also then.
    pub async fn append_finishing(
        &self,
        append: Append,
        finish: Finish,
        room: Room,
    ) -> Result<Appended> {
        if append.events().is_empty() {
            return Err(Error::invalid(
                "events",
                "an append that finishes has at least one",
            ));
        }
        if finish.deliveries.is_empty() {
            return Err(Error::invalid("finish.deliveries", "is empty"));
        }
        let slot = self.slot(&finish.group).await?;
        let group = finish.group.clone();
        let (reply, answer) = oneshot::channel();
        let command = Command::Finish(Box::new(FinishCommand {
            finish,
            append: append.clone(),
            room,
            reply,
        }));
        let lost = Error::group(&group, GroupProblem::DeliveryLost);
        let outcome = if slot.tell(command).await {
            answer.await.unwrap_or(Err(lost))
        } else {
            // Nobody is awake, so nobody has a delivery.
            Err(lost)
        };
        match outcome {
            Err(Error::Group {
                problem: GroupProblem::DeliveryLost,
                ..
            }) => self.written_before(&append, &group).await,
            outcome => outcome,
        }
    }

    /// The answer to an append that was written before; it is not written now. That is what the store
    /// answers when it is asked to write it under a condition that cannot be met, since retries are
    /// decided first.
    async fn written_before(&self, append: &Append, group: &GroupId) -> Result<Appended> {
        let mut again = AppendBuilder::default();
        let never = ExpectedRevision::Exact(Revision::new(u64::MAX));
        let never = again.stream(group.checkpoint_stream(), never)?;
        for (at, expectation) in append.streams().iter().enumerate() {
            let stream = again.stream(expectation.stream.clone(), expectation.expected)?;
            debug_assert_eq!(stream, at + never + 1, "streams stand as they did");
        }
        for event in append.events() {
            again.event(event.stream + never + 1, event.event.clone(), event.times)?;
        }
        match self.append(again.build()?).await {
            Ok(mut appended) => {
                appended.streams.remove(never);
                Ok(appended)
            }
            Err(Error::Refused(_)) => Err(Error::group(group, GroupProblem::DeliveryLost)),
            Err(error) => Err(error),
        }
    }
}
