//! Suites of tests that need a server of somebody else's: it is started here, the tests are run against
//! it, and a suite that did not run counts as failed. `cargo test --workspace` knows nothing of them.

mod brokers;
mod postgres;

use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

/// What is tested against.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Suite {
    /// Relays against nats-server and rabbitmq-server; needs Debian's packages of these names
    Brokers,
    /// PostgreSQL, in a cluster of its own; needs Debian's package `postgresql`
    Postgres,
}

impl Suite {
    /// Runs it.
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Brokers => brokers::run()?,
            Self::Postgres => postgres::run()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Runs a command and shows its output; gives it back when the command went well.
fn shown(command: &mut Command) -> Result<String> {
    let running = command.stdout(Stdio::piped()).spawn();
    let mut running = running.with_context(|| format!("start {command:?}"))?;
    let output = running.stdout.take().context("read the command's output")?;
    let mut text = String::new();
    for line in BufReader::new(output).lines() {
        let line = line.context("read the command's output")?;
        println!("{line}");
        text += &line;
        text.push('\n');
    }
    let status = running.wait().context("wait for the command")?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(text)
}

/// How many tests have passed, by the lines that cargo ends each program with.
fn passed(output: &str) -> usize {
    let results = output
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. "));
    let counts = results.filter_map(|line| line.split(' ').next()?.parse::<usize>().ok());
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_have_passed_are_counted() {
        let output = "running 2 tests\ntest a ... ok\ntest result: ok. 2 passed; 0 failed; 0 ignored\n\
            test result: ok. 3 passed; 0 failed; 0 ignored\n";
        assert_eq!(passed(output), 5);
        assert_eq!(passed(""), 0);
    }
}
