//! `reconcile`: does the bucket still hold what the queue calls done?
//!
//! Page after page of done rows, by session id; the objects of a page are looked at side by side, and what drifted is
//! told at once. Memory holds one page, and of the drift no more than [`MOST_LISTED`] sessions for `--json`. It changes
//! nothing unless `--repair` is given, and works beside a running daemon.
//!
//! It may end at any moment, by a signal, an error or a kill: the last session of a finished page is named, on the bar or
//! every [`TOLD_EVERY`], and `--after` goes on behind it. Starting over is as good, only slower, because a second look
//! changes nothing. `--repair` sends a session back in the transaction that every `retry` uses, and only while it is
//! still `done`/`archived`: the daemon then copies what is missing, beside what is different, as long as Kore still has
//! it.

mod look;
mod tally;

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::{Exit, Usage, desk, output};
use crate::archive::s3::S3Store;
use crate::archive::store::StoreError;
use crate::archive::{Archive, CopyError, NoLedger};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::{Settings, parse_duration};
use crate::queue::Desk;
use crate::queue::desk::Selection;
use crate::session::{Reason, SessionId};
use look::{Auditor, Session, sessions};
use tally::Tally;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kore-archiver reconcile --since 7d
  kore-archiver reconcile --since 2026-11-01 --repair
  kore-archiver reconcile --json | jq '.drift[].session_id'
  kore-archiver reconcile --read-back --after 65e7133a3242653c58d70001

Exit codes: 0 the bucket holds everything, 3 it does not, 1 it could not be finished.
Kore deletes recordings after its retention time: --repair can only bring back what is still there.")]
pub(super) struct Arguments {
    /// Only what was archived since then: a date, a time, or so long ago (7d, 12h)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Put sessions of which something is missing or different back to pending
    #[arg(long)]
    repair: bool,
    /// Read every recording back and hash it, instead of believing the store's checksums
    #[arg(long)]
    read_back: bool,
    /// Go on behind this session, where an earlier run ended
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Sessions a page, and objects that are looked at side by side.
const PAGE: u32 = 500;
const SIDE_BY_SIDE: usize = 32;
/// Where nobody sees the bar, it is said so often how far it has come.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// A store that cannot be reached is asked again so often, after so long; the SDK has tried three times each.
const PATIENCE: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15)];

pub(super) async fn run(arguments: &Arguments, settings: &Settings) -> anyhow::Result<Exit> {
    let clock = Arc::new(SystemClock::new());
    let since = arguments.since.as_deref().map(|text| since(text, clock.now())).transpose()?;
    let after = after(arguments)?;
    let desk = desk(settings).await?;
    let stop = CancellationToken::new();
    let store = Arc::new(S3Store::connect(&settings.bucket, clock.clone()).await);
    let archive =
        Archive::new(store, Arc::new(NoLedger), &settings.bucket, &settings.transfer, clock.clone(), stop.clone());
    let auditor = Auditor {
        archive,
        bucket: settings.bucket.name.clone(),
        template: settings.bucket.key_template.clone(),
        read_back: arguments.read_back,
        bucket_seen: OnceCell::new(),
    };
    let bar = bar(desk.count_done(&after, since).await?);
    let (repair, tally, told_at) = (arguments.repair, Tally::new(arguments.json), clock.elapsed());
    let mut walk = Walk { desk, auditor, since, after, repair, bar, tally, clock, told_at };
    let ended = walk.go_on(super::interruption()).await;
    stop.cancel();
    walk.end(ended)
}

/// A run over the done rows.
struct Walk {
    desk: Desk,
    auditor: Auditor,
    since: Option<Timestamp>,
    /// The last session of the last page that was finished.
    after: String,
    repair: bool,
    bar: ProgressBar,
    tally: Tally,
    clock: Arc<SystemClock>,
    /// When it was last said how far it has come, if nobody sees the bar.
    told_at: Duration,
}

impl Walk {
    async fn go_on(&mut self, interruption: impl Future<Output = ()>) -> anyhow::Result<()> {
        let mut interruption = std::pin::pin!(interruption);
        loop {
            let page = sessions(&self.desk.done_page(&self.after, self.since, PAGE).await?);
            let Some(last) = page.last().map(|session| session.id.clone()) else { return Ok(()) };
            // What is written after it is not interrupted: it would be unknown whether it took place.
            let drifted = tokio::select! {
                drifted = self.look_at(page) => drifted?,
                () = &mut interruption => return Err(anyhow!("interrupted")),
            };
            if self.repair {
                self.send_back(&drifted).await?;
            }
            self.after = last;
            self.tell();
        }
    }

    /// Names the place from which another run could go on, should this one be killed.
    fn tell(&mut self) {
        let here = output::plain(&self.after);
        let is_over = self.bar.length() == Some(self.bar.position());
        if self.bar.is_hidden() && !is_over && self.clock.elapsed().saturating_sub(self.told_at) >= TOLD_EVERY {
            self.told_at = self.clock.elapsed();
            let (done, all) = (self.bar.position(), self.bar.length().unwrap_or_default());
            output::complain(&format!("{done} of {all} sessions compared, --after {here} goes on from here"));
        }
        self.bar.set_message(here);
    }

