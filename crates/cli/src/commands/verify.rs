//! `icecore verify`: reads everything and says what is wrong: through a server, or in the files of a
//! store that no server has open, or in a backup.

use super::connect;
use crate::args::ConnectionArgs;
use crate::exit::Told;
use crate::output::{Out, note};
use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use futures::TryStreamExt as _;
use icecore_client::{Finding, Position, Verified, VerifyMessage, VerifyProgress, VerifyStep};
use icecore_server::offline;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::path::PathBuf;
use tokio::sync::mpsc;

/// Messages of a verification that wait to be shown.
const MESSAGES_WAITING: usize = 256;

/// Verify that nothing is damaged: in a running store, a stopped one, or a backup
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore verify                             # the server reads all that it has stored
  icecore verify --data /var/lib/icecore     # the files of a store that is stopped; only reads
  icecore verify --backup /backup/icecore
  icecore verify --json                      # one JSON object a line, the last one sums up

It checks checksums, that positions and the revisions of each stream have no gap, times, that appends
are whole, and indexes and kept hashes against the log. Findings are lines like
`positions 17 to 42: ...`. Exit code 0 when nothing is wrong, 1 when something is.")]
pub(crate) struct VerifyArgs {
    /// Data directory of a store that no server has open
    #[arg(long, value_name = "DIR", conflicts_with = "backup")]
    data: Option<PathBuf>,
    /// Directory of a backup
    #[arg(long, value_name = "DIR")]
    backup: Option<PathBuf>,
    /// Show findings as JSON objects
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: VerifyArgs, connection: &ConnectionArgs) -> Result<()> {
    let mut report = Report::new(args.json)?;
    match (args.data, args.backup) {
        (Some(data), _) => {
            report_from(&mut report, move |tell| offline::verify_data(&data, tell)).await?;
        }
        (None, Some(backup)) => {
            let verify =
                move |tell: &mut dyn FnMut(VerifyMessage)| offline::verify_backup(&backup, tell);
            report_from(&mut report, verify).await?;
        }
        (None, None) => {
            let client = connect(connection).await?;
            let mut messages = client.verify();
            while let Some(message) = messages.try_next().await? {
                report.take(message)?;
            }
        }
    }
    report.end()
}

/// Runs a verification that blocks and shows what it says.
async fn report_from(
    report: &mut Report,
    verify: impl FnOnce(&mut dyn FnMut(VerifyMessage)) -> Result<(), offline::OfflineError>
    + Send
    + 'static,
) -> Result<()> {
    let (send, mut messages) = mpsc::channel(MESSAGES_WAITING);
    let verifying = tokio::task::spawn_blocking(move || {
        // Nobody takes a message any more only when the command ends.
        verify(&mut |message| drop(send.blocking_send(message)))
    });
    while let Some(message) = messages.recv().await {
        report.take(message)?;
    }
    Ok(verifying.await.context("verify")??)
}

/// Shows findings as they come, how far it is, and the sum at the end.
struct Report {
    out: Out,
    json: bool,
    bar: ProgressBar,
    step: Option<VerifyStep>,
    findings: u64,
    verified: Option<Verified>,
}

impl Report {
    fn new(json: bool) -> Result<Self> {
        let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
            "{bar:30} {percent:>3}%  {msg}  {human_pos} of {human_len}, {eta} left",
        )?);
        Ok(Self {
            out: Out::new(),
            json,
            bar,
            step: None,
            findings: 0,
            verified: None,
        })
    }

    fn take(&mut self, message: VerifyMessage) -> Result<()> {
        match message {
            VerifyMessage::Progress(progress) => {
                self.progress(progress);
                Ok(())
            }
            VerifyMessage::Finding(finding) => {
                self.findings += 1;
                self.finding(&finding)
            }
            VerifyMessage::Verified(verified) => {
                self.verified = Some(verified);
                Ok(())
            }
        }
    }

    fn progress(&mut self, progress: VerifyProgress) {
        if self.step != Some(progress.step) {
            self.step = Some(progress.step);
            self.bar.reset();
            self.bar.set_message(match progress.step {
                VerifyStep::File => "bytes of the file",
                VerifyStep::Log => "positions of the log",
                VerifyStep::Indexes => "positions of the indexes",
            });
        }
        self.bar.set_length(progress.total.max(progress.done));
        self.bar.set_position(progress.done);
    }

    fn finding(&mut self, finding: &Finding) -> Result<()> {
        let positions = finding.positions;
        let line = if self.json {
            json!({
                "first_position": positions.map(|(first, _)| first.get()),
                "last_position": positions.map(|(_, last)| last.get()),
                "reason": finding.reason,
            })
            .to_string()
        } else {
            finding.to_string()
        };
        let Self { out, bar, .. } = self;
        bar.suspend(|| out.line(line).and_then(|()| out.flush()))
    }

    fn end(mut self) -> Result<()> {
        self.bar.finish_and_clear();
        let verified = self
            .verified
            .ok_or_else(|| anyhow!("the verification broke off before its end"))?;
        let findings = self.findings;
        if self.json {
            self.out.line(json!({
                "store_id": verified.store_id.to_string(),
                "last_position": verified.last_position.get(),
                "whole": verified.whole,
                "erased": verified.erased,
                "removed": verified.removed,
                "tree": verified.tree.map(|tree| tree.to_string()),
                "findings": findings,
            }))?;
        } else if findings == 0 {
            self.out.line(sum(&verified))?;
        }
        self.out.flush()?;
        match findings {
            0 => return Ok(()),
            1 => note("error: 1 finding"),
            _ => note(format_args!("error: {findings} findings")),
        }
        Err(Told.into())
    }
}

fn sum(verified: &Verified) -> String {
    let Verified {
        store_id,
        last_position,
        whole,
        erased,
        removed,
        tree,
    } = verified;
    let positions = match *last_position {
        Position::START => "it is empty".to_owned(),
        last => format!("positions 1 to {last}"),
    };
    let tree = tree.map_or_else(String::new, |tree| format!("\ntree {tree}"));
    format!(
        "nothing is wrong with store {store_id}: {positions}, {whole} events, {erased} erased, \
         {removed} scavenged{tree}"
    )
}
