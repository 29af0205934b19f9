//! The server of the tour: this binary once more, as a process that can be killed.

use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

/// How long a start or an orderly end may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Server {
    process: Child,
    directory: PathBuf,
    address: String,
}

/// This binary, without what the user has set for a server or for commands of their own.
pub(super) fn icecore() -> Result<Command> {
    let path = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"ICECORE_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.kill_on_drop(true);
    Ok(command)
}

impl Server {
    /// Starts a server; port 0 takes a free one.
    pub(super) async fn start(directory: &Path, port: u16) -> Result<Self> {
        let (process, address) = start(directory, &format!("127.0.0.1:{port}")).await?;
        Ok(Self {
            process,
            directory: directory.to_owned(),
            address,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn directory(&self) -> String {
        self.directory.display().to_string()
    }

    /// Kills it on the spot; gives its process id.
    pub(super) async fn kill(&mut self) -> Result<u32> {
        let id = self.process.id().context("find the server's process")?;
        self.process.kill().await.context("kill the server")?;
        Ok(id)
    }

    /// Starts it once more, on the same data and the same port.
    pub(super) async fn start_again(&mut self) -> Result<()> {
        (self.process, self.address) = start(&self.directory, &self.address).await?;
        Ok(())
    }

    /// Ends it in order.
    pub(super) async fn stop(mut self) -> Result<()> {
        let Some(id) = self.process.id() else {
            return Ok(());
        };
        let asked = Command::new("kill")
            .arg("-TERM")
            .arg(id.to_string())
            .status()
            .await;
        if asked.is_ok_and(|status| status.success()) {
            let ended = timeout(PATIENCE, self.process.wait()).await;
            if ended.is_ok() {
                return Ok(());
            }
        }
        self.process.kill().await.context("kill the server")
    }
}

async fn start(directory: &Path, address: &str) -> Result<(Child, String)> {
    let mut process = icecore()?
        .args(["serve", "--listen", address, "--data"])
        .arg(directory)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("start the server")?;
    let log = process.stderr.take().context("read the server's log")?;
    let address = timeout(PATIENCE, listening(log))
        .await
        .context("wait for the server")??;
    Ok((process, address))
}

/// Waits for the line that says that the server is ready; reads on in the background, so that the
/// server can go on writing.
async fn listening(log: ChildStderr) -> Result<String> {
    let mut lines = BufReader::new(log).lines();
    let mut said = String::new();
    while let Some(line) = lines.next_line().await? {
        if let Some((_, address)) = line.split_once("listening on http://") {
            let address = address
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(address);
        }
        said.push_str(&line);
        said.push('\n');
    }
    bail!("the server did not start:\n{}", said.trim_end())
}
