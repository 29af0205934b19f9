//! The binary as a process: the server, and the commands of its users.

use anyhow::{Context, Result, bail, ensure};
use icecore_client::Client;
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a process may take to begin or end before a test calls it stuck.
const STUCK: Duration = Duration::from_secs(60);

/// What the server says when it is ready.
const LISTENING: &str = "listening on http://";

/// The built binary.
#[derive(Clone, Debug)]
pub struct Icecore {
    binary: PathBuf,
}

/// A server in a process of its own, which is killed when this is dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    address: String,
    said: Arc<Mutex<String>>,
}

impl Icecore {
    /// This binary.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
        }
    }

    /// A command line without anything from the environment of the test.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ICECORE_") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        // How full the disk of the machine is does not matter.
        command
            .env("ICECORE_FREE_BYTES_MIN", "0")
            .env("ICECORE_BALLAST_BYTES", "0");
        command
    }

    /// Runs a command of a user against a server, to its end.
    ///
    /// # Errors
    ///
    /// When it cannot be run.
    pub async fn run(&self, server: &ServerProcess, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(arguments);
        command.env("ICECORE_SERVER", server.url());
        command
            .output()
            .await
            .with_context(|| format!("run {arguments:?}"))
    }

    /// As [`Self::run`], for a command that must succeed; gives what it printed.
    ///
    /// # Errors
    ///
    /// When it cannot be run or ends with another exit code than 0.
    pub async fn must(&self, server: &ServerProcess, arguments: &[&str]) -> Result<String> {
        let output = self.run(server, arguments).await?;
        ensure!(
            output.status.success(),
            "{arguments:?}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).context("read what it printed")
    }

    /// Starts a server on this directory and a free port.
    ///
    /// # Errors
    ///
    /// When it does not become ready.
    pub async fn serve(&self, data: &Path) -> Result<ServerProcess> {
        self.serve_with(data, "127.0.0.1:0", &[]).await
    }

    /// Starts a server on this directory and address, with further arguments.
    ///
    /// # Errors
    ///
    /// When it does not become ready.
    pub async fn serve_with(
        &self,
        data: &Path,
        listen: &str,
        arguments: &[&str],
    ) -> Result<ServerProcess> {
        let mut child = self.spawn_server(data, listen, arguments)?;
        let said = Arc::new(Mutex::new(String::new()));
        let (line, mut lines) = mpsc::unbounded_channel();
        listen_to(child.stdout.take(), &line, &said);
        listen_to(child.stderr.take(), &line, &said);
        drop(line);
        let ready = async {
            while let Some(line) = lines.recv().await {
                if let Some((_, rest)) = line.split_once(LISTENING) {
                    let end = rest.find(|c: char| c.is_whitespace() || c.is_control());
                    return Some(rest[..end.unwrap_or(rest.len())].to_owned());
                }
            }
            None
        };
        let ready = timeout(STUCK, ready).await.ok().flatten();
        let Some(address) = ready else {
            bail!("icecore serve does not listen; it said:\n{}", text(&said));
        };
        Ok(ServerProcess {
            child,
            address,
            said,
        })
    }

    /// Starts a server and kills it after so long, whether it is ready by then or not.
    ///
    /// # Errors
    ///
    /// When it cannot be run, or has ended by itself.
    pub async fn kill_starting(
        &self,
        data: &Path,
        arguments: &[&str],
        after: Duration,
    ) -> Result<()> {
        let mut child = self.spawn_server(data, "127.0.0.1:0", arguments)?;
        if let Ok(ended) = timeout(after, child.wait()).await {
            let ended = ended.context("wait for the server")?;
            bail!("icecore serve ended with {ended} before it was killed");
        }
        child.kill().await.context("kill the server")
    }

    fn spawn_server(&self, data: &Path, listen: &str, arguments: &[&str]) -> Result<Child> {
        let mut command = self.command(&["serve", "--listen", listen]);
        command.arg("--data").arg(data).args(arguments);
        command.spawn().context("start icecore serve")
    }
}

impl ServerProcess {
    /// Where it listens, like `127.0.0.1:2113`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What a client connects to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client of its own connection, which is made with the first call.
    ///
    /// # Panics
    ///
    /// When the address that the server printed is none.
    pub fn client(&self) -> Client {
        Client::connect_lazy(self.url()).expect("the server prints its address")
    }

    /// Everything it has said so far.
    pub fn said(&self) -> String {
        text(&self.said)
    }

    /// Its number in the system.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn id(&self) -> u32 {
        self.child.id().expect("the server runs")
    }

    /// Most memory that it has really used so far, in bytes, where the system tells.
    pub fn memory_max(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1_024)
    }

    /// Asks it to stop as systems do: SIGTERM.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Asks it to stop as Ctrl-C does: SIGINT.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub fn interrupt(&self) -> Result<()> {
        self.signal(Signal::INT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.id())?;
        let id = Pid::from_raw(id).context("name the process")?;
        kill_process(id, signal).context("send a signal")
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let ended = timeout(STUCK, self.child.wait()).await;
        ended
            .with_context(|| format!("it does not end; it said:\n{}", self.said()))?
            .context("wait for the server")
    }

    /// Stops it in order and says how long that took.
    ///
    /// # Errors
    ///
    /// When it ends with another exit code than 0.
    pub async fn stop(mut self) -> Result<Duration> {
        let since = Instant::now();
        self.terminate()?;
        let status = self.ended().await?;
        let said = self.said();
        ensure!(status.success(), "it ended with {status}; it said:\n{said}");
        Ok(since.elapsed())
    }

    /// Kills it: SIGKILL. It is gone when this returns.
    ///
    /// # Errors
    ///
    /// When the system does not let it go.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("kill the server")
    }
}

/// Keeps what comes and passes it on, line by line.
fn listen_to(
    from: Option<impl AsyncRead + Unpin + Send + 'static>,
    line: &mpsc::UnboundedSender<String>,
    said: &Arc<Mutex<String>>,
) {
    let Some(from) = from else { return };
    let (line, said) = (line.clone(), Arc::clone(said));
    tokio::spawn(async move {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(next)) = lines.next_line().await {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push_str(&next);
            said.push('\n');
            // Once the server is ready nobody waits for lines.
            let _ = line.send(next);
        }
    });
}

fn text(said: &Mutex<String>) -> String {
    said.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
