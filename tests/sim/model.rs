//! What the table must say, kept beside it: every change of a row has a cause that is known here.

use std::collections::BTreeMap;

use kore_archiver::clock::Timestamp;
use kore_archiver::queue::{Applied, Claimed, Write};
use kore_archiver::session::{Reason, State};

use crate::daemon::policy;
use crate::evidence;
use crate::hand::{Seen, SeenRecording};
use crate::world::World;

#[derive(Debug, Default)]
pub(crate) struct Model {
    rows: BTreeMap<String, Row>,
    lives: u64,
}

#[derive(Debug)]
struct Row {
    /// A new one whenever the row starts afresh.
    life: u64,
    since: Timestamp,
    state: State,
    reason: Option<&'static str>,
    failures: u32,
    /// A done row's files, by their place in the script.
    files: Vec<usize>,
}

/// A result that was handed to a writer, and what became of it.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) actor: u64,
    pub(crate) claimed: std::sync::Arc<Claimed>,
    pub(crate) life: u64,
    pub(crate) own_before: u32,
    pub(crate) is_zombie: bool,
    pub(crate) write: Write,
    /// `None`: the writer has ended without it.
    pub(crate) applied: Option<Applied>,
}

impl Model {
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.rows.contains_key(id)
    }

    pub(crate) fn life(&self, id: &str) -> u64 {
        self.rows.get(id).map_or(0, |row| row.life)
    }

    /// Inserted, replaced or sent back.
    pub(crate) fn begins(&mut self, id: &str, since: Timestamp) {
        self.lives += 1;
        let row = Row { life: self.lives, since, state: State::Pending, reason: None, failures: 0, files: Vec::new() };
        self.rows.insert(id.to_owned(), row);
    }

    pub(crate) fn deleted(&mut self, id: &str) {
        self.rows.remove(id);
    }

    /// A result was written, or refused.
    pub(crate) fn learn(&mut self, world: &World, verdict: &Verdict) {
        let id = verdict.claimed.lease().label().to_owned();
        let is_current = self.rows.get(&id).is_some_and(|row| row.life == verdict.life && row.state == State::Pending);
        let wrong = |what: &str| world.violation(format!("{id}: {what}: {:?}", verdict.write));
        match verdict.applied {
            Some(Applied::Yes) if verdict.is_zombie => wrong("a process that was replaced changed a row"),
            Some(Applied::Yes) if self.knows(&id) && !is_current => wrong("a lease that is over changed a row"),
            Some(Applied::Yes) => self.changed(world, &id, verdict),
            Some(Applied::LeaseLost | Applied::Refused) if is_current && !verdict.is_zombie => {
                wrong("a lease in force was refused");
            }
            None if !verdict.is_zombie => wrong("the writer has ended"),
            Some(Applied::LeaseLost | Applied::Refused) | None => {}
        }
    }

    fn changed(&mut self, world: &World, id: &str, verdict: &Verdict) {
        let Some(row) = self.rows.get_mut(id) else { return };
        let (history, reason) = match &verdict.write {
            Write::Waits { outcome, .. } => (&outcome.history, None),
            Write::Finishes { outcome, reason, .. } => (&outcome.history, Some(*reason)),
            other => return world.violation(format!("{id}: a sound row was refused: {other:?}")),
        };
        let own = world.lock().kore.get(id).map_or(0, |told| told.own);
        let charged = history.failures.saturating_sub(row.failures);
        if charged > u32::from(own > verdict.own_before) {
            world.violation(format!("{id}: it was charged for what is not its own: {:?}", verdict.write));
        }
        row.failures = history.failures;
        if let Some(reason) = reason {
            row.state = reason.state();
            row.reason = Some(reason.as_str());
            world.stage.note(&format!("{id} {}", reason.as_str()));
            if let Some(why_not) = unjustified(world, id, reason, row.since) {
                world.violation(format!("{id}: it ended as {}, but {why_not}: {:?}", reason.as_str(), verdict.write));
            }
            if reason == Reason::Archived {
                row.files = world.lock().lists.get(&verdict.actor).cloned().unwrap_or_default();
                if let Err(why) = evidence::of_done(world, id, &row.files) {
                    world.violation(format!("{id}: it is called done, but {why}"));
                }
            }
        }
    }

    /// The run is over, and everything is at rest.
    pub(crate) fn compare(&self, world: &World, rows: &[Seen], recordings: &[SeenRecording]) {
        for (_, id, state, reason, failures) in rows {
            let Some(row) = self.rows.get(id) else {
                if state != "failed" {
                    world.violation(format!("a row that is no row of ours ended as {state}: {id:?}"));
                }
                continue;
            };
            let expected = (row.state.as_str(), row.reason, i64::from(row.failures));
            if (state.as_str(), reason.as_deref(), *failures) != expected {
                world.violation(format!("{id}: {state} {reason:?} {failures} where {expected:?} was written"));
            }
        }
        for (id, row) in &self.rows {
            if !rows.iter().any(|(_, seen, ..)| seen == id) {
                world.violation(format!("{id}: the row has vanished"));
            }
            self.at_rest(world, id, row, recordings);
        }
    }

    #[expect(clippy::unused_self, reason = "it belongs to the model's questions")]
    fn at_rest(&self, world: &World, id: &str, row: &Row, recordings: &[SeenRecording]) {
        let (archivable, excused) = {
            let state = world.lock();
            let told = &state.kore[id];
            (told.script.is_archivable(), told.is_excused())
        };
        if row.state == State::Pending {
            world.violation(format!("{id}: still pending when everything is at rest"));
        } else if archivable && !excused && row.state != State::Done {
            world.violation(format!("{id}: it could be archived, and is {}", row.state.as_str()));
        }
        if row.state != State::Done {
            return;
        }
        match evidence::of_done(world, id, &row.files) {
            Err(why) => world.violation(format!("{id}: it is done no longer: {why}")),
            Ok(entries) => {
                for entry in entries {
                    let in_table = |(session, _, key, bytes, sha256): &SeenRecording| {
                        session == id && *key == entry.key && *bytes == entry.bytes && *sha256 == entry.sha256
                    };
                    if !recordings.iter().any(in_table) {
                        world.violation(format!("{id}: the table of recordings lacks {}", entry.key));
                    }
                }
            }
        }
    }
}

