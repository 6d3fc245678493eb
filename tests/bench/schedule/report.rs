//! The tables and plots, printed and written into `tests/bench`.

use std::fmt::Write as _;
use std::path::Path;

use super::bound::fewest_polls;
use super::plot::{Point, svg};
use super::policy::Policy;
use super::sim::{Figures, Outcome, play};
use super::trace::{Delays, Enqueued, Trace};

/// Runs everything.
pub fn write() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench");
    let mut page = String::from("# When to ask: polls and lag\n\n`cargo bench --bench schedule` writes this page.\n");
    for (enqueued, file, title) in ENQUEUED {
        let points = policies(&mut page, enqueued, title);
        std::fs::write(
            folder.join(format!("schedule-{file}.svg")),
            svg(&format!("600 calls an hour, {title}"), &points),
        )
        .expect("the folder is ours");
        bound(&mut page, enqueued, &points[0]);
        let _ = writeln!(page, "![Lag against polls, {title}](schedule-{file}.svg)\n");
    }
    loads(&mut page);
    changes(&mut page);
    others(&mut page);
    std::fs::write(folder.join("schedule.md"), page).expect("the folder is ours");
}

const ENQUEUED: [(Enqueued, &str, &str); 3] = [
    (Enqueued::AtStart, "start", "enqueued at the call's start"),
    (Enqueued::AtEnd, "end", "enqueued at the call's end"),
    (Enqueued::AtEndWithHint, "hint", "enqueued at the call's end with `call_ended_at`"),
];

fn say(page: &mut String, line: &str) {
    println!("{line}");
    page.push_str(line);
    page.push('\n');
}

fn header(page: &mut String, title: &str, first: &str, more: &str) {
    say(page, &format!("\n**{title}**\n"));
    say(page, &format!("| {first} | polls a session | lag p50 | p95 | p99 |{more}"));
    say(page, &format!("|---|---|---|---|---|{}", "---|".repeat(more.matches('|').count())));
}

fn line(page: &mut String, name: &str, figures: Figures, more: &str) {
    let Figures { polls, p50, p95, p99 } = figures;
    say(page, &format!("| {name} | {polls:.2} | {p50:.0} s | {p95:.0} s | {p99:.0} s |{more}"));
}

fn live(outcome: &Outcome) -> Figures {
    outcome.figures(|call| !call.old)
}

fn usual(outcome: &Outcome) -> Figures {
    outcome.figures(|call| !call.old && !call.slow)
}

fn policies(page: &mut String, enqueued: Enqueued, title: &str) -> Vec<Point> {
    header(page, &format!("600 calls an hour, {title}"), "policy", " largest load in time |");
    let mut points = Vec::new();
    for policy in Policy::ALL {
        let figures = live(&play(&Trace { enqueued, ..Trace::default() }, policy));
        line(page, &policy.name(), figures, &format!(" {} calls/h |", sustained(enqueued, policy)));
        points.push(Point { name: policy.name(), polls: figures.polls, p50: figures.p50, p95: figures.p95 });
    }
    points
}

/// The fewest polls for a lag that was wished for, and for the one that came out.
fn bound(page: &mut String, enqueued: Enqueued, adaptive: &Point) {
    let wished = match enqueued {
        Enqueued::AtStart => (75.0, 270.0),
        Enqueued::AtEndWithHint => (60.0, 240.0),
        Enqueued::AtEnd | Enqueued::AfterEnd => return,
    };
    let fewest = |(p50, p95)| format!("{p50:.0} s and {p95:.0} s: {:.2}", fewest_polls(enqueued, p50, p95));
    let (wished, reached) = (fewest(wished), fewest((adaptive.p50, adaptive.p95)));
    say(
        page,
        &format!("\nPolls a session below which no schedule has lag p50 and p95 of {wished}, and of {reached}.\n"),
    );
}

/// What the goal allows those sessions that Kore does not delay itself, at the 95th percentile.
const LATE: f64 = 300.0;

