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
        output::print(&format!("{}\n", self.sentence(is_finished)))
    }

    fn sentence(&self, is_finished: bool) -> String {
        let so_far = if is_finished { "" } else { "broken off: " };
        if self.sessions == 0 {
            return format!("{so_far}no session was compared");
        }
        let (sessions, recordings) = (counted(self.sessions, "session"), counted(self.objects, "recording"));
        let mut text = format!("{so_far}{sessions} with {recordings} compared");
        let _ = match self.drifted {
            // Nothing was asked of the bucket.
            0 if self.objects == 0 => Ok(()),
            0 if !is_finished => write!(text, "; the bucket holds all of these"),
            0 => write!(text, "; the bucket holds all of it"),
            drifted => write!(text, "; {drifted} drifted, {} put back to pending", self.repaired),
        };
        match self.elsewhere {
            0 => {}
            1 => text.push_str("; 1 recording is in another bucket and was not looked at"),
            many => {
                let _ = write!(text, "; {many} recordings are in another bucket and were not looked at");
            }
        }
        text
    }
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_at_the_end_is_true_of_none_of_one_and_of_many() {
        let told = |is_finished, sessions, objects, elsewhere| {
            Tally { sessions, objects, elsewhere, ..Tally::new(false) }.sentence(is_finished)
        };
        assert_eq!(told(false, 0, 0, 0), "broken off: no session was compared");
        assert_eq!(told(true, 0, 0, 0), "no session was compared");
        assert_eq!(
            told(true, 1, 1, 1),
            "1 session with 1 recording compared; the bucket holds all of it; \
                                         1 recording is in another bucket and was not looked at"
        );
        assert_eq!(
            told(false, 2, 3, 0),
            "broken off: 2 sessions with 3 recordings compared; the bucket holds all of these"
        );
        let drifted = Tally { drifted: 2, repaired: 1, sessions: 5, objects: 9, ..Tally::new(false) };
        assert!(drifted.sentence(true).ends_with("9 recordings compared; 2 drifted, 1 put back to pending"));
        // All of them are elsewhere: the bucket was not asked, and holds none of it.
        assert!(
            told(true, 1, 0, 2).contains("1 session with 0 recordings compared; 2 recordings are in another bucket")
        );
    }
}
