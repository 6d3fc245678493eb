//! `run`: the daemon.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Exit, output};
use crate::app::App;
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::queue::Desk;
use crate::session::State;
use crate::shutdown::Shutdown;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kore-archiver run
  kore-archiver run --config ./config.toml --until-empty

Stops on SIGTERM or SIGINT: nothing is claimed any more, what is under way is finished within
transfer.drain_timeout or given back. A second signal ends it at once.")]
pub(super) struct Arguments {
    /// End when nothing is pending; exit 3 if rows are left that are not done
    #[arg(long)]
    until_empty: bool,
}

pub(super) async fn run(arguments: &Arguments, settings: &Settings) -> anyhow::Result<Exit> {
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    let shutdown = Shutdown::on_signals()?;
    let app = App::build(settings, shutdown, arguments.until_empty).await?;
    let desk = app.desk();
    let bar = (arguments.until_empty && std::io::stderr().is_terminal()).then(|| tokio::spawn(draw(Arc::clone(&desk))));
    let ended = app.run().await;
    if let Some(bar) = bar {
        bar.abort();
    }
    ended?;
    if !arguments.until_empty {
        return Ok(Exit::Done);
    }
    let counts = desk.counts().await?;
    let not_done: i64 = counts.iter().filter(|count| count.0 != State::Done.as_str()).map(|count| count.1).sum();
    if not_done == 0 {
        return Ok(Exit::Done);
    }
    output::complain(&format!(
        "{not_done} sessions are not done; `kore-archiver status` shows the newest that need a person"
    ));
    Ok(Exit::NeedsAPerson)
}

/// A bar over all rows of the queue, on a terminal.
async fn draw(desk: Arc<Desk>) {
    let clock = SystemClock::new();
    let bar = ProgressBar::new(0);
    bar.set_style(
        ProgressStyle::with_template("{wide_bar} {pos}/{len} sessions, {msg}").expect("the template is a constant"),
    );
    loop {
        if let Ok(counts) = desk.counts().await {
            let of = |state: State| counts.iter().find(|count| count.0 == state.as_str()).map_or(0, |count| count.1);
            let all: i64 = counts.iter().map(|count| count.1).sum();
            bar.set_length(u64::try_from(all).unwrap_or(0));
            bar.set_position(u64::try_from(all - of(State::Pending)).unwrap_or(0));
            bar.set_message(format!("{} failed", of(State::Failed)));
        }
        clock.sleep(Duration::from_millis(500)).await;
    }
}
