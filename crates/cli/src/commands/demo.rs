//! `icecore demo`: a small shop, played on a store of its own. Every command that it shows is run as
//! it stands there, by this very binary; only the projection is code.

mod projection;
mod server;

use crate::output::Out;
use crate::signals::Ending;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use icecore_client::Position;
use projection::Projection;
use server::Server;
use std::io::{self, IsTerminal as _};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::sleep;

/// Time to read a step, where somebody does.
const PAUSE: Duration = Duration::from_millis(2_500);

/// A minute's tour: a small shop on a store of its own, which is gone afterwards
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  icecore demo")]
pub(crate) struct DemoArgs {}

pub(crate) async fn run(_: DemoArgs) -> Result<()> {
    let mut ending = Ending::listen()?;
    let directory = tempfile::tempdir().context("make a temporary directory")?;
    let mut server = Server::start(directory.path(), 0).await?;
    let outcome = tokio::select! {
        outcome = play(&mut server) => outcome,
        () = ending.wait() => Ok(()),
    };
    server.stop().await?;
    outcome
}

async fn play(server: &mut Server) -> Result<()> {
    let mut stage = Stage {
        out: Out::new(),
        server: server.url(),
        is_first: true,
    };
    stage
        .step("A store of its own, on a free port, in a temporary directory.")
        .await?;
    stage.say(&format!(
        "$ icecore serve --listen 127.0.0.1:0 --data {}",
        server.directory()
    ))?;
    stage.say(&format!("  listening on {}", server.url()))?;
    orders(&mut stage).await?;
    let mut projection = Projection::start(&server.url()).await?;
    lost_race(&mut stage, &mut projection).await?;
    one_voucher(&mut stage).await?;
    time_travel(&mut stage).await?;
    kill_and_restart(&mut stage, server, &mut projection).await?;
    stage
        .step("That was it. The store of this tour is removed; yours begins with: icecore serve")
        .await
}

async fn orders(stage: &mut Stage) -> Result<()> {
    stage
        .step(
            "Three customers order. Each order is a stream; `no-stream` says that it must be new. \
             The answer comes when the event is on disk.",
        )
        .await?;
    for (order, total) in [("order-1", 12), ("order-2", 30), ("order-3", 8)] {
        let data = format!("{{\"total\":{total}}}");
        let expected = ["--expected", "no-stream"];
        let append = [
            "append",
            order,
            "--type",
            "OrderPlaced",
            "--data",
            &data,
            "--tag",
        ];
        let tag = format!(
            "customer:{}",
            if order == "order-2" { "ben" } else { "anna" }
        );
        stage
            .done([&append[..], &[&tag], &expected].concat())
            .await?;
    }
    stage.done(vec!["read", "order-1"]).await?;
    Ok(())
}

async fn lost_race(stage: &mut Stage, projection: &mut Projection) -> Result<()> {
    stage
        .step("A projection follows the log: first what was, then what comes. Here: open orders.")
        .await?;
    stage.say("$ icecore subscribe --all --category order")?;
    stage.say(&format!(
        "  projection: {}",
        projection.at(Position::new(3)).await?
    ))?;
    stage
        .step(
            "Two cashiers have read order-1 at revision 0 and take the payment. The first one wins; \
             the second is refused, nothing is written, and it learns what it has missed.",
        )
        .await?;
    let pay = [
        "append",
        "order-1",
        "--type",
        "OrderPaid",
        "--data",
        "{}",
        "--expected",
        "0",
    ];
    stage.done(pay.to_vec()).await?;
    let refused = stage.run(pay.to_vec()).await?;
    stage.say(&format!("  exit code {refused}"))?;
    stage.say(&format!(
        "  projection: {}",
        projection.at(Position::new(4)).await?
    ))
}

async fn one_voucher(stage: &mut Stage) -> Result<()> {
    stage
        .step(
            "A rule over streams: voucher TEA may be used once in the whole shop. The append carries \
             the condition; no stream has to be invented for it.",
        )
        .await?;
    for order in ["order-2", "order-3"] {
        let append = [
            "append",
            order,
            "--type",
            "VoucherUsed",
            "--data",
            "{}",
            "--tag",
        ];
        let condition = [
            "--condition-type",
            "VoucherUsed",
            "--condition-tag",
            "voucher:TEA",
        ];
        let code = stage
            .run([&append[..], &["voucher:TEA"], &condition].concat())
            .await?;
        if code != 0 {
            stage.say(&format!("  exit code {code}"))?;
        }
    }
    Ok(())
}

