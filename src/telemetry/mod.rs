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
//! A reader that went away is no reason to stop working (FAULTS P5): write errors are swallowed, and the wait for the
//! journal is bounded.

mod lines;
mod record;

use std::fs::File;
use std::io::{IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Environment, LogFormat, LogSettings};
use lines::Form;
use record::Gate;

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

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.format = "journald"` on a machine without it.
    #[error("log.format is \"journald\", but the journal at {JOURNAL} cannot be reached: {0}")]
    Journal(std::io::Error),
    /// [`init`] was called before.
    #[error("logging has been set up already")]
    Twice,
}

/// Sends the logs of this process to stderr or to the journal. To be called once, as early as the settings allow.
///
/// # Errors
/// [`TelemetryError`] says why not.
pub fn init(settings: &LogSettings, environment: &Environment) -> Result<(), TelemetryError> {
    install(settings, gate(settings.format, environment)?)
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

fn gate(format: LogFormat, environment: &Environment) -> Result<Gate, TelemetryError> {
    let is_terminal = std::io::stderr().is_terminal();
    let form = Form::Text { colour: is_terminal && !environment.forbids_colour() };
    let text = || if is_terminal { Gate::new(form, to_terminal) } else { Gate::new(form, to_stderr) };
    match format {
        LogFormat::Json => Ok(Gate::new(Form::Json, to_stderr)),
        LogFormat::Journald => journal(Path::new(JOURNAL)).map_err(TelemetryError::Journal),
        LogFormat::Auto if is_stderr_the_journal(environment) => {
            Ok(journal(Path::new(JOURNAL)).unwrap_or_else(|_| text()))
        }
        LogFormat::Auto | LogFormat::Text => Ok(text()),
    }
}

fn to_stderr(line: &[u8]) {
    write_or_drop(std::io::stderr().lock(), line);
}

/// In the place of a progress bar, if there is one, which is then drawn again below.
fn to_terminal(line: &[u8]) {
    const CLEAR_LINE: &[u8] = b"\r\x1b[K";
    to_stderr(&[CLEAR_LINE, line].concat());
}

/// Writes a line in one go; a reader that is gone costs the line and nothing else.
fn write_or_drop(mut writer: impl Write, line: &[u8]) {
    let _ = writer.write_all(line);
}

fn journal(path: &Path) -> std::io::Result<Gate> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(JOURNAL_WAIT))?;
    // The journal drops an empty datagram; a machine without a journal answers with an error.
    socket.send_to(&[], path)?;
    let path = path.to_owned();
    // Not connected: a journal that is restarted is found again.
    let send = move |datagram: &[u8]| drop(socket.send_to(datagram, &path));
    Ok(Gate::new(Form::Journal, send))
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
    use tracing::Level;

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

    #[test]
    fn the_journal_gets_fields_and_the_id_in_the_message_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let server = UnixDatagram::bind(&path).unwrap();
        let subscriber = tracing_subscriber::registry().with(filter("info")).with(journal(&path).unwrap());
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
