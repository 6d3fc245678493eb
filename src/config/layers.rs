//! The settings before anybody knows what they mean: the file's tables, and the environment laid over them.
//!
//! The `config` crate does the layering: the file is one source of its builder, the snapshot of the environment the
//! other, and the later wins key by key. Each value keeps its origin, for two reasons. A fault names the file or the
//! variable. And only a value from the file has a TOML type: `0012` in a variable is a text, a number or a mistake,
//! depending on the key, so it stays the text that it is until `section` asks.
//!
//! Four guards are ours, each because the crate by itself decides otherwise:
//! - A syntax error gives line and column, never the line: the crate's quotes it, and a secret may stand there.
//! - The crate's typed getters are not used: they round `1.5` where a whole number is asked for, take `"yes"` for
//!   true, and quote the value in their errors.
//! - Its own source for variables does not say which one set a value, so [`Layer`] is a source that does.
//! - It reads the top keys of a source as paths, so that a quoted `"x[99999999999]"` in a file would allocate a list
//!   of that length. [`Layer`] therefore puts all keys one level down, where they are taken as they are spelled.
//!
//! It turns a bare TOML date into a text, which is then judged like any other.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use config::{Config, ConfigError, File, FileFormat, Format as _, Source, Value, ValueKind};

use super::environment::Environment;
use super::error::SettingsError;

/// The keys of a table, as they are spelled, in the order of the file.
pub(super) type Table = config::Map<String, Value>;

/// The one key at the top of each layer.
const ROOT: &str = "settings";

/// One source of settings, already read.
#[derive(Clone)]
struct Layer(Table);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Table, ConfigError> {
        Ok(Table::from_iter([(ROOT.to_owned(), Value::from(self.0.clone()))]))
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Layer(not shown: a value may be a secret in the wrong place)")
    }
}

/// The tables of a settings file. Their values have no origin.
pub(super) fn of_file(path: &Path) -> Result<Table, SettingsError> {
    let place = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| SettingsError::new(&place, format!("the settings file cannot be read: {error}")))?;
    of_text(&place, &text)
}

/// The tables in the text of a settings file.
pub(super) fn of_text(place: &str, text: &str) -> Result<Table, SettingsError> {
    File::from_str(text, FileFormat::Toml).collect().map_err(|_| SettingsError::new(place, syntax_fault(text)))
}

/// What is wrong with a text that the crate refused, and where. Its error is of no use here, since it quotes the line
/// of a syntax error and has no place for a number out of range.
fn syntax_fault(text: &str) -> String {
    match text.parse::<toml::Table>() {
        Ok(_) => "is not TOML that can be read".to_owned(),
        Err(error) => {
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            format!("line {line}, column {column} is not TOML: {}", error.message())
        }
    }
}

/// Line and column, both from 1, of the byte at `offset`.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Lays every override over the file's tables: later wins. Client secrets are not among them, see `secret.rs`.
pub(super) fn overlaid(file: Table, environment: &Environment) -> Result<Table, SettingsError> {
    let variables = of_environment(environment)?;
    one_form(&file, &variables)?;
    let merged = Config::builder().add_source(Layer(file)).add_source(Layer(variables)).build();
    let merged = merged.and_then(|config| config.get_table(ROOT));
    Ok(merged.expect("both layers were read before and have the one root, a table"))
}

/// The overrides as tables, each value a text whose origin is its variable.
fn of_environment(environment: &Environment) -> Result<Table, SettingsError> {
    let mut table = Table::new();
    for (name, rest, value) in environment.overrides() {
        let key = rest.to_lowercase();
        let levels: Vec<&str> = key.split("__").collect();
        if !super::secret::is_secret_key(&levels) {
            insert(&mut table, &levels, &Value::new(Some(&name.to_owned()), text_of(name, value)?))?;
        }
    }
    Ok(table)
}

/// The text of a variable.
pub(super) fn text_of<'a>(name: &str, value: &'a OsStr) -> Result<&'a str, SettingsError> {
    value.to_str().ok_or_else(|| SettingsError::new(name, "its value is not UTF-8 text"))
}

fn insert(table: &mut Table, levels: &[&str], value: &Value) -> Result<(), SettingsError> {
    let Some((first, rest)) = levels.split_first() else {
        return Ok(());
    };
    let name = value.origin().unwrap_or_default();
    if rest.is_empty() {
        return match table.insert((*first).to_owned(), value.clone()).as_ref().and_then(origin) {
            None => Ok(()),
            Some(other) => Err(two_names(name, other)),
        };
    }
    let inner = table.entry((*first).to_owned()).or_insert_with(|| Value::from(Table::new()));
    match &mut inner.kind {
        ValueKind::Table(inner) => insert(inner, rest, value),
        _ => Err(two_forms(name, inner.origin().unwrap_or_default(), first)),
    }
}

