//! PostgreSQL: a cluster in a temporary folder, reached through a socket in there, by a user who is not
//! root. It goes with the suite.

use super::{passed, shown};
use crate::workspace;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Where Debian puts the programs of each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The user that Debian's package makes. PostgreSQL refuses to run as root.
const USER: &str = "postgres";

/// The test of the shop whose list is in PostgreSQL here; its program is one that `cargo test` has built.
const SHOP: &str = "test shop::who_pays_gets_a_parcel_a_mail_and_a_line_in_the_list ... ok";

/// Runs the tests of the sink, the trial that kills workers, and the shop among the client's examples.
pub(super) fn run() -> Result<()> {
    let cluster = Cluster::start()?;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    // The whole workspace, so that its dependencies are those of `cargo test --workspace`.
    let output = shown(
        Command::new(cargo)
            .args([
                "test",
                "--workspace",
                "--test",
                "postgres",
                "--test",
                "kill",
                "--test",
                "examples",
            ])
            .args(["--features", "icecore-projection-sqlx/postgres-tests"])
            .env("ICECORE_TEST_POSTGRES", cluster.url())
            .current_dir(workspace::root()),
    )?;
    ensure!(passed(&output) > 0, "no test against PostgreSQL has run");
    let killed = output.lines().any(|line| line.starts_with("PostgreSQL: "));
    ensure!(killed, "no worker on PostgreSQL was killed");
    let shop = output.lines().any(|line| line == SHOP);
    ensure!(shop, "the shop has not kept its list in PostgreSQL");
    Ok(())
}

/// A running server.
struct Cluster {
    folder: TempDir,
    programs: PathBuf,
}

impl Cluster {
    fn start() -> Result<Self> {
        let cluster = Self {
            folder: tempfile::tempdir().context("make a temporary folder")?,
            programs: programs()?,
        };
        if is_root() {
            let mut chown = Command::new("chown");
            checked(chown.arg(USER).arg(cluster.folder.path()))?;
        }
        let mut initdb = cluster.program("initdb");
        let user = format!("--username={USER}");
        checked(initdb.args([&user, "--auth=trust", "--no-sync", "--encoding=UTF8"]))?;
        let options = format!(
            "-c listen_addresses= -c fsync=off -k {}",
            cluster.folder.path().display()
        );
        let mut start = cluster.program("pg_ctl");
        start.args(["--wait", "--options", &options, "--log"]);
        checked(start.arg(cluster.folder.path().join("log")).arg("start"))?;
        Ok(cluster)
    }

    fn url(&self) -> String {
        let folder = self.folder.path().display();
        format!("postgres://{USER}@localhost/postgres?host={folder}")
    }

    /// One of PostgreSQL's programs, about this cluster.
    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", USER, "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.arg("--pgdata").arg(self.folder.path().join("data"));
        // Its own folder: it may not be allowed to look into this one.
        command.current_dir("/");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut stop = self.program("pg_ctl");
        if let Err(error) = checked(stop.args(["--wait", "--mode=immediate", "stop"])) {
            println!("the cluster does not stop: {error}");
        }
    }
}

/// The folder with the programs of the newest version.
fn programs() -> Result<PathBuf> {
    let versions =
        fs::read_dir(DEBIAN).context("find PostgreSQL: install the package postgresql")?;
    let folders = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    let folders = folders.filter(|folder| folder.join("initdb").exists());
    let newest = folders.max_by_key(|folder| version_of(folder));
    newest.context("find PostgreSQL's initdb")
}

/// The number that the folder above is named by.
fn version_of(programs: &Path) -> u32 {
    let version = programs.parent().and_then(Path::file_name);
    let version = version.and_then(|version| version.to_str()?.parse().ok());
    version.unwrap_or_default()
}

fn is_root() -> bool {
    // The owner of a process owns its entry here.
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Runs a command that has nothing to say when it goes well.
fn checked(command: &mut Command) -> Result<()> {
    let output = command.output();
    let output = output.with_context(|| format!("start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{said}",
        output.status
    );
    Ok(())
}
