//! The page at `/`, for people: what is going on, what waits for whom, and what to do.
//!
//! One template, filled with text; no script, and nothing is loaded from anywhere, which the Content-Security-Policy
//! makes the browser enforce. Much of what it shows was said by strangers: file names and errors by Kore and its file
//! hosts, session ids by whoever inserts. All of it passes [`escaped`], and no value is put into an attribute but numbers
//! of our own.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::clock::Timestamp;
use crate::config::write_size;
use crate::flights::InFlight;
use crate::pause::Pause;
use crate::queue::Counts;
use crate::queue::desk::Record;
use crate::session::{Reason, State};

const TEMPLATE: &str = include_str!("page.html");

/// What the browser may do with the page: show it, in its own style.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Transfers that are listed; of the others there is the number.
const MOST_FLIGHTS: usize = 20;

/// In place of what a queue that cannot be read would say.
const NOT_KNOWN: &str = "<p class=\"soft\">Not known.</p>";

/// An account's requests.
#[derive(Clone, Debug)]
pub(super) struct Spent {
    pub(super) account: String,
    pub(super) used: u32,
    pub(super) limit: u32,
}

/// Everything that the page shows.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) now: Timestamp,
    /// Since the loop came round.
    pub(super) loop_age: Duration,
    /// What the queue said, or why it could not.
    pub(super) queue: Result<QueueFacts, String>,
    pub(super) pauses: Vec<Pause>,
    pub(super) spent: Vec<Spent>,
    pub(super) flights: Vec<InFlight>,
}

/// What the queue says.
#[derive(Clone, Debug, Default)]
pub(super) struct QueueFacts {
    pub(super) counts: Counts,
    pub(super) due: i64,
    pub(super) failures: Vec<Record>,
}

/// The page as HTML.
pub(super) fn page(facts: &Facts) -> String {
    let queue = facts.queue.as_ref().ok();
    let (word, banner) = banner(facts);
    let parts = [
        ("title", format!("{word} - kore-archiver")),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("now", time(&facts.now.to_string())),
        ("banner", banner),
        ("counts", counts(queue)),
        ("waiting", waiting(facts, queue)),
        ("pauses", pauses(&facts.pauses)),
        ("budgets", facts.spent.iter().map(budget).collect()),
        ("flights", flights(&facts.flights)),
        ("failures", queue.map_or_else(|| NOT_KNOWN.to_owned(), |queue| failures(&queue.failures))),
    ];
    filled(&parts)
}

/// In one pass, so that what a part says is never taken for a place to fill.
fn filled(parts: &[(&str, String)]) -> String {
    let mut page = String::with_capacity(16 * 1024);
    let mut rest = TEMPLATE;
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        page.push_str(parts.iter().find(|(part, _)| *part == name).map_or("", |(_, text)| text));
        rest = after;
    }
    page + rest
}

/// One word for the title, and the sentence that comes first.
fn banner(facts: &Facts) -> (&'static str, String) {
    let (word, class, text) = match (&facts.queue, facts.pauses.len()) {
        _ if facts.loop_age >= super::STUCK => (
            "stuck",
            "bad",
            format!(
                "The loop has not come round for {}. The service manager restarts it; else <code>systemctl restart kore-archiver</code>.",
                duration(facts.loop_age)
            ),
        ),
        (Err(error), _) => ("no queue", "bad", format!("The queue cannot be read: {}", escaped(error))),
        (Ok(_), 0) => ("working", "good", "Working. Nothing is paused.".to_owned()),
        (Ok(_), 1) => ("paused", "warn", "Something is paused; the rest goes on.".to_owned()),
        (Ok(_), many) => ("paused", "warn", format!("{many} things are paused; the rest goes on.")),
    };
    (word, format!("<p class=\"banner {class}\" role=\"status\">{text}</p>"))
}

/// A queue that cannot be read has counts all the same: nobody may take them for none.
fn counts(queue: Option<&QueueFacts>) -> String {
    let card = |state: State| {
        let count = queue.map(|queue| queue.counts.of(state));
        let class = match state {
            State::Suspect | State::Failed if count > Some(0) => "bad",
            State::Pending | State::Done | State::Suspect | State::Unavailable | State::Failed => "",
        };
        let shown = count.map_or_else(|| "?".to_owned(), grouped);
        format!("<div class=\"{class}\"><b>{shown}</b>{}</div>", state.as_str())
    };
    State::ALL.into_iter().map(card).collect()
}

