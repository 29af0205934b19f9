//! Runs the process that is tried out, with or without a recorder, and keeps what it complains about.

use super::recorder::{Fault, Recorded, record};
use super::tracer::Exit;
use super::work::{DONE, Work};
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

/// How a process ended and what it wrote to its standard error.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) complaint: String,
}

impl Outcome {
    pub(crate) fn is_done(&self) -> bool {
        self.exit == Exit::Code(DONE)
    }

    /// For a report.
    pub(crate) fn describe(&self) -> String {
        format!("{:?}: {}", self.exit, self.complaint.trim())
    }
}

/// Runs it and records it.
pub(crate) fn recorded(work: &Work, fault: Option<Fault>) -> Result<(Outcome, Recorded)> {
    let work = Work {
        traced: true,
        ..work.clone()
    };
    let (mut command, mut stderr) = prepared(&work)?;
    let recorded = record(&mut command, &work.directory, fault)?;
    let outcome = Outcome {
        exit: recorded.exit,
        complaint: complaint(&mut stderr)?,
    };
    Ok((outcome, recorded))
}

/// Runs it.
pub(crate) fn unrecorded(work: &Work) -> Result<Outcome> {
    let (mut command, mut stderr) = prepared(work)?;
    let status = command.status().context("run a child")?;
    let signal = status.signal().map(Signal::try_from).transpose();
    let exit = match signal.context("the signal that ended a child")? {
        Some(signal) => Exit::Killed(signal),
        None => Exit::Code(status.code().context("how a child ended")?),
    };
    let complaint = complaint(&mut stderr)?;
    Ok(Outcome { exit, complaint })
}

fn prepared(work: &Work) -> Result<(Command, File)> {
    let stderr = tempfile::tempfile().context("create a file")?;
    let mut command = work.command()?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr.try_clone().context("share a file")?);
    Ok((command, stderr))
}

fn complaint(stderr: &mut File) -> Result<String> {
    let mut text = Vec::new();
    stderr.rewind().context("read what a child wrote")?;
    stderr
        .read_to_end(&mut text)
        .context("read what a child wrote")?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
