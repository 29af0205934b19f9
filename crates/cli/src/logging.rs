//! The log, on standard error. `RUST_LOG` says what is logged: `info` at the server unless set,
//! warnings at the other commands. Where a server listens is said also when `RUST_LOG` asks for less.

use crate::config::LogFormat;
use crate::exit::Usage;
use anyhow::Result;
use icecore_client::Error;
use std::fmt::{self, Debug};
use std::io::{self, IsTerminal as _};
use tracing::Level;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::{Directive, LevelFilter, Targets};
use tracing_subscriber::fmt::format::{Writer, debug_fn};

/// Who says where the server listens.
const LISTENING: &str = "icecore_server::serve";

/// The log of a server: every line with its time.
pub(crate) fn of_the_server(format: LogFormat) -> Result<()> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(with_listening(filter(LevelFilter::INFO)?))
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
        .fmt_fields(debug_fn(field).delimited(" "))
        .init();
    Ok(())
}

/// One field of a line. That something is to be sent again is advice for a program that uses the
/// client; whoever runs a command is only told what happened.
fn field(to: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    let value = format!("{value:?}");
    let advice = Error::OutcomeUnknown {
        reason: String::new(),
    };
    let value = value.strip_prefix(&advice.to_string()).unwrap_or(&value);
    match field.name() {
        "message" => to.write_str(value),
        name => write!(to, "{name}={value}"),
    }
}

/// Whoever starts a server on port 0 or waits until it is ready needs the line that says where it
/// listens, however little else they want to see. Only `off`, for all or by name, silences it.
fn with_listening(filter: EnvFilter) -> EnvFilter {
    let wanted = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let is_off = filter.max_level_hint() == Some(LevelFilter::OFF);
    if is_off || wanted.contains(LISTENING) || shows_listening(&wanted) {
        return filter;
    }
    filter.add_directive(listening())
}

/// Whether these directives, without those for single spans, show it anyway.
fn shows_listening(directives: &str) -> bool {
    let are_targets = |part: &&str| part.parse::<Targets>().is_ok();
    let targets: Vec<_> = directives.split(',').filter(are_targets).collect();
    let targets: Option<Targets> = targets.join(",").parse().ok();
    targets.is_some_and(|targets| targets.would_enable(LISTENING, &Level::INFO))
}

fn listening() -> Directive {
    format!("{LISTENING}=info")
        .parse()
        .expect("it is a target with a level")
}

fn filter(default: LevelFilter) -> Result<EnvFilter> {
    EnvFilter::builder()
        .with_default_directive(default.into())
        .from_env()
        .map_err(|error| Usage::new(format!("RUST_LOG: {error}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_the_line_anyway_is_not_lowered() {
        for (directives, expected) in [
            ("debug", true),
            ("warn,icecore_server=debug", true),
            ("info,[append{stream=a}]=trace", true),
            ("warn", false),
            ("info,icecore_server=warn", false),
            ("sled=debug", false),
        ] {
            assert_eq!(shows_listening(directives), expected, "{directives}");
        }
    }
}
