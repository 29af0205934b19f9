//! Values that are given on the command line, in a file (`@FILE`) or on standard input (`-`).

use crate::exit::Usage;
use crate::ndjson;
use anyhow::{Context as _, Result};
use bytes::Bytes;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

/// What some programs put before a text in UTF-8.
pub(crate) const BOM: &[u8] = "\u{feff}".as_bytes();

/// Reads the value of the flag `flag`.
pub(crate) fn value(flag: &str, text: &str) -> Result<Bytes> {
    if text == "-" {
        return stdin();
    }
    match text.strip_prefix('@') {
        Some(path) => file(Path::new(path)).with_context(|| format!("read {flag}")),
        None => Ok(text.to_owned().into()),
    }
}

/// Reads a value that must be JSON.
pub(crate) fn json(flag: &str, text: &str) -> Result<Bytes> {
    let json = value(flag, text)?;
    ndjson::check_json(&json).map_err(|error| Usage::new(format!("{flag} is no JSON: {error}")))?;
    Ok(json)
}

/// What messages call a file that may be `-`.
pub(crate) fn name(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}

/// Reads a file, or standard input for `-`.
pub(crate) fn file_or_stdin(path: &Path) -> Result<Bytes> {
    if path == Path::new("-") {
        stdin()
    } else {
        file(path)
    }
}

fn file(path: &Path) -> Result<Bytes> {
    let bytes = fs::read(path);
    let bytes = bytes.map_err(|error| Usage::new(format!("{}: {error}", path.display())))?;
    Ok(bytes.into())
}

fn stdin() -> Result<Bytes> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .context("read standard input")?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_given_or_in_a_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, b"[1]").unwrap();
        let from_file = format!("@{}", file.path().display());
        assert_eq!(value("--data", "{}").unwrap(), "{}");
        assert_eq!(json("--data", &from_file).unwrap(), "[1]");
        let error = value("--data", "@/no/such/file").unwrap_err();
        assert!(
            format!("{error:#}").contains("/no/such/file: No such file"),
            "{error:#}"
        );
    }

    #[test]
    fn bad_json_is_shown_with_its_place() {
        let error = json("--data", "{\"a\":}").unwrap_err().to_string();
        assert_eq!(
            error,
            "--data is no JSON: expected value at line 1 column 6"
        );
        assert_eq!(
            json("--data", " ").unwrap_err().to_string(),
            "--data is no JSON: it is empty"
        );
    }
}
