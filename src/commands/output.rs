//! Writing to people and programs: whole texts, without a panic when the reader has gone.

use std::io::{self, Write};

use comfy_table::Table;
use comfy_table::presets;
use serde_json::Value;
use tracing::Level;

use crate::queue::desk::Record;
use crate::telemetry;

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

/// Says on stderr what went wrong. Where nobody listens, nobody hears it. A library may quote a damaged file: a terminal
/// is told nothing but text.
pub(super) fn complain(text: &str) {
    let is_text = |c: char| c == '\n' || !c.is_control();
    let spelt = |c: char| if is_text(c) { c.to_string() } else { c.escape_default().to_string() };
    let _ = writeln!(io::stderr(), "kore-archiver: {}", text.chars().map(spelt).collect::<String>());
}

/// The last that a command says: a line of its log, if it has one, so that who reads that reads one form alone.
pub(super) fn end_with(level: Level, text: &str) {
    if !telemetry::last_words(level, text) {
        complain(text);
    }
}

/// A table of these columns for people; what strangers wrote is escaped.
pub(super) fn table(columns: &[&str], records: &[Record]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(columns.to_vec());
    for record in records {
        let shown = |(place, column): (usize, &&str)| {
            let longest = if place + 1 == columns.len() { LONGEST_LAST_CELL } else { LONGEST_CELL };
            cut(&cell(record.get(*column).unwrap_or(&Value::Null)), longest)
        };
        table.add_row(columns.iter().enumerate().map(shown));
    }
    let lines: Vec<_> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// What a table shows of a text: an id has 128 characters, an error 1,000. A longer one, in a row that went around the
/// CHECKs, would widen its column for all others.
const LONGEST_CELL: usize = 128;
/// Nothing stands behind the last column.
const LONGEST_LAST_CELL: usize = 1000;

fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_long_cell_does_not_widen_its_column_for_all_others() {
        let row = |id: String| Record::from_iter([("id".to_owned(), id.into()), ("n".to_owned(), 1.into())]);
        let table = table(&["id", "n"], &[row("x".repeat(100_000)), row("a".repeat(128))]);
        let lines: Vec<_> = table.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() < 150), "{table}");
        assert!(lines[1].contains("x…") && lines[2].contains(&"a".repeat(128)), "{table}");
    }
}
