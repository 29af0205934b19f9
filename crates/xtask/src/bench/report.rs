//! The table: what was measured, beside the peer and beside where it shall be; for people and for
//! programs.

use super::machine::Machine;
use crate::workspace;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;

/// Which way a figure gets better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Better {
    Higher,
    Lower,
}

/// One figure.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) row: String,
    pub(super) what: String,
    pub(super) figure: String,
    pub(super) better: Better,
    pub(super) ours: Option<f64>,
    pub(super) theirs: Option<f64>,
    pub(super) target: Option<f64>,
}

/// All figures, and the machine they belong to.
pub(super) struct Report {
    machine: Machine,
    name: String,
    lines: Vec<Line>,
}

impl Line {
    /// How many times better ours is.
    fn ratio(&self) -> Option<f64> {
        let (ours, theirs) = (self.ours?, self.theirs?);
        let (above, below) = match self.better {
            Better::Higher => (ours, theirs),
            Better::Lower => (theirs, ours),
        };
        (below > 0.0).then_some(above / below)
    }

    /// Whether it is where it shall be.
    fn is_met(&self) -> Option<bool> {
        let (ours, target) = (self.ours?, self.target?);
        Some(match self.better {
            Better::Higher => ours >= target,
            Better::Lower => ours <= target,
        })
    }

    fn markdown(&self) -> String {
        let shown = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), shown);
        let target = match self.is_met() {
            None => shown(self.target),
            Some(true) => format!("{}, met", shown(self.target)),
            Some(false) => format!("{}, missed", shown(self.target)),
        };
        format!(
            "| {} | {} | {} | {} | {} | {} | {target} |",
            self.row,
            self.what,
            self.figure,
            shown(self.ours),
            shown(self.theirs),
            shown(self.ratio()),
        )
    }

    fn json(&self) -> Value {
        json!({
            "row": self.row,
            "what": self.what,
            "figure": self.figure,
            "better": match self.better {
                Better::Higher => "higher",
                Better::Lower => "lower",
            },
            "icecore": self.ours,
            "umadb": self.theirs,
            "ratio": self.ratio(),
            "target": self.target,
            "met": self.is_met(),
        })
    }
}

impl Report {
    /// Begins with the machine, before anything is measured. What `kind` says is part of the file's name.
    pub(super) fn begin(kind: Option<&str>) -> Result<Self> {
        let machine = Machine::here()?;
        let kind = kind.map(|kind| format!("-{kind}")).unwrap_or_default();
        println!("{}", machine.markdown());
        Ok(Self {
            name: format!("{}{kind}", machine.commit),
            machine,
            lines: Vec::new(),
        })
    }

    /// Adds figures and shows them.
    pub(super) fn add(&mut self, lines: impl IntoIterator<Item = Line>) {
        for line in lines {
            println!("{}", line.markdown());
            self.lines.push(line);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Shows the whole table and keeps it.
    pub(super) fn finish(self) -> Result<()> {
        let target = workspace::members()?.target_directory;
        let folder = target.into_std_path_buf().join("bench");
        fs::create_dir_all(&folder).context("make a folder for tables")?;
        let table = self.markdown();
        println!("\n{table}");
        let lines: Vec<_> = self.lines.iter().map(Line::json).collect();
        let json = json!({ "machine": self.machine.json(), "lines": lines });
        for (extension, text) in [("md", table), ("json", format!("{json:#}\n"))] {
            let path = folder.join(format!("{}.{extension}", self.name));
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            println!("{}", path.display());
        }
        Ok(())
    }

    fn markdown(&self) -> String {
        let mut text = self.machine.markdown();
        text.push_str(
            "\nA ratio above 1 means that Icecore is ahead. Rates belong to this machine and this hour; \
             compare within one table only.\n\n\
             | row | what | figure | Icecore | UmaDB | ratio | target |\n\
             | --- | --- | --- | ---: | ---: | ---: | --- |\n",
        );
        for line in &self.lines {
            let _ = writeln!(text, "{}", line.markdown());
        }
        text
    }
}

/// The one in the middle.
pub(super) fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => None,
        count if count % 2 == 1 => Some(numbers[middle]),
        _ => Some(f64::midpoint(numbers[middle - 1], numbers[middle])),
    }
}

/// A number with three digits that count, or whole, with commas.
fn shown(number: f64) -> String {
    let decimals = match number.abs() {
        0.0 => 0,
        small if small < 0.1 => 4,
        small if small < 1.0 => 3,
        small if small < 10.0 => 2,
        small if small < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{number:.decimals$}");
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        let digits_left = whole.len() - at;
        if at > 0 && digits_left.is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(better: Better, ours: f64, theirs: Option<f64>) -> Line {
        Line {
            row: "a".into(),
            what: "b".into(),
            figure: "c".into(),
            better,
            ours: Some(ours),
            theirs,
            target: Some(500.0),
        }
    }

    #[test]
    fn ahead_is_above_one_whichever_way_a_figure_gets_better() {
        let rate = line(Better::Higher, 3_000.0, Some(2_000.0));
        assert_eq!(rate.ratio(), Some(1.5));
        assert_eq!(rate.is_met(), Some(true));
        let latency = line(Better::Lower, 3_000.0, Some(1_500.0));
        assert_eq!(latency.ratio(), Some(0.5));
        assert_eq!(latency.is_met(), Some(false));
        assert_eq!(line(Better::Higher, 1.0, Some(0.0)).ratio(), None);
    }

    #[test]
    fn a_line_is_a_row_of_the_table() {
        let rate = line(Better::Higher, 3_000.0, Some(2_000.0));
        assert_eq!(
            rate.markdown(),
            "| a | b | c | 3,000 | 2,000 | 1.50 | 500, met |"
        );
        let alone = line(Better::Higher, 12.345, None);
        assert_eq!(
            alone.markdown(),
            "| a | b | c | 12.3 | - | - | 500, missed |"
        );
        assert_eq!(alone.json()["icecore"], 12.345);
        assert_eq!(alone.json()["umadb"], Value::Null);
    }

    #[test]
    fn numbers_are_shown_short() {
        let cases = [
            (0.0, "0"),
            (0.0123, "0.0123"),
            (0.5, "0.500"),
            (1.234, "1.23"),
            (99.44, "99.4"),
            (100.4, "100"),
            (999.6, "1,000"),
            (1_234_567.0, "1,234,567"),
        ];
        for (number, text) in cases {
            assert_eq!(shown(number), text);
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
