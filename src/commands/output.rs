//! Writing to people and programs: whole texts, without a panic when the reader has gone.

use std::io::{self, Write};

use comfy_table::Table;
use comfy_table::presets;
use serde_json::Value;

use crate::queue::desk::Record;

/// Writes a text to stdout. A reader that has enough (`| head`) is no error.
pub(super) fn print(text: &str) -> io::Result<()> {
    print_on(text).map(|_| ())
}

/// Like [`print`]; says whether anybody still reads.
pub(super) fn print_on(text: &str) -> io::Result<bool> {
    match try_print(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true),
    }
}

/// The same for who goes on writing, and wants to know that nobody reads.
pub(super) fn try_print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
}

/// Writes a value to stdout as one JSON document.
pub(super) fn print_json(value: &Value) -> io::Result<()> {
    print(&format!("{value:#}\n"))
}

/// Says on stderr what went wrong. Where nobody listens, nobody hears it.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "kore-archiver: {text}");
}

/// A table of these columns for people; what strangers wrote is escaped.
pub(super) fn table(columns: &[&str], records: &[Record]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(columns.to_vec());
    for record in records {
        table.add_row(columns.iter().map(|column| cell(record.get(*column).unwrap_or(&Value::Null))));
    }
    let lines: Vec<_> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// A value as people read it: no quotes, no control characters.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => plain(text),
        other => other.to_string(),
    }
}

/// Text with control characters and direction marks escaped, quotes left alone.
pub(super) fn plain(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\'' | '\\' => c.to_string(),
        _ => c.escape_debug().to_string(),
    };
    text.chars().map(escape).collect()
}
