//! The commands, one file each, and what all of them need: a connection.

pub(crate) mod append;
pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod categories;
pub(crate) mod completions;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod erase;
pub(crate) mod export;
pub(crate) mod group;
pub(crate) mod import;
pub(crate) mod metadata;
pub(crate) mod proof;
pub(crate) mod read;
pub(crate) mod restore;
pub(crate) mod scavenge;
pub(crate) mod serve;
pub(crate) mod stats;
pub(crate) mod stream;
pub(crate) mod streams;
pub(crate) mod subscribe;
pub(crate) mod truncate;
pub(crate) mod verify;

use crate::args::{Cli, Command, ConnectionArgs, by_flag};
use crate::{logging, output};
use anyhow::Result;
use icecore_client::{Appended, Client, RetryPolicy};
use tracing_subscriber::filter::LevelFilter;

/// A command is tried this often when the server goes away under it.
const ATTEMPTS_MAX: u32 = 3;

/// Runs the command that was asked for.
pub(crate) async fn run(cli: Cli) -> Result<()> {
    if let Command::Serve(args) = cli.command {
        return serve::run(*args).await;
    }
    // Somebody who is shown around need not hear what a client does about a server that is killed.
    let is_demo = matches!(cli.command, Command::Demo(_));
    logging::of_a_client(if is_demo {
        LevelFilter::OFF
    } else {
        LevelFilter::WARN
    })?;
    let connection = &cli.connection;
    match cli.command {
        Command::Serve(_) => unreachable!("it was run above"),
        Command::Append(args) => append::run(*args, connection).await,
        Command::Read(args) => read::run(*args, connection).await,
        Command::Subscribe(args) => subscribe::run(*args, connection).await,
        Command::Streams(args) => streams::run(args, connection).await,
        Command::Categories(args) => categories::run(args, connection).await,
        Command::Stream(args) => stream::run(args, connection).await,
        Command::Metadata(args) => metadata::run(args, connection).await,
        Command::Truncate(args) => truncate::run(args, connection).await,
        Command::Delete(args) => delete::run(args, connection).await,
        Command::Erase(args) => erase::run(args, connection).await,
        Command::Scavenge(args) => scavenge::run(args, connection).await,
        Command::Proof(args) => proof::run(*args, connection).await,
        Command::Group(args) => group::run(*args, connection).await,
        Command::Import(args) => import::run(args, connection).await,
        Command::Export(args) => export::run(*args, connection).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Verify(args) => verify::run(args, connection).await,
        Command::Backup(args) => backup::run(args, connection).await,
        Command::Restore(args) => restore::run(args).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Bench(args) => bench::run(*args, connection).await,
        Command::Stats(args) => stats::run(args, connection).await,
        Command::Completions(args) => completions::run(args),
    }
}

/// Connects now, so that a server that is not there is noticed before anything else is done.
async fn connect(connection: &ConnectionArgs) -> Result<Client> {
    let retry = RetryPolicy {
        attempts_max: ATTEMPTS_MAX,
        ..RetryPolicy::CALLS
    };
    connect_with(connection, retry).await
}

async fn connect_with(connection: &ConnectionArgs, retry: RetryPolicy) -> Result<Client> {
    let ConnectionArgs { server, timeout } = connection;
    let url = if server.contains("://") {
        server.clone()
    } else {
        format!("http://{server}")
    };
    let client = Client::builder(url)
        .connect_timeout(*timeout)
        .call_timeout(*timeout);
    let connected = client.retry(retry).connect().await;
    Ok(connected.map_err(|error| by_flag(error, &[("server", "--server")]))?)
}

/// Shows where a change of a stream stands in the log.
fn show_change(
    format: output::Format,
    what: &str,
    stream: &str,
    appended: &Appended,
) -> Result<()> {
    let position = appended.last_position;
    let properties = [
        (what, stream.to_owned()),
        ("position", position.to_string()),
    ];
    output::show_properties(format, &properties, |json| {
        json.string("stream", stream)?;
        json.number("position", position.get())
    })
}
