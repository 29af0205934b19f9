//! The README's commands, run as a reader would run them: the binary of these sources, a server of its
//! own, an empty folder, a shell.

use crate::workspace;
use anyhow::{Context, Result, ensure};
use icecore_tests::{Icecore, ServerProcess};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// How long a command may take before it counts as stuck. A command that follows for ever is given
/// this time to show something.
const STUCK: Duration = Duration::from_secs(60);
const FOLLOWED: Duration = Duration::from_secs(2);

/// Exit code of an append that was refused.
const REFUSED: i32 = 3;

/// Runs every sample for a shell that speaks of `icecore` alone.
pub(crate) async fn run(binary: &Path) -> Result<()> {
    let text = fs::read_to_string(workspace::root().join("README.md")).context("read README.md")?;
    let samples = samples(&text);
    ensure!(!samples.is_empty(), "README.md has no sample for a shell");
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let server = Icecore::new(binary)
        .serve(&folder.path().join("data"))
        .await?;
    for sample in samples {
        for command in commands(&sample) {
            try_out(&command, binary, &server, folder.path())
                .await
                .with_context(|| format!("run the README's `{command}`"))?;
            println!("{command}");
        }
    }
    server.stop().await?;
    Ok(())
}

/// The blocks of the README that are for a shell in which `icecore` is found.
fn samples(text: &str) -> Vec<String> {
    let mut samples = Vec::new();
    let mut sample: Option<String> = None;
    for line in text.lines().map(str::trim) {
        match &mut sample {
            None if line == "```sh" => sample = Some(String::new()),
            None => {}
            Some(_) if line == "```" => samples.extend(sample.take()),
            Some(sample) => {
                sample.push_str(line);
                sample.push('\n');
            }
        }
    }
    samples.retain(|sample| sample.contains("icecore ") && !sample.contains("cargo "));
    samples
}

/// The commands of a sample: a line each, a loop as a whole.
fn commands(sample: &str) -> Vec<String> {
    let mut commands = Vec::<String>::new();
    let mut in_loop = false;
    for line in sample.lines().filter(|line| !line.is_empty()) {
        match commands.last_mut().filter(|_| in_loop) {
            Some(command) => *command = format!("{command}\n{line}"),
            None => commands.push(line.to_owned()),
        }
        in_loop = (in_loop || line.starts_with("for ")) && line != "done";
    }
    // The path is set for the reader's own clone.
    commands.retain(|command| !command.starts_with("export "));
    commands
}

/// Runs a command and checks that it ends as the README says.
async fn try_out(
    command: &str,
    binary: &Path,
    server: &ServerProcess,
    folder: &Path,
) -> Result<()> {
    let folder_of_binary = binary.parent().context("find the binary's folder")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("sh");
    shell
        .args(["-ec", command])
        .env("PATH", format!("{}:{path}", folder_of_binary.display()))
        .env("ICECORE_SERVER", server.url())
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = shell.spawn().context("start a shell")?;
    if command.contains("until Ctrl-C") {
        // It goes on for as long as nobody ends it, so it has to be still there after a while.
        let ended = timeout(FOLLOWED, child.wait_with_output()).await;
        ensure!(ended.is_err(), "it ended by itself: {ended:?}");
        return Ok(());
    }
    let output = timeout(STUCK, child.wait_with_output()).await;
    let output = output.context("it does not end")??;
    let expected = if command.contains("# refused") {
        REFUSED
    } else {
        0
    };
    ensure!(
        output.status.code() == Some(expected),
        "it ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_cut_into_commands() {
        let text = "```sh\ncargo test\n```\n\n- so:\n\n  ```sh\n  export PATH=a\n\n  icecore stats # b\n  \
                    for n in 1 2; do\n    icecore read a\n  done\n  icecore streams\n  ```\n";
        let samples = samples(text);
        assert_eq!(samples.len(), 1);
        let commands = commands(&samples[0]);
        let expected = [
            "icecore stats # b",
            "for n in 1 2; do\nicecore read a\ndone",
            "icecore streams",
        ];
        assert_eq!(commands, expected);
    }
}
