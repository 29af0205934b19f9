//! What the repository promises about its own sources. Each rule takes what it looks at and gives its
//! complaints; none of them prints or stops. `cargo test` runs every rule, and so does the verb.

mod arrows;
mod manifests;
mod texts;
mod tokens;

use crate::workspace::{self, SourceFile};
use anyhow::Result;
use std::process::ExitCode;

/// Functions with more lines than this are counted.
const FUNCTION_LINES_MAX: usize = 70;

/// How many longer functions there may be. It only ever goes down.
const LONG_FUNCTIONS: usize = 0;

/// Checks everything and says what is wrong.
pub(crate) fn run() -> Result<ExitCode> {
    let files = workspace::files()?;
    let members = workspace::members()?;
    let mut complaints = sources(&files);
    complaints.extend(arrows::check(&members));
    for complaint in &complaints {
        println!("{complaint}");
    }
    let (files, crates, wrong) = (files.len(), members.packages.len(), complaints.len());
    println!("tidy: {files} files in {crates} crates, {wrong} complaints");
    Ok(if complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The rules that look at one file at a time, and the ratchet over all of them.
fn sources(files: &[SourceFile]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut long = Vec::new();
    for file in files {
        complaints.extend(texts::check(file));
        if file.is("Cargo.toml") {
            complaints.extend(manifests::check(file));
        }
        if file.is(".rs") {
            match tokens::Tokens::of(file) {
                Ok(tokens) => {
                    complaints.extend(tokens.forbidden());
                    long.extend(tokens.functions_over(FUNCTION_LINES_MAX));
                }
                Err(complaint) => complaints.push(complaint),
            }
        }
    }
    if long.len() != LONG_FUNCTIONS {
        complaints.push(format!(
            "{} functions have more than {FUNCTION_LINES_MAX} lines, the ratchet in {} stands at \
             {LONG_FUNCTIONS}:\n  {}",
            long.len(),
            file!(),
            long.join("\n  ")
        ));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_are_tidy() {
        let complaints = sources(&workspace::files().unwrap());
        assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    }

    #[test]
    fn crates_use_only_what_the_drawing_allows() {
        let complaints = arrows::check(&workspace::members().unwrap());
        assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    }
}
