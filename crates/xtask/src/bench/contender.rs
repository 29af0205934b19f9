//! Who is measured: how its server is started on an empty folder, how it is loaded, what it takes of its
//! machine.

use super::outcome::Outcome;
use anyhow::{Context, Result, bail, ensure};
use icecore_tests::{Icecore, ServerProcess};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{fs, io};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// How long a load may take before it counts as stuck, and how long a start may.
const LOAD_STUCK: Duration = Duration::from_secs(1_800);
const START_STUCK: Duration = Duration::from_secs(120);

/// How often a server that starts is asked whether it is there.
const START_ASKED: Duration = Duration::from_millis(1);

/// A server does nothing any more when it computes less than this in that time.
const SETTLED_TICKS: u64 = 3;
const SETTLED_IN: Duration = Duration::from_secs(1);

/// How long is waited for that.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// A store that can be measured.
pub(super) enum Contender {
    Icecore(Icecore),
    UmaDb { server: PathBuf, driver: PathBuf },
}

/// Its server, which is killed when this is dropped.
pub(super) enum Server {
    Icecore(ServerProcess),
    UmaDb { child: Child, address: SocketAddr },
}

impl Contender {
    /// `UmaDB`, as `just bench-peers` has put it there.
    pub(super) fn umadb(folder: &Path) -> Result<Self> {
        let find = |path: &str| {
            let path = folder.join(path);
            ensure!(path.is_file(), "{} is not there", path.display());
            path.canonicalize().context("find a peer")
        };
        Ok(Self::UmaDb {
            server: find("venv/bin/umadb")?,
            driver: find("release/icecore-peers")?,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Icecore(_) => "Icecore",
            Self::UmaDb { .. } => "UmaDB",
        }
    }

    /// Starts a server on this folder, and waits until it answers.
    pub(super) async fn serve(&self, data: &Path) -> Result<Server> {
        match self {
            Self::Icecore(icecore) => {
                let server = icecore.serve(data).await?;
                server.client().stats().await.context("ask the server")?;
                Ok(Server::Icecore(server))
            }
            Self::UmaDb { server, .. } => {
                let (child, address) = serve_umadb(server, data).await?;
                Ok(Server::UmaDb { child, address })
            }
        }
    }

    /// Puts a load on it: the arguments of `icecore bench`.
    pub(super) async fn run(&self, server: &Server, load: &[String]) -> Result<Outcome> {
        let mut command = match self {
            Self::Icecore(icecore) => icecore.command(&["bench"]),
            Self::UmaDb { driver, .. } => Command::new(driver),
        };
        command
            .args(load)
            .args(["--json", "--server", &server.url()]);
        if let Self::UmaDb { .. } = self {
            command.args(["--server-pid", &server.id()?.to_string()]);
        }
        let output = command.kill_on_drop(true).output();
        let output = timeout(LOAD_STUCK, output)
            .await
            .with_context(|| format!("{load:?} does not end"))?
            .with_context(|| format!("run {load:?}"))?;
        ensure!(
            output.status.success(),
            "{load:?}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).context("read what it printed")?;
        Outcome::parse(&text).with_context(|| format!("understand what {load:?} printed"))
    }
}

impl Server {
    fn url(&self) -> String {
        match self {
            Self::Icecore(server) => server.url(),
            Self::UmaDb { address, .. } => format!("http://{address}"),
        }
    }

    fn id(&self) -> Result<u32> {
        match self {
            Self::Icecore(server) => Ok(server.id()),
            Self::UmaDb { child, .. } => child.id().context("find the server's process"),
        }
    }

    /// Most memory that it has really used so far, in bytes.
    pub(super) fn memory_max(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()?));
        let status = status.context("read the server's status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
        let kib: u64 = kib.context("find VmHWM")?.trim().parse()?;
        Ok(kib * 1_024)
    }

    /// Waits until it has done what was left to do after a load, or for a while.
    pub(super) async fn settle(&self) -> Result<()> {
        let until = Instant::now() + SETTLED_WITHIN;
        let mut before = self.cpu_ticks()?;
        loop {
            sleep(SETTLED_IN).await;
            let now = self.cpu_ticks()?;
            if now - before < SETTLED_TICKS || Instant::now() > until {
                return Ok(());
            }
            before = now;
        }
    }

    /// SIGKILL. It is gone when this returns.
    pub(super) async fn kill(self) -> Result<()> {
        match self {
            Self::Icecore(server) => server.kill().await,
            Self::UmaDb { mut child, .. } => child.kill().await.context("kill the server"),
        }
    }

    /// How long it has been computing, in the system's ticks.
    fn cpu_ticks(&self) -> Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()?));
        let stat = stat.context("read what the server computes")?;
        let (_, after_name) = stat.rsplit_once(')').context("find the server's name")?;
        let fields = after_name.split_whitespace().skip(11).take(2);
        let ticks: Result<Vec<u64>, _> = fields.map(str::parse).collect();
        Ok(ticks?.iter().sum())
    }
}

/// It says no port that the system gave it, so a free one is looked for; somebody else may take it first.
async fn serve_umadb(server: &Path, data: &Path) -> Result<(Child, SocketAddr)> {
    fs::create_dir_all(data).context("make a folder for data")?;
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("look for a free port")?;
    let address = free.local_addr()?;
    drop(free);
    let mut command = Command::new(server);
    command
        .args(["--listen", &address.to_string(), "--db-path"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = command.spawn().context("start umadb")?;
    let until = Instant::now() + START_STUCK;
    while TcpStream::connect(address).await.is_err() {
        ensure!(Instant::now() < until, "umadb does not listen");
        if let Some(status) = child.try_wait()? {
            bail!("umadb has ended with {status}");
        }
        sleep(START_ASKED).await;
    }
    Ok((child, address))
}

/// The lengths of all files in a folder, without the ballast, in bytes.
pub(super) fn bytes_of(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            bytes += bytes_of(&entry.path())?;
        } else if entry.file_name() != "ballast" {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballast_is_no_data() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sled")).unwrap();
        for (name, bytes) in [("store", 3), ("ballast", 50), ("sled/db", 4)] {
            fs::write(folder.path().join(name), vec![0; bytes]).unwrap();
        }
        assert_eq!(bytes_of(folder.path()).unwrap(), 7);
    }
}
