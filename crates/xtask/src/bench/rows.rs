//! What is measured: each row a load, the figures that are taken from it, and where they shall be.

use super::contender::Contender;
use super::outcome::Outcome;
use super::report::{Better, Line, median};

/// How much and how long.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    /// Of each load that ends by time, as `icecore bench` reads it.
    pub(super) duration: &'static str,
    /// In stores that are loaded before.
    pub(super) events: u64,
    /// Whether to wait until a store that was loaded does nothing any more.
    pub(super) settles: bool,
}

/// Of so many events in such stores one is rare.
const RARE_EVERY: u64 = 1_000;

/// Events of each stream of a store that is loaded.
pub(super) const EVENTS_PER_STREAM: u64 = 10;

/// Whose event types, categories and tags are looked for by filters.
const TYPE: &[&str] = &["replay", "--type", "BenchRare"];
const CATEGORY: &[&str] = &["replay", "--category", "benchrare"];
const TAG: &[&str] = &["replay", "--tag", "rare:yes"];

/// A load and what is taken from it.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) name: &'static str,
    what: &'static str,
    load: &'static [&'static str],
    figures: &'static [Figure],
    /// Whether only Icecore has it.
    ours_alone: bool,
}

/// A figure and where it shall be.
struct Figure {
    name: &'static str,
    better: Better,
    of: fn(&Outcome) -> Option<f64>,
    target: f64,
}

const fn events(target: f64) -> Figure {
    Figure {
        name: "events/s",
        better: Better::Higher,
        of: |outcome| Some(outcome.events_per_s),
        target,
    }
}

const fn streams(target: f64) -> Figure {
    Figure {
        name: "streams/s",
        better: Better::Higher,
        of: |outcome| Some(outcome.calls_per_s),
        target,
    }
}

const fn p50(target: f64) -> Figure {
    Figure {
        name: "p50, ms",
        better: Better::Lower,
        of: |outcome| Some(outcome.p50_us / 1e3),
        target,
    }
}

const fn p99(target: f64) -> Figure {
    Figure {
        name: "p99, ms",
        better: Better::Lower,
        of: |outcome| Some(outcome.p99_us / 1e3),
        target,
    }
}

/// Events for each second that the server computes.
const fn events_per_cpu(target: f64) -> Figure {
    Figure {
        name: "events per server CPU s",
        better: Better::Higher,
        of: |outcome| Some(outcome.events_f64() / outcome.server_cpu_s.filter(|cpu| *cpu > 0.0)?),
        target,
    }
}

const fn cpu_per_million(target: f64) -> Figure {
    Figure {
        name: "server CPU s per million",
        better: Better::Lower,
        of: |outcome| Some(outcome.server_cpu_s? / outcome.events_f64() * 1e6),
        target,
    }
}

const fn milliseconds(target: f64) -> Figure {
    Figure {
        name: "ms",
        better: Better::Lower,
        of: |outcome| Some(outcome.seconds * 1e3),
        target,
    }
}

const fn row(
    name: &'static str,
    what: &'static str,
    load: &'static [&'static str],
    figures: &'static [Figure],
) -> Row {
    Row {
        name,
        what,
        load,
        figures,
        ours_alone: false,
    }
}

const fn ours_alone(row: Row) -> Row {
    Row {
        ours_alone: true,
        ..row
    }
}

