//! What people type. Data goes to stdout, everything else to stderr; the exit codes are CONTRACT section 6.

mod check;
mod config;
mod enqueue;
mod heap;
mod output;
mod reconcile;
mod retry;
mod run;
mod show;
mod status;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{ColorChoice, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use tracing::Level;

use crate::clock::SystemClock;
use crate::config::{Environment, NO_FILE, Settings, SettingsError};
use crate::queue::QueueError;
use crate::shutdown::Signals;
use crate::telemetry::{Farewell, TelemetryError};

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "kore-archiver", version, about, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// The settings file [default: /etc/kore-archiver/config.toml if it exists]
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// The command line of this process; help and wrong usage end it.
    #[must_use]
    pub fn of_process() -> Self {
        // By itself clap would also obey CLICOLOR_FORCE, and colour what a program reads.
        let is_seen = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let colour = if is_seen { ColorChoice::Auto } else { ColorChoice::Never };
        let matches = Self::command().color(colour).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

const EXAMPLES: &str = "Examples:
  kore-archiver enqueue 65e7133a3242653c58d70001
  sqlite3 /var/lib/kore-archiver/queue.db \\
    \"INSERT INTO sessions (session_id) VALUES ('65e7133a3242653c58d70001')\"
  kore-archiver status
  kore-archiver show 65e7133a3242653c58d70001
  kore-archiver retry --state failed --reason not_found

Exit codes: 0 done, 1 error at run time, 2 wrong usage, 3 finished but something needs a person,
74 the queue's storage is damaged or not usable, 75 another daemon holds the queue, 78 wrong settings.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Archive what is in the queue, and what comes into it
    Run(run::Arguments),
    /// Put session ids into the queue
    Enqueue(enqueue::Arguments),
    /// Show counts, pauses and the newest failures
    Status(status::Arguments),
    /// Show a session, its recordings and its history
    Show(show::Arguments),
    /// Send sessions back to pending
    Retry(retry::Arguments),
    /// Prove the set-up by trying it
    Check(check::Arguments),
    /// Compare what is done with what the bucket holds
    Reconcile(reconcile::Arguments),
    /// Print the settings in force, secrets hidden
    Config(config::Arguments),
}

/// How a command ended, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0
    Done,
    /// 1: what was asked for is not there.
    Failed,
    /// 3: finished, and something needs a person.
    NeedsAPerson,
}

impl Exit {
    fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::NeedsAPerson => 3,
        }
    }
}

/// A command line that is well-formed and makes no sense (exit 2).
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(String);

/// Carries out a command line; gives the process's exit code.
#[must_use]
pub fn main(cli: &Cli) -> u8 {
    let _farewell = Farewell;
    match carry_out(cli) {
        Ok(exit) => exit.code(),
        Err(error) => {
            output::end_with(Level::ERROR, &format!("{error:#}"));
            code(&error)
        }
    }
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() {
        return 2;
    }
    if error.is::<SettingsError>() || matches!(error.downcast_ref(), Some(TelemetryError::Journal(_))) {
        return 78;
    }
    match error.downcast_ref::<QueueError>() {
        Some(QueueError::NotUsable { .. } | QueueError::Io(_) | QueueError::Full(_)) => 74,
        Some(QueueError::Held { .. }) => 75,
        Some(QueueError::Busy(_) | QueueError::Refused(_)) | None => 1,
    }
}

fn carry_out(cli: &Cli) -> anyhow::Result<Exit> {
    let environment = Environment::of_process();
    if matches!(cli.command, Command::Run(_)) {
        heap::share_one(&environment);
    }
    let file = cli.config.as_deref();
    // Who only looks at the queue need not be able to read the secrets.
    let settings = || crate::config::read_without_secrets(file, &environment);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = match &cli.command {
        Command::Run(arguments) => {
            let settings = crate::config::read(file, &environment)?;
            let place = || crate::config::file_of(file).map_or(NO_FILE.into(), |file| file.display().to_string());
            crate::telemetry::init(&settings.log, &environment).with_context(place)?;
            runtime.block_on(run::run(arguments, &settings))
        }
        Command::Enqueue(arguments) => runtime.block_on(enqueue::run(arguments, &settings()?)),
        Command::Status(arguments) => runtime.block_on(status::run(arguments, &settings()?)),
        Command::Show(arguments) => runtime.block_on(show::run(arguments, &settings()?)),
        Command::Retry(arguments) => runtime.block_on(retry::run(arguments, &settings()?)),
        Command::Reconcile(arguments) => runtime.block_on(reconcile::run(arguments, &settings()?)),
        Command::Check(arguments) => {
            let settings = crate::config::read(file, &environment)?;
            runtime.block_on(check::run(arguments, &settings, &environment, file))
        }
        Command::Config(arguments) => config::run(arguments, &settings()?),
    };
    // Whoever still asks a silent resolver for a name is not waited for.
    runtime.shutdown_background();
    done
}

/// Ctrl-C, or a polite kill: what was shown is then put in order. A second one ends the process, because who prints for a
/// reader that has stopped reading stands still and hears no first one.
async fn interruption() {
    let Ok(mut signals) = Signals::of_command() else { return std::future::pending().await };
    let heard = CancellationToken::new();
    let is_heard = heard.clone();
    tokio::spawn(async move {
        signals.next().await;
        is_heard.cancel();
        signals.another(&SystemClock::new()).await;
        std::process::exit(1);
    });
    heard.cancelled().await;
}

/// Opens the queue that the settings name.
async fn desk(settings: &Settings) -> Result<crate::queue::Desk, QueueError> {
    crate::queue::Desk::open(&settings.queue.path).await?.patient().await
}
