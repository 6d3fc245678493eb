//! The settings before anybody knows what they mean: the file's tables with the environment laid over them.
//!
//! Each value remembers where it came from, for two reasons. A fault names that file or that variable. And only a
//! value from the file has a TOML type: `0012` in a variable is a text, a number or a mistake, depending on the key, so
//! nothing is guessed here. (The `config` crate guesses, rounds `1.5` to a whole number where one is asked for, and
//! quotes values and source lines in its errors; hence this page instead.)
//!
//! No message made here shows a value: a syntax error gives line and column, never the line.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use toml::Value;

use super::environment::Environment;
use super::error::SettingsError;

/// A table or a value.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// A table, its keys as they are spelled.
    Branch(Branch),
    /// Anything else.
    Leaf(Leaf),
}

/// The keys of a table.
pub(super) type Branch = BTreeMap<String, Node>;

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    /// From a variable it is always a string.
    pub(super) value: Value,
    /// The variable, or `None` for the file.
    pub(super) variable: Option<String>,
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        match value {
            Value::Table(table) => Self::Branch(branch(table)),
            value => Self::Leaf(Leaf { value, variable: None }),
        }
    }
}

fn branch(table: toml::Table) -> Branch {
    table.into_iter().map(|(key, value)| (key, Node::from(value))).collect()
}

/// The tables of a settings file.
pub(super) fn of_file(path: &Path) -> Result<Branch, SettingsError> {
    let place = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| SettingsError::new(&place, format!("the settings file cannot be read: {error}")))?;
    of_text(&place, &text)
}

/// The tables in the text of a settings file.
pub(super) fn of_text(place: &str, text: &str) -> Result<Branch, SettingsError> {
    text.parse::<toml::Table>().map(branch).map_err(|error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        SettingsError::new(place, format!("line {line}, column {column} is not TOML: {}", error.message()))
    })
}

/// Line and column, both from 1, of the byte at `offset`.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Lays every override over the file's tables: later wins. Client secrets are not among them, see `secret.rs`.
pub(super) fn overlay(tree: &mut Branch, environment: &Environment) -> Result<(), SettingsError> {
    for (name, rest, value) in environment.overrides() {
        let key = rest.to_lowercase();
        let levels: Vec<&str> = key.split("__").collect();
        if !super::secret::is_secret_key(&levels) {
            insert(tree, &levels, name, text_of(name, value)?)?;
        }
    }
    Ok(())
}

/// The text of a variable.
pub(super) fn text_of<'a>(name: &str, value: &'a OsStr) -> Result<&'a str, SettingsError> {
    value.to_str().ok_or_else(|| SettingsError::new(name, "its value is not UTF-8 text"))
}

fn insert(tree: &mut Branch, levels: &[&str], name: &str, text: &str) -> Result<(), SettingsError> {
    let Some((first, rest)) = levels.split_first() else {
        return Ok(());
    };
    if rest.is_empty() {
        let leaf = Leaf { value: Value::String(text.to_owned()), variable: Some(name.to_owned()) };
        return match tree.insert((*first).to_owned(), Node::Leaf(leaf)) {
            Some(Node::Leaf(Leaf { variable: Some(other), .. })) => {
                Err(SettingsError::new(name, format!("{other} sets the same key")))
            }
            _ => Ok(()),
        };
    }
    let node = tree.entry((*first).to_owned()).or_insert_with(|| Node::Branch(Branch::new()));
    match node {
        Node::Branch(inner) => insert(inner, rest, name, text),
        Node::Leaf(leaf) => {
            let above = leaf.variable.clone().unwrap_or_else(|| "the settings file".to_owned());
            Err(SettingsError::new(name, format!("{above} sets `{first}` as one value; use one of the two forms")))
        }
    }
}

/// The inline table that a variable may hold in place of one variable a key: `{ initial = "10s", max = "15m" }`.
pub(super) fn inline_table(leaf: &Leaf) -> Option<Branch> {
    let (Some(name), Value::String(text)) = (&leaf.variable, &leaf.value) else {
        return None;
    };
    let Ok(Value::Table(table)) = text.trim().parse::<Value>() else {
        return None;
    };
    let mut branch = branch(table);
    for node in branch.values_mut() {
        name_variable(node, name);
    }
    Some(branch)
}

fn name_variable(node: &mut Node, name: &str) {
    match node {
        Node::Branch(branch) => branch.values_mut().for_each(|node| name_variable(node, name)),
        Node::Leaf(leaf) => leaf.variable = Some(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlaid(file: &str, variables: &[(&str, &str)]) -> Result<Branch, String> {
        let mut tree = of_text("a.toml", file).map_err(|error| error.to_string())?;
        let environment = variables.iter().copied().collect();
        overlay(&mut tree, &environment).map_err(|error| error.to_string())?;
        Ok(tree)
    }

    #[test]
    fn a_variable_wins_over_the_file_and_stays_a_text() {
        let variables = [("KORE_ARCHIVER__BUCKET__NAME", "0012"), ("KORE_ARCHIVER__BOTS__MY-BOT__BOT_ID", "st-1")];
        let tree = overlaid("[bucket]\nname = \"a\"\nregion = \"b\"", &variables).unwrap();
        let shown = format!("{tree:?}");
        assert!(shown.contains(r#""name": Leaf(Leaf { value: String("0012")"#), "{shown}");
        assert!(shown.contains(r#""region": Leaf(Leaf { value: String("b"), variable: None })"#), "{shown}");
        assert!(shown.contains(r#""my-bot": Branch({"bot_id": Leaf("#), "{shown}");
    }

    #[test]
    fn a_syntax_error_names_file_line_and_column_and_shows_nothing_of_the_line() {
        let error = overlaid("[http]\nlisten = canary", &[]).unwrap_err();
        assert!(error.starts_with("a.toml: line 2, column 10 is not TOML: "), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = of_file(Path::new("/nowhere/config.toml")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/config.toml: the settings file cannot be read: "), "{error}");
    }

    #[test]
    fn two_forms_of_one_key_are_refused_rather_than_guessed_between() {
        let both = [("KORE_ARCHIVER__POLL__ERROR", "{}"), ("KORE_ARCHIVER__POLL__ERROR__MAX", "1m")];
        let error = overlaid("", &both).unwrap_err();
        let expected = "KORE_ARCHIVER__POLL__ERROR__MAX: KORE_ARCHIVER__POLL__ERROR sets `error` as one value; use one of the two forms";
        assert_eq!(error, expected);
        let twice = [("KORE_ARCHIVER__LOG__LEVEL", "info"), ("KORE_ARCHIVER__log__level", "warn")];
        let error = overlaid("", &twice).unwrap_err();
        assert_eq!(error, "KORE_ARCHIVER__log__level: KORE_ARCHIVER__LOG__LEVEL sets the same key");
    }
}