async fn time_travel(stage: &mut Stage) -> Result<()> {
    stage
        .step("Time travel: what was known when the last order came in, and what is known now.")
        .await?;
    let then = stage
        .answer(&["read", "order-3", "--limit", "1", "--output", "json"])
        .await?;
    let then: serde_json::Value =
        serde_json::from_str(&then).context("read the time of order-3")?;
    let then = then["time"]
        .as_str()
        .context("read the time of order-3")?
        .to_owned();
    stage.done(vec!["read", "--all", "--as-of", &then]).await?;
    stage.done(vec!["read", "--all"]).await
}

async fn kill_and_restart(
    stage: &mut Stage,
    server: &mut Server,
    projection: &mut Projection,
) -> Result<()> {
    stage
        .step(
            "The server is killed (kill -9), as a crash would end it, and started again. What was \
             acknowledged is there, and the projection goes on where it was.",
        )
        .await?;
    stage.say(&format!("$ kill -9 {}", server.kill().await?))?;
    server.start_again().await?;
    stage.say(&format!(
        "$ icecore serve --listen {} --data {}",
        server.address(),
        server.directory()
    ))?;
    stage
        .done(vec![
            "append",
            "order-2",
            "--type",
            "OrderPaid",
            "--data",
            "{}",
        ])
        .await?;
    stage.say(&format!(
        "  projection: {}",
        projection.at(Position::new(6)).await?
    ))?;
    stage.done(vec!["streams"]).await
}

/// Where the play is shown.
struct Stage {
    out: Out,
    server: String,
    is_first: bool,
}

impl Stage {
    /// Begins a step by saying what it is about.
    async fn step(&mut self, text: &str) -> Result<()> {
        if !self.is_first {
            self.say("")?;
            if io::stdout().is_terminal() {
                sleep(PAUSE).await;
            }
        }
        self.is_first = false;
        let width = usize::from(crate::output::width()).min(100);
        for line in wrap(text, width.saturating_sub(2)) {
            self.say(&format!("# {line}"))?;
        }
        Ok(())
    }

    fn say(&mut self, line: &str) -> Result<()> {
        self.out.line(line)?;
        self.out.flush()
    }

    /// Shows a command and what it prints; it must succeed.
    async fn done(&mut self, command: Vec<&str>) -> Result<()> {
        match self.run(command.clone()).await? {
            0 => Ok(()),
            code => bail!("`{}` ended with exit code {code}", quoted(&command)),
        }
    }

    /// Shows a command and what it prints; gives its exit code.
    async fn run(&mut self, command: Vec<&str>) -> Result<i32> {
        self.say(&format!("$ {}", quoted(&command)))?;
        let mut command = command;
        if !command.contains(&"--output") {
            command.extend(["--output", "table"]);
        }
        let ended = self
            .process(&command)?
            .output()
            .await
            .context("run icecore")?;
        for printed in [&ended.stdout, &ended.stderr] {
            for line in String::from_utf8_lossy(printed).lines() {
                self.say(&format!("  {line}"))?;
            }
        }
        ended.status.code().context("wait for icecore")
    }

    /// What a command prints, without showing it.
    async fn answer(&self, command: &[&str]) -> Result<String> {
        let ended = self
            .process(command)?
            .output()
            .await
            .context("run icecore")?;
        Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
    }

    fn process(&self, command: &[&str]) -> Result<Command> {
        let width = crate::output::width().saturating_sub(2);
        let mut process = server::icecore()?;
        process
            .args(command)
            .env("ICECORE_SERVER", &self.server)
            .env("COLUMNS", width.to_string())
            .stdin(Stdio::null());
        Ok(process)
    }
}

/// The command as one types it.
fn quoted(command: &[&str]) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/=".contains(c);
    let words = command.iter().map(|word| {
        if word.chars().all(is_plain) {
            (*word).to_owned()
        } else {
            format!("'{word}'")
        }
    });
    format!("icecore {}", words.collect::<Vec<_>>().join(" "))
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_typed_as_they_are_shown() {
        assert_eq!(
            quoted(&["append", "order-1", "--data", "{\"total\":12}"]),
            "icecore append order-1 --data '{\"total\":12}'"
        );
    }

    #[test]
    fn text_is_wrapped_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
    }
}