/// The largest load, of some, under which the usual sessions are in time.
fn sustained(enqueued: Enqueued, policy: Policy) -> u32 {
    let holds = |load: &u32| {
        let trace = Trace { enqueued, calls_an_hour: f64::from(*load), hours: 3.0, ..Trace::default() };
        usual(&play(&trace, policy)).p95 <= LATE
    };
    let loads = [100, 300, 600, 1200, 1500, 1800, 2400, 3000, 3500];
    loads.into_iter().take_while(holds).last().unwrap_or(0)
}

fn loads(page: &mut String) {
    for (enqueued, _, title) in ENQUEUED {
        header(
            page,
            &format!("Adaptive under load, {title}"),
            "calls an hour",
            " p95 of the usual 90 % | longest line |",
        );
        for load in [100.0, 600.0, 1500.0, 3000.0] {
            let trace = Trace { enqueued, calls_an_hour: load, ..Trace::default() };
            let outcome = play(&trace, Policy::Adaptive);
            let more = format!(" {:.0} s | {} |", usual(&outcome).p95, outcome.longest_line);
            line(page, &format!("{load}"), live(&outcome), &more);
        }
    }
}

fn changes(page: &mut String) {
    for (to, title) in [(240.0, "10 to 4"), (1500.0, "10 to 25")] {
        for (enqueued, _, how) in [ENQUEUED[0], ENQUEUED[2]] {
            header(page, &format!("The usual delay changes from {title} minutes, {how}"), "time since", "");
            let trace = Trace { enqueued, delays: Delays::Changing(to), hours: 8.0, ..Trace::default() };
            let outcome = play(&trace, Policy::Adaptive);
            for (name, from) in
                [("before", 2.0), ("first half hour", 4.0), ("second", 4.5), ("third", 5.0), ("later", 6.0)]
            {
                let until = if name == "before" || name == "later" { from + 2.0 } else { from + 0.5 };
                let within = from * 3600.0..until * 3600.0;
                line(page, name, outcome.figures(|call| within.contains(&call.end)), "");
            }
        }
    }
}

fn others(page: &mut String) {
    header(page, "Other days, 600 calls an hour, adaptive", "day", " p95 of the usual ones |");
    let day = Trace::default();
    let days = [
        ("20,000 old sessions after an hour, and live ones", Trace { backlog: 20_000, ..day }),
        ("an outage of an hour", Trace { outage: 3600.0, ..day }),
        ("media after 2 min ± 30 s", Trace { delays: Delays::Usual(120.0, 30.0), ..day }),
        ("media after 20 min ± 5 min", Trace { delays: Delays::Usual(1200.0, 300.0), ..day }),
        ("media after 3 or after 14 min", Trace { delays: Delays::TwoWays, ..day }),
        ("media after any time, heavy tail", Trace { delays: Delays::Heavy, ..day }),
        ("media after 6 min ± 90 s", Trace { delays: Delays::Usual(360.0, 90.0), ..day }),
        ("media after 20 min ± 45 s", Trace { delays: Delays::Usual(1200.0, 45.0), ..day }),
        ("15 % take up to an hour, 5 % a day", Trace { slow: (0.15, 0.05), ..day }),
        ("calls of 7 min, sigma 0.6", Trace { lengths: (420.0, 0.6), ..day }),
        ("calls of 90 s", Trace { lengths: (90.0, 0.9), ..day }),
        ("calls of 8 min, sigma 1.2", Trace { lengths: (480.0, 1.2), ..day }),
    ];
    for (name, trace) in days {
        for (enqueued, _, how) in [ENQUEUED[0], ENQUEUED[2]] {
            let outcome = play(&Trace { enqueued, ..trace }, Policy::Adaptive);
            line(page, &format!("{name}; {how}"), live(&outcome), &format!(" {:.0} s |", usual(&outcome).p95));
            if trace.backlog > 0 && enqueued == Enqueued::AtStart {
                line(page, "… the old ones", outcome.figures(|call| call.old), " |");
            }
        }
    }
    let outcome = play(&Trace { enqueued: Enqueued::AfterEnd, ..day }, Policy::Adaptive);
    let more = format!(" {:.0} s |", usual(&outcome).p95);
    line(page, "enqueued up to 10 min after the call's end, and nobody says how long", live(&outcome), &more);
}
