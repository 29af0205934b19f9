//! The log, on standard error. `RUST_LOG` says what is logged: `info` at the server unless set,
//! warnings at the other commands.

use crate::config::LogFormat;
use crate::exit::Usage;
use anyhow::Result;
use std::io::{self, IsTerminal as _};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The log of a server: every line with its time.
pub(crate) fn of_the_server(format: LogFormat) -> Result<()> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(LevelFilter::INFO)?)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// The log of a command: what its user should know.
pub(crate) fn of_a_client(default: LevelFilter) -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(filter(default)?)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
    Ok(())
}

fn filter(default: LevelFilter) -> Result<EnvFilter> {
    EnvFilter::builder()
        .with_default_directive(default.into())
        .from_env()
        .map_err(|error| Usage::new(format!("RUST_LOG: {error}")).into())
}
