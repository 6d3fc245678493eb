//! The daemon's decisions in virtual time: the real policy, a budget of evenly spaced requests, a Kore made of a trace.
//!
//! Left out are transfers (the next poll does not wait for them) and whatever takes the daemon itself less than a slot.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use kore_archiver::clock::Timestamp;
use kore_archiver::decide::{History, Next, Outlook, Seen, decide, known};
use kore_archiver::schedule::{Model, Pressure};
use kore_archiver::session::StatusKind;

use super::policy::Policy;
use super::trace::{Call, Dice, Trace};

/// What became of a trace.
pub struct Outcome {
    pub sessions: Vec<Session>,
    /// Due and not asked about, at most, in the trace's second half.
    pub longest_line: usize,
}

pub struct Session {
    pub call: Call,
    pub polls: u32,
    /// From ready (and inserted) to the poll that saw it, in seconds.
    pub lag: f64,
}

/// A slot of a budget of 60 a minute, with the guard that the daemon's own has.
const SLOT: i64 = 1020;
/// How often the daemon looks at its budget.
const LOOK: i64 = 10_000;
/// What a trace waits for after its last call: a day's media, and some.
const AFTER: i64 = 27 * 3600 * 1000;
/// Traces begin then.
const EPOCH: i64 = 1_790_000_000_000;

struct Row {
    call: Call,
    history: History,
    due: i64,
    asked: usize,
    found: Option<i64>,
}

struct Sim {
    policy: Policy,
    trace: Trace,
    rows: Vec<Row>,
    /// By when they are due.
    later: BTreeSet<(i64, usize)>,
    due: BTreeSet<(i64, usize)>,
    model: Model,
    pressure: Pressure,
    used: VecDeque<i64>,
    looked: i64,
    dice: Dice,
    takes_latest: bool,
    longest_line: usize,
}

fn millis(seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "a trace lasts days")]
    let millis = (seconds * 1000.0) as i64;
    millis
}

fn moment(at: i64) -> Timestamp {
    Timestamp::from_millis(EPOCH + at)
}

/// Sessions ids tell whole seconds.
fn second(seconds: f64) -> Timestamp {
    moment(millis(seconds.floor()))
}

/// Plays a trace under a policy.
pub fn play(trace: &Trace, policy: Policy) -> Outcome {
    let rows: Vec<Row> = trace.calls().into_iter().map(Row::new).collect();
    let later = rows.iter().enumerate().map(|(index, row)| (row.due, index)).collect();
    let sim = Sim {
        policy,
        trace: *trace,
        rows,
        later,
        due: BTreeSet::new(),
        model: Model::default(),
        pressure: Pressure::default(),
        used: VecDeque::new(),
        looked: 0,
        dice: Dice::new(trace.seed ^ 0x5eed),
        takes_latest: false,
        longest_line: 0,
    };
    sim.run()
}

impl Row {
    fn new(call: Call) -> Self {
        let due = millis(call.enqueued);
        let history = History::new(moment(due), Some(second(call.start)));
        Self { call, history, due, asked: 0, found: None }
    }

    fn hint(&self) -> Option<Timestamp> {
        self.call.hint.then(|| moment(millis(self.call.end)))
    }
}

impl Sim {
    fn run(mut self) -> Outcome {
        let end = millis(self.trace.hours * 3600.0);
        let mut slot = 0;
        while let Some(now) = self.next_moment(slot).filter(|now| *now < end + AFTER) {
            self.look(now);
            self.come_due(now);
            if (end / 2..end).contains(&now) {
                self.longest_line = self.longest_line.max(self.due.len());
            }
            if let Some(row) = self.take() {
                self.used.push_back(now);
                self.ask(row, now);
                slot = now + SLOT;
            }
        }
        let lag = |row: &Row| {
            let found = row.found.unwrap_or(end + AFTER);
            f64::from(
                i32::try_from(found - millis(row.call.ready.max(row.call.enqueued)).min(found)).unwrap_or(i32::MAX),
            ) / 1000.0
        };
        let sessions = self.rows.iter().map(|row| Session { call: row.call, polls: row.history.polls, lag: lag(row) });
        Outcome { sessions: sessions.collect(), longest_line: self.longest_line }
    }

    /// When there is a slot and something for it.
    fn next_moment(&self, slot: i64) -> Option<i64> {
        if self.due.is_empty() { self.later.first().map(|(at, _)| slot.max(*at)) } else { Some(slot) }
    }

    fn look(&mut self, now: i64) {
        while self.looked + LOOK <= now {
            // Nothing happens in long silences.
            self.looked = if now - self.looked > 60 * LOOK { now } else { self.looked + LOOK };
            let since = self.looked - 60_000;
            self.used.retain(|at| *at > since);
            let used = f64::from(u32::try_from(self.used.len()).expect("60 at most")) / 60.0 * 1.02;
            let line = f64::from(u32::try_from(self.due.len()).expect("some thousands")) / 60.0 * 1.02;
            let at = Duration::from_millis(u64::try_from(self.looked).expect("after the beginning"));
            self.pressure.note(at, used, line.min(5.0));
        }
    }