/// Why a row may not end so, if it may not.
fn unjustified(world: &World, id: &str, reason: Reason, since: Timestamp) -> Option<&'static str> {
    let policy = policy();
    let now = kore_archiver::clock::Clock::now(&world.stage);
    let state = world.lock();
    let told = state.kore.get(id)?;
    let (holds, why_not) = match reason {
        Reason::Archived => (told.successes > 0, "Kore never said success"),
        Reason::SuspectContent => {
            let odd = told.odd >= 3 || told.unmarked_cuts > 0 || told.script.files.iter().any(|file| !file.sound);
            (odd, "every file that came was sound")
        }
        Reason::MediaUnavailable | Reason::KoreFailed => (told.denials >= 2, "Kore did not say so twice"),
        Reason::RecordingDisabled => (told.script.fate == "recording_disabled", "Kore did not say so"),
        Reason::TooShort => (told.script.fate == "media_unavailable_short_duration", "Kore did not say so"),
        Reason::NeverReady => (now.since(since) >= policy.give_up_after, "it is too soon to give up"),
        Reason::NotFound | Reason::TooManyFailures => (told.own >= policy.max_failures, "it had not enough failures"),
        Reason::HostRefused => (told.hosts_refused > 0, "no host was refused"),
        Reason::InvalidRow | Reason::UnknownBot | Reason::TooLarge => (false, "nothing of the kind is there"),
    };
    (!holds).then_some(why_not)
}
