//! Bodies that break off, on real sockets: joined or started again, never mixed (FAULTS D1, D5 to D7).

use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::kore::testing::{Act, Server, all_of, canary, fetch, fetch_from, limits, send};

const TAGGED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"a\"\r\n\r\n";
const REST: &str =
    "HTTP/1.1 206 Partial\r\nContent-Length: 6\r\nContent-Range: bytes 4-9/10\r\nETag: \"a\"\r\n\r\n456789";

/// The head and the first four bytes, an end of some kind, and then another answer to each request that follows.
async fn cut_then(end: Option<Act>, then: &'static str) -> Result<Vec<u8>, FetchError> {
    fetch(move |request, _| match request {
        0 => [send(format!("{TAGGED}0123"))].into_iter().chain(end.clone()).collect(),
        _ => vec![send(then)],
    })
    .await
}

#[tokio::test]
async fn a_body_that_is_cut_or_falls_silent_goes_on_where_it_ended() {
    for end in [None, Some(Act::Reset), Some(Act::Hang)] {
        assert_eq!(cut_then(end.clone(), REST).await.unwrap(), b"0123456789", "{end:?}");
    }
}

#[tokio::test]
async fn a_source_that_drips_is_a_stall_and_is_asked_for_the_rest() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nETag: \"a\"\r\n\r\n0123";
    let server = Server::start(move |request, _| match request {
        0 => vec![send(head), Act::Drip],
        _ => vec![send("HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n")],
    })
    .await;
    let error = fetch_from(&server).await.unwrap_err();
    assert!(matches!(&error, FetchError::Unreachable { message, .. } if message.contains("min_throughput")), "{error}");
    let requests = server.requests();
    assert!(requests.len() == 2 && requests[1].contains("range: bytes="), "{requests:?}");
    assert!(!requests[1].contains("range: bytes=4-"), "what dripped is not asked for again: {requests:?}");
}

#[tokio::test]
async fn the_request_for_the_rest_names_the_byte_and_the_tag() {
    let server = Server::start(|request, _| match request {
        0 => vec![send(format!("{TAGGED}0123"))],
        _ => vec![send(REST)],
    })
    .await;
    assert!(fetch_from(&server).await.is_ok());
    let head = server.requests()[1].to_ascii_lowercase();
    assert!(head.contains("range: bytes=4-\r\n") && head.contains("if-range: \"a\"\r\n"), "{head}");
}

#[tokio::test]
async fn an_answer_that_is_not_provably_the_rest_is_never_mixed_in() {
    for then in [
        "HTTP/1.1 206 P\r\nContent-Length: 6\r\nContent-Range: bytes 3-9/10\r\nETag: \"a\"\r\n\r\n456789",
        "HTTP/1.1 206 P\r\nContent-Length: 6\r\nContent-Range: bytes 4-9/11\r\nETag: \"a\"\r\n\r\n456789",
        "HTTP/1.1 206 P\r\nContent-Length: 6\r\nContent-Range: bytes 4-9/*\r\nETag: \"a\"\r\n\r\n456789",
        "HTTP/1.1 206 P\r\nContent-Length: 5\r\nContent-Range: bytes 4-9/10\r\nETag: \"a\"\r\n\r\n45678",
        "HTTP/1.1 206 P\r\nContent-Length: 6\r\nContent-Range: bytes 4-9/10\r\nETag: \"b\"\r\n\r\n456789",
        "HTTP/1.1 206 P\r\nContent-Length: 6\r\nContent-Range: bytes 4-9/10\r\n\r\n456789",
        "HTTP/1.1 206 P\r\nContent-Length: 6\r\nETag: \"a\"\r\n\r\n456789",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"b\"\r\n\r\nabcdefghij",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nETag: \"a\"\r\n\r\n0123456789a",
        "HTTP/1.1 416 Range\r\nContent-Length: 0\r\n\r\n",
    ] {
        let result = cut_then(Some(Act::Reset), then).await;
        assert!(matches!(result, Err(FetchError::Unreachable { retry_after: None, .. })), "{then}: {result:?}");
    }
    let same = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"a\"\r\n\r\n0123456789";
    assert_eq!(cut_then(Some(Act::Reset), same).await.unwrap(), b"0123456789");
}

#[tokio::test]
async fn a_rest_that_goes_on_too_long_is_charged_to_the_row() {
    let chunked = "HTTP/1.1 206 P\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 4-9/10\r\nETag: \"a\"\r\n\r\n";
    for then in [format!("{REST}a"), format!("{chunked}6\r\n456789\r\n1\r\na\r\n0\r\n\r\n")] {
        let then: &'static str = then.leak();
        let result = cut_then(None, then).await;
        assert!(matches!(result, Err(FetchError::Refused { .. })), "{then}: {result:?}");
    }
    // Whatever becomes of its end, a rest that came whole is whole.
    let endless = format!("{chunked}6\r\n456789\r\n").leak();
    assert_eq!(cut_then(None, endless).await.unwrap(), b"0123456789");
}

/// As a file that is too large would be told at its start; its length is known by now.
#[tokio::test]
async fn a_head_beyond_all_bounds_while_a_body_goes_on_is_one_more_failed_try() {
    let result = fetch(|request, _| match request {
        0 => vec![send(format!("{TAGGED}0123"))],
        1 => vec![send(format!("HTTP/1.1 206 Partial\r\n{}\r\n", "X: y\r\n".repeat(2000)))],
        _ => vec![send(REST)],
    });
    assert_eq!(result.await.unwrap(), b"0123456789");
}