fn waiting(facts: &Facts, queue: Option<&QueueFacts>) -> String {
    let Some(queue) = queue else { return String::new() };
    let Some(oldest) = queue.counts.oldest(State::Pending) else { return "Nothing is pending.".to_owned() };
    let age = duration(facts.now.since(oldest));
    format!("The oldest pending session was enqueued {age} ago. Due and not yet taken: {}.", grouped(queue.due))
}

fn pauses(pauses: &[Pause]) -> String {
    if pauses.is_empty() {
        return String::new();
    }
    let item = |pause: &Pause| {
        format!(
            "<div class=\"item\"><div class=\"top\"><b class=\"warn\">{} · {}</b><span class=\"soft\">since {} · tried again at {}</span></div><p>{}</p></div>",
            escaped(&pause.what),
            escaped(pause.reason),
            time(&pause.since.to_string()),
            time(&pause.until.to_string()),
            escaped(&pause.message),
        )
    };
    format!("<h2>Paused</h2>{}", pauses.iter().map(item).collect::<String>())
}

fn budget(spent: &Spent) -> String {
    format!(
        "<div class=\"item\"><div class=\"top\"><b>{}</b><span>{} of {}</span></div>{}</div>",
        escaped(&spent.account),
        grouped(spent.used.into()),
        grouped(spent.limit.into()),
        bar(u64::from(spent.used), u64::from(spent.limit)),
    )
}

fn flights(flights: &[InFlight]) -> String {
    if flights.is_empty() {
        return "<p class=\"soft\">None.</p>".to_owned();
    }
    let mut text: String = flights.iter().take(MOST_FLIGHTS).map(flight).collect();
    if let more @ 1.. = flights.len().saturating_sub(MOST_FLIGHTS) {
        let _ = write!(text, "<p class=\"soft\">and {more} more</p>");
    }
    text
}

fn flight(flight: &InFlight) -> String {
    let (size, bar) = match flight.length {
        Some(length) => (format!("{} of {}", size(flight.bytes), size(length)), bar(flight.bytes, length)),
        None => (size(flight.bytes), String::new()),
    };
    format!(
        "<div class=\"item\"><div class=\"top\"><span><code>{}</code> <span class=\"name\">{}</span></span><span class=\"soft\">{size}, {}</span></div>{bar}</div>",
        escaped(&flight.session_id),
        escaped(&flight.file_name),
        duration(flight.took),
    )
}

fn failures(failures: &[Record]) -> String {
    if failures.is_empty() {
        return "<p class=\"soft\">None.</p>".to_owned();
    }
    failures.iter().map(failure).collect()
}

fn failure(record: &Record) -> String {
    let text = |column: &str| record.get(column).and_then(Value::as_str).unwrap_or_default();
    let advice = Reason::parse(text("reason")).map_or("", Reason::advice);
    let error = match text("last_error") {
        "" => String::new(),
        error => format!("<p class=\"said\">{}</p>", escaped(error)),
    };
    format!(
        "<div class=\"item\"><div class=\"top\"><span><code>{}</code> <b class=\"bad\">{}</b></span><span class=\"soft\">{} · {}</span></div>{error}<p class=\"soft\">{}</p></div>",
        escaped(text("session_id")),
        escaped(text("reason")),
        escaped(text("bot")),
        time(text("finished_at")),
        with_code(advice),
    )
}

/// Our own advice, in which what is to be typed stands between backticks.
fn with_code(advice: &str) -> String {
    let piece = |(number, piece): (usize, &str)| match number % 2 {
        0 => escaped(piece),
        _ => format!("<code>{}</code>", escaped(piece)),
    };
    advice.split('`').enumerate().map(piece).collect()
}

/// Full is full, also where more than the limit was counted.
fn bar(part: u64, whole: u64) -> String {
    let percent = (u128::from(part) * 100).checked_div(u128::from(whole)).unwrap_or(0).min(100);
    format!("<div class=\"bar\"><i style=\"width:{percent}%\"></i></div>")
}

/// Fit for HTML, and without the invisible characters that turn text around.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\\' => safe.push('\\'),
            other => safe.extend(other.escape_debug()),
        }
    }
    safe
}

