//! The command line as a whole, and what several commands share. What one command takes stands with
//! that command.

use crate::commands::{
    append, backup, bench, categories, completions, delete, demo, doctor, erase, export, group,
    import, metadata, proof, read, restore, scavenge, serve, stats, stream, streams, subscribe,
    truncate, verify,
};
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};
use icecore_client::{
    Category, Error, EventType, ExpectedRevision, Filter, NameMatch, StreamName, SystemStreams,
    Tag, Timestamp,
};
use std::time::Duration;
use uuid::Uuid;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Icecore, the event store: it keeps every state change as an immutable event, in order, for ever
#[derive(Debug, Parser)]
#[command(
    name = "icecore",
    version,
    styles = STYLES,
    max_term_width = 100,
    after_help = "\
Begin with:
  icecore demo                        a minute's tour
  icecore serve                       the store, on 127.0.0.1:2113, data in ./icecore-data
  icecore append order-1 --type OrderPlaced --data '{\"total\":12}' --expected no-stream
  icecore read order-1

Exit codes: 0 done, 1 other error, 2 usage, 3 wrong expected revision or a failed condition,
4 not found, 5 server not reachable"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which server a command talks to, and how long it waits for it.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectionArgs {
    /// The server to talk to
    #[arg(
        long,
        global = true,
        env = "ICECORE_SERVER",
        default_value = "http://127.0.0.1:2113",
        value_name = "URL",
        help_heading = "Connection"
    )]
    pub(crate) server: String,
    /// How long the server may take to connect and to answer a call, like 500ms or 2m
    #[arg(
        long,
        global = true,
        env = "ICECORE_TIMEOUT",
        default_value = "30s",
        value_name = "TIME",
        value_parser = duration,
        help_heading = "Connection"
    )]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(Box<serve::ServeArgs>),
    Append(Box<append::AppendArgs>),
    Read(Box<read::ReadArgs>),
    Subscribe(Box<subscribe::SubscribeArgs>),
    Streams(streams::StreamsArgs),
    Categories(categories::CategoriesArgs),
    Stream(stream::StreamArgs),
    Metadata(metadata::MetadataArgs),
    Truncate(truncate::TruncateArgs),
    Delete(delete::DeleteArgs),
    Erase(erase::EraseArgs),
    Scavenge(scavenge::ScavengeArgs),
    Proof(Box<proof::ProofArgs>),
    Group(Box<group::GroupArgs>),
    Import(import::ImportArgs),
    Export(Box<export::ExportArgs>),
    Verify(verify::VerifyArgs),
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
    Doctor(doctor::DoctorArgs),
    Stats(stats::StatsArgs),
    Bench(Box<bench::BenchArgs>),
    Demo(demo::DemoArgs),
    Completions(completions::CompletionsArgs),
}

/// One stream, or all.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct TargetArgs {
    /// One stream
    #[arg(value_parser = stream_name)]
    pub(crate) stream: Option<StreamName>,
    /// All streams, in their global order
    #[arg(long)]
    pub(crate) all: bool,
}

/// Which events are wanted. All that is given must match.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Which events (all that is given must match)")]
pub(crate) struct FilterArgs {
    /// Streams whose name begins with this; given again: or with that
    #[arg(long, value_name = "P", conflicts_with = "regex")]
    prefix: Vec<String>,
    /// Streams whose name matches this regular expression somewhere
    #[arg(long, value_name = "R", allow_hyphen_values = true)]
    regex: Option<String>,
    /// Events of this type; given again: or of that type
    #[arg(long = "type", value_name = "T", value_parser = event_type)]
    types: Vec<EventType>,
    /// Streams of this category, the part of the name before the first `-`
    #[arg(long, value_name = "C", value_parser = category)]
    category: Option<Category>,
    /// Events with this tag, like order:1; given again: and with that tag
    #[arg(long = "tag", value_name = "K:V", value_parser = tag)]
    tags: Vec<Tag>,
    /// Streams whose name begins with `$` too
    #[arg(long)]
    pub(crate) system: bool,
}

impl FilterArgs {
    pub(crate) fn filter(&self) -> Filter {
        let prefixes = self.prefix.iter().map(|prefix| prefix.as_str().into());
        let stream = match &self.regex {
            Some(regex) => Some(NameMatch::Regex(regex.as_str().into())),
            None if self.prefix.is_empty() => None,
            None => Some(NameMatch::Prefixes(prefixes.collect())),
        };
        let types = self.types.iter().map(|name| name.clone().into_inner());
        Filter {
            stream,
            event_type: (!self.types.is_empty()).then(|| NameMatch::AnyOf(types.collect())),
            category: self.category.clone(),
            tags: self.tags.clone(),
            system: self.system_streams(),
        }
    }

    pub(crate) fn system_streams(&self) -> SystemStreams {
        system_streams(self.system)
    }

