//! `check`: proves the set-up by doing it, before anyone relies on it.
//!
//! One line a proof: what was tried, whether it went well, and what to do if not. Nothing stops at the first fault, so
//! that one run shows all of them. A fault is what would keep a recording from being archived, or what would let it leak
//! or linger; a note is what could not be looked at, or what is allowed and should be known.
//!
//! It works beside a running daemon and changes nothing, apart from the object that `--write` asks for. The budget of
//! an account is the daemon's, though, as long as there is one: `kore` says how that is kept.

mod bucket;
mod kore;
mod queue;
mod report;

use std::io::IsTerminal;
use std::path::Path;

use clap::Args;

use super::Exit;
use crate::config::{Environment, Settings};
use crate::queue::QueueError;
use report::Report;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kore-archiver check --offline
  kore-archiver check --write
  kore-archiver check --json | jq '.checks[] | select(.outcome == \"fault\")'

Run it as root for the service's user and with its credentials:
  systemd-run --pipe --wait --quiet --uid=kore-archiver \\
    -p EnvironmentFile=-/etc/kore-archiver/environment \\
    kore-archiver check --write
A client secret that is a credential of systemd needs one option more:
    -p LoadCredential=client-secret.default:/etc/credstore/kore-archiver.client-secret
With --offline for --write, and `&& systemctl restart kore-archiver` behind it, new settings are taken if they hold.

Exit codes: 0 all is well, 3 a fault was found, 74 there is no queue that can be used, 78 the settings are wrong.
While a daemon works on the queue, Kore is not asked, because the budget of requests is the daemon's: the pauses that
it knows of are told instead. Stop it to have Kore asked.")]
pub(super) struct Arguments {
    /// Settings and queue alone; neither Kore nor the bucket is asked
    #[arg(long)]
    offline: bool,
    /// Put one small object, kore-archiver-check.txt, into the bucket and leave it there
    #[arg(long, conflicts_with = "offline")]
    write: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    environment: &Environment,
    file: Option<&Path>,
) -> anyhow::Result<Exit> {
    let colour = std::io::stdout().is_terminal() && !environment.forbids_colour();
    let mut report = Report::new(arguments.json, colour);
    of_settings(&mut report, settings, file);
    let desk = queue::check(&mut report, &settings.queue.path).await;
    if !arguments.offline {
        kore::check(&mut report, settings, desk.as_ref().ok()).await;
        bucket::check(&mut report, settings, arguments.write).await;
    }
    let has_fault = report.end()?;
    // Only `run` and `enqueue` create a queue; for everybody else its absence is exit 74. One that somebody else has locked is
    // a fault like any other.
    match desk {
        Ok(_) | Err(QueueError::Busy(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(if has_fault { Exit::NeedsAPerson } else { Exit::Done })
}

/// They were read before this began; what is allowed and doubtful is left to say.
fn of_settings(report: &mut Report, settings: &Settings, file: Option<&Path>) {
    let held = match crate::config::file_of(file) {
        Some(file) => format!("{} and the environment hold", file.display()),
        None => "the environment holds, and no settings file was read".to_owned(),
    };
    let bots = settings.bots.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    report.ok("settings", &format!("{held}; bots: {bots}; bucket: {}", settings.bucket.name));
    for warning in settings.warnings() {
        report.note("settings", &warning);
    }
}
