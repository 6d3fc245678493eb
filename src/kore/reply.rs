//! What an answer of the API means: HTTP code, headers and body together, sorted as CONTRACT section 3 wants it.
//!
//! Documented is only the happy answer; whether others come with 200 is not. So the body is read whatever the code, and
//! the code decides where the body does not: 429, 503 and words about a rate limit pause the account, 401 and 403 are the
//! set-up's, other 5xx are Kore's, 404 is an unknown session, and a known status counts even beside another 4xx.
//! Kore's words stay in the message, with a hint for whoever reads it. Pure.

use std::time::Duration;

use super::wire::Document;
use crate::session::{SessionId, Status, StatusKind};
use crate::source::{Answer, PollError};
use crate::words::{Secrets, message};

/// A clock that differs from Kore's by more is worth a hint: tokens are dated.
const NOTABLE_SKEW_SECONDS: i64 = 60;
/// How far into a body words about a rate limit are looked for.
const LOOKED_AT: usize = 16 * 1024;

/// One whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The HTTP code.
    pub(crate) code: u16,
    /// `Retry-After`, read and clamped.
    pub(crate) retry_after: Option<Duration>,
    /// How many seconds our clock is ahead of the `Date` header.
    pub(crate) ahead_seconds: Option<i64>,
    /// The body, or why there is none that can be read: "Kore answered with …".
    body: Result<Document, String>,
    /// Whether the body, page or document, has the words anywhere.
    mentions_a_rate_limit: bool,
    /// What Kore may have repeated.
    known: Secrets,
}

impl Reply {
    /// Takes an answer apart; `body` is `Err` where it was cut or encoded, `known` is kept of none of its words.
    pub(crate) fn new(code: u16, body: Result<&[u8], String>, known: Secrets) -> Self {
        let mentions_a_rate_limit = body.as_ref().is_ok_and(|body| mentions_a_rate_limit(body));
        let body = body.and_then(Document::parse).map(|document| document.without(&known));
        Self { code, retry_after: None, ahead_seconds: None, body, mentions_a_rate_limit, known }
    }

    /// Whether it has the form of Kore's answers, whatever it says.
    pub(crate) fn is_kores(&self) -> bool {
        self.body.is_ok()
    }

    /// Whether a fresh token may help.
    pub(crate) fn refuses_the_token(&self) -> bool {
        self.code == 401 || self.code == 403 && !self.speaks_of_a_rate_limit()
    }

    /// What the answer means for `session`.
    pub(crate) fn read(self, session: &SessionId) -> Result<Answer, PollError> {
        let known = self.known.clone();
        let mut answer = self.sorted(session)?;
        // A name may come from the path of a URL, in which nothing was replaced.
        answer.recordings.iter_mut().for_each(|file| file.name = known.hide(&file.name));
        Ok(answer)
    }

    fn sorted(self, session: &SessionId) -> Result<Answer, PollError> {
        match self.code {
            429 | 503 => Err(self.rate_limited()),
            401 => Err(self.unauthorized()),
            400..500 if self.speaks_of_a_rate_limit() => Err(self.rate_limited()),
            403 => Err(self.unauthorized()),
            500..600 => Err(PollError::Unreachable { message: self.said("Kore has trouble") }),
            400..500 => self.read_client_error(session),
            200..300 => self.read_success(session),
            // Wherever it leads: it says nothing of the session.
            300..400 => Err(PollError::Unreachable {
                message: self.said("Kore answered with a redirect, which is not followed: check `host`"),
            }),
            code => Err(self.refused(&format!("the unknown HTTP code {code}"))),
        }
    }

    fn read_success(self, session: &SessionId) -> Result<Answer, PollError> {
        if self.speaks_of_a_rate_limit() {
            return Err(self.rate_limited());
        }
        let answer = match &self.body {
            Ok(document) => answer(document, session),
            Err(what) => Err(what.clone()),
        };
        let mut answer = answer.map_err(|what| self.refused(&what))?;
        answer.fault = answer.fault.map(|what| self.refused(&what).to_string());
        Ok(answer)
    }

