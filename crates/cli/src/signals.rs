//! The signals that end a command: Ctrl-C from a terminal, SIGTERM from a supervisor.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C and SIGTERM, from now on.
pub(crate) struct Ending {
    interrupt: Signal,
    terminate: Signal,
}

impl Ending {
    /// From here on the signals do not kill the process any more; somebody must wait for them.
    pub(crate) fn listen() -> Result<Self> {
        let interrupt = signal(SignalKind::interrupt()).context("listen to Ctrl-C")?;
        let terminate = signal(SignalKind::terminate()).context("listen to SIGTERM")?;
        Ok(Self {
            interrupt,
            terminate,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
