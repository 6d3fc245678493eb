//! The three spellings of a record. Its texts are safe already: no line end or control character is left in them.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use tracing::Level;

use super::OURS;
use super::record::{Fields, Record};

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `2026-11-23T08:15:00.000Z WARN  journey: the recording is cut session_id=65e7… bot=default`
    Text {
        /// Level in colour, names of fields dimmed.
        colour: bool,
    },
    /// One object a line.
    Json,
    /// The journal's native protocol: one datagram, one `NAME=value` a line.
    Journal,
}

impl Form {
    /// The bytes to be written in one go.
    pub(super) fn spell(self, record: &Record) -> Vec<u8> {
        match self {
            Self::Text { colour } => text(record, colour),
            Self::Json => json(record),
            Self::Journal => journal(record),
        }
        .into_bytes()
    }
}

fn text(record: &Record, colour: bool) -> String {
    let (paint, dim, plain) = if colour { (paint(record.level), "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
    let Record { at, level, target, fields } = record;
    // The crate's own modules are named without the crate: they are most of the log.
    let target = target.strip_prefix(OURS).map_or(target.as_str(), |rest| rest.trim_start_matches("::"));
    let colon = if target.is_empty() { "" } else { ": " };
    let mut line = format!("{dim}{at}{plain} {paint}{level:<5}{plain} {dim}{target}{colon}{plain}{}", fields.message);
    add_fields(&mut line, fields, dim, plain);
    line.push('\n');
    line
}

fn paint(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[34m",
    }
}

/// ` name=value` for each; a value that could be mistaken for more than one is quoted.
fn add_fields(line: &mut String, fields: &Fields, dim: &str, plain: &str) {
    for (name, value) in &fields.others {
        let _ = write!(line, " {dim}{name}={plain}");
        match value {
            Value::String(text) if text.is_empty() || text.contains([' ', '"', '=']) => {
                let _ = write!(line, "\"{}\"", text.replace('"', "\\\""));
            }
            Value::String(text) => line.push_str(text),
            value => {
                let _ = write!(line, "{value}");
            }
        }
    }
}

fn json(record: &Record) -> String {
    let mut object = Map::new();
    object.insert("at".to_owned(), Value::from(record.at.to_string()));
    object.insert("level".to_owned(), Value::from(record.level.as_str().to_lowercase()));
    object.insert("target".to_owned(), Value::from(record.target.as_str()));
    object.insert("message".to_owned(), Value::from(record.fields.message.as_str()));
    for (name, value) in &record.fields.others {
        // A field may not pose as what every line has.
        object.entry(*name).or_insert_with(|| value.clone());
    }
    format!("{}\n", Value::Object(object))
}

/// `journalctl KORE_SESSION_ID=…` finds a session, and `-p warning` what went wrong.
fn journal(record: &Record) -> String {
    let mut message = record.fields.message.clone();
    add_fields(&mut message, &record.fields, "", "");
    let (priority, target) = (priority(record.level), &record.target);
    let mut datagram =
        format!("MESSAGE={message}\nPRIORITY={priority}\nSYSLOG_IDENTIFIER=kore-archiver\nTARGET={target}\n");
    for (name, value) in &record.fields.others {
        let name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = writeln!(datagram, "KORE_{name}={value}");
    }
    datagram
}

/// syslog's numbers.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::record::Gate;
    use super::*;

    /// What is written in this form while `say` speaks, without the time.
    fn spoken(form: Form, say: impl FnOnce()) -> String {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&heard);
        let gate = Gate::new(form, move |line| ear.lock().unwrap().extend_from_slice(line));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(gate), say);
        String::from_utf8(heard.lock().unwrap().clone()).unwrap()
    }

    fn an_attempt() {
        let span = tracing::info_span!("attempt", session_id = "65e7", bot = "default", host = tracing::field::Empty);
        let _entered = span.enter();
        span.record("host", "smart assist");
        tracing::warn!(bytes = 7_u64, suspect = true, error = %"bad \"x\"\r\nfake", file.name = "", "cut\nshort");
    }

    #[test]
    fn text_is_one_line_with_the_fields_of_the_span() {
        let line = spoken(Form::Text { colour: false }, an_attempt);
        let (time, rest) = line.split_at("2026-11-23T08:15:00.000Z".len());
        assert!(crate::clock::Timestamp::parse(time).is_ok(), "{time}");
        let expected = " WARN  telemetry::lines::tests: cut\\nshort session_id=65e7 bot=default host=\"smart assist\" bytes=7 suspect=true error=\"bad \\\"x\\\"\\r\\nfake\" file.name=\"\"\n";
        assert_eq!(rest, expected);
    }

    #[test]
    fn colour_is_there_when_it_is_asked_for_and_never_otherwise() {
        assert!(spoken(Form::Text { colour: true }, an_attempt).contains("\x1b[33mWARN \x1b[0m"));
        for form in [Form::Text { colour: false }, Form::Json, Form::Journal] {
            assert!(!spoken(form, an_attempt).contains('\x1b'), "{form:?}");
        }
    }

    #[test]
    fn each_level_has_a_colour_of_its_own_but_for_the_two_that_only_developers_read() {
        let [error, warn, info, debug, trace] =
            [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE].map(paint);
        let colours = std::collections::BTreeSet::from([error, warn, info, debug]);
        assert_eq!((colours.len(), debug), (4, trace));
        assert!(colours.iter().all(|colour| colour.starts_with("\x1b[3") && colour.ends_with('m')));
    }

    /// RFC 5424: error, warning, informational, debug.
    #[test]
    fn the_journal_gets_syslogs_numbers() {
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        assert_eq!(levels.map(priority), [3, 4, 6, 7, 7]);
    }

    #[test]
    fn json_is_one_object_a_line_and_keeps_numbers() {
        let lines = spoken(Form::Json, || {
            an_attempt();
            tracing::info!(level = "posing", ratio = f64::NAN, "a second line");
        });
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["level"], &lines[0]["bytes"]), (&Value::from("warn"), &Value::from(7)));
        assert_eq!((&lines[0]["session_id"], &lines[0]["suspect"]), (&Value::from("65e7"), &Value::from(true)));
        assert_eq!(
            (&lines[0]["message"], &lines[0]["target"]),
            (&Value::from("cut\\nshort"), &Value::from("kore_archiver::telemetry::lines::tests"))
        );
        assert_eq!(lines[1]["level"], "info");
        assert!(lines[1]["at"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn the_newest_value_of_a_field_counts() {
        let line = spoken(Form::Text { colour: false }, || {
            let outer = tracing::info_span!("outer", bot = "a").entered();
            tracing::info!(parent: &outer, bot = "b", "m");
        });
        assert!(line.ends_with(": m bot=b\n"), "{line}");
    }
}
