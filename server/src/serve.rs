//! The life of a server: open the store, take connections, and stop in order.

use crate::config::Config;
use crate::port::{Connection, Port};
use crate::{engine, grpc, http};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use icecore_core::{Error, StoreId};
use icecore_eventstore::{Clock, EventStore, Ids};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tower::Layer as _;

/// What a client may send before the server has taken it, on a stream and on a connection. Large
/// enough for an append session at full speed, small enough that a thousand connections whose bodies
/// wait for room stay affordable. What the server sends is bounded by the client's windows.
const STREAM_WINDOW_BYTES: u32 = 256 * 1_024;
const CONNECTION_WINDOW_BYTES: u32 = 1_024 * 1_024;

/// Largest HTTP/2 frame that a client may send. With the usual 16 KiB a large append comes in many
/// pieces; much more would be much memory where many connections send at the same time.
const FRAME_BYTES_MAX: u32 = 64 * 1_024;

/// Clients that vanish without a word are noticed by pings.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// After a failed accept (most likely too many open files) others get time to close theirs.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A store that has failed may not be closable. It is given the time for open calls and as much again.
const CLOSE_TIMEOUTS: u32 = 2;

/// Why a server ended other than by being told to.
#[derive(Debug)]
pub enum ServeError {
    /// It did not start.
    Open(Error),
    /// The store takes no appends any more; only a restart helps.
    Failed(Error),
    /// It could not stop in order.
    Close(Error),
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(error) => write!(f, "open the store: {error}"),
            Self::Failed(error) => write!(
                f,
                "the store failed and takes no appends any more, start the server again: {error}"
            ),
            Self::Close(error) => write!(f, "close the store: {error}"),
        }
    }
}

impl std::error::Error for ServeError {}

/// Serves until `shutdown` completes or the store fails.
///
/// On shutdown it takes no new connection or append, makes durable and answers what was taken, ends
/// subscriptions with UNAVAILABLE, and leaves after the configured time at the latest.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let mut shutdown = pin!(shutdown);
    let store = tokio::select! {
        store = open(&config) => store.map_err(ServeError::Open)?,
        // Nothing was served yet, so there is nothing to end.
        () = &mut shutdown => return Ok(()),
    };
    let (grpc, health) = grpc::services(&store, &config).await;
    let port = Port::new(grpc, http::routes(store.clone()));
    if let Ok(address) = listener.local_addr() {
        tracing::info!(
            store_id = %store.store_id(),
            last_position = %store.last_position(),
            "listening on http://{address}"
        );
    }
    let mut connections = Connections::new(&config);
    let failed = tokio::select! {
        () = connections.accept(&listener, &port) => None,
        () = &mut shutdown => None,
        error = store.failed() => Some(error),
    };
    drop(listener);
    tracing::info!("stopping");
    health.not_serving().await;
    connections.phase.send_replace(Phase::Stopping);
    let closed = close(&store, connections, config.shutdown_timeout);
    let Some(error) = failed else {
        return closed.await.map_err(ServeError::Close);
    };
    if timeout(CLOSE_TIMEOUTS * config.shutdown_timeout, closed)
        .await
        .is_err()
    {
        tracing::warn!("the store cannot be closed, the disk does not answer");
        // Whoever drops the last handle closes the store, and would wait for the disk in vain.
        std::mem::forget(store);
    }
    Err(ServeError::Failed(error))
}

/// Ends what is open, in order as far as the time allows, and closes the store.
async fn close(
    store: &EventStore,
    connections: Connections,
    shutdown_timeout: Duration,
) -> Result<(), Error> {
    let Connections {
        graceful, phase, ..
    } = connections;
    let stop = async {
        let stopped = store.stop().await;
        graceful.shutdown().await;
        stopped
    };
    if let Ok(stopped) = timeout(shutdown_timeout, stop).await {
        stopped?;
    } else {
        tracing::warn!("some connections did not end in time and are cut");
        phase.send_replace(Phase::Cut);
    }
    store.close().await
}

async fn open(config: &Config) -> Result<EventStore, Error> {
    let (clock, ids) = (Clock::system(), Ids::random());
    let new_store_id = StoreId::new(ids.next());
    let storage = engine::open(config.engine.clone(), new_store_id).await?;
    EventStore::open(storage, config.store.clone(), clock, ids).await
}

/// The connections that are open.
struct Connections {
    builder: Builder<TokioExecutor>,
    graceful: GracefulShutdown,
    phase: watch::Sender<Phase>,
    /// A permit for each connection that may be open beside those that are.
    free: Arc<Semaphore>,
    /// Whether the last one was turned away.
    is_full: bool,
    greeting_timeout: Duration,
}

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Open,
    /// They end when their calls do.
    Stopping,
    /// Those that are left end now.
    Cut,
}

impl Connections {
    fn new(config: &Config) -> Self {
        Self {
            builder: connection_builder(config),
            graceful: GracefulShutdown::new(),
            phase: watch::Sender::new(Phase::Open),
            free: Arc::new(Semaphore::new(config.connections_max)),
            is_full: false,
            greeting_timeout: config.greeting_timeout,
        }
    }

    /// Takes connections for ever.
    async fn accept(&mut self, listener: &TcpListener, port: &Port) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let permit = Arc::clone(&self.free).try_acquire_owned();
                    self.say_when_full(permit.is_err());
                    // Who is turned away is told by the end of the connection: an answer would need
                    // what there is no more of.
                    let Ok(permit) = permit else { continue };
                    tracing::debug!(%peer, "connected");
                    self.begin(stream, permit, port.for_peer(peer));
                }
                Err(error) => {
                    tracing::warn!(%error, "accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Once, not for everybody who is turned away.
    fn say_when_full(&mut self, is_full: bool) {
        if is_full && !self.is_full {
            tracing::warn!("no more connections are taken: connections_max of them are open");
        }
        self.is_full = is_full;
    }

    fn begin(&self, stream: TcpStream, permit: OwnedSemaphorePermit, connection: Connection) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "set TCP_NODELAY");
        }
        let service = TowerToHyperService::new(http::trace().layer(connection));
        let (builder, watcher) = (self.builder.clone(), self.graceful.watcher());
        let mut phase = self.phase.subscribe();
        let greeting_timeout = self.greeting_timeout;
        tokio::spawn(async move {
            let _permit = permit;
            // Whoever says nothing must not keep its place.
            let mut first = [0];
            tokio::select! {
                greeted = timeout(greeting_timeout, stream.peek(&mut first)) => if greeted.is_err() {
                    tracing::debug!("a connection was silent");
                    return;
                },
                _ = phase.wait_for(|phase| *phase >= Phase::Stopping) => return,
            }
            let connection = builder
                .serve_connection(TokioIo::new(stream), service)
                .into_owned();
            tokio::select! {
                ended = watcher.watch(connection) => {
                    // Clients may break off at any time; that is no error of ours.
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection ended");
                    }
                }
                _ = phase.wait_for(|phase| *phase >= Phase::Cut) => {}
            }
        });
    }
}

/// HTTP/1.1 and HTTP/2 with prior knowledge, told apart by their first bytes.
fn connection_builder(config: &Config) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_concurrent_streams(config.concurrent_calls_max)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
