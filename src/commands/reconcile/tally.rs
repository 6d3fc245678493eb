//! What `reconcile` found: told line by line, or counted for one document at the end.

use std::fmt::Write as _;
use std::io;

use serde_json::{Value, json};

use super::look::Found;
use crate::commands::output;

/// Sessions that the document lists; of the others it has the number. Some 10 MB of memory.
const MOST_LISTED: usize = 20_000;

#[derive(Debug)]
pub(super) struct Tally {
    json: bool,
    sessions: u64,
    objects: u64,
    elsewhere: u64,
    pub(super) drifted: u64,
    pub(super) repaired: u64,
    listed: Vec<Value>,
}

impl Tally {
    pub(super) fn new(json: bool) -> Self {
        Self { json, sessions: 0, objects: 0, elsewhere: 0, drifted: 0, repaired: 0, listed: Vec::new() }
    }

    pub(super) fn add(&mut self, id: &str, found: Found) -> io::Result<()> {
        self.sessions += 1;
        self.objects += found.objects;
        self.elsewhere += found.elsewhere;
        if found.problems.is_empty() {
            return Ok(());
        }
        self.drifted += 1;
        if !self.json {
            let lines = found.problems.iter().map(|problem| {
                let key = if problem.key.is_empty() { String::new() } else { format!("{}: ", problem.key) };
                output::plain(&format!("{id}  {}  {key}{}", problem.what, problem.detail)) + "\n"
            });
            return output::print(&lines.collect::<String>());
        }
        if self.listed.len() < MOST_LISTED {
            let problem = |problem: super::look::Problem| {
                let key = if problem.key.is_empty() { Value::Null } else { Value::from(problem.key) };
                json!({ "key": key, "what": problem.what, "detail": problem.detail })
            };
            let problems: Vec<_> = found.problems.into_iter().map(problem).collect();
            self.listed.push(json!({ "session_id": id, "problems": problems }));
        }
        Ok(())
    }

    /// `after`: the session behind which a run that was broken off can go on.
    pub(super) fn end(&self, is_finished: bool, after: Option<&str>) -> io::Result<()> {
        if self.json {
            return output::print_json(&json!({
                "finished": is_finished, "after": after, "sessions": self.sessions, "objects": self.objects,
                "elsewhere": self.elsewhere, "drifted": self.drifted, "repaired": self.repaired,
                "drift": self.listed, "not_listed": self.drifted - self.listed.len() as u64,
            }));
        }
        let so_far = if is_finished { "" } else { "broken off: " };
        let mut text = format!("{so_far}{} sessions with {} recordings compared; ", self.sessions, self.objects);
        let _ = match self.drifted {
            0 if !is_finished => write!(text, "the bucket holds all of these"),
            0 => write!(text, "the bucket holds all of it"),
            drifted => write!(text, "{drifted} drifted, {} put back to pending", self.repaired),
        };
        if self.elsewhere > 0 {
            let _ = write!(text, "; {} recordings are in another bucket and were not looked at", self.elsewhere);
        }
        output::print(&format!("{text}\n"))
    }
}