/// `2026-11-23 08:15:00` of a time in the queue's form, in UTC.
fn time(text: &str) -> String {
    let seconds: String = text.chars().take(19).map(|c| if c == 'T' { ' ' } else { c }).collect();
    escaped(&seconds) + " UTC"
}

/// The two largest units: `3days 4h`.
fn duration(duration: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => write_size(bytes >> 10 << 10),
        _ => write_size(bytes >> 20 << 20),
    }
}

/// `1 234 567`, in figures that cannot break.
fn grouped(count: i64) -> String {
    let digits = count.max(0).to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push_str("&#8239;");
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            now: Timestamp::parse("2026-11-23T08:15:00Z").unwrap(),
            loop_age: Duration::ZERO,
            queue: Ok(QueueFacts::default()),
            pauses: Vec::new(),
            spent: vec![Spent { account: "default".into(), used: 30, limit: 60 }],
            flights: Vec::new(),
        }
    }

    #[test]
    fn every_place_of_the_template_is_filled_and_nothing_else_is_a_place() {
        let mut facts = facts();
        facts.flights.push(InFlight {
            session_id: "{{now}}".into(),
            file_name: "a.wav".into(),
            bytes: 50 << 20,
            length: Some(100 << 20),
            took: Duration::from_secs(4000),
        });
        let page = page(&facts);
        assert_eq!(page.matches("{{").count(), 1, "what a stranger wrote stays as it is");
        assert!(page.contains("50MiB of 100MiB, 1h 6m"), "{page}");
        assert!(page.contains("width:50%"), "{page}");
        assert!(page.contains("30 of 60"), "{page}");
        assert!(page.contains("Working."), "{page}");
    }

    #[test]
    fn what_strangers_say_is_text_and_nothing_more() {
        let hostile = "<script>alert('1')</script>\"&\u{202e}\u{1b}\n";
        let mut facts = facts();
        let record = ["session_id", "bot", "reason", "last_error", "finished_at"]
            .map(|column| (column.to_owned(), Value::from(hostile)));
        facts.queue = Ok(QueueFacts { failures: vec![record.into_iter().collect()], ..QueueFacts::default() });
        let (since, message) = (facts.now, hostile.to_owned());
        facts.pauses.push(Pause { what: hostile.into(), reason: "unauthorized", message, since, until: since });
        facts.spent[0].account = hostile.into();
        let (session_id, file_name) = (hostile.to_owned(), hostile.to_owned());
        facts.flights.push(InFlight { session_id, file_name, bytes: 1, length: None, took: Duration::ZERO });
        let page = page(&facts);
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains(['\u{202e}', '\u{1b}']), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;"), "{page}");
        facts.queue = Err(hostile.into());
        assert!(!super::page(&facts).contains("<script"));
    }

    #[test]
    fn a_queue_that_cannot_be_read_is_not_said_to_be_empty() {
        assert!(page(&facts()).contains("<b>0</b>pending") && page(&facts()).contains("Nothing is pending."));
        let page = page(&Facts { queue: Err("it is damaged".into()), ..facts() });
        assert!(page.contains("The queue cannot be read: it is damaged"), "{page}");
        assert_eq!(page.matches("<b>?</b>").count(), State::ALL.len());
        for claim in ["<b>0</b>", "Nothing is pending", "Newest that need a person</h2>\n<p class=\"soft\">None."] {
            assert!(!page.contains(claim), "{claim}");
        }
    }

    #[test]
    fn every_reason_that_needs_a_person_says_what_to_do() {
        for reason in Reason::ALL {
            let record = [("reason".to_owned(), Value::from(reason.as_str()))].into_iter().collect();
            assert!(failures(&[record]).contains(&with_code(reason.advice())));
            assert!(!with_code(reason.advice()).contains('`'), "{reason:?}");
            assert!(reason.advice().len() > 10, "{reason:?}");
        }
    }

    #[test]
    fn figures_read_well() {
        assert_eq!(grouped(1_234_567), "1&#8239;234&#8239;567");
        assert_eq!((grouped(0), grouped(999), grouped(-1)), ("0".into(), "999".into(), "0".into()));
        assert_eq!([size(0), size(2047), size(5 << 20)], ["0 B", "1KiB", "5MiB"]);
        assert_eq!(duration(Duration::from_secs(90_061)), "1day 1h");
        assert!(bar(200, 100).contains("100%") && bar(1, 0).contains("width:0%"));
    }
}
