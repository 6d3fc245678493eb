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
use crate::words::{Known, message};

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
    known: Known,
}

impl Reply {
    /// Takes an answer apart; `body` is `Err` where it was cut or encoded, `known` is kept of none of its words.
    pub(crate) fn new(code: u16, body: Result<&[u8], String>, known: Known) -> Self {
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> SessionId {
        SessionId::parse("65e7133a3242653c58d70001").unwrap()
    }

    fn read(code: u16, body: &str) -> Result<Answer, PollError> {
        Reply::new(code, Ok(body.as_bytes()), Known::default()).read(&id())
    }

    fn kind(code: u16, body: &str) -> StatusKind {
        read(code, body).unwrap().status.kind()
    }

    #[test]
    fn the_documented_answer_is_read() {
        let body = r#"{"status":"success","recording":[{"fileName":"22d8-merged.wav",
            "fileUrl":"https://smartassist.kore.ai/api/f-4a76.wav?e=1709706278&n=1&s=x"}]}"#;
        let answer = read(200, body).unwrap();
        assert_eq!(answer.status.kind(), StatusKind::Success);
        assert_eq!(answer.recordings[0].name, "22d8-merged.wav");
        assert_eq!(answer.recordings[0].url.path(), "/api/f-4a76.wav");
    }

    #[test]
    fn odd_spellings_of_the_same_are_read() {
        let files = |body: &str| read(200, body).unwrap().recordings.into_iter().map(|f| f.name).collect::<Vec<_>>();
        assert_eq!(files("\u{feff}{\"Status\":\"SUCCESS\",\"new\":{\"x\":[1]}}"), [""; 0]);
        assert_eq!(files(r#"{"status":"success","recording":null}"#), [""; 0]);
        assert_eq!(files(r#"{"status":"success","recording":{"fileUrl":"https://a/x/f.wav?s=1"}}"#), ["f.wav"]);
        assert_eq!(files(r#"{"status":"success","recording":[{"fileName":7,"fileUrl":"https://a/f"}]}"#), ["7"]);
        assert_eq!(files(r#"{"status":"success","status":"success","recording":[]}"#), [""; 0]);
        assert_eq!(files(r#"{"status":"success","errors":[],"recording":[]}"#), [""; 0]);
    }

    #[test]
    fn a_file_that_is_listed_twice_comes_once_and_500_come_in_order() {
        let item = |n: usize, s: &str| format!(r#"{{"fileName":"a.wav","fileUrl":"https://a/f-{n}.wav?s={s}"}}"#);
        let twice: Vec<String> = (0..500).flat_map(|n| [item(n, "1"), item(n, "2")]).collect();
        let answer = read(200, &format!(r#"{{"status":"success","recording":[{}]}}"#, twice.join(","))).unwrap();
        let paths: Vec<String> = answer.recordings.iter().map(|file| file.url.path().to_owned()).collect();
        assert_eq!(paths, (0..500).map(|n| format!("/f-{n}.wav")).collect::<Vec<_>>());
    }

    /// That the path identifies a file is inferred: where it does not, none is taken for another.
    #[test]
    fn files_that_share_a_path_are_told_apart_by_what_stays_of_their_urls() {
        let list = |n: usize| {
            let urls = ["a/get?file=1", "a/get?file=2", "b/get?file=2", "a/get?file=1", "a/other?file=1"];
            // As Kore signs, and as other stores do.
            let passes =
                format!("e=170970627{n}&n={n}&s={n}&X-Amz-Date=2026112{n}T000000Z&Expires={n}&Key-Pair-Id={n}");
            let item = |url: &str| format!(r#"{{"fileName":"a.wav","fileUrl":"https://{url}&{passes}"}}"#);
            format!(r#"{{"status":"success","recording":[{}]}}"#, urls.map(item).join(","))
        };
        let digests =
            |body: &str| -> Vec<_> { read(200, body).unwrap().recordings.iter().map(|f| f.url.digest()).collect() };
        let (first, second) = (digests(&list(1)), digests(&list(2)));
        assert_eq!((first.len(), &first), (4, &second), "the fourth is the first, and each is the same at every call");
        assert_eq!(first.iter().collect::<std::collections::HashSet<_>>().len(), 4);
    }

    #[test]
    fn what_cannot_be_read_is_that_rows_own_error() {
        for body in [
            "",
            "<html>CANARY</html>",
            "{\"status\":\"success\",\"rec",
            "[]",
            "null",
            "\"success\"",
            "{}",
            r#"{"status":5}"#,
            r#"{"status":"success","status":"failed"}"#,
            r#"{"status":"success","recording":[],"recording":[{"fileUrl":"https://a/f"}]}"#,
            r#"{"status":"success","recording":"https://a/?s=CANARY"}"#,
            r#"{"status":"success","recording":[{"fileUrl":"ftp://a/?s=CANARY"}]}"#,
            r#"{"status":"success","recording":[null]}"#,
            r#"{"status":"success","errors":[{"msg":"bad https://a/?s=CANARY","code":"4002"}]}"#,
            r#"{"status":"success","sessionId":"65e7133a3242653c58d70002"}"#,
            r#"{"status":"success","recording":[{"SESSION_ID":"x","fileUrl":"https://a/f"}]}"#,
            &format!("{{\"a\":{}", "[".repeat(100_000)),
        ] {
            let Err(PollError::Refused { message }) = read(200, body) else { panic!("{body}") };
            assert!(!message.contains("CANARY"), "{message}");
        }
        let some =
            read(200, r#"{"status":"success","recording":[{"fileUrl":"https://a/f"},{"fileName":"b"}]}"#).unwrap();
        assert_eq!(some.recordings.len(), 1);
        assert_eq!(some.fault.as_deref(), Some("Kore answered HTTP 200 with a recording 1 without a `fileUrl`"));
    }

    #[test]
    fn the_code_decides_where_the_body_does_not() {
        let limit = r#"{"errors":[{"msg":"You've exceeded the per-minute rate limit. Please wait.","code":4}]}"#;
        let page = "<html>You've exceeded the per-minute RATE LIMIT</html>";
        for (code, body) in
            [(429, ""), (503, r#"{"status":"success"}"#), (403, limit), (403, page), (200, limit), (400, limit)]
        {
            assert!(matches!(read(code, body), Err(PollError::RateLimited { .. })), "{code}");
        }
        let named = r#"{"status":"success","recording":[{"fileName":"rate limit.wav","fileUrl":"https://a/f"}]}"#;
        assert_eq!(kind(200, named), StatusKind::Success);
        for (code, body) in [(401, limit), (401, "<html>"), (403, r#"{"status":"failed"}"#)] {
            assert!(matches!(read(code, body), Err(PollError::Unauthorized { .. })), "{code}");
        }
        for code in [500, 502, 504] {
            assert!(matches!(read(code, r#"{"status":"failed"}"#), Err(PollError::Unreachable { .. })), "{code}");
        }
        assert!(matches!(read(404, "<html>"), Err(PollError::NotFound { .. })));
        assert_eq!(kind(404, r#"{"status":"media_unavailable"}"#), StatusKind::Unavailable);
        assert_eq!(kind(400, r#"{"status":"call_in_progress"}"#), StatusKind::CallInProgress);
        for odd in ["transcoding", "", " "] {
            assert_eq!(kind(202, &format!(r#"{{"status":"{odd}"}}"#)), StatusKind::Other, "{odd:?}");
        }
        for (code, body) in [(400, r#"{"status":"error"}"#), (412, "{}"), (600, "")] {
            assert!(matches!(read(code, body), Err(PollError::Refused { .. })), "{code}");
        }
        let redirect = read(302, r#"{"status":"success"}"#).unwrap_err();
        assert!(matches!(redirect, PollError::Unreachable { .. }) && redirect.to_string().contains("check `host`"));
    }

    #[test]
    fn what_was_sent_is_kept_of_none_of_kores_words() {
        let known = Known::of(["CANARY secret", "CANARYpart"]);
        let read = |code, body: &str| Reply::new(code, Ok(body.as_bytes()), known.clone()).read(&id());
        let long = "long ".repeat(29);
        for (code, body) in [
            (400, r#"{"errors":[{"msg":"for CANARYpart secret CANARY secret","code":"CANARYpart"}]}"#),
            (401, r#"{"msg":"secret CANARY secret"}"#),
            (200, r#"{"message":"secret CANARY\u0020secret"}"#),
            (404, &format!(r#"{{"errors":"{long}CANARY secret"}}"#)),
        ] {
            let message = read(code, body).unwrap_err().to_string();
            assert!(!message.contains("CAN"), "{message}");
        }
        let body = r#"{"status":"success","recording":[{"fileName":"CANARYpart.wav","fileUrl":"https://a/f"},
            {"fileUrl":"https://a/CANARYpart.wav?s=CANARYpart"}]}"#;
        let files = read(200, body).unwrap().recordings;
        assert_eq!(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["[hidden].wav"; 2]);
        assert!(files[1].url.url().as_str().ends_with("?s=CANARYpart"), "the request itself is left alone");
        let status = read(200, r#"{"status":"odd CANARYpart"}"#).unwrap().status;
        assert_eq!(status.as_str(), "odd [hidden]");
    }

    #[test]
    fn a_status_with_a_url_or_a_token_loses_it_and_any_other_stays_as_it_was_spelled() {
        let status = |text: &str| {
            let body = serde_json::json!({ "status": text }).to_string();
            read(200, &body).unwrap().status.as_str().to_owned()
        };
        assert_eq!(status("see https://a/f.wav?e=1&s=CANARY"), "see https://a/f.wav?[hidden]");
        assert_eq!(status("token eyJhbGciOi.eyJzdWIi.CANARY"), "token [hidden]");
        for plain in [" Transcoding, 50% ", "media_is_still_waiting_for_the_agent_to_wrap_up", "done?"] {
            assert_eq!(status(plain), plain);
        }
    }

    #[test]
    fn a_refused_token_comes_with_a_hint() {
        let hint = |msg: &str, ahead| {
            let mut reply =
                Reply::new(401, Ok(format!(r#"{{"errors":[{{"msg":"{msg}"}}]}}"#).as_bytes()), Known::default());
            reply.ahead_seconds = ahead;
            reply.read(&id()).unwrap_err().to_string()
        };
        assert!(hint("Permission denied. Scope is incorrect!", Some(2)).contains("SmartAssist Recordings"));
        assert!(hint("Invalid SDK credentials", None).contains("bot_id"));
        assert!(hint("error verifying the jwt: expired", Some(600)).contains("600 s ahead of Kore's"));
        assert!(hint("error verifying the jwt: eyJx.CANARY", Some(-61)).contains("61 s behind"));
        assert!(!hint("error verifying the jwt: eyJx.CANARY", None).contains("CANARY"));
        assert!(hint(&"long ".repeat(200), None).chars().count() <= 300);
        assert!(hint(&"long ".repeat(200), None).contains("is Published"));
    }

    /// What holds whatever came: an answer's files are apart, and an error is short, printable and tells no signature.
    fn judge(code: u16, body: &[u8]) {
        match Reply::new(code, Ok(body), Known::default()).read(&id()) {
            Ok(answer) => {
                let digests: std::collections::HashSet<_> =
                    answer.recordings.iter().map(|file| file.url.digest().to_string()).collect();
                assert_eq!(digests.len(), answer.recordings.len(), "{answer:?}");
                // A path has no question mark of its own: what is shown ends before the query.
                assert!(answer.recordings.iter().all(|file| !file.url.to_string().contains('?')), "{answer:?}");
            }
            Err(error) => {
                let message = error.to_string();
                assert!(message.chars().count() <= 300 && !message.chars().any(char::is_control), "{message:?}");
            }
        }
    }

    #[test]
    fn fuzz_answers_that_are_kept() {
        for body in crate::corpus::kept("answers") {
            for code in [200, 302, 400, 401, 403, 404, 429, 500] {
                judge(code, &body);
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_message_holds_control_characters(
            code in 100u16..700, body: Vec<u8>, text in "\\{\"(status|errors|recording|msg)\":\\PC{0,40}\\}", raw: bool
        ) {
            let body = if raw { body } else { text.into_bytes() };
            if let Err(error) = Reply::new(code, Ok(&body), Known::default()).read(&id()) {
                let message = error.to_string();
                prop_assert!(!message.chars().any(char::is_control));
                prop_assert!(message.chars().count() <= 300);
            }
        }

        #[test]
        fn fuzz_answers(code in prop_oneof![Just(200), 100u16..700], body in crate::corpus::bent("answers")) {
            judge(code, &body);
        }

        #[test]
        fn whatever_kore_says_in_errors_is_escaped(said: String) {
            let body = serde_json::json!({ "errors": [{ "msg": said, "code": said }] }).to_string();
            let message = read(200, &body).unwrap_err().to_string();
            prop_assert!(!message.chars().any(char::is_control));
        }
    }
}
