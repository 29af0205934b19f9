//! One address that stays while the server behind it moves from port to port. Clients make their
//! connections again by themselves, as they do when a server is started again where it was.
//!
//! (The server's own port cannot stay: while nobody listens there, a client that tries to connect may
//! be given that very port by the system and then talks to itself.)

use anyhow::{Context, Result};
use std::net::SocketAddr;
use tokio::io::copy;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes connections on. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    passing: JoinHandle<()>,
}

impl Relay {
    /// Begins, with nobody behind it.
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen")?;
        let (target, to) = watch::channel(None);
        Ok(Self {
            address: listener.local_addr().context("ask for the address")?,
            target,
            passing: tokio::spawn(pass(listener, to)),
        })
    }

    /// What a client connects to.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// New connections go there from now on; without a target they are closed at once.
    pub(super) fn lead_to(&self, target: Option<SocketAddr>) {
        self.target.send_replace(target);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.passing.abort();
    }
}

async fn pass(listener: TcpListener, target: watch::Receiver<Option<SocketAddr>>) {
    // Who cannot be taken in tries again.
    while let Ok((client, _)) = listener.accept().await {
        let target = *target.borrow();
        if let Some(target) = target {
            tokio::spawn(join(client, target));
        }
    }
}

/// Joins two connections until either side ends.
async fn join(client: TcpStream, target: SocketAddr) -> std::io::Result<()> {
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::select! {
        _ = copy(&mut from_client, &mut to_server) => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
    Ok(())
}
