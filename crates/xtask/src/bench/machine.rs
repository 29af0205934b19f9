//! What figures belong to: the commit, the machine, the moment, and the disk by its own measure.

use super::report::median;
use crate::workspace;
use anyhow::{Context, Result, ensure};
use jiff::{Timestamp, Unit};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::time::Instant;
use std::{env, fs, thread};

/// Above so many processes that compute already, the scheduler decides what is measured: with 250 ticks a
/// second and no preemption, a sync of 0.2 ms takes 4 ms, until the thread gets its processor back.
const LOAD_MAX: f64 = 0.5;

/// A file is synced so often, each time after so many bytes more.
const SYNCS: usize = 200;
const SYNC_BYTES: usize = 4_096;

pub(super) struct Machine {
    pub(super) commit: String,
    is_dirty: bool,
    date: String,
    cores: usize,
    kernel: String,
    load: String,
    fdatasync_ms: f64,
}

impl Machine {
    /// This one, now.
    pub(super) fn here() -> Result<Self> {
        let proc = |path| fs::read_to_string(path).map(|text| text.trim().to_owned());
        Ok(Self {
            commit: git(&["rev-parse", "--short=12", "HEAD"])?,
            is_dirty: !git(&["status", "--porcelain"])?.is_empty(),
            date: Timestamp::now().round(Unit::Second)?.to_string(),
            cores: thread::available_parallelism()
                .context("count the cores")?
                .get(),
            kernel: proc("/proc/sys/kernel/osrelease").context("ask for the kernel")?,
            load: proc("/proc/loadavg").context("ask for the load")?,
            fdatasync_ms: fdatasync_ms()?,
        })
    }

    pub(super) fn markdown(&self) -> String {
        let Self {
            commit,
            date,
            cores,
            kernel,
            load,
            fdatasync_ms,
            ..
        } = self;
        let dirty = if self.is_dirty {
            " and changes to it"
        } else {
            ""
        };
        let busy = if is_busy(load) {
            " The machine was busy: unless it was measured with real-time priority, as with `chrt --rr 1`, \
             these are the scheduler's figures."
        } else {
            ""
        };
        format!(
            "Commit {commit}{dirty}, {date}: {cores} cores, Linux {kernel}, load average before {load}, \
             fdatasync of {SYNC_BYTES} bytes more {fdatasync_ms:.3} ms.{busy}\n"
        )
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "commit": self.commit,
            "dirty": self.is_dirty,
            "date": self.date,
            "cores": self.cores,
            "kernel": self.kernel,
            "load_average": self.load,
            "fdatasync_ms": self.fdatasync_ms,
        })
    }
}

/// What `/proc/loadavg` says of the last minute.
fn is_busy(load: &str) -> bool {
    let minute = load.split_whitespace().next().map(str::parse::<f64>);
    matches!(minute, Some(Ok(minute)) if minute > LOAD_MAX)
}

fn git(arguments: &[&str]) -> Result<String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(workspace::root()).args(arguments);
    let output = git.output().context("run git")?;
    ensure!(
        output.status.success(),
        "git {arguments:?}: {}",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// How long the disk of temporary folders, on which all is measured, takes to sync a file that grows.
fn fdatasync_ms() -> Result<f64> {
    let folder = tempfile::tempdir_in(env::temp_dir()).context("make a temporary folder")?;
    let mut file = File::create(folder.path().join("synced")).context("create a file")?;
    let mut took = Vec::new();
    for _ in 0..SYNCS {
        file.write_all(&[1; SYNC_BYTES]).context("write a file")?;
        let since = Instant::now();
        file.sync_data().context("sync a file")?;
        took.push(since.elapsed().as_secs_f64() * 1e3);
    }
    median(took).context("measure fdatasync")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minute_tells_whether_the_machine_is_busy() {
        assert!(is_busy("11.73 0.10 0.01 7/126 19830"));
        assert!(!is_busy("0.12 11.85 10.01 1/126 19830"));
    }
}