    /// A code of 4xx that is none of those with a meaning of their own. An unknown word beside it ("error", say) is
    /// part of the error, not a status to wait on.
    fn read_client_error(self, session: &SessionId) -> Result<Answer, PollError> {
        let answer = self.body.as_ref().ok().and_then(|document| answer(document, session).ok());
        match answer.filter(|answer| answer.status.kind() != StatusKind::Other) {
            Some(answer) => Ok(answer),
            None if self.code == 404 => {
                Err(PollError::NotFound { message: self.said("Kore does not know the session") })
            }
            None => Err(PollError::Refused { message: self.said("Kore refused the request") }),
        }
    }

    fn words(&self) -> Option<String> {
        self.body.as_ref().ok().and_then(Document::words)
    }

    /// Whether this is a refusal on account of the rate. In a good answer the words may be part of a file's name.
    fn speaks_of_a_rate_limit(&self) -> bool {
        let refusal = || self.body.as_ref().is_ok_and(|document| document.complaint().is_some());
        self.mentions_a_rate_limit && ((400..500).contains(&self.code) || refusal())
    }

    fn rate_limited(&self) -> PollError {
        PollError::RateLimited { retry_after: self.retry_after, message: self.said("Kore asks for patience") }
    }

    fn unauthorized(&self) -> PollError {
        let message = message(&format!("{}; {}", self.said("Kore refused the token"), self.hint()));
        PollError::Unauthorized { message }
    }

    fn refused(&self, what: &str) -> PollError {
        PollError::Refused { message: message(&format!("Kore answered HTTP {} with {what}", self.code)) }
    }

    fn said(&self, what: &str) -> String {
        let words = self.words().map(|words| format!(": {words}")).unwrap_or_default();
        message(&format!("{what} (HTTP {}{words})", self.code))
    }

    /// What to do about a refused token, by Kore's words (KORE.md, limits and errors).
    fn hint(&self) -> String {
        let words = self.words().unwrap_or_default().to_ascii_lowercase();
        let skew = self.ahead_seconds.filter(|ahead| ahead.abs() > NOTABLE_SKEW_SECONDS);
        let hint = if words.contains("scope") || words.contains("permission") {
            "grant the scope SmartAssist Recordings to the app and have it Published"
        } else if let Some(ahead) = skew {
            let side = if ahead > 0 { "ahead of" } else { "behind" };
            return format!("this machine's clock is {} s {side} Kore's: set it right", ahead.unsigned_abs());
        } else if words.contains("sdk credentials") {
            "check bot_id, client_id and the client secret"
        } else if words.contains("verifying") || words.contains("jwt") {
            "check the client secret and this machine's clock"
        } else {
            "check bot_id, client_id, the client secret, and that the scope SmartAssist Recordings is Published"
        };
        hint.to_owned()
    }
}

/// Documented: "You've exceeded the per-minute rate limit. Please wait for sometime before retrying."
fn mentions_a_rate_limit(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&body[..body.len().min(LOOKED_AT)]).to_ascii_lowercase();
    ["rate limit", "rate-limit", "ratelimit", "too many requests"].iter().any(|sign| text.contains(sign))
}

/// The answer in a document that is not an error by its code, or what is wrong with it.
fn answer(document: &Document, session: &SessionId) -> Result<Answer, String> {
    if let Some(complaint) = document.complaint() {
        return Err(format!("errors: {}", complaint.0));
    }
    document.speaks_of(session)?;
    let status = document.status()?.ok_or_else(|| missing_status(document))?;
    let (recordings, fault) = if is_success(&status) { document.recordings()? } else { (Vec::new(), None) };
    Ok(Answer { status, recordings, fault })
}

fn is_success(status: &Status) -> bool {
    status.kind() == StatusKind::Success
}

fn missing_status(document: &Document) -> String {
    match document.words() {
        Some(words) => format!("no status, but: {words}"),
        None => "JSON that has no status".to_owned(),
    }
}

#[cfg(test)]
mod tests;
