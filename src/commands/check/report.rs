//! What `check` prints: a line as soon as it is known, or one document at the end.

use std::io;

use serde::Serialize;
use serde_json::json;

use crate::archive::store::StoreError;
use crate::commands::output;

/// How a proof went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    Note,
    Fault,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    outcome: Outcome,
    detail: String,
    /// What to do.
    advice: Option<String>,
}

/// All findings so far.
#[derive(Debug)]
pub(super) struct Report {
    json: bool,
    colour: bool,
    findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(json: bool, colour: bool) -> Self {
        Self { json, colour, findings: Vec::new() }
    }

    /// It was tried, and works.
    pub(super) fn ok(&mut self, what: &str, detail: &str) {
        self.add(what, Outcome::Ok, detail, None);
    }

    /// It should be known, and is no fault.
    pub(super) fn note(&mut self, what: &str, detail: &str) {
        self.add(what, Outcome::Note, detail, None);
    }

    /// It was tried, and does not work.
    pub(super) fn fault(&mut self, what: &str, detail: &str, advice: &str) {
        self.add(what, Outcome::Fault, detail, Some(advice));
    }

    /// The store said no; its errors bring their advice along.
    pub(super) fn store_fault(&mut self, what: &str, error: &StoreError) {
        let text = error.to_string();
        // After the store's own words, if there are any, which stand in brackets.
        let cut = text.find("): ").map(|at| at + 1).or_else(|| text.find(": "));
        let again = (&text[..], "try again; if it stays, look at the network between here and the store");
        let (detail, advice) = match error {
            StoreError::Setup { .. } => cut.map_or(again, |cut| (&text[..cut], text[cut..].trim_start_matches(": "))),
            StoreError::Exists(_)
            | StoreError::UploadLost(_)
            | StoreError::Corrupted(_)
            | StoreError::Unreadable(_)
            | StoreError::Hollow(_)
            | StoreError::Unavailable(_)
            | StoreError::Unanswered(_) => again,
        };
        self.fault(what, detail, advice);
    }

    fn add(&mut self, what: &str, outcome: Outcome, detail: &str, advice: Option<&str>) {
        let finding = Finding {
            what: output::plain(what),
            outcome,
            detail: output::plain(detail),
            advice: advice.map(output::plain),
        };
        if !self.json {
            // Whoever does not listen any more still gets the exit code.
            let _ = output::print(&self.line(&finding));
        }
        self.findings.push(finding);
    }

    fn line(&self, finding: &Finding) -> String {
        let (word, colour) = match finding.outcome {
            Outcome::Ok => ("ok   ", "\x1b[32m"),
            Outcome::Note => ("note ", "\x1b[33m"),
            Outcome::Fault => ("FAULT", "\x1b[31;1m"),
        };
        let word = if self.colour { format!("{colour}{word}\x1b[0m") } else { word.to_owned() };
        let advice = finding.advice.as_ref().map(|advice| format!(" -> {advice}")).unwrap_or_default();
        format!("{word}  {:<20}  {}{advice}\n", finding.what, finding.detail)
    }

    /// Says whether there was a fault.
    pub(super) fn end(&self) -> io::Result<bool> {
        let faults = self.findings.iter().filter(|finding| finding.outcome == Outcome::Fault).count();
        if self.json {
            output::print_json(&json!({ "ok": faults == 0, "faults": faults, "checks": self.findings }))?;
        } else {
            let text = match faults {
                0 => "all is well\n".to_owned(),
                1 => "1 fault\n".to_owned(),
                many => format!("{many} faults\n"),
            };
            output::print(&text)?;
        }
        Ok(faults > 0)
    }
}
