//! Logs: what the daemon says, in the form that its reader wants, and never more than that reader may see.
//!
//! Everything that is logged passes one gate (`record`), which escapes control characters and cuts what is long, so
//! a stranger's text can neither start a new line nor move a cursor, in any form (FAULTS L3). `lines` then spells the
//! record: text for people, one JSON object a line, or the journal's own protocol with fields. (The formatters of
//! `tracing-subscriber` escape ESC but let CR and LF through; `tracing-journald` escapes nothing and cannot put the id
//! into MESSAGE. Hence this module.)
//!
//! Two promises about secrets (CONTRACT section 9, "at any log level"): the HTTP, TLS, AWS and database crates print
//! URLs, headers and tokens at debug and trace, so `filter` holds every crate but this one at info, whatever
//! `log.level` says; and records of the `log` crate are not collected at all. A panic is logged like everything else,
//! escaped and cut.
//!
//! A reader that went away, or stands still, is no reason to stop working (FAULTS P5): write errors are swallowed, and
//! lines are handed to a thread of their own (`outlet`), so that nobody who works ever waits for stderr or the journal.
//! What was said is written before the process ends, as far as the reader takes it in time: [`Farewell`].

mod lines;
mod outlet;
mod record;

use std::fs::File;
use std::io::{IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use tracing::Level;

use crate::clock::{Clock as _, SystemClock};
use crate::config::{Environment, LogFormat, LogSettings};
use lines::Form;
use outlet::Outlet;
use record::{Fields, Gate, Record, Sink};

/// What the targets of this crate begin with.
const OURS: &str = "kore_archiver";

/// The most that other crates may say: from debug on, hyper, reqwest, the AWS SDK, rustls and sqlx print secrets.
const MOST_OF_OTHERS: LevelFilter = LevelFilter::INFO;

/// What other crates say unless `log.level` names them.
const USUAL_OF_OTHERS: LevelFilter = LevelFilter::WARN;

/// Where systemd listens (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
const JOURNAL: &str = "/run/systemd/journal/socket";

/// How long a line waits for a journal that is busy, before it is dropped.
const JOURNAL_WAIT: Duration = Duration::from_secs(1);

/// How long the end of the process waits for a reader. One that reads takes the whole queue in less.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where this process's lines go, once [`init`] has said so.
static VOICE: OnceLock<Voice> = OnceLock::new();

#[derive(Debug)]
struct Voice {
    outlet: Outlet,
    reaches_stderr: bool,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.format = "journald"` on a machine without it.
    #[error(
        "log.format is \"journald\", but the journal at {JOURNAL} cannot be reached ({0}): expected \"text\" or \"json\" here"
    )]
    Journal(std::io::Error),
    /// There is no thread for it.
    #[error("no thread can be started for the log: {0}")]
    Thread(std::io::Error),
    /// [`init`] was called before.
    #[error("logging has been set up already")]
    Twice,
}

/// Sends the logs of this process to stderr or to the journal. To be called once, as early as the settings allow.
///
/// # Errors
/// [`TelemetryError`] says why not.
pub fn init(settings: &LogSettings, environment: &Environment) -> Result<(), TelemetryError> {
    let Way { form, write, reaches_stderr } = way(settings.format, environment)?;
    let outlet = Outlet::start(outlet::MOST_BYTES, write, move |lines| gap(form, lines));
    let outlet = outlet.map_err(TelemetryError::Thread)?;
    let speaking = outlet.clone();
    install(settings, Gate::new(form, move |line| speaking.say(line)))?;
    VOICE.set(Voice { outlet, reaches_stderr }).map_err(|_| TelemetryError::Twice)
}

/// Waits until what was said is written, or a moment has passed.
pub fn flush() {
    if let Some(voice) = VOICE.get() {
        voice.outlet.flush(LAST_WORDS);
    }
}

/// Held by whoever ends the process: dropped, it waits for what was said, by a panic as well.
#[derive(Debug)]
pub struct Farewell;

impl Drop for Farewell {
    fn drop(&mut self) {
        flush();
    }
}

/// The last that a process says, as one of its lines; `false` where stderr does not show it, and the caller has to.
#[must_use]
pub fn last_words(level: Level, text: &str) -> bool {
    let Some(voice) = VOICE.get() else { return false };
    if level == Level::ERROR {
        tracing::error!(target: env!("CARGO_CRATE_NAME"), "{text}");
    } else {
        tracing::warn!(target: env!("CARGO_CRATE_NAME"), "{text}");
    }
    voice.reaches_stderr
}

/// The same into a file, as JSON if the settings ask for that and as text otherwise: for a program whose stderr is
/// already in use.
///
/// # Errors
/// [`TelemetryError::Twice`]
pub fn init_file(settings: &LogSettings, file: File) -> Result<(), TelemetryError> {
    let form = if settings.format == LogFormat::Json { Form::Json } else { Form::Text { colour: false } };
    install(settings, Gate::new(form, move |line| write_or_drop(&file, line)))
}

fn install(settings: &LogSettings, gate: Gate) -> Result<(), TelemetryError> {
    let subscriber = tracing_subscriber::registry().with(filter(&settings.level)).with(gate);
    subscriber.try_init().map_err(|_| TelemetryError::Twice)?;
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("without a message");
        tracing::error!(at = panic.location().map(tracing::field::display), "a panic: {message}");
    }));
    Ok(())
}

/// How lines are spelled and written.
struct Way {
    form: Form,
    write: Box<Sink>,
    reaches_stderr: bool,
}

fn way(format: LogFormat, environment: &Environment) -> Result<Way, TelemetryError> {
    let is_terminal = std::io::stderr().is_terminal();
    let is_read_by_the_journal = is_stderr_the_journal(environment);
    let text = Form::Text { colour: is_terminal && !environment.forbids_colour() };
    let journal = || {
        let way = journal(Path::new(JOURNAL));
        way.map(|way| Way { reaches_stderr: is_read_by_the_journal, ..way })
    };
    match format {
        LogFormat::Json => Ok(to_stderr(Form::Json)),
        LogFormat::Journald => journal().map_err(TelemetryError::Journal),
        LogFormat::Auto if is_read_by_the_journal => Ok(journal().unwrap_or_else(|_| to_stderr(text))),
        LogFormat::Auto | LogFormat::Text if is_terminal => Ok(to_terminal(text)),
        LogFormat::Auto | LogFormat::Text => Ok(to_stderr(text)),
    }
}

/// Past the lock of `std::io::stderr`: whoever writes there beside the log does not wait for it.
fn to_stderr(form: Form) -> Way {
    let write: Box<Sink> = match std::io::stderr().as_fd().try_clone_to_owned() {
        Ok(stderr) => {
            let stderr = File::from(stderr);
            Box::new(move |line| write_or_drop(&stderr, line))
        }
        Err(_) => Box::new(|line| write_or_drop(std::io::stderr(), line)),
    };
    Way { form, write, reaches_stderr: true }
}

/// In the place of a progress bar, if there is one, which is then drawn again below.
fn to_terminal(form: Form) -> Way {
    const CLEAR_LINE: &[u8] = b"\r\x1b[K";
    let plain = to_stderr(form);
    let write = plain.write;
    Way { write: Box::new(move |line| write(&[CLEAR_LINE, line].concat())), ..plain }
}

/// Writes a line in one go; a reader that is gone costs the line and nothing else.
fn write_or_drop(mut writer: impl Write, line: &[u8]) {
    let _ = writer.write_all(line);
}

/// What stands where lines are missing.
fn gap(form: Form, lines: u64) -> Vec<u8> {
    let message = "nobody read the log for a while: lines are missing here".to_owned();
    let fields = Fields { message, others: vec![("dropped", lines.into())] };
    let at = SystemClock::new().now();
    form.spell(&Record { at, level: Level::WARN, target: module_path!().to_owned(), fields })
}

fn journal(path: &Path) -> std::io::Result<Way> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(JOURNAL_WAIT))?;
    // The journal drops an empty datagram; a machine without a journal answers with an error.
    socket.send_to(&[], path)?;
    let path = path.to_owned();
    // Not connected: a journal that is restarted is found again.
    let write = Box::new(move |datagram: &[u8]| drop(socket.send_to(datagram, &path)));
    Ok(Way { form: Form::Journal, write, reaches_stderr: false })
}

/// systemd says in `JOURNAL_STREAM` which file the journal reads; stderr may have been redirected since.
fn is_stderr_the_journal(environment: &Environment) -> bool {
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map(File::from);
    let Ok(metadata) = stderr.and_then(|file| file.metadata()) else {
        return false;
    };
    environment.get("JOURNAL_STREAM") == Some(&format!("{}:{}", metadata.dev(), metadata.ino()))
}

/// `log.level` as a filter: a level, or several with targets; the settings have refused anything else.
fn filter(level: &str) -> Targets {
    let mut general = LevelFilter::INFO;
    let mut targets = Vec::new();
    for directive in level.split(',') {
        match directive.split_once('=') {
            None => general = directive.parse().unwrap_or(general),
            Some((target, level)) => targets.push((target, level.parse().unwrap_or(general))),
        }
    }
    let capped = targets
        .into_iter()
        .map(|(target, level)| (target, if is_ours(target) { level } else { level.min(MOST_OF_OTHERS) }));
    Targets::new().with_default(general.min(USUAL_OF_OTHERS)).with_target(OURS, general).with_targets(capped)
}

fn is_ours(target: &str) -> bool {
    target.strip_prefix(OURS).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_level_makes_other_crates_say_more_than_info() {
        let others =
            ["hyper::proto", "reqwest::connect", "h2::codec", "aws_config", "aws_sdk_s3", "rustls", "sqlx::query"];
        for level in ["trace", "debug", "hyper=trace,sqlx=debug,a=trace,aws=trace,info", "reqwest::connect=trace"] {
            for target in others {
                assert!(!filter(level).would_enable(target, &Level::DEBUG), "{target} at {level}");
            }
        }
        assert!(filter("sqlx=debug").would_enable("sqlx::query", &Level::INFO));
    }

    #[test]
    fn a_level_is_for_this_crate_and_the_others_stay_at_warn() {
        let info = filter("info");
        assert!(info.would_enable("kore_archiver::journey", &Level::INFO));
        assert!(!info.would_enable("kore_archiver::journey", &Level::DEBUG));
        assert!(info.would_enable("hyper", &Level::WARN));
        assert!(!info.would_enable("hyper", &Level::INFO));
        assert!(!filter("error").would_enable("hyper", &Level::WARN));
        assert!(filter("trace").would_enable("kore_archiver", &Level::TRACE));
        let one = filter("warn,kore_archiver::kore=debug");
        assert!(one.would_enable("kore_archiver::kore::client", &Level::DEBUG));
        assert!(!one.would_enable("kore_archiver::queue", &Level::INFO));
    }

    #[test]
    fn a_reader_that_went_away_stops_nobody() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        write_or_drop(writer, b"a line\n");
    }

    #[test]
    fn the_journal_is_where_systemd_said_or_it_is_not_there() {
        let metadata = File::from(std::io::stderr().as_fd().try_clone_to_owned().unwrap()).metadata().unwrap();
        let stream = |text: String| Environment::from_iter([("JOURNAL_STREAM", text)]);
        assert!(is_stderr_the_journal(&stream(format!("{}:{}", metadata.dev(), metadata.ino()))));
        assert!(!is_stderr_the_journal(&stream(format!("{}:{}", metadata.dev(), metadata.ino() + 1))));
        assert!(!is_stderr_the_journal(&stream(String::new())));
        assert!(!is_stderr_the_journal(&Environment::default()));
        assert!(journal(Path::new("/nowhere/socket")).is_err());
    }

    fn gate(way: Way) -> Gate {
        Gate::new(way.form, way.write)
    }

    #[test]
    fn a_gap_is_told_in_the_form_of_the_other_lines() {
        let text = |form| String::from_utf8(gap(form, 7)).unwrap();
        assert!(
            text(Form::Text { colour: false })
                .ends_with("telemetry: nobody read the log for a while: lines are missing here dropped=7\n")
        );
        let json: serde_json::Value = serde_json::from_str(&text(Form::Json)).unwrap();
        assert_eq!((&json["level"], &json["dropped"]), (&"warn".into(), &7.into()));
        assert!(text(Form::Journal).contains("\nKORE_DROPPED=7\n"));
    }

    #[test]
    fn the_journal_gets_fields_and_the_id_in_the_message_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let server = UnixDatagram::bind(&path).unwrap();
        let subscriber = tracing_subscriber::registry().with(filter("info")).with(gate(journal(&path).unwrap()));
        let mut buffer = [0; 4096];
        assert_eq!(server.recv(&mut buffer).unwrap(), 0, "the probe");
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(session_id = "65e7", file.bytes = 8, "late\nPRIORITY=0");
            let length = server.recv(&mut buffer).unwrap();
            let expected = "MESSAGE=late\\nPRIORITY=0 session_id=65e7 file.bytes=8\nPRIORITY=4\nSYSLOG_IDENTIFIER=kore-archiver\nTARGET=kore_archiver::telemetry::tests\nKORE_SESSION_ID=65e7\nKORE_FILE_BYTES=8\n";
            assert_eq!(std::str::from_utf8(&buffer[..length]).unwrap(), expected);
            drop(server);
            tracing::warn!("nobody listens, and nothing happens");
        });
    }
}
