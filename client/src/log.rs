//! The log as it is stored, and its verification by the server.

use crate::call::{not_understood, reading};
use crate::client::Client;
use crate::retry::{Repeat, retry};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use icecore_core::{LogBatch, Position, Result, VerifyMessage};
use icecore_wire::proto;

impl Client {
    /// The log as it is stored, with what erasures and scavenges have left of it, from a position
    /// (inclusive) to where it ends now, in bounded memory. There is at least one batch. This is what
    /// a backup holds.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when it would begin beyond the end.
    pub fn read_log(&self, from: Position) -> BoxStream<'static, Result<LogBatch>> {
        let client = self.clone();
        let request = proto::ReadLogRequest {
            from_position: from.get(),
        };
        let open = async move {
            let attempt = || async {
                let mut operations = client.operations();
                client.open(operations.read_log(request)).await
            };
            let opened = retry(client.retry_policy(), Repeat::Harmless, attempt).await;
            let messages = opened.map_err(reading)?;
            Ok(messages.map(move |message| match message {
                Ok(message) => LogBatch::try_from(message).map_err(not_understood),
                Err(status) => Err(reading(client.error(&status))),
            }))
        };
        stream::once(open).try_flatten().boxed()
    }

    /// Lets the server read everything and say what is wrong with it. The last message is
    /// [`VerifyMessage::Verified`]; without it the verification broke off.
    pub fn verify(&self) -> BoxStream<'static, Result<VerifyMessage>> {
        let client = self.clone();
        let open = async move {
            let attempt = || async {
                let mut operations = client.operations();
                client
                    .open(operations.verify(proto::VerifyRequest {}))
                    .await
            };
            let opened = retry(client.retry_policy(), Repeat::Harmless, attempt).await;
            let messages = opened.map_err(reading)?;
            Ok(messages.map(move |message| match message {
                Ok(message) => VerifyMessage::try_from(message).map_err(not_understood),
                Err(status) => Err(reading(client.error(&status))),
            }))
        };
        stream::once(open).try_flatten().boxed()
    }
}
