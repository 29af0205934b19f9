//! `icecore group`: persistent subscriptions. Which group is meant, and what it is, stands here; its
//! settings in `group/settings.rs`, taking part in `group/consume.rs`, what it has parked in
//! `group/parked.rs`.

mod consume;
mod parked;
mod settings;

use super::connect;
use crate::args::{ConnectionArgs, FilterArgs, by_flag, stream_name};
use crate::output::{self, Column, Listing, OutputArgs};
use anyhow::Result;
use clap::{Args, Subcommand};
use icecore_client::{Error, Group, GroupId, GroupInfo, GroupName, StreamName};
use settings::SettingsArgs;

const COLUMNS: [Column; 7] = [
    Column::Text("GROUP"),
    Column::Text("STATUS"),
    Column::Text("STRATEGY"),
    Column::Number("CONSUMERS"),
    Column::Number("CHECKPOINT"),
    Column::Number("IN FLIGHT"),
    Column::Number("PARKED"),
];

/// Groups of persistent subscriptions: the server keeps their place and shares events among consumers
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore group create shipping --category order     # on all streams, those of a category
  icecore group consume shipping --limit 10          # take part, and process by showing
  icecore group list
  icecore group parked shipping                      # what could not be processed, and why
  icecore group replay shipping --yes

A group is named by its name and, unless it reads all streams, by --stream.")]
pub(crate) struct GroupArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Create(Box<CreateArgs>),
    List(ListArgs),
    Show(ShowArgs),
    Update(Box<UpdateArgs>),
    Delete(DeleteArgs),
    Restart(RestartArgs),
    Consume(consume::ConsumeArgs),
    Parked(parked::ParkedArgs),
    Replay(parked::ReplayArgs),
    Discard(parked::DiscardArgs),
}

/// Which group.
#[derive(Clone, Debug, Args)]
struct WhichArgs {
    /// The group's name
    #[arg(value_name = "NAME", value_parser = group_name)]
    group: GroupName,
    /// The stream that it reads; without it the group reads all streams
    #[arg(long, value_name = "S", value_parser = stream_name)]
    stream: Option<StreamName>,
}

impl WhichArgs {
    fn id(&self) -> Result<GroupId, Error> {
        match self.stream.clone() {
            Some(stream) => GroupId::of_stream(stream, self.group.clone())
                .map_err(|error| by_flag(error, &[("stream", "--stream")])),
            None => Ok(GroupId::of_all(self.group.clone())),
        }
    }
}

fn group_name(text: &str) -> Result<GroupName, String> {
    GroupName::new(text.to_owned()).map_err(|error| error.to_string())
}

/// Create a group
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore group create shipping --category order
  icecore group create audit --stream orders --from end --strategy round-robin

With the strategy `ordered` the events of a stream come strictly one after the other, however many
consumers there are, and one that cannot be processed stops its stream only.")]
struct CreateArgs {
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    filter: FilterArgs,
}

/// List all groups
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  icecore group list")]
struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
}

