//! The relays against nats-server and rabbitmq-server, which the trials start themselves, each a server of its
//! own.

use super::{passed, shown};
use crate::workspace;
use anyhow::{Result, ensure};
use std::env;
use std::path::Path;
use std::process::Command;

/// What has to be installed.
const PROGRAMS: [&str; 3] = [
    "nats-server",
    "epmd",
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
];

/// Runs the trials and fails where they did not run.
pub(super) fn run() -> Result<()> {
    for program in PROGRAMS {
        ensure!(is_there(program), "{program} is not installed");
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["test", "--package", "icecore-relay-trials"])
        .args(["--features", "real-servers", "--test", "brokers"])
        // More servers at a time only wait for each other.
        .args(["--", "--test-threads", "2"])
        .current_dir(workspace::root());
    ensure!(passed(&shown(&mut cargo)?) > 0, "no test ran");
    Ok(())
}

fn is_there(program: &str) -> bool {
    // The folder does not count where the program is named with its path.
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
        || Path::new(program).is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_name_or_path() {
        assert!(is_there("sh") && is_there("/bin/sh"));
        assert!(!is_there("no-program-has-this-name"));
    }
}