    /// The error with the flags that its user gave for the fields of a filter.
    pub(crate) fn named(&self, error: Error) -> Error {
        let names = if self.regex.is_some() {
            "--regex"
        } else {
            "--prefix"
        };
        let one_stream = if self.regex.is_none() && self.prefix.is_empty() {
            "--category"
        } else {
            names
        };
        let flags = [
            ("filter", one_stream),
            ("filter.stream", names),
            ("filter.type", "--type"),
            ("filter.category", "--category"),
            ("filter.tags", "--tag"),
            ("limit", "--limit"),
            ("as_of", "--as-of"),
        ];
        by_flag(error, &flags)
    }
}

/// The error with the flag in place of the field of the call that the flag has set.
pub(crate) fn by_flag(error: Error, flags: &[(&str, &'static str)]) -> Error {
    match error {
        Error::InvalidArgument { field, reason } => {
            let flag = flags.iter().find(|(name, _)| *name == field);
            let field = flag.map_or(field, |(_, flag)| (*flag).into());
            Error::InvalidArgument { field, reason }
        }
        other => other,
    }
}

pub(crate) fn system_streams(include: bool) -> SystemStreams {
    if include {
        SystemStreams::Include
    } else {
        SystemStreams::Exclude
    }
}

/// Reads the name of a stream, also of one that the store derived from another.
pub(crate) fn stream_name(text: &str) -> Result<StreamName, String> {
    let is_derived = text.starts_with('$') && !text.starts_with("$$");
    if is_derived {
        reason(StreamName::derived(text.to_owned()))
    } else {
        reason(StreamName::new(text.to_owned()))
    }
}

pub(crate) fn event_type(text: &str) -> Result<EventType, String> {
    reason(EventType::new(text.to_owned()))
}

fn category(text: &str) -> Result<Category, String> {
    reason(Category::new(text.to_owned()))
}

pub(crate) fn tag(text: &str) -> Result<Tag, String> {
    reason(Tag::new(text.to_owned()))
}

pub(crate) fn expected(text: &str) -> Result<ExpectedRevision, String> {
    reason(text.parse())
}

pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    reason(Timestamp::parse(text))
}

pub(crate) fn id(text: &str) -> Result<Uuid, String> {
    text.parse()
        .map_err(|_| "it is no UUID like 0b8f2f3e-6f0d-4b62-9f5e-2d9e3a6c1b11".to_owned())
}

/// Reads a time like `500ms`, `5s` or `2m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let millis_per_unit = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("it is no time like 500ms, 5s, 2m or 24h".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "it begins with no number".to_owned())?;
    let millis = number
        .checked_mul(millis_per_unit)
        .ok_or("it is too long")?;
    Ok(Duration::from_millis(millis))
}

/// clap names the flag itself, so only the reason is wanted.
fn reason<T>(result: Result<T, Error>) -> Result<T, String> {
    result.map_err(|error| match error {
        Error::InvalidArgument { reason, .. } => reason,
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(line: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["icecore"], line].concat())
    }

    #[test]
    fn the_command_line_is_sound_and_each_command_has_an_example() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        command.build();
        let mut commands: Vec<_> = command.get_subcommands().collect();
        while let Some(command) = commands.pop() {
            if command.get_name() == "help" {
                continue;
            }
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains("icecore "),
                "{} has no example",
                command.get_name()
            );
            commands.extend(command.get_subcommands());
        }
    }

    #[test]
    fn one_stream_or_all() {
        assert!(parse(&["read", "order-1"]).is_ok());
        assert!(parse(&["read", "--all"]).is_ok());
        assert!(parse(&["read"]).is_err());
        assert!(parse(&["read", "order-1", "--all"]).is_err());
    }

    #[test]
    fn bad_values_name_the_flag_and_the_reason() {
        let cases: [(&[&str], &str, &str); 5] = [
            (
                &["append", "a", "--type", "T", "--data", "1", "--tag", "x"],
                "--tag",
                "key:value",
            ),
            (
                &[
                    "append",
                    "a",
                    "--type",
                    "T",
                    "--data",
                    "1",
                    "--expected",
                    "-1",
                ],
                "--expected",
                "none of",
            ),
            (
                &["append", "a", "--type", "T", "--data", "1", "--id", "7"],
                "--id",
                "no UUID",
            ),
            (&["read", "--all", "--as-of", "then"], "--as-of", "RFC 3339"),
            (&["read", ""], "[STREAM]", "is empty"),
        ];
        for (line, flag, reason) in cases {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(flag) && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_filter_takes_what_the_flags_say() {
        let line = [
            "read", "--all", "--prefix", "a", "--prefix", "b", "--type", "T", "--tag", "k:v",
        ];
        let Command::Read(read) = parse(&line).unwrap().command else {
            panic!()
        };
        let filter = read.filter.filter();
        assert_eq!(
            filter.stream,
            Some(NameMatch::Prefixes(vec!["a".into(), "b".into()]))
        );
        assert_eq!(filter.event_type, Some(NameMatch::AnyOf(vec!["T".into()])));
        assert_eq!(filter.tags, [Tag::new("k:v").unwrap()]);
        assert_eq!(filter.system, SystemStreams::Exclude);
    }

    #[test]
    fn times_carry_their_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        for bad in ["", "5", "s", "1d", "-1s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
