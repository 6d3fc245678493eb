//! `reconcile`: drift is found, told, and sent back; what is whole is left alone.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::kore::{Answer, SourceFile, Timeline};
use crate::support::media;
use crate::support::s3::{Fault, Lie, Op, Times};
use crate::support::scene::key;
use crate::support::world::{World, id, until};

fn wav(seed: u64) -> Vec<u8> {
    media::wav(media::WavShape::Plain, &media::speech(seed, Duration::from_secs(5)))
}

/// A world in which these sessions are done, each with one recording.
async fn done(numbers: std::ops::RangeInclusive<u32>) -> World {
    let world = World::new().await;
    let ids: Vec<String> = numbers.clone().map(id).collect();
    for number in numbers {
        let file = SourceFile::new("call.wav", wav(u64::from(number)));
        world.kore.session(&id(number), Timeline::new().finally(Answer::success([file])));
    }
    world.insert(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(world.run_until_empty().await.success(), "{}", world.log());
    world
}

/// Exit code and document.
fn reconcile(world: &World, arguments: &[&str]) -> (i32, Value) {
    let all: Vec<&str> = ["reconcile", "--json"].iter().chain(arguments).copied().collect();
    let output = world.run(&all);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let document = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap_or(-1), document)
}

/// `session: what key` of everything that drifted.
fn drift(document: &Value) -> Vec<String> {
    let sessions = document["drift"].as_array().expect("a list").iter();
    let told = sessions.flat_map(|session| {
        let problems = session["problems"].as_array().expect("a list").iter();
        problems.map(|problem| {
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            format!("{}: {} {}", text(&session["session_id"]), text(&problem["what"]), text(&problem["key"]))
        })
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_holds_everything_is_said_to() {
    let world = done(1..=3).await;
    let (code, document) = reconcile(&world, &[]);
    assert_eq!((code, drift(&document)), (0, vec![]));
    assert_eq!((document["sessions"].as_u64(), document["objects"].as_u64()), (Some(3), Some(3)));
    assert_eq!(document["finished"], true);
    let reads = world.s3.count(Op::GetObject);
    let (code, _) = reconcile(&world, &["--read-back"]);
    assert_eq!((code, world.s3.count(Op::GetObject) - reads), (0, 3));
}

/// As after a rule that moves objects to an archive class.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_back_is_judged_by_its_head_and_stops_nothing() {
    let world = done(1..=3).await;
    world.s3.fail_next(Op::GetObject, Times::Forever, Fault::Status(403, "InvalidObjectState"));
    let (code, document) = reconcile(&world, &["--read-back"]);
    assert_eq!((code, drift(&document), document["finished"].as_bool()), (0, vec![], Some(true)));
}

/// A store that still lists an object, and has lost its bytes.
#[tokio::test(flavor = "multi_thread")]
async fn what_get_does_not_find_is_different_though_head_knows_it() {
    let world = done(1..=2).await;
    world.s3.fail_next(Op::GetObject, Times::Next(1), Fault::Status(404, "NoSuchKey"));
    let (code, document) = reconcile(&world, &["--read-back"]);
    assert_eq!((code, &document["finished"]), (3, &Value::from(true)), "{document}");
    assert_eq!(drift(&document).len(), 1, "{document}");
    assert!(document.to_string().contains(", though HeadObject finds it"), "{document}");
}

/// As where the store has lost a part of one: the others are looked at, and nothing is sent back for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_whenever_it_is_read_is_told_and_ends_nothing() {
    let world = done(1..=1).await;
    world.s3.fail_next(Op::GetObject, Times::Forever, Fault::CutRead);
    let (code, document) = reconcile(&world, &["--read-back", "--repair"]);
    assert_eq!((code, &document["finished"], &document["repaired"]), (3, &true.into(), &0.into()), "{document}");
    assert_eq!(drift(&document), [format!("{}: not_read {}", id(1), key(&id(1), "call.wav"))]);
    // A bucket that does not answer at all is another matter.
    world.s3.fail_next(Op::Any, Times::Forever, Fault::SlowDown);
    let (code, document) = reconcile(&world, &["--read-back"]);
    assert_eq!((code, &document["finished"], drift(&document)), (1, &false.into(), vec![]), "{document}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_different_or_without_its_sidecar_is_told_and_repaired() {
    let world = done(1..=4).await;
    world.s3.forget(&key(&id(1), "call.wav"));
    world.s3.forget(&key(&id(2), "call.wav"));
    world.s3.pre_put(&key(&id(2), "call.wav"), wav(99), &[]).await;
    world.s3.forget(&key(&id(3), "session.json"));

    let (code, document) = reconcile(&world, &[]);
    assert_eq!(code, 3);
    let expected = [
        format!("{}: missing {}", id(1), key(&id(1), "call.wav")),
        format!("{}: different {}", id(2), key(&id(2), "call.wav")),
        format!("{}: sidecar_missing -", id(3)),
    ];
    assert_eq!(drift(&document), expected);
    assert_eq!(document["repaired"], 0);
    let text = world.run(&["reconcile"]);
    let text = String::from_utf8_lossy(&text.stdout);
    assert!(text.contains("3 drifted, 0 put back"), "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");
    assert_eq!(world.column(&id(1), "state").await.as_deref(), Some("done"), "nothing changes without --repair");

    let (code, document) = reconcile(&world, &["--repair"]);
    assert_eq!((code, &document["repaired"]), (3, &Value::from(3)));
    assert_eq!(world.column(&id(4), "state").await.as_deref(), Some("done"));
    assert!(world.run_until_empty().await.success(), "{}", world.log());
    assert_eq!(world.s3.body(&key(&id(1), "call.wav")).unwrap(), wav(1));
    assert_eq!(world.s3.body(&key(&id(2), "call.wav")).unwrap(), wav(99), "what others put there is not overwritten");
    assert!(world.s3.keys().iter().any(|key| key.contains(".conflict-")), "{:?}", world.s3.keys());
    assert!(world.s3.body(&key(&id(3), "session.json")).is_some());
    assert_eq!(world.s3.deletes(), 0);
    let (code, document) = reconcile(&world, &[]);
    assert_eq!((code, drift(&document)), (0, vec![]), "what was repaired is whole");
    let known = world.rows("SELECT key, sha256 FROM recordings ORDER BY key").await;
    assert_eq!(known.len(), 4, "no entry is left of the key that holds other bytes: {known:?}");
    assert!(known.iter().all(|row| row["key"] != Some(key(&id(2), "call.wav"))), "{known:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn since_after_and_only_done_rows_narrow_it() {
    let world = done(1..=3).await;
    world
        .execute(&format!(
            "UPDATE sessions SET finished_at = '2026-01-01T00:00:00.000Z' WHERE session_id = '{}'",
            id(1)
        ))
        .await
        .unwrap();
    let sessions = |arguments: &[&str]| reconcile(&world, arguments).1["sessions"].as_u64();
    assert_eq!(sessions(&["--since", "1h"]), Some(2));
    assert_eq!(sessions(&["--since", "2025-12-31"]), Some(3));
    assert_eq!(sessions(&["--since", "2026-01-02"]), Some(2));
    assert_eq!(sessions(&["--after", &id(2)]), Some(1));
    world.execute(&format!("UPDATE sessions SET state = 'pending' WHERE session_id = '{}'", id(2))).await.unwrap();
    assert_eq!(sessions(&[]), Some(2));
    assert_eq!(world.run(&["reconcile", "--since", "soon"]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_checksums_is_believed_by_tag_or_read_back() {
    let world = done(1..=1).await;
    world.s3.fail_next(Op::HeadObject, Times::Forever, Fault::LieOnHead(Lie::NoChecksum));
    let reads = world.s3.count(Op::GetObject);
    assert_eq!(reconcile(&world, &[]).0, 0);
    assert_eq!(world.s3.count(Op::GetObject), reads, "length and tag are as they were");
    // As in a bucket that was restored: no row is sent back for that.
    world.execute("UPDATE recordings SET etag = 'another'").await.unwrap();
    assert_eq!(reconcile(&world, &["--repair"]).0, 0);
    assert_eq!(world.s3.count(Op::GetObject), reads + 1);
    world.execute("UPDATE recordings SET sha256 = hex(zeroblob(32))").await.unwrap();
    let (code, document) = reconcile(&world, &[]);
    assert_eq!((code, drift(&document).len()), (3, 1));
    assert!(document.to_string().contains("other bytes when read back"), "{document}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_may_not_be_read_ends_it_with_the_permission() {
    let world = done(1..=1).await;
    world.s3.deny("s3:GetObject");
    let output = world.run(&["reconcile"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("s3:GetObject"), "{text}");
    assert!(world.run(&["reconcile", "--config", "/nowhere"]).status.code() != Some(0));
}

/// In a bucket that is not there, or behind a wrong endpoint, nothing is found either.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_sends_no_row_back() {
    let world = done(1..=2).await;
    world.s3.fail_next(Op::Any, Times::Forever, Fault::Status(404, "NoSuchBucket"));
    let output = world.run(&["reconcile", "--repair"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("bucket.name"), "{said}");
    for number in 1..=2 {
        assert_eq!(world.column(&id(number), "state").await.as_deref(), Some("done"));
    }
}

/// What keeps the answer from us is no answer; that uploads may not be listed, or cannot be, is none of the bucket's.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_called_missing_before_it_is_known_that_there_is_a_bucket() {
    for (status, code, end) in [
        (400, "ExpiredToken", 1),
        (301, "PermanentRedirect", 1),
        (403, "RequestTimeTooSkewed", 1),
        (403, "AccessDenied", 3),
        (501, "NotImplemented", 3),
    ] {
        let world = done(1..=1).await;
        world.s3.forget(&key(&id(1), "call.wav"));
        world.s3.fail_next(Op::ListUploads, Times::Forever, Fault::Status(status, code));
        let output = world.run(&["reconcile", "--repair"]);
        assert_eq!(output.status.code(), Some(end), "{code}: {}", String::from_utf8_lossy(&output.stderr));
        let state = if end == 1 { "done" } else { "pending" };
        assert_eq!(world.column(&id(1), "state").await.as_deref(), Some(state), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_whose_recordings_are_elsewhere_or_unlisted_are_told_apart() {
    let world = done(1..=2).await;
    world
        .execute(&format!(
            "UPDATE recordings SET bucket = 'older' WHERE session_id = '{}';
         DELETE FROM recordings WHERE session_id = '{}'",
            id(1),
            id(2)
        ))
        .await
        .unwrap();
    let (code, document) = reconcile(&world, &[]);
    assert_eq!((code, &document["elsewhere"]), (3, &Value::from(1)));
    assert_eq!(drift(&document), [format!("{}: no_recordings -", id(2))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_broken_off_names_the_place_from_which_another_goes_on() {
    let world = done(700..=700).await;
    world
        .execute(
            "INSERT INTO sessions (session_id, state, reason, finished_at)
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
             SELECT printf('65e7133a3242653c%08x', i), 'done', 'archived', '2026-11-23T08:15:00.000Z' FROM n",
        )
        .await
        .unwrap();
    world.s3.deny("s3:GetObject");
    let (code, document) = reconcile(&world, &[]);
    assert_eq!((code, &document["finished"], &document["after"]), (1, &false.into(), &id(500).into()));
    world.s3.heal();
    let (code, document) = reconcile(&world, &["--after", &id(500)]);
    assert_eq!((code, &document["finished"], &document["after"]), (3, &true.into(), &Value::Null));
    assert_eq!((&document["sessions"], &document["objects"]), (&101.into(), &1.into()));
    assert_eq!(drift(&document).len(), 100, "those of which the queue lists no recording");
}

/// Done rows behind all others, each with a recording that was never in the bucket.
async fn add_done_rows(world: &World, numbers: std::ops::RangeInclusive<u32>) {
    let (first, last) = (numbers.start(), numbers.end());
    let each = format!("WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})");
    let at = "'2026-11-23T08:15:00.000Z'";
    let session = "printf('65e7133a3242653c%08x', i)";
    let bucket = world.s3.bucket();
    world
        .execute(&format!(
            "INSERT INTO sessions (session_id, state, reason, finished_at)
             {each} SELECT {session}, 'done', 'archived', {at} FROM n;
             INSERT INTO recordings
               (session_id, file_name, bucket, key, bytes, sha256, crc64nvme, content_type, archived_at, source)
             {each} SELECT {session}, 'call.wav', '{bucket}', 'lost/' || i || '/call.wav', 1, printf('%064x', i),
               'AAAAAAAAAAA=', 'audio/wav', {at}, printf('%064x', i) FROM n;"
        ))
        .await
        .unwrap();
}

fn terminate(child: &Child) {
    let killed = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_though_nobody_reads_what_it_says() {
    let world = done(1..=1).await;
    add_done_rows(&world, 2..=1000).await;
    let mut child = world.command(&["reconcile"]).stdout(Stdio::piped()).spawn().unwrap();
    // A thousand lines are more than a pipe holds; from then on it asks for nothing.
    let (mut calls, mut same) = (0, 0);
    let stands_still = || {
        let now = world.s3.count(Op::HeadObject);
        same = if now == calls { same + 1 } else { 0 };
        calls = now;
        (calls > 500 && same > 50).then_some(())
    };
    until(stands_still).await.expect("it stands still");
    let ended = until(|| {
        terminate(&child);
        child.try_wait().unwrap()
    });
    assert_eq!(ended.await.expect("it ends").code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_sees_a_bar_it_says_how_far_it_has_come_and_ends_in_order_on_a_polite_kill() {
    const SESSIONS: u32 = 4000;
    let world = done(1..=1).await;
    add_done_rows(&world, 2..=SESSIONS).await;
    // The first page takes longer than the ten seconds between two words.
    world.s3.fail_next(Op::HeadObject, Times::Next(1), Fault::Hang(Duration::from_secs(11)));
    let mut command = world.command(&["reconcile", "--json"]);
    let document = world.path("document");
    let file = std::fs::File::create(&document).unwrap();
    let mut child = command.stdout(file).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = told.by_ref().map(Result::unwrap).find(|line| line.contains(" compared, ")).expect("it says a word");
    assert!(line.ends_with(&format!("500 of 4000 sessions compared, --after {} goes on from here", id(500))), "{line}");

    world.s3.fail_next(Op::HeadObject, Times::Forever, Fault::Hang(Duration::from_mins(1)));
    // As `timeout` sends them, to the process and to its group; of two kinds, because two of one kind may come as one.
    let both = ["-c", "kill -TERM $0; kill -INT $0", &child.id().to_string()];
    assert!(Command::new("sh").args(both).status().unwrap().success());
    let said: Vec<String> = told.map(Result::unwrap).collect();
    let code = child.wait().unwrap().code();
    let document: Value = serde_json::from_slice(&std::fs::read(document).unwrap()).expect("one document");
    let after = document["after"].as_str().expect("it says where it was");
    assert_eq!((code, &document["finished"]), (Some(1), &false.into()));
    let last: Vec<_> = said.iter().map(String::as_str).collect();
    let go_on = format!("kore-archiver: go on with --after {after}");
    assert!(last.ends_with(&[&go_on, "kore-archiver: interrupted"]), "{said:?}");

    world.s3.heal();
    let passed = (1..=SESSIONS).position(|number| id(number) == after).expect("it is one of them") + 1;
    let (code, document) = reconcile(&world, &["--after", after]);
    assert_eq!((code, document["sessions"].as_u64()), (3, Some(u64::from(SESSIONS) - passed as u64)));
}
