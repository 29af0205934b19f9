//! `icecore proof`: tree heads and proofs as files, and their check without a server.

mod file;
mod verify;

use super::connect;
use crate::args::{ConnectionArgs, by_flag, stream_name};
use crate::exit::Usage;
use crate::output;
use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
pub(crate) use file::bytes as hex_bytes;
use file::{Proof, hex};
use icecore_client::{Client, Position, Revision, StreamName};
use icecore_server::TreeKey;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Show that events are in the log unchanged, and that the log only grew
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore proof head > monday.json                     # keep it where nobody can change it
  icecore proof event --position 42 > event.json
  icecore proof consistency --from monday.json > grown.json
  icecore proof verify event.json                      # needs no server
  icecore proof verify grown.json --head monday.json --public-key HEX
  icecore proof keygen icecore.key                     # for `icecore serve --signing-key`

A tree head stands for all events up to its size, by the rules of RFC 6962. Erasing and scavenging do
not change it. A proof holds the event itself.")]
pub(crate) struct ProofArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Head(HeadArgs),
    Event(EventArgs),
    Consistency(ConsistencyArgs),
    Verify(verify::VerifyArgs),
    Keygen(KeygenArgs),
}

/// Print the head of the tree over all events
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  icecore proof head")]
struct HeadArgs {
    /// The tree over the first N events only
    #[arg(long, value_name = "N")]
    size: Option<u64>,
}

/// Print the proof that an event is in the log
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore proof event --position 42
  icecore proof event --stream order-1 --revision 0")]
struct EventArgs {
    /// Position of the event
    #[arg(
        long,
        value_name = "N",
        required_unless_present = "stream",
        conflicts_with = "stream"
    )]
    position: Option<u64>,
    /// Stream of the event
    #[arg(long, requires = "revision", value_parser = stream_name)]
    stream: Option<StreamName>,
    /// Its revision
    #[arg(long, value_name = "N", requires = "stream")]
    revision: Option<u64>,
    /// In the tree over the first N events
    #[arg(long, value_name = "N")]
    size: Option<u64>,
}

/// Print the proof that the log goes on from an earlier head
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  icecore proof consistency --from monday.json")]
struct ConsistencyArgs {
    /// The earlier head, as `icecore proof head` printed it
    #[arg(long, value_name = "FILE", required_unless_present = "old_size")]
    from: Option<PathBuf>,
    /// The number of events of the earlier tree, without its head
    #[arg(long, value_name = "N", conflicts_with = "from")]
    old_size: Option<u64>,
    /// The later tree has the first N events
    #[arg(long, value_name = "N")]
    size: Option<u64>,
}

/// Make a key for tree heads; prints its public half
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  icecore proof keygen icecore.key
  icecore serve --signing-key icecore.key")]
struct KeygenArgs {
    /// The file to make; only its owner can read it
    file: PathBuf,
}

pub(crate) async fn run(args: ProofArgs, connection: &ConnectionArgs) -> Result<()> {
    let proof = match args.what {
        What::Verify(args) => return verify::run(&args),
        What::Keygen(args) => return keygen(&args.file),
        What::Head(args) => {
            let client = connect(connection).await?;
            let head = client.tree_head(args.size).await;
            Proof::from(head.map_err(|error| by_flag(error, &[("size", "--size")]))?)
        }
        What::Event(args) => event(&connect(connection).await?, args).await?,
        What::Consistency(args) => consistency(&connect(connection).await?, args).await?,
    };
    output::print(proof.to_text()?)
}

async fn event(client: &Client, args: EventArgs) -> Result<Proof> {
    let position = match (args.position, args.stream, args.revision) {
        (None, Some(stream), Some(revision)) => position_of(client, &stream, revision).await?,
        (position, ..) => Position::new(position.unwrap_or_default()),
    };
    let proof = client.inclusion_proof(position, args.size).await;
    let flags = [("position", "--position"), ("size", "--size")];
    Ok(Proof::from(proof.map_err(|error| by_flag(error, &flags))?))
}

async fn position_of(client: &Client, stream: &StreamName, revision: u64) -> Result<Position> {
    let revision = Revision::new(revision);
    let events = client.read_stream(stream).from(revision).limit(1).await?;
    let event = events.first().filter(|event| event.revision == revision);
    let event = event.ok_or_else(|| {
        Usage::new(format!(
            "--revision: readers of `{stream}` see no event {revision}"
        ))
    })?;
    Ok(event.position)
}

async fn consistency(client: &Client, args: ConsistencyArgs) -> Result<Proof> {
    let old_size = match &args.from {
        Some(path) => file::read_head(path)?.size,
        None => args.old_size.unwrap_or_default(),
    };
    let proof = client.consistency_proof(old_size, args.size).await;
    let flags = [("old_size", "--old-size"), ("size", "--size")];
    Ok(Proof::from(proof.map_err(|error| by_flag(error, &flags))?))
}

fn keygen(path: &Path) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).context("get random bytes for the key")?;
    let key = TreeKey::from_bytes(&secret);
    let mut file = fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("make the key file {}", path.display()))?;
    writeln!(file, "{}", hex(&secret))
        .and_then(|()| file.sync_all())
        .with_context(|| format!("write the key file {}", path.display()))?;
    output::print(hex(&key.public_key()))
}