    /// New rows may be put off before they are asked about, which costs no request.
    fn come_due(&mut self, now: i64) {
        while let Some((at, row)) = self.later.first().copied().filter(|(at, _)| *at <= now) {
            self.later.pop_first();
            match self.first_look(row, at) {
                Some(put_off) => {
                    self.later.insert((put_off, row));
                    self.rows[row].due = put_off;
                    self.rows[row].history = self.rows[row].history.put_off();
                }
                None => drop(self.due.insert((at, row))),
            }
        }
    }

    fn first_look(&mut self, index: usize, at: i64) -> Option<i64> {
        let draw = self.dice.draw();
        let row = &self.rows[index];
        let is_new = row.asked == 0 && row.due == millis(row.call.enqueued);
        match self.policy {
            Policy::Clairvoyant => {
                is_new.then(|| millis(row.call.ready).max(at + 1)).filter(|_| row.call.ready > row.call.enqueued)
            }
            Policy::Ladder => is_new.then(|| row.due + millis(300.0)),
            Policy::Adaptive | Policy::Exponential | Policy::Every(_) => {
                let settings = self.policy.settings();
                let outlook = outlook(&self.model, &self.pressure, row);
                let put_off = outlook.first_look(&settings, &row.history, moment(row.due), moment(at), draw);
                put_off.map(|at| at.as_millis() - EPOCH)
            }
        }
    }

    /// As the queue does: where more is due than fits, from both ends by turns.
    fn take(&mut self) -> Option<usize> {
        self.takes_latest = !self.takes_latest;
        let taken = if self.takes_latest { self.due.pop_last() } else { self.due.pop_first() };
        taken.map(|(_, row)| row)
    }

    fn ask(&mut self, index: usize, at: i64) {
        let draw = self.dice.draw();
        let seen = self.answer(index, at);
        let settings = self.policy.settings();
        let row = &self.rows[index];
        let step = decide(&settings, &row.history, seen, moment(at), draw, &outlook(&self.model, &self.pressure, row));
        self.learn(index, &step.history, seen, at);
        let row = &mut self.rows[index];
        row.history = step.history;
        row.asked += 1;
        match step.next {
            Next::Copy => row.found = Some(at),
            Next::Finish(_) => {}
            Next::Wait(until) => {
                row.due = match (self.policy, seen) {
                    (Policy::Ladder, Seen::Status(..)) => {
                        let rung = i64::try_from(Policy::rung(row.asked) * 1000).expect("days");
                        (millis(row.call.enqueued) + rung).max(at + 1)
                    }
                    _ => until.as_millis() - EPOCH,
                };
                self.later.insert((row.due, index));
            }
        }
    }

    fn answer(&self, row: usize, at: i64) -> Seen {
        let call = &self.rows[row].call;
        let outage = millis(2.0 * 3600.0)..millis(2.0 * 3600.0 + self.trace.outage);
        if outage.contains(&at) {
            Seen::Trouble { at_least: Duration::ZERO }
        } else if at >= millis(call.ready) {
            Seen::Status(StatusKind::Success, 1)
        } else if at >= millis(call.end) {
            Seen::Status(StatusKind::MediaInProgress, 0)
        } else {
            Seen::Status(StatusKind::CallInProgress, 0)
        }
    }

    fn learn(&mut self, index: usize, after: &History, seen: Seen, at: i64) {
        let row = &self.rows[index];
        let Seen::Status(status, _) = seen else { return };
        if self.policy == Policy::Adaptive {
            let enqueued = moment(millis(row.call.enqueued));
            let before = known(&row.history, enqueued, row.hint());
            let after = known(after, enqueued, row.hint());
            let is_ready = status == StatusKind::Success;
            self.model.learn(&before, if is_ready { &before } else { &after }, is_ready, before.seconds(moment(at)));
        }
    }
}

fn outlook<'a>(model: &'a Model, pressure: &Pressure, row: &Row) -> Outlook<'a> {
    let enqueued_at = moment(millis(row.call.enqueued));
    Outlook { model, enqueued_at, call_ended_at: row.hint(), pressure: pressure.level() }
}

/// Numbers of an outcome.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub polls: f64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

impl Outcome {
    /// Of those sessions that are of this kind.
    pub fn figures(&self, which: impl Fn(&Call) -> bool) -> Figures {
        let of_kind: Vec<&Session> = self.sessions.iter().filter(|session| which(&session.call)).collect();
        let mut lags: Vec<f64> = of_kind.iter().map(|session| session.lag).collect();
        lags.sort_by(f64::total_cmp);
        let rank = |percent: usize| lags.get(lags.len() * percent / 100).copied().unwrap_or(f64::NAN);
        let count = f64::from(u32::try_from(of_kind.len()).expect("some thousands"));
        let polls = of_kind.iter().map(|session| f64::from(session.polls)).sum::<f64>() / count;
        Figures { polls, p50: rank(50), p95: rank(95), p99: rank(99) }
    }
}
