//! What a relay needs of a broker: one event, taken for good.

use icecore_core::RecordedEvent;

/// Why a broker has not taken an event. Any error of the broker's own client fits.
pub type BrokerError = Box<dyn std::error::Error + Send + Sync>;

/// Where a [`crate::Relay`] publishes: an adapter to the client of some broker.
///
/// The relay sees to order, retries and checkpoints. Calls for different streams run at the same time; of
/// one stream there is one at a time, in the order of its revisions. So an adapter only has to send one event
/// and wait until the broker has it.
///
/// - It answers `Ok` when the broker has confirmed the event: it is stored there as safely as it ever will be.
/// - After an error the same event comes again, perhaps although the broker has it. Send it with the id of the
///   event as the id of the message, so that those who receive it can tell.
/// - A call may be dropped while it waits: when the relay ends, and after [`crate::Relay::publish_timeout`].
pub trait Broker: Send + Sync {
    /// Publishes one event and waits until the broker has confirmed it.
    fn publish(
        &self,
        event: &RecordedEvent,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;
}
