//! Tests that need servers of others. `cargo test --workspace` leaves them out, so here it is seen to that they
//! ran.

use crate::workspace;
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// What can be run.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Suite {
    /// Relays against nats-server and rabbitmq-server
    Brokers,
}

/// Where the tests of a suite are, and what they need.
struct Tests {
    package: &'static str,
    feature: &'static str,
    target: &'static str,
    programs: &'static [&'static str],
}

impl Suite {
    fn tests(self) -> Tests {
        match self {
            Self::Brokers => Tests {
                package: "icecore-relay-trials",
                feature: "real-servers",
                target: "brokers",
                programs: &[
                    "nats-server",
                    "epmd",
                    "/usr/lib/rabbitmq/bin/rabbitmq-server",
                ],
            },
        }
    }

    /// Runs the suite and fails where it did not run.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let tests = self.tests();
        for program in tests.programs {
            ensure!(is_there(program), "{program} is not installed");
        }
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args([
                "test",
                "--package",
                tests.package,
                "--features",
                tests.feature,
            ])
            // Each test has a server of its own; more of them at a time only wait for each other.
            .args(["--test", tests.target, "--", "--test-threads", "2"])
            .current_dir(workspace::root())
            .stdout(Stdio::piped());
        let mut child = cargo.spawn().context("run cargo test")?;
        let output = child.stdout.take().context("read what cargo test says")?;
        let mut passed = 0;
        for line in BufReader::new(output).lines() {
            let line = line.context("read what cargo test says")?;
            println!("{line}");
            passed += passed_in(&line).unwrap_or(0);
        }
        let status = child.wait().context("wait for cargo test")?;
        ensure!(status.success(), "cargo test: {status}");
        ensure!(passed > 0, "no test ran");
        Ok(ExitCode::SUCCESS)
    }
}

fn is_there(program: &str) -> bool {
    // The folder wins where the program is named with its path.
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
        || Path::new(program).is_file()
}

/// How many tests passed, as the last line of a test binary says.
fn passed_in(line: &str) -> Option<u32> {
    let rest = line.strip_prefix("test result: ok. ")?;
    let (passed, _) = rest.split_once(" passed")?;
    passed.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passed_is_read_from_the_last_line() {
        let line = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out";
        assert_eq!(passed_in(line), Some(12));
        assert_eq!(passed_in("test result: FAILED. 12 passed; 1 failed"), None);
        assert_eq!(passed_in("test nats ... ok"), None);
    }

    #[test]
    fn a_program_is_found_by_name_or_path() {
        assert!(is_there("sh") && is_there("/bin/sh"));
        assert!(!is_there("no-program-has-this-name"));
    }
}