/// On an empty store each.
pub(super) const FRESH: &[Row] = &[
    row(
        "append-1",
        "1 client, 1 event an append",
        &["append", "--clients", "1"],
        &[events(4_500.0), p99(0.5)],
    ),
    row(
        "append-64",
        "64 clients, 1 event an append, one connection",
        &["append", "--clients", "64"],
        &[events(35_000.0), p99(3.0), events_per_cpu(60_000.0)],
    ),
    row(
        "append-256",
        "256 clients, 1 event an append",
        &["append", "--clients", "256"],
        &[events(45_000.0)],
    ),
    ours_alone(row(
        "session-64",
        "64 writers through sessions, pipelined",
        &["append", "--clients", "64", "--session"],
        &[events(150_000.0)],
    )),
    row(
        "append-64x10",
        "64 clients, 10 events an append",
        &["append", "--clients", "64", "--events-per-append", "10"],
        &[events(220_000.0)],
    ),
    row(
        "append-64x100",
        "64 clients, 100 events an append",
        &["append", "--clients", "64", "--events-per-append", "100"],
        &[events(550_000.0)],
    ),
    row(
        "deliver-50",
        "1 writer, appends of 10, to 50 subscribers",
        &["subscribe", "--clients", "50", "--events-per-append", "10"],
        &[events(1_000_000.0)],
    ),
];

/// On a store that was loaded before, in this order.
pub(super) const STORED: &[Row] = &[
    row(
        "read-1",
        "1 reader of random streams of 10 events",
        &["read", "--clients", "1"],
        &[streams(9_000.0)],
    ),
    row(
        "read-16",
        "16 readers of random streams of 10 events",
        &["read", "--clients", "16"],
        &[streams(20_000.0)],
    ),
    row(
        "replay",
        "everything, to one reader",
        &["replay"],
        &[events(1_500_000.0), cpu_per_million(0.4)],
    ),
    row(
        "filter-type",
        "one event of a thousand, by its type",
        TYPE,
        &[milliseconds(50.0)],
    ),
    ours_alone(row(
        "filter-category",
        "one event of a thousand, by its category",
        CATEGORY,
        &[milliseconds(50.0)],
    )),
    row(
        "filter-tag",
        "one event of a thousand, by its tag",
        TAG,
        &[milliseconds(50.0)],
    ),
    row(
        "live",
        "500 appends a second, called to delivered",
        &["subscribe", "--clients", "1", "--rate", "500"],
        &[p50(0.3), p99(1.0)],
    ),
];

impl Scale {
    pub(super) const QUICK: Self = Self {
        duration: "800ms",
        events: 20_000,
        settles: false,
    };
    pub(super) const ALONE: Self = Self {
        duration: "8s",
        events: 1_000_000,
        settles: true,
    };
    pub(super) const IN_TURN: Self = Self {
        duration: "4s",
        ..Self::ALONE
    };

    /// In stores that are loaded before.
    pub(super) fn streams(self) -> u64 {
        self.events / EVENTS_PER_STREAM
    }
}

impl Row {
    /// The arguments of the load, unless it says nothing to this contender.
    pub(super) fn load(&self, contender: &Contender, scale: &Scale) -> Option<Vec<String>> {
        if self.ours_alone && !matches!(contender, Contender::Icecore(_)) {
            return None;
        }
        let mut load: Vec<String> = self.load.iter().map(ToString::to_string).collect();
        load.extend(["--streams".to_owned(), scale.streams().to_string()]);
        if self.load[0] != "replay" {
            load.extend(["--duration".to_owned(), scale.duration.to_owned()]);
        }
        Some(load)
    }

    /// How many events a replay of a store that was loaded must come to.
    pub(super) fn events(&self, scale: &Scale) -> Option<u64> {
        match self.load {
            ["replay"] => Some(scale.events),
            ["replay", ..] => Some(scale.events / RARE_EVERY),
            _ => None,
        }
    }

    /// One line for each figure, out of the outcomes of each turn, in each of them first ours.
    pub(super) fn lines(&self, name: &str, turns: &[Vec<Option<Outcome>>]) -> Vec<Line> {
        let line = |figure: &Figure| {
            let of = |contender: usize| {
                let outcomes = turns
                    .iter()
                    .filter_map(|turn| turn.get(contender)?.as_ref());
                median(outcomes.filter_map(figure.of).collect())
            };
            Line {
                row: name.to_owned(),
                what: self.what.to_owned(),
                figure: figure.name.to_owned(),
                better: figure.better,
                ours: of(0),
                theirs: of(1),
                target: Some(figure.target),
            }
        };
        self.figures.iter().map(line).collect()
    }
}
