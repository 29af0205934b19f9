//! `icecore group consume`: takes part in a group; an event that is shown is processed.

use super::WhichArgs;
use crate::args::{ConnectionArgs, by_flag};
use crate::commands::connect;
use crate::output::{self, Events, OutputArgs, Scope, note};
use crate::signals::Ending;
use anyhow::Result;
use clap::{Args, ValueEnum};
use futures::TryStreamExt as _;
use icecore_client::{GroupEvent, GroupEvents, NackAction, Position};

/// Take part in a group: show events and answer each, until Ctrl-C
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore group consume shipping                      # an event that is shown counts as processed
  icecore group consume shipping --limit 1 --answer park

It joins again by itself when the server goes away.")]
pub(super) struct ConsumeArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Most events to take
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Events to have and not have answered at a time
    #[arg(long, value_name = "N", default_value_t = 10)]
    buffer: u32,
    /// What the consumer calls itself
    #[arg(long, value_name = "TEXT", default_value = "icecore group consume")]
    name: String,
    /// What to say to each event
    #[arg(long, value_name = "ANSWER", default_value = "ack")]
    answer: Answer,
    /// Why, with another answer than ack
    #[arg(long, value_name = "TEXT", default_value = "by hand")]
    reason: String,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Answer {
    /// It is processed
    Ack,
    /// It is parked
    Park,
    /// It is delivered again
    Retry,
    /// It counts as processed
    Skip,
}

pub(super) async fn run(args: ConsumeArgs, connection: &ConnectionArgs) -> Result<()> {
    let id = args.which.id()?;
    let mut ending = Ending::listen()?;
    let consume = async {
        let client = connect(connection).await?;
        // What is not taken need not come.
        let limit = args.limit.unwrap_or(u64::MAX);
        let buffer = args.buffer.min(u32::try_from(limit).unwrap_or(u32::MAX));
        let call = client.consume(&id).buffer_size(buffer);
        take(&args, call.name(args.name.clone()).start()).await
    };
    tokio::select! {
        outcome = consume => outcome,
        () = ending.wait() => Ok(()),
        () = output::closed() => Ok(()),
    }
}

async fn take(args: &ConsumeArgs, mut events: GroupEvents) -> Result<()> {
    let mut shown = Events::new(args.output.format(), Scope::All);
    let mut left = args.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let next = events.try_next().await;
        let next = next.map_err(|error| by_flag(error, &[("buffer_size", "--buffer")]))?;
        let Some(event) = next else { break };
        if let Some(event) = event.event() {
            let event = std::slice::from_ref(event);
            shown.show(event, Position::new(999_999_999))?;
            shown.flush()?;
        }
        let position = event.delivery().original().map(|event| event.position);
        if answer(args, event).await.is_err() {
            let position = position.unwrap_or_default();
            note(format_args!("the event at position {position} comes again"));
        }
        left -= 1;
    }
    Ok(events.leave().await?)
}

async fn answer(args: &ConsumeArgs, event: GroupEvent) -> icecore_client::Result<()> {
    let action = match args.answer {
        Answer::Ack => return event.ack().await,
        Answer::Park => NackAction::Park,
        Answer::Retry => NackAction::Retry,
        Answer::Skip => NackAction::Skip,
    };
    event.nack(action, args.reason.clone()).await
}
