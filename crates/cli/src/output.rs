//! What users see: standard output, tables for people and JSON lines for programs, notes and errors
//! on standard error. Nothing else in this crate writes to either.

mod events;

use crate::exit::StdoutClosed;
use crate::ndjson::Object;
use anyhow::{Context as _, Result};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
pub(crate) use events::{Events, Scope};
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use tokio::io::Interest;
use tokio::net::unix::pipe;

/// Width of tables that do not go to a terminal.
const WIDTH: u16 = 120;

/// How a list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs: one JSON object a line
    Json,
}

/// `--output` of every command that lists something.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// How to show it [default: table on a terminal, json in a pipe or a file]
    #[arg(long, value_name = "FORMAT", help_heading = "Output")]
    output: Option<Format>,
}

impl OutputArgs {
    /// What was asked for, or what fits the reader.
    pub(crate) fn format(self) -> Format {
        let is_terminal = io::stdout().is_terminal();
        let fitting = if is_terminal {
            Format::Table
        } else {
            Format::Json
        };
        self.output.unwrap_or(fitting)
    }
}

/// Standard output, buffered. Whoever has written a whole answer calls [`Self::flush`].
pub(crate) struct Out(BufWriter<Stdout>);

impl Out {
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(64 * 1_024, io::stdout()))
    }

    /// Writes with `write`, which may fail because nobody reads any more.
    pub(crate) fn write(
        &mut self,
        write: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<()>,
    ) -> Result<()> {
        write(&mut self.0).or_else(stdout_error)
    }

    pub(crate) fn line(&mut self, line: impl Display) -> Result<()> {
        self.write(|out| writeln!(out, "{line}"))
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        self.0.flush().or_else(stdout_error)
    }
}

fn stdout_error(error: io::Error) -> Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Err(StdoutClosed.into());
    }
    Err(error).context("write to standard output")
}

/// Completes when nobody reads the pipe any more that standard output is; never for anything else.
pub(crate) async fn closed() {
    if let Ok(Some(pipe)) = stdout_as_pipe()
        && pipe.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// Standard output once more, to be watched. As nothing is written to it in this way, it may go on
/// blocking those who do write.
fn stdout_as_pipe() -> io::Result<Option<pipe::Sender>> {
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let is_pipe = stdout.metadata()?.file_type().is_fifo();
    is_pipe
        .then(|| pipe::Sender::from_file_unchecked(stdout))
        .transpose()
}

/// Prints one line and is done.
pub(crate) fn print(line: impl Display) -> Result<()> {
    let mut out = Out::new();
    out.line(line)?;
    out.flush()
}

/// Says something beside the answer, on standard error.
pub(crate) fn note(text: impl Display) {
    // There is nobody to tell when standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says why a command failed.
pub(crate) fn error(text: &str) {
    note(format_args!("error: {text}"));
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    Text(&'static str),
    Number(&'static str),
}

/// A list of things, each a row of a table or a JSON object.
pub(crate) struct Listing {
    out: Out,
    format: Format,
    table: Table,
}

impl Listing {
    pub(crate) fn new(format: Format, columns: &[Column]) -> Self {
        let (out, table) = (Out::new(), table(columns, width()));
        Self { out, format, table }
    }

    /// Adds a thing: `cells` for a table, what `json` writes otherwise.
    pub(crate) fn add(
        &mut self,
        cells: Vec<String>,
        json: impl FnOnce(&mut Object<'_, BufWriter<Stdout>>) -> io::Result<()>,
    ) -> Result<()> {
        match self.format {
            Format::Table => {
                self.table.add_row(cells);
                Ok(())
            }
            Format::Json => self.out.write(|out| {
                let mut object = Object::begin(out);
                json(&mut object)?;
                object.end()
            }),
        }
    }

    /// Shows everything; `nothing` says what an empty table means.
    pub(crate) fn end(mut self, nothing: &str) -> Result<()> {
        if self.format == Format::Table {
            if self.table.is_empty() {
                note(nothing);
            } else {
                self.out.line(print_table(self.table))?;
            }
        }
        self.out.flush()
    }
}

/// One thing with its properties: two columns without a header, or one JSON object.
pub(crate) fn show_properties(
    format: Format,
    properties: &[(&str, String)],
    json: impl FnOnce(&mut Object<'_, BufWriter<Stdout>>) -> io::Result<()>,
) -> Result<()> {
    let mut out = Out::new();
    match format {
        Format::Table => {
            let mut table = bare_table(width());
            for (name, value) in properties {
                table.add_row(vec![(*name).to_owned(), value.clone()]);
            }
            out.line(print_table(table))?;
        }
        Format::Json => out.write(|out| {
            let mut object = Object::begin(out);
            json(&mut object)?;
            object.end()
        })?,
    }
    out.flush()
}

/// The columns that a table may take.
pub(crate) fn width() -> u16 {
    let columns = std::env::var("COLUMNS").ok();
    let columns = columns.and_then(|columns| columns.parse().ok());
    Table::new().width().or(columns).unwrap_or(WIDTH)
}

fn print_table(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

fn bare_table(width: u16) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width);
    table
}

fn table(columns: &[Column], width: u16) -> Table {
    let mut table = bare_table(width);
    table.set_header(columns.iter().map(|column| match column {
        Column::Text(name) | Column::Number(name) => *name,
    }));
    for (n, column) in columns.iter().enumerate() {
        if let (Column::Number(_), Some(column)) = (column, table.column_mut(n)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_its_width() {
        let mut table = table(&[Column::Text("STREAM"), Column::Number("EVENTS")], 30);
        table.add_row(["order-1", "12"]);
        table.add_row(["a-name-that-is-longer-than-the-line", "1"]);
        let text = print_table(table);
        assert!(
            text.lines().all(|line| line.chars().count() <= 30),
            "{text}"
        );
        assert!(text.starts_with("STREAM"), "{text}");
        assert!(text.contains("order-1                   12"), "{text}");
    }
}
