//! What can be seen while the daemon works: one line a session that moves on a terminal, one line a change elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use kore_archiver::clock::{Clock as _, SystemClock};

use crate::calls::Calls;
use crate::queue::{Outside, Seen, count};
use crate::support::kore::FakeKore;

const LOOK: Duration = Duration::from_millis(200);
/// More sessions than that do not fit a terminal: only their count moves then.
const MOST_LINES: usize = 16;

/// Returns when no row is pending.
pub(crate) async fn until_all_done(outside: &mut Outside, calls: &mut Calls, kore: &FakeKore) -> anyhow::Result<()> {
    let clock = SystemClock::new();
    let mut view = View::new(calls.by_id.len());
    loop {
        let seen = look(outside, calls, kore).await?;
        view.show(&seen, clock.elapsed());
        if !seen.iter().any(Seen::is_pending) {
            view.close();
            return Ok(());
        }
        clock.sleep(LOOK).await;
    }
}

/// Never returns unless something fails.
pub(crate) async fn for_ever(outside: &mut Outside, calls: &mut Calls, kore: &FakeKore) -> anyhow::Result<()> {
    let clock = SystemClock::new();
    let seen = look(outside, calls, kore).await?;
    let mut lines = Lines { said: seen.into_iter().map(|row| (row.session_id.clone(), row.stage())).collect() };
    loop {
        clock.sleep(LOOK).await;
        lines.show(&look(outside, calls, kore).await?, clock.elapsed());
    }
}

/// Reads the queue; ids that nobody made up get a call that begins now.
async fn look(outside: &mut Outside, calls: &mut Calls, kore: &FakeKore) -> anyhow::Result<Vec<Seen>> {
    let seen = outside.look().await?;
    for row in seen.iter().filter(|row| row.is_pending()) {
        if !calls.by_id.contains_key(&row.session_id) {
            calls.make_up(&row.session_id).begin(&row.session_id, kore);
        }
    }
    Ok(seen)
}

enum View {
    Live(Live),
    Lines(Lines),
}

impl View {
    fn new(sessions: usize) -> Self {
        if std::io::stdout().is_terminal() { Self::Live(Live::new(sessions)) } else { Self::Lines(Lines::default()) }
    }

    fn show(&mut self, seen: &[Seen], elapsed: Duration) {
        match self {
            Self::Live(live) => live.show(seen),
            Self::Lines(lines) => lines.show(seen, elapsed),
        }
    }

    fn close(self) {
        if let Self::Live(live) = self {
            live.close();
        }
    }
}

/// A line for every change.
#[derive(Default)]
struct Lines {
    said: HashMap<String, String>,
}

impl Lines {
    fn show(&mut self, seen: &[Seen], elapsed: Duration) {
        for row in seen {
            let stage = row.stage();
            if row.was_seen_by_the_daemon() && self.said.get(&row.session_id) != Some(&stage) {
                println!("{:5.1} s  {}  {stage}", elapsed.as_secs_f64(), row.session_id.escape_debug());
                self.said.insert(row.session_id.clone(), stage);
            }
        }
    }
}

/// A line that moves for every session, and one for all of them.
struct Live {
    screen: MultiProgress,
    total: ProgressBar,
    lines: HashMap<String, ProgressBar>,
    has_lines: bool,
}

impl Live {
    fn new(sessions: usize) -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let total = screen.add(ProgressBar::new(sessions as u64));
        let style = ProgressStyle::with_template("{elapsed:>5}  {bar:30} {pos}/{len} sessions, {msg}");
        total.set_style(style.expect("the template is a constant"));
        Self { screen, total, lines: HashMap::new(), has_lines: sessions <= MOST_LINES }
    }

    fn show(&mut self, seen: &[Seen]) {
        if self.has_lines {
            for row in seen {
                self.line(row);
            }
        }
        let finished = seen.iter().filter(|row| !row.is_pending());
        let files: i64 = seen.iter().map(|row| row.files).sum();
        self.total.set_length(seen.len() as u64);
        self.total.set_position(finished.count() as u64);
        self.total.set_message(format!("{} in the bucket", count(files, "recording")));
    }

    fn line(&mut self, row: &Seen) {
        let (screen, total) = (&self.screen, &self.total);
        let line = self.lines.entry(row.session_id.clone()).or_insert_with(|| {
            let line = screen.insert_before(total, ProgressBar::new_spinner());
            let style = ProgressStyle::with_template("    {prefix}  {msg}").expect("the template is a constant");
            line.set_style(style);
            line.set_prefix(row.session_id.escape_debug().to_string());
            line
        });
        if line.message() != row.stage() {
            line.set_message(row.stage());
        }
    }

    fn close(self) {
        self.lines.values().for_each(ProgressBar::abandon);
        self.total.abandon();
    }
}
