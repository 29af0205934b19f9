//! The dashboard as lines of text. Where they go (paper or a terminal with colours) is not known here.

use crate::board::{Board, median};
use crate::event::{State, Work};
use crate::history::History;
use icecore_client::Timestamp;

/// Columns where there is no terminal.
pub(crate) const PRINTED_WIDTH: usize = 100;

/// Employees that are shown, those who have done most.
const EMPLOYEES_SHOWN: usize = 8;

/// A line, and what it is.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Title,
    Heading,
    Row,
    Slider,
}

/// How things stood then.
pub(crate) fn dashboard(
    history: &mut History,
    at: Timestamp,
    is_live: bool,
    width: usize,
) -> Vec<Line> {
    let board = history.board_at(at);
    let mut lines = vec![line(Kind::Title, title(history, at, is_live)), blank()];
    applications(&board, at, width, &mut lines);
    lines.push(blank());
    work(&board, &mut lines);
    lines.push(blank());
    employees(&board, &mut lines);
    lines.push(blank());
    lines.push(line(Kind::Slider, slider(history, at, width)));
    lines
}

fn title(history: &History, at: Timestamp, is_live: bool) -> String {
    let (steps, all) = (history.steps_until(at), history.len());
    let live = if is_live { "  LIVE" } else { "" };
    format!("Loans at {}  ({steps} of {all} steps){live}", minute(at))
}

fn applications(board: &Board, at: Timestamp, width: usize, lines: &mut Vec<Line>) {
    lines.push(line(
        Kind::Heading,
        format!(
            "{:<14} {:>7} {:>14} {:>10}",
            "APPLICATIONS", "count", "amount", "median"
        ),
    ));
    let all = board.applications.len().max(1);
    let room = width.saturating_sub(50);
    for state in State::ALL {
        let (count, amount, time) = board.in_state(state, at);
        let bar = "█".repeat((count * room).div_ceil(all).min(room));
        let (name, time) = (state.name(), duration(time));
        let what = if state.is_final() { "in all" } else { "so far" };
        lines.push(row(format!(
            "{name:<14} {count:>7} {amount:>14} {time:>10} {what}  {bar}"
        )));
    }
}

fn work(board: &Board, lines: &mut Vec<Line>) {
    let heading = format!(
        "{:<22} {:>8} {:>8} {:>8} {:>12} {:>12}",
        "WORK", "waiting", "at work", "begun", "median wait", "longest wait"
    );
    lines.push(line(Kind::Heading, heading));
    for work in Work::ALL {
        let Some(pile) = board.work.get(&work) else {
            continue;
        };
        let mut waits = pile.waits_seconds.clone();
        lines.push(row(format!(
            "{:<22} {:>8} {:>8} {:>8} {:>12} {:>12}",
            work.name(),
            pile.waiting.len(),
            pile.at_work.len(),
            waits.len(),
            duration(median(&mut waits)),
            duration(waits.iter().copied().max()),
        )));
    }
}

fn employees(board: &Board, lines: &mut Vec<Line>) {
    let heading = format!(
        "{:<14} {:>7} {:>8} {:>12} {:>10}",
        "EMPLOYEE", "done", "at work", "busy", "each"
    );
    lines.push(line(Kind::Heading, heading));
    let mut employees: Vec<_> = board.employees.iter().collect();
    employees.sort_by_key(|(name, employee)| (std::cmp::Reverse(employee.done), *name));
    for (name, employee) in employees.into_iter().take(EMPLOYEES_SHOWN) {
        let each = employee.busy_seconds / employee.done.max(1);
        let seconds = |seconds: u64| duration(u32::try_from(seconds).ok());
        lines.push(row(format!(
            "{name:<14} {:>7} {:>8} {:>12} {:>10}",
            employee.done,
            board.at_work(name),
            seconds(employee.busy_seconds),
            seconds(each),
        )));
    }
}

fn slider(history: &History, at: Timestamp, width: usize) -> String {
    let (first, last) = (day(history.first_time()), day(history.last_time()));
    let room = width.saturating_sub(first.len() + last.len() + 5);
    let place = place(history, at, room);
    let (before, after) = ("━".repeat(place), "─".repeat(room - place));
    format!("{first} ├{before}●{after}┤ {last}")
}

/// Where a moment is on a line of so many columns.
fn place(history: &History, at: Timestamp, room: usize) -> usize {
    let nanos = |time: Timestamp| i128::from(time.nanos());
    let (first, last) = (nanos(history.first_time()), nanos(history.last_time()));
    let columns = i128::try_from(room).unwrap_or(0);
    let passed = (nanos(at) - first).clamp(0, last - first);
    let place = passed * columns / (last - first).max(1);
    usize::try_from(place).unwrap_or(0).min(room)
}

/// Seconds in the two units that matter.
fn duration(seconds: Option<u32>) -> String {
    let Some(seconds) = seconds else {
        return "-".into();
    };
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m {rest}s"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

fn day(time: Timestamp) -> String {
    format!("{:.10}", time.to_string())
}

fn minute(time: Timestamp) -> String {
    format!("{:.16}", time.to_string()).replace('T', " ")
}

fn line(kind: Kind, text: String) -> Line {
    Line { text, kind }
}

fn row(text: impl AsRef<str>) -> Line {
    line(Kind::Row, text.as_ref().trim_end().to_owned())
}

fn blank() -> Line {
    row("")
}