/// Refuses a variable for a key under what the file sets as one value: the crate would drop the file's in silence.
fn one_form(file: &Table, variables: &Table) -> Result<(), SettingsError> {
    for (key, over) in variables {
        match (file.get(key).map(|value| &value.kind), &over.kind) {
            (Some(ValueKind::Table(under)), ValueKind::Table(above)) => one_form(under, above)?,
            (Some(_), ValueKind::Table(_)) => {
                return Err(two_forms(origin(over).unwrap_or_default(), "the settings file", key));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Of variables that differ in upper and lower case alone.
pub(super) fn two_names(name: &str, other: &str) -> SettingsError {
    SettingsError::new(name, format!("{other} sets the same key"))
}

fn two_forms(name: &str, other: &str, key: &str) -> SettingsError {
    SettingsError::new(name, format!("{other} sets `{key}` as one value; use one of the two forms"))
}

/// The variable that set this, or the first of those that set something under it; `None` for the file.
pub(super) fn origin(value: &Value) -> Option<&str> {
    match &value.kind {
        ValueKind::Table(table) => value.origin().or_else(|| table.values().find_map(origin)),
        _ => value.origin(),
    }
}

/// The TOML table or list that a variable may hold in place of one variable a key: `{ initial = "10s", max = "15m" }`.
pub(super) fn inline(value: &Value) -> Option<Value> {
    let (Some(name), ValueKind::String(text)) = (value.origin(), &value.kind) else {
        return None;
    };
    let document = FileFormat::Toml.parse(Some(&name.to_owned()), &format!("{ROOT} = {text}")).ok()?;
    // Whatever stands behind the value is no part of it.
    if document.len() == 1 { document.into_values().next() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layered(file: &str, variables: &[(&str, &str)]) -> Result<Table, String> {
        let file = of_text("a.toml", file).map_err(|error| error.to_string())?;
        overlaid(file, &variables.iter().copied().collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_variable_wins_over_the_file_and_stays_a_text() {
        let variables = [("KORE_ARCHIVER__BUCKET__NAME", "0012"), ("KORE_ARCHIVER__BOTS__MY-BOT__BOT_ID", "st-1")];
        let tables = layered("[bucket]\nname = \"a\"\nregion = \"b\"", &variables).unwrap();
        let found = |path: [&str; 2]| tables[path[0]].clone().into_table().unwrap()[path[1]].clone();
        let text = |name: &str, text: &str| Value::new(Some(&name.to_owned()), text);
        assert_eq!(found(["bucket", "name"]), text(variables[0].0, "0012"));
        assert_eq!(found(["bucket", "region"]), Value::new(None, "b"));
        assert_eq!(found(["bots", "my-bot"]).into_table().unwrap()["bot_id"], text(variables[1].0, "st-1"));
    }

    #[test]
    fn a_syntax_error_names_file_line_and_column_and_shows_nothing_of_the_line() {
        let error = layered("[http]\nlisten = canary", &[]).unwrap_err();
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
        let error = layered("", &both).unwrap_err();
        let expected = "KORE_ARCHIVER__POLL__ERROR__MAX: KORE_ARCHIVER__POLL__ERROR sets `error` as one value; use one of the two forms";
        assert_eq!(error, expected);
        let twice = [("KORE_ARCHIVER__LOG__LEVEL", "info"), ("KORE_ARCHIVER__log__level", "warn")];
        let error = layered("", &twice).unwrap_err();
        assert_eq!(error, "KORE_ARCHIVER__log__level: KORE_ARCHIVER__LOG__LEVEL sets the same key");
    }

    #[test]
    fn a_variable_under_what_the_file_sets_as_one_value_is_refused_rather_than_preferred() {
        let error = layered("poll = \"canary\"", &[("KORE_ARCHIVER__POLL__TIMEOUT", "1s")]).unwrap_err();
        let expected =
            "KORE_ARCHIVER__POLL__TIMEOUT: the settings file sets `poll` as one value; use one of the two forms";
        assert_eq!(error, expected);
    }

    #[test]
    fn a_key_is_what_is_spelled_and_no_path() {
        let tables = layered("\"poll.timeout\" = 1\n\"x[99999999999]\" = 1\n[bucket]\n\"a.b[7]\" = 1", &[]).unwrap();
        assert_eq!(tables.keys().collect::<Vec<_>>(), ["poll.timeout", "x[99999999999]", "bucket"]);
    }

    #[test]
    fn a_number_out_of_range_has_a_place_too() {
        let error = layered("[http]\nlisten = 99999999999999999999", &[]).unwrap_err();
        assert!(error.starts_with("a.toml: line 2, column 10 is not TOML: "), "{error}");
    }

    #[test]
    fn what_stands_behind_an_inline_table_makes_it_a_plain_text() {
        let table = |text: &str| inline(&Value::new(Some(&"NAME".to_owned()), text));
        assert_eq!(origin(&table("{ a = 1 } # why").unwrap()), Some("NAME"));
        assert_eq!(table("{ a = 1 }\nb = 2"), None);
        assert_eq!(table("plain"), None);
        assert_eq!(inline(&Value::new(None, "{ a = 1 }")), None, "a text in the file is a text");
    }
}
