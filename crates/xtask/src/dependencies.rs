//! What the dependencies are: where they come from, under which licence, and whether one of them is
//! there twice. The rules stand in `deny.toml`; `cargo deny` reads the same ones and more, but takes
//! longer to build than Icecore.

use crate::workspace;
use anyhow::{Context, Result};
use cargo_metadata::{Metadata, Package};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Where dependencies come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What `deny.toml` says.
struct Rules {
    /// Licences that are allowed, by their SPDX names.
    licences: Vec<String>,
    /// Packages that may be there in several versions, like `name` or `name@version`.
    skipped: Vec<String>,
}

/// The complaints about the dependencies.
pub(crate) fn check(metadata: &Metadata) -> Result<Vec<String>> {
    let text = fs::read_to_string(workspace::root().join("deny.toml")).context("read deny.toml")?;
    let rules = Rules::parse(&text)?;
    let foreign = || metadata.packages.iter().filter(|p| p.source.is_some());
    let mut complaints = Vec::new();
    for package in foreign() {
        complaints.extend(licence(&rules, package));
        complaints.extend(source(package));
    }
    let mut versions = BTreeMap::<_, BTreeSet<_>>::new();
    for package in foreign() {
        let version = package.version.to_string();
        versions
            .entry(package.name.as_str())
            .or_default()
            .insert(version);
    }
    for (name, versions) in versions {
        complaints.extend(doubled(&rules, name, &versions));
    }
    Ok(complaints)
}

fn licence(rules: &Rules, package: &Package) -> Option<String> {
    let (name, licence) = (&package.name, package.license.as_deref().unwrap_or(""));
    let allowed = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX)
        .is_ok_and(|e| e.evaluate(|term| rules.licences.contains(&term.to_string())));
    (!allowed).then(|| format!("{name}: deny.toml does not allow its licence `{licence}`"))
}

fn source(package: &Package) -> Option<String> {
    let source = package.source.as_ref().map(ToString::to_string);
    (source.as_deref() != Some(REGISTRY)).then(|| {
        format!(
            "{}: comes from {source:?}, not from crates.io",
            package.name
        )
    })
}

/// A package in several versions; all but one of them must be skipped, each with its reason.
fn doubled(rules: &Rules, name: &str, versions: &BTreeSet<String>) -> Option<String> {
    let skipped = |version: &String| {
        let exact = format!("{name}@{version}");
        rules.skipped.iter().any(|s| *s == name || *s == exact)
    };
    let counted: Vec<_> = versions
        .iter()
        .filter(|version| !skipped(version))
        .collect();
    (counted.len() > 1).then(|| format!("{name}: is there as {versions:?}"))
}

impl Rules {
    fn parse(text: &str) -> Result<Self> {
        let deny: toml::Table = text.parse().context("read deny.toml")?;
        let list = |table: &str, key: &str| {
            let list = deny.get(table).and_then(|table| table.get(key));
            list.and_then(toml::Value::as_array)
                .cloned()
                .with_context(|| format!("find {key} of [{table}] in deny.toml"))
        };
        let texts = |list: Vec<toml::Value>, key: &str| -> Vec<String> {
            let text = |value: &toml::Value| {
                let text = value.as_str().or_else(|| value.get(key)?.as_str());
                text.map(ToOwned::to_owned)
            };
            list.iter().filter_map(text).collect()
        };
        Ok(Self {
            licences: texts(list("licenses", "allow")?, "name"),
            skipped: texts(list("bans", "skip")?, "crate"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_keep_the_rules_of_deny_toml() {
        let complaints = check(&workspace::dependencies().unwrap()).unwrap();
        assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    }

    #[test]
    fn a_second_version_needs_a_reason() {
        let rules = Rules::parse(
            "[licenses]\nallow = ['MIT']\n\
             [bans]\nskip = ['b', { crate = 'c@1.0.0', reason = 'old' }]\n",
        )
        .unwrap();
        let doubled = |name, versions: [&str; 2]| {
            doubled(&rules, name, &versions.map(ToOwned::to_owned).into()).is_some()
        };
        assert!(doubled("a", ["1.0.0", "2.0.0"]));
        assert!(!doubled("b", ["1.0.0", "2.0.0"]));
        assert!(!doubled("c", ["1.0.0", "2.0.0"]));
        assert!(doubled("c", ["1.0.1", "2.0.0"]));
    }
}
