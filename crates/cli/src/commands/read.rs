//! `icecore read`: the events of a stream, or of all.

use super::connect;
use crate::args::{ConnectionArgs, FilterArgs, TargetArgs, time};
use crate::output::{Events, OutputArgs, Scope};
use anyhow::Result;
use clap::Args;
use futures::TryStreamExt as _;
use icecore_client::{Direction, Position, Read, ReadFrom, Revision, Timestamp};

/// Read the events of a stream, or of all streams in their global order
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore read order-1
  icecore read order-1 --backwards --limit 1                   # the newest event
  icecore read --all --from 1 --limit 20 --output json
  icecore read --all --category order --type OrderPaid --type OrderShipped
  icecore read --all --as-of 2012-01-31T00:00:00Z              # what was known by then")]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// First revision of the stream, or with --all first position, to look at (inclusive)
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// The newest event first
    #[arg(long)]
    backwards: bool,
    /// Most events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Only what had been recorded by then (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    as_of: Option<Timestamp>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: ReadArgs, connection: &ConnectionArgs) -> Result<()> {
    let scope = if args.target.all {
        Scope::All
    } else {
        Scope::OneStream
    };
    let mut shown = Events::new(args.output.format(), scope);
    let (read, filter) = (args.read(), &args.filter);
    read.check().map_err(|error| filter.named(error))?;
    let client = connect(connection).await?;
    let mut batches = client.read(read).batches();
    while let Some(batch) = batches
        .try_next()
        .await
        .map_err(|error| filter.named(error))?
    {
        shown.show(&batch.events, batch.last_position)?;
    }
    shown.end()
}

impl ReadArgs {
    fn read(&self) -> Read {
        let from = match self.target.stream.clone() {
            Some(stream) => ReadFrom::Stream(stream, self.from.map(Revision::new)),
            None => ReadFrom::All(self.from.map(Position::new)),
        };
        let direction = if self.backwards {
            Direction::Backwards
        } else {
            Direction::Forwards
        };
        Read {
            from,
            direction,
            filter: self.filter.filter(),
            limit: self.limit,
            as_of: self.as_of,
        }
    }
}
