//! A disk that does not answer any more: the server says so and ends, instead of waiting with it.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use icecore_core::{Append, EventData, ExpectedRevision, StreamName};
use icecore_server::{Config, Engine, ServeError, serve};
use icecore_storage_sled::System;
use icecore_wire::proto::AppendRequest;
use icecore_wire::proto::streams_client::StreamsClient;
use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::transport::Endpoint;
use uuid::Uuid;

/// A disk whose syncs wait from now on.
#[derive(Debug, Default)]
struct Hanging {
    hangs: Mutex<bool>,
    changed: Condvar,
}

impl Hanging {
    fn set(&self, hangs: bool) {
        *self.hangs.lock().unwrap() = hangs;
        self.changed.notify_all();
    }
}

impl System for Hanging {
    fn sync(&self, file: &File) -> io::Result<()> {
        let hangs = self.hangs.lock().unwrap();
        drop(self.changed.wait_while(hangs, |hangs| *hangs).unwrap());
        file.sync_data()
    }

    fn sled_syncs(&self) -> bool {
        false
    }
}

fn engine(directory: &tempfile::TempDir, disk: &Arc<Hanging>) -> Engine {
    let mut engine = Engine::sled(directory.path());
    if let Engine::Sled {
        free_bytes_min,
        ballast_bytes,
        stall_timeout,
        system,
        ..
    } = &mut engine
    {
        (*free_bytes_min, *ballast_bytes) = (Some(0), 0);
        *stall_timeout = Duration::ZERO;
        *system = Arc::clone(disk) as Arc<dyn System>;
    }
    engine
}

fn append() -> AppendRequest {
    let event = EventData::json(Uuid::from_u128(1), "T", "{}").unwrap();
    let stream = StreamName::new("order-1".to_owned()).unwrap();
    let append = Append::to_stream(stream, ExpectedRevision::Any, vec![event]).unwrap();
    AppendRequest::try_from(&append).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_does_not_answer_ends_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(Hanging::default());
    let config = Config {
        shutdown_timeout: Duration::from_millis(100),
        ..Config::new(engine(&directory, &disk))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(listener, config, std::future::pending()));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = StreamsClient::new(endpoint.connect().await.unwrap());
    disk.set(true);
    let outcome = client.append(append()).await;
    assert!(outcome.is_err(), "nothing is acknowledged: {outcome:?}");
    let ended = tokio::time::timeout(Duration::from_secs(60), serving).await;
    let ended = ended.expect("the server ends").unwrap();
    let Err(ServeError::Failed(error)) = ended else {
        panic!("{ended:?}");
    };
    let error = error.to_string();
    assert!(error.contains("not finished a sync"), "{error}");
    disk.set(false);
}