#[tokio::test]
async fn what_the_host_says_while_it_is_asked_to_go_on_counts() {
    for code in [401, 403, 404, 410] {
        let expired = fetch(move |request, _| match request {
            0 => vec![send(format!("{TAGGED}0123"))],
            _ => vec![send(format!("HTTP/1.1 {code} No\r\nContent-Length: 0\r\n\r\n"))],
        });
        let result = expired.await;
        assert!(matches!(result, Err(FetchError::Expired { code: Some(c), .. }) if c == code), "{result:?}");
    }
    let busy = cut_then(None, "HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n").await;
    assert!(matches!(busy, Err(FetchError::Unreachable { retry_after: Some(wait), .. }) if wait.as_secs() == 7));
    let elsewhere = cut_then(None, "HTTP/1.1 302 F\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n");
    assert!(matches!(elsewhere.await, Err(FetchError::HostRefused { .. })));
}

#[tokio::test]
async fn a_host_that_always_ends_short_is_blamed_the_third_time() {
    let server = Server::start(|_, _| vec![send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123")]).await;
    let client = server.client(canary(), limits());
    for time in 1..=4 {
        let result = all_of(&client, &server.file("/f?s=1")).await;
        let blamed = matches!(result, Err(FetchError::Refused { .. }));
        assert_eq!(blamed, time >= 3, "{time}: {result:?}");
    }
}

/// What a host does with one request of the simulation.
#[derive(Clone, Debug)]
enum Mood {
    /// Honours Range and If-Range, for the file of this version.
    Honest(u8),
    /// Sends the whole file of this version, whatever was asked.
    Whole(u8),
    /// Honours Range, and forgets If-Range.
    Forgetful(u8),
    /// A 206 of this version that starts a byte too early, but names its place truly.
    Early(u8),
    /// 503, or 416.
    No(u16),
}

const LENGTH: usize = 3000;

/// Each version has the same length and other bytes, and no byte of one stands at its place in the other.
fn version(of: u8) -> Vec<u8> {
    (0..LENGTH).map(|at| u8::try_from(at % 100).unwrap() * 2 + of).collect()
}

fn answer(mood: &Mood, cut: usize, head: &str) -> Vec<Act> {
    let asked = |name| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let start: Option<usize> = asked("range: bytes=").map(|range| range.trim_end_matches('-').parse().unwrap());
    let whole = |of: u8| (format!("200 OK\r\nContent-Length: {LENGTH}\r\nETag: \"{of}\""), version(of));
    let part = |of: u8, from: usize| {
        let (length, last) = (LENGTH - from, LENGTH - 1);
        let range = format!("Content-Range: bytes {from}-{last}/{LENGTH}");
        (format!("206 P\r\nContent-Length: {length}\r\n{range}\r\nETag: \"{of}\""), version(of).split_off(from))
    };
    let (status, body) = match (mood, start) {
        (Mood::Honest(of), Some(from)) if asked("if-range:") == Some(&format!("\"{of}\"")) => part(*of, from),
        (Mood::Forgetful(of), Some(from)) => part(*of, from),
        (Mood::Early(of), Some(from)) => part(*of, from.saturating_sub(1)),
        (Mood::Honest(of) | Mood::Whole(of) | Mood::Forgetful(of) | Mood::Early(of), _) => whole(*of),
        (Mood::No(code), _) => (format!("{code} No\r\nContent-Length: 0"), Vec::new()),
    };
    let sent = body[..body.len().min(cut)].to_vec();
    vec![send(format!("HTTP/1.1 {status}\r\n\r\n")), Act::Send(sent)]
}

#[tokio::test]
async fn whatever_a_host_does_a_file_comes_whole_or_not_at_all() {
    let script = Arc::new(Mutex::new(VecDeque::<(Mood, usize)>::new()));
    let moods = Arc::clone(&script);
    let server = Server::start(move |_, head| {
        let next = moods.lock().unwrap().pop_front();
        next.map_or_else(Vec::new, |(mood, cut)| answer(&mood, cut, head))
    })
    .await;
    let client = server.client(canary(), limits());
    let mood = prop_oneof![
        8 => (0u8..2).prop_map(Mood::Honest),
        2 => (0u8..2).prop_map(Mood::Whole),
        2 => (0u8..2).prop_map(Mood::Forgetful),
        1 => (0u8..2).prop_map(Mood::Early),
        1 => prop_oneof![Just(503), Just(416)].prop_map(Mood::No),
    ];
    let steps = prop::collection::vec((mood, 0..LENGTH * 2), 1..8);
    let mut runner = TestRunner::deterministic();
    let mut whole = 0;
    for case in 0..100 {
        let steps = steps.new_tree(&mut runner).unwrap().current();
        *script.lock().unwrap() = steps.clone().into();
        if let Ok(bytes) = all_of(&client, &server.file(&format!("/{case}?s=CANARY"))).await {
            assert!(bytes == version(0) || bytes == version(1), "{steps:?}");
            whole += 1;
        }
    }
    assert!(whole > 25, "{whole}: the simulation must reach the end often enough to mean something");
}