    /// Looks at a page; gives the sessions that drifted, and that copying them again may mend.
    async fn look_at(&mut self, page: Vec<Session>) -> anyhow::Result<Vec<String>> {
        let auditor = &self.auditor;
        let looks = stream::iter(page).map(|session| async move {
            let found = patiently(auditor, &session).await;
            (session, found)
        });
        let mut looks = looks.buffered(SIDE_BY_SIDE);
        let mut drifted = Vec::new();
        while let Some((session, found)) = looks.next().await {
            let found = found?;
            self.bar.inc(1);
            if found.may_be_repaired() {
                drifted.push(session.id.clone());
            }
            let tally = &mut self.tally;
            self.bar.suspend(|| tally.add(&session.id, found))?;
        }
        Ok(drifted)
    }

    async fn send_back(&mut self, drifted: &[String]) -> anyhow::Result<()> {
        let ids: Vec<_> = drifted.iter().filter_map(|id| SessionId::parse(id).ok()).collect();
        if !ids.is_empty() {
            self.tally.repaired += self.desk.retry(&Selection::Ids(ids), Some(Reason::Archived)).await?;
        }
        Ok(())
    }

    fn end(self, ended: anyhow::Result<()>) -> anyhow::Result<Exit> {
        self.bar.finish_and_clear();
        let after = (ended.is_err() && !self.after.is_empty()).then_some(self.after.as_str());
        self.tally.end(ended.is_ok(), after)?;
        if let Err(error) = ended {
            if let Some(after) = after {
                output::complain(&format!("go on with --after {}", output::plain(after)));
            }
            return Err(error);
        }
        Ok(if self.tally.drifted == 0 { Exit::Done } else { Exit::NeedsAPerson })
    }
}

/// What will pass is waited for; what a person must mend ends the run, but for an object that alone is to blame.
async fn patiently(auditor: &Auditor, session: &Session) -> Result<look::Found, CopyError> {
    let clock = SystemClock::new();
    for wait in PATIENCE {
        match auditor.look_at(session, false).await {
            Err(CopyError::Store(StoreError::Unavailable(_))) => clock.sleep(wait).await,
            known => return known,
        }
    }
    auditor.look_at(session, true).await
}

fn since(text: &str, now: Timestamp) -> Result<Timestamp, Usage> {
    let day = || Timestamp::parse(&format!("{text}T00:00:00Z")).ok();
    let ago = || parse_duration(text).map(|ago| now.before(ago));
    let since = Timestamp::parse(text).ok().or_else(day).or_else(ago);
    since.ok_or_else(|| {
        let shown: String = text.chars().take(60).collect();
        Usage(format!("--since \"{}\": expected 2026-11-01, 2026-11-01T08:15:00Z, or 7d", output::plain(&shown)))
    })
}

fn after(arguments: &Arguments) -> Result<String, Usage> {
    let Some(text) = &arguments.after else { return Ok(String::new()) };
    SessionId::parse(text).map(|id| id.as_str().to_owned()).map_err(|error| Usage(format!("--after: {error}")))
}

/// On a terminal; else it draws nothing.
fn bar(sessions: u64) -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} sessions, {rate}, {eta} left, at {msg}")
        .expect("the template is a constant")
        .with_key("rate", |state: &ProgressState, text: &mut dyn fmt::Write| {
            let _ = text.write_str(&rate(state.per_sec()));
        });
    ProgressBar::with_draw_target(Some(sessions), target).with_style(style)
}

/// Sessions a second, in as many figures as mean something.
fn rate(per_second: f64) -> String {
    if per_second < 10.0 { format!("{per_second:.1}/s") } else { format!("{per_second:.0}/s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_no_more_figures_than_mean_something() {
        assert_eq!([189.358, 10.0, 0.26].map(rate), ["189/s", "10/s", "0.3/s"]);
    }

    #[test]
    fn since_is_a_date_a_time_or_so_long_ago() {
        let now = Timestamp::parse("2026-11-23T08:00:00Z").unwrap();
        let read = |text: &str| since(text, now).map(|at| at.to_string()).map_err(|error| error.to_string());
        assert_eq!(read("2026-11-01").unwrap(), "2026-11-01T00:00:00.000Z");
        assert_eq!(read("2026-11-01T10:00:00+02:00").unwrap(), "2026-11-01T08:00:00.000Z");
        assert_eq!(read("7d").unwrap(), "2026-11-16T08:00:00.000Z");
        for wrong in ["", "7", "yesterday", "2026-13-01", "\u{1b}[2J"] {
            assert!(read(wrong).unwrap_err().contains("expected 2026-11-01"), "{wrong}");
        }
    }
}
