//! A server in a process of its own, with everything that it starts, which is killed when this is dropped.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// How often a server is asked whether it is ready, and the pause between: a minute in all.
pub(crate) const READY_TRIES: u32 = 300;
pub(crate) const READY_PAUSE: Duration = Duration::from_millis(200);

/// A process group.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
}

impl Group {
    /// Starts a command as the first of a group.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let name = command.as_std().get_program().to_owned();
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let child = command.spawn();
        let child = child.with_context(|| format!("start {}", name.display()))?;
        Ok(Self { child })
    }

    /// Kills all of it and waits until the first is gone.
    pub(crate) async fn kill(mut self) -> Result<()> {
        self.signal();
        self.child.wait().await.context("wait for a server")?;
        Ok(())
    }

    fn signal(&self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id.and_then(Pid::from_raw) {
            // A group that has ended by itself is what is wanted.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr()?.port())
}
