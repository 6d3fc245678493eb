//! A scripted session tells its story in order, by count of polls or by the clock, and its files are there to fetch.

use std::time::Duration;

use kore_archiver::clock::{Clock, SystemClock};
use serde_json::Value;

use crate::kore_refusals::{SESSION, good};
use crate::support::kore::{Answer, FakeKore, Options, SourceFile, Timeline};

#[tokio::test]
async fn steps_are_used_up_by_polls_and_the_last_one_stays() {
    let kore = FakeKore::start(Options::default()).await;
    let timeline = Timeline::new().polls(2, "call_in_progress").polls(1, Answer::error(500, "Internal Server Error"));
    kore.session(SESSION, timeline.finally("media_unavailable"));
    for expected in ["call_in_progress", "call_in_progress", "", "media_unavailable", "media_unavailable"] {
        assert_eq!(status(&poll(&kore).await), expected);
    }
}

#[tokio::test]
async fn a_call_ends_and_its_media_is_made_by_the_clock() {
    let kore = FakeKore::start(Options::default()).await;
    let (talk, making) = (Duration::from_millis(200), Duration::from_millis(300));
    let before = kore.elapsed();
    kore.session(SESSION, Timeline::call(talk, making, [SourceFile::new("a.wav", "x")]));
    let after = kore.elapsed();
    for (word, from, until) in [
        ("call_in_progress", Duration::ZERO, talk),
        ("media_in_progress", talk, talk + making),
        ("success", talk + making, Duration::MAX),
    ] {
        SystemClock::new().sleep((after + from).saturating_sub(kore.elapsed())).await;
        let answer = poll(&kore).await;
        // A busy machine may ask when its time is over.
        let is_late = kore.elapsed() >= before.saturating_add(until);
        assert!(status(&answer) == word || is_late, "{} where {word} was to come", status(&answer));
    }
}

#[tokio::test]
async fn a_refused_poll_does_not_move_the_story_on() {
    let kore = FakeKore::start(Options::default()).await;
    kore.session(SESSION, Timeline::new().polls(1, "call_in_progress").finally("media_in_progress"));
    kore.publish_scope(false);
    poll(&kore).await;
    kore.publish_scope(true);
    assert_eq!(status(&poll(&kore).await), "call_in_progress");
}

#[tokio::test]
async fn a_list_may_grow_repeat_itself_and_be_about_another_session() {
    let kore = FakeKore::start(Options::default()).await;
    let (first, second) = (SourceFile::new("a.wav", "x"), SourceFile::new("a.wav", "y"));
    let grown = Answer::success([first.clone(), second, first.clone()]);
    let foreign = Answer::success([first.clone()]).about("65e7133a3242653c58d7ffff");
    kore.session(SESSION, Timeline::new().polls(1, Answer::success([first])).polls(1, grown).finally(foreign));
    let lengths = [poll(&kore).await, poll(&kore).await].map(|answer| answer["recording"].as_array().unwrap().len());
    assert_eq!(lengths, [1, 3]);
    assert_eq!(poll(&kore).await["sessionId"], "65e7133a3242653c58d7ffff");
}

#[tokio::test]
async fn each_poll_signs_another_query_for_the_same_path() {
    let kore = FakeKore::start(Options::default()).await;
    kore.session(SESSION, Timeline::ready([SourceFile::new("a.wav", "x")]));
    let urls = [poll(&kore).await, poll(&kore).await].map(|answer| answer["recording"][0]["fileUrl"].to_string());
    let [first, second] = urls.each_ref().map(|url| url.split_once('?').unwrap());
    assert_eq!(first.0, second.0);
    assert_ne!(first.1, second.1);
}

#[tokio::test]
async fn a_file_can_be_listed_anywhere_and_as_anything() {
    let kore = FakeKore::start(Options::default()).await;
    let elsewhere = SourceFile::new("a.wav", "x").listed_at("https://user@evil.example:444");
    let nonsense = SourceFile::new("\u{202e}../\r\n", "x").listed_as("file:///etc/passwd");
    kore.session(SESSION, Timeline::ready([elsewhere.clone(), nonsense]));
    let answer = poll(&kore).await;
    let url = answer["recording"][0]["fileUrl"].as_str().unwrap();
    assert!(url.starts_with(&format!("https://user@evil.example:444{}?e=", elsewhere.path())), "{url}");
    assert_eq!(answer["recording"][1]["fileUrl"], "file:///etc/passwd");
    assert_eq!(answer["recording"][1]["fileName"], "\u{202e}../\r\n");
}

async fn poll(kore: &FakeKore) -> Value {
    serde_json::from_str(&good(kore).send().await.unwrap().text().await.unwrap()).unwrap()
}

fn status(answer: &Value) -> &str {
    answer["status"].as_str().unwrap_or_default()
}
