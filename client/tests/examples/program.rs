//! An example as a process.

use icecore_testing::TestServer;
use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// Much longer than any of them takes, and shorter than anybody's patience.
const LIMIT: Duration = Duration::from_secs(120);

/// What a program has said, and whether it went well.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs an example against a server, to its end.
pub(crate) async fn run(
    name: &str,
    server: &TestServer,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Said {
    run_at(name, &server.url(), arguments).await
}

/// Runs an example against whatever is at this address, to its end.
pub(crate) async fn run_at(
    name: &str,
    url: &str,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Said {
    let mut command = Command::new(path(name));
    command.arg("--server").arg(url).args(arguments);
    command
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(LIMIT, command.output())
        .await
        .unwrap_or_else(|_| panic!("{name} does not end"))
        .unwrap_or_else(|error| panic!("run {name}: {error}"));
    Said {
        ok: output.status.success(),
        out: String::from_utf8(output.stdout).expect("programs speak UTF-8"),
        err: String::from_utf8(output.stderr).expect("programs speak UTF-8"),
    }
}

impl Said {
    /// What it said, when it went well.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert!(self.ok, "{}\n{}", self.out, self.err);
        self.out
    }
}

/// Where cargo puts examples: beside the folder of the test binaries.
fn path(name: &str) -> PathBuf {
    let tests = env::current_exe().expect("a test knows its binary");
    let profile = tests
        .ancestors()
        .nth(2)
        .expect("target/<profile>/deps/<test>");
    let name = format!("{name}{}", env::consts::EXE_SUFFIX);
    let program = profile.join("examples").join(name);
    assert!(
        program.exists(),
        "{} is not there; `cargo test` builds it, `cargo test --test examples` alone does not",
        program.display()
    );
    program
}
