//! A server in the process of the test. It is the product's own `serve`; only the listener, the
//! directory and the signal to stop come from here.

use icecore_client::{Client, ClientBuilder};
use icecore_server::{Config, Engine, ServeError, serve};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How often it is tried to get the port of a stopped server back, and the pause between.
const BIND_TRIES: usize = 100;
const BIND_PAUSE: Duration = Duration::from_millis(50);

/// A running server. Dropping it ends it at once, without the order of [`Self::stop`].
#[derive(Debug)]
pub struct TestServer {
    address: SocketAddr,
    config: Config,
    /// Goes when the server goes; `None` in memory.
    directory: Option<TempDir>,
    running: Option<Running>,
}

/// The task that serves.
#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), ServeError>>,
}

/// Sets up a [`TestServer`].
#[derive(Debug)]
#[must_use = "a server begins with `start`"]
pub struct TestServerBuilder {
    config: Config,
    directory: Option<TempDir>,
}

impl TestServer {
    /// Starts a server on a new directory, with the defaults of the product.
    ///
    /// # Panics
    ///
    /// As [`TestServerBuilder::start`].
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Sets up a server on a new directory.
    ///
    /// # Panics
    ///
    /// When there is no temporary directory to be had.
    pub fn builder() -> TestServerBuilder {
        let directory = tempfile::tempdir().expect("make a temporary directory");
        let mut engine = Engine::sled(directory.path().join("store"));
        if let Engine::Sled {
            free_bytes_min,
            ballast_bytes,
            ..
        } = &mut engine
        {
            // A test does not hang on how full the disk of its machine is.
            (*free_bytes_min, *ballast_bytes) = (Some(0), 0);
        }
        TestServerBuilder {
            config: Config::new(engine),
            directory: Some(directory),
        }
    }

    /// Sets up a server that keeps its events in memory: fast, and empty again after a restart.
    pub fn in_memory() -> TestServerBuilder {
        TestServerBuilder {
            config: Config::new(Engine::Memory),
            directory: None,
        }
    }

    /// Where it listens. The same over restarts.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client connects to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The directory of its events; `None` in memory.
    pub fn data(&self) -> Option<&Path> {
        match &self.config.engine {
            Engine::Sled { directory, .. } => Some(directory),
            Engine::Memory => None,
        }
    }

    /// A client of its own connection, which is made with the first call.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn client(&self) -> Client {
        self.client_with(|builder| builder)
    }

    /// A client that is set up differently.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn client_with(&self, set_up: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
        set_up(Client::builder(self.url()))
            .connect_lazy()
            .expect("the address of a listener is one")
    }

    /// Stops it in order and starts it again, on the same port and the same directory.
    ///
    /// # Panics
    ///
    /// When it does not stop in order or does not start.
    pub async fn restart(&mut self) {
        self.halt().await;
        self.resume().await;
    }

    /// Stops it in order; [`Self::resume`] starts it again.
    ///
    /// # Panics
    ///
    /// When it does not stop in order.
    pub async fn halt(&mut self) {
        let Some(Running { stop, served }) = self.running.take() else {
            return;
        };
        // A server that ended by itself does not listen any more; its error is told below.
        let _ = stop.send(());
        let served = served.await.expect("the server does not panic");
        served.unwrap_or_else(|error| panic!("the server on {} ended: {error}", self.address));
    }

    /// Starts it after [`Self::halt`].
    ///
    /// # Panics
    ///
    /// When somebody else has taken its port meanwhile.
    pub async fn resume(&mut self) {
        let mut tries = 0;
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) if tries < BIND_TRIES => tries += 1,
                Err(error) => panic!("listen on {} again: {error}", self.address),
            }
            sleep(BIND_PAUSE).await;
        };
        self.running = Some(Running::start(listener, self.config.clone()));
        self.wait_until_ready().await;
    }

    /// Stops it in order and removes its directory.
    ///
    /// # Panics
    ///
    /// When it does not stop in order.
    pub async fn stop(mut self) {
        self.halt().await;
        if let Some(directory) = self.directory.take() {
            directory.close().expect("remove the temporary directory");
        }
    }

    /// Connections are taken from the first moment and answered when the store is open, so the first
    /// answer says that it is.
    async fn wait_until_ready(&mut self) {
        let stats = self.client().stats().await;
        if let Err(error) = stats {
            self.halt().await;
            panic!("the server on {} does not answer: {error}", self.address);
        }
    }
}

impl TestServerBuilder {
    /// Changes what the server is told before it starts.
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it does not start, with the reason.
    pub async fn start(self) -> TestServer {
        let Self { config, directory } = self;
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("listen on a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let mut server = TestServer {
            address,
            config: config.clone(),
            directory,
            running: Some(Running::start(listener, config)),
        };
        server.wait_until_ready().await;
        server
    }
}

impl Running {
    fn start(listener: TcpListener, config: Config) -> Self {
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(serve(listener, config, async {
            // A server whose handle was dropped stops as well.
            let _ = stopped.await;
        }));
        Self { stop, served }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore_client::{EventData, ExpectedRevision, StreamName};

    async fn append(server: &TestServer) -> usize {
        let stream = StreamName::new("order-1").unwrap();
        let id = icecore_client::new_event_id();
        let event = EventData::json(id, "OrderPlaced", "{}").unwrap();
        let client = server.client();
        let appended = client.append(&stream, ExpectedRevision::Any, [event]).await;
        appended.unwrap();
        client.read_stream(&stream).await.unwrap().len()
    }

    #[tokio::test]
    async fn a_restart_keeps_address_and_events() {
        let mut server = TestServer::start().await;
        let (url, data) = (server.url(), server.data().unwrap().to_owned());
        assert_eq!(append(&server).await, 1);
        server.restart().await;
        assert_eq!(server.url(), url);
        assert_eq!(append(&server).await, 2);
        server.stop().await;
        assert!(!data.exists(), "the directory goes with the server");
    }

    #[tokio::test]
    async fn memory_forgets() {
        let mut server = TestServer::in_memory().start().await;
        assert_eq!(append(&server).await, 1);
        server.restart().await;
        assert_eq!(append(&server).await, 1);
        server.stop().await;
    }
}