/// Show a group: its settings, its consumers, how far it is
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  icecore group show shipping")]
struct ShowArgs {
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Replace all settings of a group; its consumers join again
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  icecore group update shipping --message-timeout 2m --max-retries 3

What is not given takes its default, not what it was.")]
struct UpdateArgs {
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Delete a group, its place and what it has parked
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  icecore group delete shipping")]
struct DeleteArgs {
    #[command(flatten)]
    which: WhichArgs,
}

/// Send the consumers of a group away and begin anew with what is written; they join again
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  icecore group restart shipping")]
struct RestartArgs {
    #[command(flatten)]
    which: WhichArgs,
}

pub(crate) async fn run(args: GroupArgs, connection: &ConnectionArgs) -> Result<()> {
    match args.action {
        Action::Create(args) => create(*args, connection).await,
        Action::List(args) => list(args, connection).await,
        Action::Show(args) => show(args, connection).await,
        Action::Update(args) => {
            let (id, settings) = (args.which.id()?, args.settings.settings());
            let updated = connect(connection).await?.update_group(&id, settings).await;
            Ok(updated.map_err(settings::named)?)
        }
        Action::Delete(args) => {
            let id = args.which.id()?;
            Ok(connect(connection).await?.delete_group(&id).await?)
        }
        Action::Restart(args) => {
            let id = args.which.id()?;
            Ok(connect(connection).await?.restart_group(&id).await?)
        }
        Action::Consume(args) => consume::run(args, connection).await,
        Action::Parked(args) => parked::run(args, connection).await,
        Action::Replay(args) => parked::replay(args, connection).await,
        Action::Discard(args) => parked::discard(args, connection).await,
    }
}

async fn create(args: CreateArgs, connection: &ConnectionArgs) -> Result<()> {
    let group = Group {
        id: args.which.id()?,
        filter: args.filter.filter(),
        settings: args.settings.settings(),
    };
    let named = |error| args.filter.named(settings::named(error));
    group.check().map_err(named)?;
    let created = connect(connection).await?.create_group(group).await;
    Ok(created.map_err(named)?)
}

async fn list(args: ListArgs, connection: &ConnectionArgs) -> Result<()> {
    let infos = connect(connection).await?.list_groups().await?;
    let mut listing = Listing::new(args.output.format(), &COLUMNS);
    for info in infos {
        let cells = vec![
            info.group.id.to_string(),
            info.status.to_string(),
            settings::strategy_name(info.group.settings.strategy).to_owned(),
            info.consumers.len().to_string(),
            number(info.last_checkpointed),
            info.in_flight_count.to_string(),
            info.parked_count.to_string(),
        ];
        listing.add(cells, |json| write_info(json, &info))?;
    }
    listing.end("no groups")
}

async fn show(args: ShowArgs, connection: &ConnectionArgs) -> Result<()> {
    let id = args.which.id()?;
    let info = connect(connection).await?.get_group(&id).await?;
    let mut properties = vec![
        ("group", info.group.id.to_string()),
        ("status", info.status.to_string()),
        ("checkpoint", number(info.last_checkpointed)),
        ("last seen", number(info.last_known)),
        ("waiting", waiting(&info).to_string()),
        ("in flight", info.in_flight_count.to_string()),
        ("parked", info.parked_count.to_string()),
        ("streams that wait", info.waiting_streams.to_string()),
        ("delivered", info.total_items.to_string()),
    ];
    if let Some(trouble) = &info.trouble {
        properties.push(("trouble", trouble.clone()));
    }
    properties.extend(settings::properties(&info.group.settings));
    for consumer in &info.consumers {
        let name = match consumer.name.as_str() {
            "" => "(no name)",
            name => name,
        };
        let text = format!(
            "{name} {}: {} in flight, {} delivered, {}/s",
            consumer.address,
            consumer.in_flight_count,
            consumer.total_items,
            consumer.average_per_second
        );
        properties.push(("consumer", text));
    }
    output::show_properties(args.output.format(), &properties, |json| {
        write_info(json, &info)
    })
}

fn waiting(info: &GroupInfo) -> u64 {
    info.read_buffer_count + info.live_buffer_count + info.retry_buffer_count
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

fn write_info(
    json: &mut crate::ndjson::Object<'_, impl std::io::Write>,
    info: &GroupInfo,
) -> std::io::Result<()> {
    let id = &info.group.id;
    if let Some(stream) = id.stream() {
        json.string("stream", stream.as_str())?;
    }
    json.string("name", id.name().as_str())?;
    json.string("status", &info.status.to_string())?;
    if let Some(checkpoint) = info.last_checkpointed {
        json.number("checkpoint", checkpoint)?;
    }
    if let Some(last) = info.last_known {
        json.number("last_known", last)?;
    }
    json.number("consumers", info.consumers.len() as u64)?;
    json.number("waiting", waiting(info))?;
    json.number("in_flight", info.in_flight_count)?;
    json.number("parked", info.parked_count)?;
    json.number("waiting_streams", info.waiting_streams)?;
    json.number("delivered", info.total_items)?;
    if let Some(trouble) = &info.trouble {
        json.string("trouble", trouble)?;
    }
    settings::write(json, &info.group.settings)
}
