//! What each answer of Kore means, in every shape that it may come in.

use super::*;
use proptest::prelude::*;

fn id() -> SessionId {
    SessionId::parse("65e7133a3242653c58d70001").unwrap()
}

fn read(code: u16, body: &str) -> Result<Answer, PollError> {
    Reply::new(code, Ok(body.as_bytes()), Secrets::default()).read(&id())
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

/// Queries are looked for in a name, on a thread that others wait for: this would take hours.
#[test]
fn a_name_of_nothing_but_question_marks_is_soon_done_with() {
    let query = "a=b&c=".to_owned() + &"&x=y".repeat(3000);
    for piece in ["?", "?x=z&", "?c=d&"] {
        let name = "a.wav".to_owned() + &piece.repeat(1_000_000 / piece.len());
        let body = format!(
            r#"{{"status":"success","recording":[{{"fileName":"{name}","fileUrl":"https://a/f.wav?{query}"}}]}}"#
        );
        assert_eq!(read(200, &body).unwrap().recordings[0].name, "a.wav");
    }
}

/// That the path identifies a file is inferred: where it does not, none is taken for another.
#[test]
fn files_that_share_a_path_are_told_apart_by_what_stays_of_their_urls() {
    let list = |n: usize| {
        let urls = ["a/get?file=1", "a/get?file=2", "b/get?file=2", "a/get?file=1", "a/other?file=1"];
        // As Kore signs, and as other stores do.
        let passes = format!("e=170970627{n}&n={n}&s={n}&X-Amz-Date=2026112{n}T000000Z&Expires={n}&Key-Pair-Id={n}");
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
        r#"{"status":"success","recording":[{"fileUrl":"https://a/f?s=CANARY","FileUrl":"https://a/g?s=CANARY"}]}"#,
        r#"{"status":"success","errors":[{"msg":"bad https://a/?s=CANARY","code":"4002"}]}"#,
        r#"{"status":"success","sessionId":"65e7133a3242653c58d70002"}"#,
        r#"{"status":"success","recording":[{"SESSION_ID":"x","fileUrl":"https://a/f"}]}"#,
        &format!("{{\"a\":{}", "[".repeat(100_000)),
    ] {
        let Err(PollError::Refused { message }) = read(200, body) else { panic!("{body}") };
        assert!(!message.contains("CANARY"), "{message}");
    }
    let some = read(200, r#"{"status":"success","recording":[{"fileUrl":"https://a/f"},{"fileName":"b"}]}"#).unwrap();
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
    let known = Secrets::of(["CANARY secret", "CANARYpart"]);
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
            Reply::new(401, Ok(format!(r#"{{"errors":[{{"msg":"{msg}"}}]}}"#).as_bytes()), Secrets::default());
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
    match Reply::new(code, Ok(body), Secrets::default()).read(&id()) {
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
        if let Err(error) = Reply::new(code, Ok(&body), Secrets::default()).read(&id()) {
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
