//! Back-pressure before memory is used: the body of a call is read on only when there is room for the
//! message that begins. Each message passes here as bytes; the size stands in front of
//! it (gRPC's five-byte prefix: a flag and a big-endian length).
//!
//! Room is taken for appends and imports, and kept until they are answered. Small ones have some room
//! of their own and do not wait behind large ones. All messages are held to the size limit.

use crate::config::Config;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use icecore_core::Error;
use icecore_core::limits::MESSAGE_BYTES_MAX;
use icecore_eventstore::Admitted;
use icecore_wire::status;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body as GrpcBody;
use tower::{Layer, Service};

/// Length of the prefix of a gRPC message.
const PREFIX_BYTES: usize = 5;

/// Up to this size a message is small.
const SMALL_MESSAGE_BYTES_MAX: usize = 64 * 1_024;

/// Room of small messages, in bytes.
const SMALL_ROOM_BYTES: usize = 4 * 1_024 * 1_024;

/// Calls whose messages need room.
const APPENDING: [&str; 7] = [
    "/icecore.v1.Streams/Append",
    "/icecore.v1.Streams/AppendSession",
    "/icecore.v1.Operations/Import",
    "/event_store.client.streams.Streams/Append",
    "/event_store.client.streams.Streams/BatchAppend",
    "/kurrentdb.protocol.v2.streams.StreamsService/AppendSession",
    "/kurrentdb.protocol.v2.streams.StreamsService/AppendRecords",
];

/// Puts [`AdmissionBody`] around request bodies.
#[derive(Clone, Debug)]
pub(crate) struct AdmissionLayer {
    room: Places,
    limits: Limits,
}

/// Where messages take room.
#[derive(Clone, Debug)]
struct Places {
    /// Small messages only.
    small: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Until there is room for a message.
    admission: Duration,
    /// Until a message that has room has come.
    message: Duration,
}

impl AdmissionLayer {
    pub(crate) fn new(room: Arc<Semaphore>, config: &Config) -> Self {
        let limits = Limits {
            admission: config.admission_timeout,
            message: config.message_timeout,
        };
        let small = Arc::new(Semaphore::new(SMALL_ROOM_BYTES));
        let room = Places { small, all: room };
        Self { room, limits }
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Admission {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service that [`AdmissionLayer`] makes.
#[derive(Clone, Debug)]
pub(crate) struct Admission<S> {
    inner: S,
    layer: AdmissionLayer,
}

impl<S, B> Service<http::Request<B>> for Admission<S>
where
    S: Service<http::Request<GrpcBody>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<tonic::codegen::StdError>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let admitted = Admitted::default();
        let room = APPENDING
            .contains(&request.uri().path())
            .then(|| self.layer.room.clone());
        request.extensions_mut().insert(admitted.clone());
        let limits = self.layer.limits;
        let request = request.map(|body| {
            GrpcBody::new(AdmissionBody {
                inner: Box::pin(body),
                prefix: [0; PREFIX_BYTES],
                prefix_bytes: 0,
                message_left: 0,
                held_back: None,
                room,
                limits,
                waiting: None,
                deadline: None,
                admitted,
            })
        });
        self.inner.call(request)
    }
}

type Acquiring = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, Status>> + Send>>;

/// A request body that is read on only when there is room for the message that begins.
struct AdmissionBody<B> {
    inner: Pin<Box<B>>,
    /// The part of a message's prefix that has come so far, and how long it is.
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    /// Bytes of the current message that are still to come.
    message_left: usize,
    /// A frame that waits for room, and how much of it was looked at.
    held_back: Option<(Bytes, usize)>,
    /// Where room is taken; `None` for calls that need none.
    room: Option<Places>,
    limits: Limits,
    waiting: Option<Acquiring>,
    /// When the message that has room must be there.
    deadline: Option<Pin<Box<Sleep>>>,
    admitted: Admitted,
}

impl<B> AdmissionBody<B> {
    /// Looks at `data` from `at` on, up to the end or to the beginning of a message that needs room.
    /// Gives how far it came and the size of that message.
    fn look(&mut self, data: &[u8], mut at: usize) -> Result<(usize, Option<usize>), Status> {
        while at < data.len() {
            if self.message_left > 0 {
                let part = self.message_left.min(data.len() - at);
                self.message_left -= part;
                at += part;
                if self.message_left == 0 {
                    self.deadline = None;
                }
                continue;
            }
            let part = (PREFIX_BYTES - self.prefix_bytes).min(data.len() - at);
            self.prefix[self.prefix_bytes..][..part].copy_from_slice(&data[at..at + part]);
            self.prefix_bytes += part;
            at += part;
            if self.prefix_bytes == PREFIX_BYTES {
                self.prefix_bytes = 0;
                let [_, a, b, c, d] = self.prefix;
                let length = u32::from_be_bytes([a, b, c, d]);
                self.message_left = usize::try_from(length).unwrap_or(usize::MAX);
                check_size(self.message_left)?;
                if self.room.is_some() {
                    return Ok((at, Some(self.message_left)));
                }
            }
        }
        Ok((at, None))
    }

