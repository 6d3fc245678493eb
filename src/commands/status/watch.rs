//! `status --watch`: the same text every two seconds, in place.
//!
//! On a terminal it is drawn over the last one line by line, so that nothing flickers, and cut to the window, so that
//! nothing scrolls; the cursor comes back however it ends. Elsewhere each text follows the other. A queue that cannot be
//! read for a moment is said so and looked at again; a reader that has gone ends it.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::time::Duration;

use super::{document, text};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::commands::{interruption, output};
use crate::queue::Desk;

const EVERY: Duration = Duration::from_secs(2);
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Watches until Ctrl-C, or until nobody reads any more.
pub(super) async fn watch(desk: &Desk) -> anyhow::Result<()> {
    let is_terminal = io::stdout().is_terminal();
    if is_terminal {
        output::try_print(HIDE_CURSOR)?;
    }
    let ended = tokio::select! {
        ended = draw(desk, is_terminal) => ended,
        () = interruption() => Ok(()),
    };
    if is_terminal {
        output::print(SHOW_CURSOR)?;
    }
    match ended {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

async fn draw(desk: &Desk, is_terminal: bool) -> io::Result<()> {
    let clock = SystemClock::new();
    let mut first_done = None;
    loop {
        let now = clock.now();
        let shown = match document(desk).await {
            Ok(document) => {
                let done = done(&document);
                let since = *first_done.get_or_insert((now, done));
                format!("{}\n{}", heading(now, since, done), text(&document, now))
            }
            Err(error) => format!("{now}\n\nthe queue cannot be read: {error:#}\n"),
        };
        let shown = if is_terminal { fitted(&shown, size()) } else { shown + "\n" };
        output::try_print(&shown)?;
        clock.sleep(EVERY).await;
    }
}

fn done(document: &serde_json::Value) -> i64 {
    let states = document["states"].as_array();
    let done = states.and_then(|states| states.iter().find(|state| state["state"] == "done"));
    done.and_then(|state| state["sessions"].as_i64()).unwrap_or(0)
}

fn heading(now: Timestamp, (since, at_first): (Timestamp, i64), done: i64) -> String {
    let watched = Duration::from_secs(now.since(since).as_secs());
    let watched = humantime::format_duration(watched);
    format!("{now}   {:+} done while watched for {watched}   (Ctrl-C ends)\n", done - at_first)
}

/// Columns and lines of the window.
fn size() -> (usize, usize) {
    let known = terminal_size::terminal_size();
    known.map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)))
}

/// At most that many columns and lines, each line cleared behind its end, and what was below it.
fn fitted(text: &str, (width, height): (usize, usize)) -> String {
    let mut screen = HOME.to_owned();
    for (number, line) in text.lines().take(height.max(1)).enumerate() {
        let gap = if number == 0 { "" } else { "\r\n" };
        let cut: String = line.chars().take(width.max(1)).collect();
        let _ = write!(screen, "{gap}{cut}{CLEAR_LINE}");
    }
    screen + CLEAR_BELOW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_to_the_window_and_scrolls_nothing() {
        assert_eq!(fitted("abcdef\nx\n\ny\n", (4, 3)), "\x1b[Habcd\x1b[K\r\nx\x1b[K\r\n\x1b[K\x1b[J");
        assert_eq!(fitted("ab", (0, 0)), "\x1b[Ha\x1b[K\x1b[J");
    }

    #[test]
    fn the_heading_says_what_was_done_meanwhile() {
        let now = Timestamp::parse("2026-11-23T08:15:00Z").unwrap();
        let heading = heading(now, (now.before(Duration::from_secs(90)), 10), 17);
        assert_eq!(heading, "2026-11-23T08:15:00.000Z   +7 done while watched for 1m 30s   (Ctrl-C ends)\n");
    }
}
