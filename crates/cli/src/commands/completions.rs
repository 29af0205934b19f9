//! `icecore completions`: what makes a shell complete commands and flags.

use crate::args::Cli;
use crate::output;
use anyhow::Result;
use clap::{Args, CommandFactory as _, ValueEnum};

/// Print what makes a shell complete icecore's commands and flags
#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = "\
Examples:
  icecore completions bash > ~/.local/share/bash-completion/completions/icecore
  icecore completions zsh > ~/.zfunc/_icecore
  icecore completions fish > ~/.config/fish/completions/icecore.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn run(args: CompletionsArgs) -> Result<()> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "icecore", &mut script);
    output::print(String::from_utf8_lossy(&script).trim_end())
}
