//! A server for calls that are wrong: each gets the promised code and an error that names the field,
//! writes nothing, and the server goes on.

use crate::raw::{Stubs, append, check_status};
use crate::{event, stream};
use icecore_client::{ExpectedRevision, Position};
use icecore_testing::TestServer;
use icecore_wire::proto;
use icecore_wire::proto::{read_request, subscribe_request};
use tonic::{Code, Status};

/// A server and its stubs.
pub(crate) struct Bench {
    pub(crate) server: TestServer,
    pub(crate) stubs: Stubs,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let server = TestServer::in_memory().start().await;
        let stubs = Stubs::connect(&server).await;
        Self { server, stubs }
    }

    /// Checks that an append that is spoiled like this names this field.
    pub(crate) async fn append(
        &mut self,
        field: &str,
        spoil: impl FnOnce(&mut proto::AppendRequest),
    ) {
        let mut request = append("order-1");
        spoil(&mut request);
        let outcome = self.stubs.streams.append(request).await;
        check_status(field, &outcome.unwrap_err(), Code::InvalidArgument, field);
    }

    /// Checks that a read of all that is spoiled like this names this field.
    pub(crate) async fn read(&mut self, field: &str, spoil: impl FnOnce(&mut proto::ReadRequest)) {
        let mut request = read_all();
        spoil(&mut request);
        let status = self.read_to_end(request).await.unwrap_err();
        check_status(field, &status, Code::InvalidArgument, field);
    }

    /// The number of events of a read, or its error: from its beginning or from a message.
    pub(crate) async fn read_to_end(
        &mut self,
        request: proto::ReadRequest,
    ) -> Result<usize, Status> {
        let mut answers = self.stubs.streams.read(request).await?.into_inner();
        let mut events = 0;
        while let Some(page) = answers.message().await? {
            events += page.events.len();
        }
        Ok(events)
    }

    /// Checks that a subscription to all that is changed like this fails.
    pub(crate) async fn subscribe(
        &mut self,
        code: Code,
        names: &str,
        change: impl FnOnce(&mut proto::SubscribeRequest),
    ) {
        let mut request = proto::SubscribeRequest {
            target: Some(subscribe_request::Target::All(
                subscribe_request::All::default(),
            )),
            ..Default::default()
        };
        change(&mut request);
        let status = self.subscribe_to_end(request).await.unwrap_err();
        check_status(names, &status, code, names);
    }

    async fn subscribe_to_end(&mut self, request: proto::SubscribeRequest) -> Result<(), Status> {
        let mut answers = self.stubs.streams.subscribe(request).await?.into_inner();
        while answers.message().await?.is_some() {}
        Ok(())
    }

    /// Nothing was written but what the test itself wrote, and the server takes an append.
    pub(crate) async fn finish(self, written: u64) {
        let client = self.server.client();
        let stats = client.stats().await.unwrap();
        assert_eq!(stats.last_position, Position::new(written));
        let good = [event("Noted")];
        let to = stream("good-1");
        let good = client.append(&to, ExpectedRevision::NoStream, good).await;
        good.unwrap();
        self.server.stop().await;
    }
}

/// A read of everything that nothing is wrong with.
pub(crate) fn read_all() -> proto::ReadRequest {
    proto::ReadRequest {
        target: Some(read_request::Target::All(read_request::All::default())),
        ..Default::default()
    }
}