    /// The message that begins has its room; so much of the frame is left.
    fn admit(&mut self, permit: OwnedSemaphorePermit, frame_left: usize) {
        self.admitted.put(permit);
        // Most messages are there as a whole and need no clock.
        let is_to_come = self.message_left > frame_left;
        self.deadline = is_to_come.then(|| Box::pin(sleep(self.limits.message)));
    }

    /// Goes through a frame and waits for room where a message begins.
    fn poll_admit(
        &mut self,
        context: &mut Context<'_>,
        data: Bytes,
        mut at: usize,
    ) -> Poll<Result<Bytes, Status>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                match waiting.as_mut().poll(context) {
                    Poll::Ready(Ok(permit)) => self.admit(permit, data.len() - at),
                    Poll::Ready(Err(status)) => return Poll::Ready(Err(status)),
                    Poll::Pending => {
                        self.held_back = Some((data, at));
                        return Poll::Pending;
                    }
                }
                self.waiting = None;
            }
            let (looked_at, needs) = self.look(&data, at)?;
            at = looked_at;
            let (Some(bytes), Some(room)) = (needs, &self.room) else {
                return Poll::Ready(Ok(data));
            };
            if let Some(permit) = room.take_small(bytes) {
                self.admit(permit, data.len() - at);
            } else {
                let all = Arc::clone(&room.all);
                self.waiting = Some(acquire(all, bytes, self.limits.admission));
            }
        }
    }
}

impl<B> AdmissionBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<tonic::codegen::StdError>,
{
    /// The next frame, unless the message that it belongs to takes too long.
    fn poll_inner(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, Status>> {
        if let Poll::Ready(frame) = self.inner.as_mut().poll_frame(context) {
            let frame = frame.transpose();
            return Poll::Ready(frame.map_err(|error| Status::from_error(error.into())));
        }
        if let Some(deadline) = &mut self.deadline {
            ready!(deadline.as_mut().poll(context));
            return Poll::Ready(Err(stalled(self.limits.message)));
        }
        Poll::Pending
    }
}

fn stalled(limit: Duration) -> Status {
    status::from_error(Error::unavailable(format!(
        "the message did not come within {} ms, nothing was written",
        limit.as_millis()
    )))
}

impl Places {
    /// Room of its own for a small message, if there is any.
    fn take_small(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes).ok()?;
        let is_small = bytes <= SMALL_MESSAGE_BYTES_MAX;
        let small = is_small.then(|| Arc::clone(&self.small))?;
        small.try_acquire_many_owned(permits).ok()
    }
}

fn acquire(all: Arc<Semaphore>, bytes: usize, timeout: Duration) -> Acquiring {
    let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
    Box::pin(async move {
        match tokio::time::timeout(timeout, all.acquire_many_owned(permits)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(status::from_error(Error::unavailable(
                "the server is stopping",
            ))),
            Err(_) => Err(status::from_error(Error::exhausted(
                "in_flight_bytes",
                format!(
                    "no room for an append of {bytes} bytes within {} ms: send fewer at a time",
                    timeout.as_millis()
                ),
            ))),
        }
    })
}

fn check_size(bytes: usize) -> Result<(), Status> {
    if bytes > MESSAGE_BYTES_MAX {
        return Err(status::from_error(Error::invalid(
            "message",
            format!(
                "is {bytes} bytes long, the limit is {MESSAGE_BYTES_MAX}; a larger append goes \
                 through AppendSession in parts"
            ),
        )));
    }
    Ok(())
}

impl<B> Body for AdmissionBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<tonic::codegen::StdError>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let (data, at) = match this.held_back.take() {
            Some(held_back) => held_back,
            None => match ready!(this.poll_inner(context)?) {
                None => return Poll::Ready(None),
                Some(frame) => match frame.into_data() {
                    Ok(data) => (data, 0),
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
            },
        };
        let data = ready!(this.poll_admit(context, data, at));
        Poll::Ready(Some(data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.held_back.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests;
