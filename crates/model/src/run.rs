//! Drives clients and subscribers against a store and takes down what they hear.

use crate::history::{Outcome, Recorder, Request};
use crate::workload::{Step, Workload};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use icecore_core::{
    Appended, Position, Read, RecordedEvent, Result, Revision, Start, Subscribe, SubscribeFrom,
    SubscriptionMessage,
};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

/// A store as its clients see it.
pub trait System: Clone + Send + Sync + 'static {
    /// Sends a write, once.
    fn write(&self, request: Request) -> impl Future<Output = Result<Appended>> + Send;

    /// Reads everything that is asked for, and where the store ended when the last of it was read.
    fn read(
        &self,
        read: Read,
    ) -> impl Future<Output = Result<(Vec<RecordedEvent>, Position)>> + Send;

    /// Subscribes, for one connection.
    fn subscribe(&self, subscribe: Subscribe) -> BoxStream<'static, Result<SubscriptionMessage>>;

    /// Lets some time pass.
    fn pause(&self) -> impl Future<Output = ()> + Send;
}

/// Takes so many steps, one after the other.
pub async fn run_client(
    system: impl System,
    mut workload: Workload,
    steps: usize,
    recorder: Recorder,
) {
    for _ in 0..steps {
        match workload.next_step() {
            Step::Write(request) => {
                let outcome = write(&system, &request, &recorder).await;
                workload.heard(&request, &outcome);
            }
            Step::Twice(request) => {
                let once = write(&system, &request, &recorder);
                let again = write(&system, &request, &recorder);
                let (once, again) = futures::join!(once, again);
                workload.heard(&request, &once);
                workload.heard(&request, &again);
            }
            Step::Abandon(request) => {
                let polls = 1 + request_size(&request) % 5;
                give_up_after(polls, write(&system, &request, &recorder)).await;
            }
            Step::Read(read) => {
                let sent = recorder.tick();
                let result = system.read(read.clone()).await;
                if let Ok((_, last)) = &result {
                    workload.read_up_to(*last);
                }
                recorder.read(sent, read, result);
            }
            Step::Pause => system.pause().await,
        }
    }
}

async fn write(system: &impl System, request: &Request, recorder: &Recorder) -> Outcome {
    let number = recorder.sent(request);
    let outcome = Outcome::from(system.write(request.clone()).await);
    recorder.heard(number, outcome.clone());
    outcome
}

fn request_size(request: &Request) -> usize {
    match request {
        Request::Append(append) => append.size(),
        _ => 0,
    }
}

/// Polls a future so many times and drops it.
async fn give_up_after<T>(mut polls: usize, future: impl Future<Output = T> + Send) -> Option<T> {
    let mut future = Box::pin(future);
    std::future::poll_fn(move |context| match future.poll_unpin(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if polls == 0 => Poll::Ready(None),
        Poll::Pending => {
            polls -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// Follows for ever, from where it was when a connection ends; returns when a tombstone ends it.
/// `place` is the position of the last event that came. Now and then it is slow, or leaves and comes
/// back.
pub async fn follow(
    system: impl System,
    mut subscribe: Subscribe,
    mut random: fastrand::Rng,
    recorder: Recorder,
    place: &AtomicU64,
) {
    loop {
        let number = recorder.subscribed(subscribe.clone());
        let mut messages = system.subscribe(subscribe.clone());
        let patience = random.usize(2..60);
        let is_slow = random.u8(0..3) == 0;
        let mut heard = 0;
        while let Some(message) = messages.next().await {
            recorder.message(number, message.clone());
            match message {
                Ok(message) => move_on(&mut subscribe, &message, place),
                Err(icecore_core::Error::StreamDeleted { .. }) => return,
                Err(_) => break,
            }
            heard += 1;
            if heard == patience && random.bool() {
                break;
            }
            if is_slow && random.u8(0..4) == 0 {
                system.pause().await;
            }
        }
        system.pause().await;
    }
}

/// The next connection begins after what has come.
fn move_on(subscribe: &mut Subscribe, message: &SubscriptionMessage, place: &AtomicU64) {
    let last = match message {
        SubscriptionMessage::Events(events) => events.last(),
        _ => None,
    };
    if let Some(last) = last {
        place.fetch_max(last.position.get(), Ordering::SeqCst);
    }
    match (&mut subscribe.from, message) {
        (SubscribeFrom::Stream(_, start), _) => {
            let revision = last.map(|event| event.revision);
            if let Some(revision) = revision.filter(|revision| *revision < Revision::TOMBSTONE) {
                *start = Start::After(revision);
            }
        }
        (SubscribeFrom::All(start), SubscriptionMessage::Events(_)) => {
            *start = last.map_or(*start, |event| Start::After(event.position));
        }
        (
            SubscribeFrom::All(start),
            SubscriptionMessage::Checkpoint(position) | SubscriptionMessage::CaughtUp { position },
        ) => *start = Start::After(*position),
        (SubscribeFrom::All(_), SubscriptionMessage::Confirmed { .. }) => {}
    }
}
