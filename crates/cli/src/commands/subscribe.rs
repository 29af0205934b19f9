//! `icecore subscribe`: what is there, then what comes, until Ctrl-C.

use super::connect;
use crate::args::{ConnectionArgs, FilterArgs, TargetArgs};
use crate::output::{self, Events, OutputArgs, Scope, note};
use crate::signals::Ending;
use anyhow::Result;
use clap::Args;
use futures::{Stream, TryStreamExt as _};
use icecore_client::{
    Error, Position, Revision, Start, Subscribe, SubscribeFrom, SubscriptionMessage,
};

/// Follow a stream, or all streams: what is there, then what comes, until Ctrl-C
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore subscribe --all --type OrderPaid
  icecore subscribe order-1 --from end                # only what comes from now on
  icecore subscribe --all --from 1000 --output json

It connects again by itself when the server goes away and goes on where it was.")]
pub(crate) struct SubscribeArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Where to start: start, end, or the first revision (with --all position) to deliver
    #[arg(long, value_name = "start|end|N", default_value = "start", value_parser = from)]
    from: From,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Start,
    End,
    /// Inclusive.
    At(u64),
}

fn from(text: &str) -> Result<From, String> {
    match text {
        "start" => Ok(From::Start),
        "end" => Ok(From::End),
        number => {
            let number = number.parse().map(From::At);
            number.map_err(|_| "it is none of start, end or a number".to_owned())
        }
    }
}

pub(crate) async fn run(args: SubscribeArgs, connection: &ConnectionArgs) -> Result<()> {
    let scope = if args.target.all {
        Scope::All
    } else {
        Scope::OneStream
    };
    let shown = Events::new(args.output.format(), scope);
    let subscribe = args.subscribe();
    subscribe.check().map_err(|error| args.named(error))?;
    let mut ending = Ending::listen()?;
    let follow = async {
        let client = connect(connection).await?;
        let messages = client.subscribe(subscribe);
        follow(messages.map_err(|error| args.named(error)), shown).await
    };
    tokio::select! {
        outcome = follow => outcome,
        () = ending.wait() => Ok(()),
        // Otherwise the next event would have to come first.
        () = output::closed() => Ok(()),
    }
}

async fn follow(
    mut messages: impl Stream<Item = Result<SubscriptionMessage, Error>> + Unpin,
    mut shown: Events,
) -> Result<()> {
    let (mut is_connected, mut is_caught_up) = (false, false);
    while let Some(message) = messages.try_next().await? {
        match message {
            SubscriptionMessage::Confirmed { .. } => {
                if is_connected {
                    note("connected again");
                }
                (is_connected, is_caught_up) = (true, false);
            }
            SubscriptionMessage::Events(events) => {
                let last = events
                    .last()
                    .map_or(Position::START, |event| event.position);
                shown.show(&events, last.max(Position::new(999_999_999)))?;
                shown.flush()?;
            }
            SubscriptionMessage::CaughtUp { position } => {
                if !is_caught_up {
                    note(format_args!(
                        "caught up at position {position}; what follows is live, Ctrl-C ends"
                    ));
                }
                is_caught_up = true;
            }
            SubscriptionMessage::Checkpoint(_) => {}
        }
    }
    Ok(())
}

impl SubscribeArgs {
    /// The error with the flags that its user gave, and the number that they gave for `--from`: the
    /// server is asked for what comes after the one before it.
    fn named(&self, error: Error) -> Error {
        match (error, self.from) {
            (Error::InvalidArgument { field, reason }, From::At(from)) if field == "after" => {
                let given = ["position", "revision"].iter().find_map(|what| {
                    let asked = format!("{what} {} ", from.saturating_sub(1));
                    let rest = reason.strip_prefix(&asked)?;
                    Some(format!("{what} {from} {rest}"))
                });
                Error::invalid("--from", given.unwrap_or(reason))
            }
            (error, _) => self.filter.named(error),
        }
    }

    fn subscribe(&self) -> Subscribe {
        let from = match self.target.stream.clone() {
            Some(stream) => SubscribeFrom::Stream(
                stream,
                match self.from {
                    From::At(0) | From::Start => Start::Beginning,
                    From::At(revision) => Start::After(Revision::new(revision - 1)),
                    From::End => Start::End,
                },
            ),
            None => SubscribeFrom::All(match self.from {
                From::At(0 | 1) | From::Start => Start::Beginning,
                From::At(position) => Start::After(Position::new(position - 1)),
                From::End => Start::End,
            }),
        };
        Subscribe {
            from,
            filter: self.filter.filter(),
            store_id: None,
        }
    }
}
