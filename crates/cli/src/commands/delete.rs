//! `icecore delete`: deletes a stream, softly or for ever.

use super::{connect, show_change};
use crate::args::{ConnectionArgs, expected, stream_name};
use crate::output::OutputArgs;
use anyhow::Result;
use clap::Args;
use icecore_client::{DeleteKind, Error, ExpectedRevision, StreamName, StreamState};

/// Delete a stream: its events are hidden, and an append opens it again
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore delete order-1
  icecore delete order-1 --expected 7          # only if nothing was appended after revision 7
  icecore delete order-1 --tombstone           # for ever: the name cannot be used again")]
pub(crate) struct DeleteArgs {
    /// The stream
    #[arg(value_parser = stream_name)]
    stream: StreamName,
    /// For ever: nobody can append to this name again
    #[arg(long)]
    tombstone: bool,
    /// What the stream must be like: any, exists, or the revision of its last event
    #[arg(long, value_name = "REVISION", default_value = "any", value_parser = expected)]
    expected: ExpectedRevision,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: DeleteArgs, connection: &ConnectionArgs) -> Result<()> {
    let (kind, what) = if args.tombstone {
        (DeleteKind::Tombstone, "deleted for ever")
    } else {
        (DeleteKind::Soft, "deleted")
    };
    let client = connect(connection).await?;
    let deleted = client.delete(&args.stream, args.expected, kind).await;
    let appended = deleted.map_err(|error| not_found(error, &args))?;
    show_change(args.output.format(), what, args.stream.as_str(), &appended)
}

/// Whoever expected nothing has lost no race: there is no such stream.
fn not_found(error: Error, args: &DeleteArgs) -> Error {
    let is_missing = matches!(&error, Error::Refused(refusal)
        if refusal.violations.iter().any(|violation| violation.stream == args.stream
            && matches!(violation.state, StreamState::Absent | StreamState::OnlyMetadata)));
    if is_missing && args.expected == ExpectedRevision::Any {
        let stream = args.stream.clone();
        return Error::StreamNotFound { stream };
    }
    error
}
