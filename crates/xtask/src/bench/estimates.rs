//! The criterion benches of the engine and the writer: each group beside its limit, as a share of it.

use super::report::{Better, Line};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// The functions of a group that the others are held to.
const LIMITS: [&str; 3] = ["raw file", "lz4 alone", "engine alone"];

/// Which share of the limit a group shall reach, in hundredths.
const TARGETS: [(&str, f64); 4] = [
    ("commit/1", 70.0),
    ("commit/16", 90.0),
    ("commit/128", 45.0),
    ("commit/1024", 30.0),
];

/// One function of a group, as criterion has measured it.
#[derive(Debug, PartialEq)]
struct Estimate {
    group: String,
    function: String,
    nanoseconds: f64,
}

/// Runs the benches and reads what they came to. Their files do not stay.
pub(super) fn measure() -> Result<Vec<Line>> {
    let home = tempfile::tempdir().context("make a temporary folder")?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["bench", "--quiet", "--benches"])
        .args([
            "--package=icecore-storage-sled",
            "--package=icecore-eventstore",
        ])
        .env("CRITERION_HOME", home.path())
        .current_dir(crate::workspace::root());
    let status = cargo.status().context("run cargo bench")?;
    ensure!(status.success(), "cargo bench: {status}");
    let mut estimates = Vec::new();
    collect(home.path(), &mut estimates)?;
    ensure!(!estimates.is_empty(), "criterion has left no estimates");
    estimates.sort_by(|a, b| natural(&a.group).cmp(&natural(&b.group)));
    Ok(lines(&estimates))
}

/// Every function beside the limit of its group, where it has one.
fn lines(estimates: &[Estimate]) -> Vec<Line> {
    let is_limit = |estimate: &&Estimate| LIMITS.contains(&estimate.function.as_str());
    let line = |own: &Estimate| {
        let mut same = estimates.iter().filter(|other| other.group == own.group);
        let limit = same.find(is_limit)?;
        let target = TARGETS.iter().find(|(group, _)| *group == own.group);
        Some(Line {
            row: own.group.clone(),
            what: format!("{} beside {}", own.function, limit.function),
            figure: "% of its rate".to_owned(),
            better: Better::Higher,
            ours: Some(limit.nanoseconds / own.nanoseconds * 100.0),
            theirs: None,
            target: target.map(|(_, target)| *target),
        })
    };
    let measured = estimates.iter().filter(|own| !is_limit(own));
    measured.filter_map(line).collect()
}

/// Looks for `new/benchmark.json` and `new/estimates.json`, wherever criterion has put them.
fn collect(folder: &Path, estimates: &mut Vec<Estimate>) -> Result<()> {
    if folder.join("new/benchmark.json").is_file() {
        let read = |name: &str| {
            let path = folder.join("new").join(name);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let (benchmark, estimate) = (read("benchmark.json")?, read("estimates.json")?);
        estimates.push(Estimate::parse(&benchmark, &estimate)?);
    }
    for entry in fs::read_dir(folder).context("list what criterion has left")? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), estimates)?;
        }
    }
    Ok(())
}

/// Sorts `commit/16` before `commit/128`.
fn natural(group: &str) -> (&str, u64, &str) {
    let (name, last) = group.rsplit_once('/').unwrap_or((group, ""));
    (name, last.parse().unwrap_or(0), last)
}

impl Estimate {
    fn parse(benchmark: &str, estimates: &str) -> Result<Self> {
        let benchmark: Value = serde_json::from_str(benchmark).context("read a benchmark")?;
        let estimates: Value = serde_json::from_str(estimates).context("read estimates")?;
        let text = |name: &str| {
            let text = benchmark[name].as_str().map(str::to_owned);
            text.with_context(|| format!("find {name} in {benchmark}"))
        };
        let median = estimates["median"]["point_estimate"].as_f64();
        Ok(Self {
            group: text("group_id")?,
            function: text("function_id")?,
            nanoseconds: median.context("find the median")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leave(home: &Path, group: &str, function: &str, nanoseconds: u32) {
        let folder = home
            .join(group.replace('/', "_"))
            .join(function)
            .join("new");
        fs::create_dir_all(&folder).unwrap();
        let benchmark = format!(
            r#"{{"group_id":"{group}","function_id":"{function}","value_str":null,
                "throughput":{{"Elements":1}},"full_id":"{group}/{function}"}}"#
        );
        let estimates = format!(
            r#"{{"mean":{{"point_estimate":1.0}},"median":{{"confidence_interval":{{}},
                "point_estimate":{nanoseconds}.5,"standard_error":2.0}},"slope":null}}"#
        );
        fs::write(folder.join("benchmark.json"), benchmark).unwrap();
        fs::write(folder.join("estimates.json"), estimates).unwrap();
    }

    #[test]
    fn what_criterion_leaves_is_found() {
        let home = tempfile::tempdir().unwrap();
        leave(home.path(), "commit/16", "sled", 200);
        let mut estimates = Vec::new();
        collect(home.path(), &mut estimates).unwrap();
        let expected = Estimate {
            group: "commit/16".into(),
            function: "sled".into(),
            nanoseconds: 200.5,
        };
        assert_eq!(estimates, [expected]);
    }

    #[test]
    fn each_group_is_held_to_its_own_limit() {
        let estimate = |group: &str, function: &str, nanoseconds| Estimate {
            group: group.into(),
            function: function.into(),
            nanoseconds,
        };
        let lines = lines(&[
            estimate("commit/1", "sled", 200.0),
            estimate("commit/1", "raw file", 150.0),
            estimate("commit/16", "raw file", 10.0),
            estimate("commit/16", "sled", 40.0),
            estimate("lookup/no such stream", "sled", 5.0),
        ]);
        let shown: Vec<_> = lines
            .iter()
            .map(|line| (line.row.as_str(), line.ours, line.target))
            .collect();
        assert_eq!(
            shown,
            [
                ("commit/1", Some(75.0), Some(70.0)),
                ("commit/16", Some(25.0), Some(90.0))
            ]
        );
    }

    #[test]
    fn groups_are_in_the_order_of_their_sizes() {
        let mut groups = ["commit/128", "commit/16", "chunk/encode", "commit/1"];
        groups.sort_by(|a, b| natural(a).cmp(&natural(b)));
        assert_eq!(
            groups,
            ["chunk/encode", "commit/1", "commit/16", "commit/128"]
        );
    }
}
