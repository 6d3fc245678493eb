//! `run`: the daemon.

use std::io::{IsTerminal, Write as _};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;
use tracing::Level;

use super::{Exit, output};
use crate::app::App;
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::queue::{Count, Counts, Desk};
use crate::session::State;
use crate::shutdown::Shutdown;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kore-archiver run
  kore-archiver run --config ./config.toml --until-empty

Stops on SIGTERM, SIGINT or SIGHUP: nothing is claimed any more, what is under way is finished within
transfer.drain_timeout or given back. A second signal, a quarter of a second later or more, ends it at once.")]
pub(super) struct Arguments {
    /// End when nothing is pending; exit 3 if rows are left that are not done
    #[arg(long)]
    until_empty: bool,
}

/// How often the bar is drawn.
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn run(arguments: &Arguments, settings: &Settings) -> anyhow::Result<Exit> {
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    // What is still under way at the second signal is not done, as `--until-empty` has to say.
    let at_once = if arguments.until_empty { Exit::NeedsAPerson } else { Exit::Done };
    let shutdown = Shutdown::on_signals(at_once.code().into(), SystemClock::new())?;
    let Some(app) = App::build(settings, shutdown, arguments.until_empty).await? else { return Ok(at_once) };
    let desk = app.pages();
    let has_ended = CancellationToken::new();
    let shows = arguments.until_empty && std::io::stderr().is_terminal();
    let bar = shows.then(|| tokio::spawn(draw(Arc::clone(&desk), has_ended.clone())));
    let ended = app.run().await;
    if bar.is_some() {
        // So that it is drawn last, below what was said.
        crate::telemetry::flush();
    }
    has_ended.cancel();
    if let Some(bar) = bar {
        let _ = bar.await;
    }
    ended?;
    if !arguments.until_empty {
        return Ok(Exit::Done);
    }
    let counts = desk.counts().await?;
    desk.close().await;
    let Some(left) = left(&counts) else { return Ok(Exit::Done) };
    output::end_with(Level::WARN, &left);
    Ok(Exit::NeedsAPerson)
}

/// What is not done, by state: `not done: 2 failed, 1 pending; …`. `None` if all is.
fn left(counts: &Counts) -> Option<String> {
    let left: Vec<_> = counts.0.iter().filter(|count| count.state != State::Done.as_str()).collect();
    if left.is_empty() {
        return None;
    }
    let told = |count: &&Count| format!("{} {}", count.sessions, output::plain(&count.state));
    let states: Vec<_> = left.iter().map(told).collect();
    let is_listed = |state: &str| [State::Suspect, State::Failed].iter().any(|listed| listed.as_str() == state);
    let list = if left.iter().any(|count| is_listed(&count.state)) {
        "`kore-archiver status` lists the newest that failed or are suspect, "
    } else {
        ""
    };
    Some(format!("not done: {}; {list}`kore-archiver show ID` tells of each", states.join(", ")))
}

/// A bar over all rows of the queue, on a terminal; it stays there as it was at the end.
async fn draw(desk: Arc<Desk>, has_ended: CancellationToken) {
    let clock = SystemClock::new();
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("{wide_bar} {msg}").expect("the template is a constant"));
    let mut is_last = false;
    loop {
        if let Ok(counts) = desk.counts().await {
            let all: i64 = counts.0.iter().map(|count| count.sessions).sum();
            let settled = all - counts.of(State::Pending);
            bar.set_length(u64::try_from(all).unwrap_or(0));
            bar.set_position(u64::try_from(settled).unwrap_or(0));
            let not_done = settled - counts.of(State::Done);
            bar.set_message(format!("{settled}/{all} sessions, {not_done} not archived"));
        }
        if is_last {
            bar.abandon();
            // It has left the cursor in its own line, where the next line of the log would take its place.
            let _ = writeln!(std::io::stderr());
            return;
        }
        tokio::select! {
            () = clock.sleep(LOOK) => {}
            () = has_ended.cancelled() => is_last = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_counted_by_state_and_the_list_of_status_named_where_it_has_some() {
        let left = |counts: &[(&str, i64)]| {
            let count = |(state, sessions): &(&str, i64)| Count {
                state: (*state).to_owned(),
                sessions: *sessions,
                oldest: None,
            };
            left(&Counts(counts.iter().map(count).collect()))
        };
        assert_eq!(left(&[("done", 3)]), None);
        assert_eq!(left(&[]), None);
        assert_eq!(
            left(&[("done", 3), ("pending", 1), ("unavailable", 2)]).unwrap(),
            "not done: 1 pending, 2 unavailable; `kore-archiver show ID` tells of each"
        );
        assert!(left(&[("failed", 1)]).unwrap().contains("1 failed; `kore-archiver status` lists"));
    }
}
