//! `icecore serve`: the store as a process, until a signal ends it.

use crate::config::{Config, LogFormat, Settings};
use crate::exit::{self, Hint, Told};
use crate::files;
use crate::logging;
use crate::signals::Ending;
use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use icecore_client::Error;
use icecore_server::ServeError;
use std::path::PathBuf;
use tokio::net::TcpListener;

/// Run the store until Ctrl-C or SIGTERM
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore serve
  icecore serve --listen 0.0.0.0:2113 --data /var/lib/icecore --log-format json
  icecore serve --config /etc/icecore.toml     # lines like: listen = \"0.0.0.0:2113\"

Every option is also an environment variable and a key of the file (the flag's name with `_`).
A flag wins over the environment, that over the file. RUST_LOG says what is logged, like
RUST_LOG=debug; without it: info. Where it listens is said unless that is off. With --log-format json
the reason why it ends is a line of the log too.")]
pub(crate) struct ServeArgs {
    /// Configuration file in TOML
    #[arg(long, env = "ICECORE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

pub(crate) async fn run(args: ServeArgs) -> Result<()> {
    let file = args
        .config
        .as_deref()
        .map(Settings::from_file)
        .transpose()?;
    let config = args.settings.or(file.unwrap_or_default()).check()?;
    let log_format = config.log_format;
    logging::of_the_server(log_format)?;
    let served = serve(config).await;
    match log_format {
        LogFormat::Text => served,
        LogFormat::Json => served.map_err(log),
    }
}

/// Whoever reads a log of JSON lines finds the end of the server there, and nothing that is no JSON.
fn log(error: anyhow::Error) -> anyhow::Error {
    if !tracing::enabled!(tracing::Level::ERROR) {
        return error;
    }
    tracing::error!("{}", exit::message(&error));
    error.context(Told)
}

async fn serve(mut config: Config) -> Result<()> {
    files::hold_connections(&mut config.server.connections_max);
    let ending = Ending::listen()?;
    let listener = listen(&config.listen).await?;
    let data = Place(config.data);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %data, "starting");
    let served = icecore_server::serve(listener, config.server, shutdown(ending)).await;
    served.map_err(|error| explain(error, &data))?;
    tracing::info!("stopped");
    Ok(())
}

async fn listen(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
        .context(Hint("choose another address with --listen".to_owned()))
}

/// Completes with the first signal. The second one ends the process on the spot: what was
/// acknowledged is durable anyway.
async fn shutdown(mut ending: Ending) {
    ending.wait().await;
    tracing::info!("signal received, once more ends it at once");
    tokio::spawn(async move {
        ending.wait().await;
        tracing::warn!("ended at once by a second signal");
        std::process::exit(1);
    });
}

/// Where the data is, for messages.
struct Place(Option<PathBuf>);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(directory) => directory.display().fmt(f),
            None => f.write_str("memory"),
        }
    }
}

/// Why the server ended, and what the operator can do. These are no errors of a call, so they all
/// end with the same code.
fn explain(error: ServeError, data: &Place) -> anyhow::Error {
    match error {
        ServeError::Open(error) => anyhow!("cannot open the store in {data}: {}", reason(&error)),
        ServeError::Failed(error) => anyhow!(
            "the store in {data} failed and takes no appends any more: {}\n\
             what was acknowledged is safe; check the disk and its free space, then start it again",
            reason(&error)
        ),
        ServeError::Close(error) => anyhow!(
            "the store in {data} could not be closed in order: {}\n\
             what was acknowledged is safe; the next start takes a little longer",
            reason(&error)
        ),
    }
}

/// What an operator needs of an error, without what a caller of the store would do about it.
fn reason(error: &Error) -> String {
    match error {
        Error::Unavailable { reason }
        | Error::OutcomeUnknown { reason }
        | Error::Corrupted { reason }
        | Error::Internal { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}
