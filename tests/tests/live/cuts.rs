//! A network that breaks: connections are cut after a random number of bytes, in either direction and
//! in the middle of anything. Clients get through by trying again, and everything is written once and
//! delivered once.

use crate::{event, exact, stream};
use fastrand::Rng;
use futures::StreamExt;
use futures::future::join_all;
use icecore_client::{Client, ExpectedRevision, RetryPolicy, Revision};
use icecore_testing::TestServer;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use uuid::Uuid;

const WRITERS: usize = 4;
const APPENDS: u64 = 120;

/// Somebody between a client and the server who cuts connections.
struct BadNetwork {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl BadNetwork {
    async fn before(server: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            let mut random = Rng::with_seed(seed);
            while let Ok((client, _)) = listener.accept().await {
                // Enough to begin an HTTP/2 connection, mostly.
                let bytes = random.usize(200..6_000);
                tokio::spawn(cut_after(client, server, bytes));
            }
        });
        Self { address, accepting }
    }

    /// A client that does not give up.
    fn client(&self) -> Client {
        let policy = RetryPolicy {
            attempts_max: 1_000,
            pause_first: Duration::from_millis(1),
            pause_max: Duration::from_millis(10),
        };
        let client = Client::builder(format!("http://{}", self.address)).retry(policy);
        client.connect_lazy().unwrap()
    }
}

impl Drop for BadNetwork {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Passes so many bytes on, both ways together, and is gone.
async fn cut_after(mut client: TcpStream, server: SocketAddr, mut bytes: usize) {
    let Ok(mut server) = TcpStream::connect(server).await else {
        return;
    };
    let (mut up, mut down) = ([0; 512], [0; 512]);
    while bytes > 0 {
        let passed = tokio::select! {
            read = client.read(&mut up) => pass(&mut server, &up, read, bytes).await,
            read = server.read(&mut down) => pass(&mut client, &down, read, bytes).await,
        };
        let Some(passed) = passed else { return };
        bytes -= passed;
    }
}

async fn pass(
    to: &mut TcpStream,
    from: &[u8],
    read: std::io::Result<usize>,
    left: usize,
) -> Option<usize> {
    let count = read.ok().filter(|count| *count > 0)?.min(left);
    to.write_all(&from[..count]).await.ok()?;
    Some(count)
}

/// Appends, each expecting the one before it, or nothing; gives the ids in their order.
async fn write(client: Client, writer: usize) -> Vec<Uuid> {
    let to = stream(&format!("writer-{writer}"));
    let mut ids = Vec::new();
    for n in 0..APPENDS {
        let expected = match (writer % 2, n) {
            (0, _) => ExpectedRevision::Any,
            (_, 0) => ExpectedRevision::NoStream,
            (_, n) => exact(n - 1),
        };
        let event = event("Noted");
        ids.push(event.id);
        let appended = client.append(&to, expected, [event]).await;
        let appended = appended.unwrap_or_else(|error| panic!("writer {writer} at {n}: {error}"));
        assert_eq!(appended.streams[0].last_revision, Some(Revision::new(n)));
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_written_once_and_delivered_once() {
    let server = TestServer::in_memory().start().await;
    let network = BadNetwork::before(server.address(), 1).await;
    let reconnection = RetryPolicy {
        attempts_max: u32::MAX,
        pause_first: Duration::from_millis(1),
        pause_max: Duration::from_millis(10),
    };
    let subscription = network.client().subscribe_all().reconnection(reconnection);
    let count = WRITERS * usize::try_from(APPENDS).unwrap();
    let following = tokio::spawn(async move {
        let events = subscription.start().events().take(count);
        events.map(Result::unwrap).collect::<Vec<_>>().await
    });
    let writers = (0..WRITERS).map(|writer| tokio::spawn(write(network.client(), writer)));
    let written: Vec<_> = join_all(writers)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();

    let seen = following.await.unwrap();
    let stored = server.client().read_all().await.unwrap();
    assert_eq!(stored.len(), count);
    assert!(seen == stored, "what was delivered is not what is stored");
    let mut streams = HashMap::<_, Vec<_>>::new();
    for event in stored {
        streams.entry(event.stream).or_default().push(event.id);
    }
    for (writer, ids) in written.into_iter().enumerate() {
        assert_eq!(streams[&stream(&format!("writer-{writer}"))], ids);
    }
    server.stop().await;
}
