//! Rows from outside (CONTRACT section 2, FAULTS X): what the schema refuses, and what may be done to a row.

use std::process::Command;

use crate::support::kore::{Quirk, Timeline};
use crate::support::rows::{call, eventually, ready, rest};
use crate::support::world::{World, id};

/// What the writer is told of a statement that the schema refuses.
async fn refusal(world: &World, statement: &str) -> String {
    world.execute(statement).await.expect_err(statement).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_will_not_do_is_refused_with_a_sentence_x3() {
    let world = World::new().await;
    world.create_queue();
    let bad_ids = [
        "''",
        "X'616263'",
        "'a/b'",
        "'../a'",
        "'a%2Fb'",
        "'a b'",
        "'a '",
        "' a'",
        "'a' || char(10)",
        "'a' || char(0)",
        "'a' || char(0) || 'b'",
        "'a''b'",
        "'a\"b'",
        "'\u{202e}abc'",
        "'\u{1f600}'",
        "'é'",
        "zeroblob(1000000)",
        "printf('%01000000d', 7)",
        "printf('%0129d', 7)",
        "CAST(X'61FF' AS TEXT)",
    ];
    for bad in bad_ids {
        let said = refusal(&world, &format!("INSERT INTO sessions (session_id) VALUES ({bad})")).await;
        assert!(said.contains("session_id must be text of 1 to 128 characters"), "{bad}: {said}");
    }
    assert!(refusal(&world, "INSERT INTO sessions (session_id) VALUES (NULL)").await.contains("session_id"));
    let columns = [
        ("bot", "X'00'", "the NAME of a [bots.NAME]"),
        ("bot", "''", "the NAME of a [bots.NAME]"),
        ("priority", "'high'", "priority must be a whole number"),
        ("priority", "1.5", "priority must be a whole number"),
        ("call_ended_at", "X'00'", "call_ended_at must be text like 2026-11-23T08:15:00Z"),
        ("metadata", "X'7b7d'", "metadata must be text holding a JSON object"),
        ("enqueued_at", "'yesterday'", "enqueued_at must be UTC text like 2026-11-23T08:15:00.000Z"),
        ("next_poll_at", "'2026-11-23 08:15:00'", "next_poll_at must be UTC text"),
        ("state", "'PENDING'", "state must be pending, done, suspect, unavailable or failed"),
        ("polls", "-1", "polls is written by the daemon"),
        ("failures", "'x'", "failures is written by the daemon"),
        ("reason", "'because'", "reason is written by the daemon"),
        ("last_error", "printf('%01001d', 7)", "last_error is written by the daemon"),
    ];
    for (column, value, sentence) in columns {
        let said = refusal(&world, &format!("INSERT INTO sessions (session_id, {column}) VALUES ('a', {value})")).await;
        assert!(said.contains(sentence), "{column}: {said}");
    }
    for good in ["7", "'A-z_0.9'", "printf('%0128d', 7)"] {
        world.execute(&format!("INSERT INTO sessions (session_id) VALUES ({good})")).await.expect(good);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_id_is_refused_readably_and_ignored_on_demand_whoever_inserts_x1() {
    let world = World::new().await;
    world.insert(&[&id(1)]).await;
    let insert = format!("INSERT INTO sessions (session_id) VALUES ('{}')", id(1));
    assert!(refusal(&world, &insert).await.contains("UNIQUE constraint failed: sessions.session_id"));
    world.execute(&insert.replace("INSERT", "INSERT OR IGNORE")).await.unwrap();
    let other = insert.replace(&id(1), &id(2));
    let ten = futures_util::future::join_all((0..10).map(|_| world.execute(&other))).await;
    assert_eq!(ten.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(world.rows("SELECT session_id FROM sessions").await.len(), 2);
}

/// Debian's own: older than the one that is linked.
#[tokio::test(flavor = "multi_thread")]
async fn the_sqlite3_of_the_machine_inserts_and_reads() {
    let world = World::new().await;
    world.insert(&[]).await;
    let shell = |sql: &str| Command::new("sqlite3").arg(world.queue_path()).arg(sql).output();
    let Ok(made) = shell(&format!("INSERT INTO sessions (session_id, priority) VALUES ('{}', 5)", id(1))) else {
        return;
    };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let refused = shell("INSERT INTO sessions (session_id) VALUES ('a/b')").unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("session_id must be text of 1 to 128 characters"));
    world.kore.session(&id(1), ready(1));
    let _daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    let seen = shell("SELECT state, sessions FROM queue_overview").unwrap();
    assert_eq!(String::from_utf8_lossy(&seen.stdout), "done|1\n");
    assert!(
        shell(&format!("UPDATE sessions SET state = 'pending' WHERE session_id = '{}'", id(1)))
            .unwrap()
            .status
            .success()
    );
    eventually("it is done again", async || world.end_of(&id(1)).await == "done/archived").await;
    let integrity = shell("PRAGMA integrity_check").unwrap();
    assert_eq!(String::from_utf8_lossy(&integrity.stdout), "ok\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_column_takes_anything_else_x3() {
    let world = World::new().await;
    world.create_queue();
    let columns = "SELECT m.name AS of, c.name AS it FROM sqlite_master m, pragma_table_info(m.name) c \
                   WHERE m.name IN ('sessions', 'recordings', 'events') AND c.type = 'TEXT'";
    let columns = world.rows(columns).await;
    assert!(columns.len() > 30, "{columns:?}");
    for row in columns {
        let (table, column) = (row["of"].as_deref().unwrap(), row["it"].as_deref().unwrap());
        // The history of a row whose id went around the CHECKs.
        if (table, column) == ("events", "session_id") {
            continue;
        }
        let sound = match table {
            "sessions" => "session_id) VALUES ('sound'",
            "events" => "session_id, kind) VALUES ('sound', 'kind'",
            _ => {
                "session_id, file_name, bucket, key, bytes, sha256, crc64nvme, content_type, archived_at, source) \
                 VALUES ('sound', 'f', 'b', 'k', 1, printf('%064d', 1), printf('%012d', 1), 'c', 't', 's'"
            }
        };
        world.execute(&format!("INSERT INTO {table} ({sound})")).await.unwrap();
        let bent = world.execute(&format!("UPDATE {table} SET {column} = X'ff' WHERE session_id = 'sound'")).await;
        let refusal = bent.expect_err(&format!("{table}.{column} takes a BLOB")).to_string();
        assert!(refusal.contains("CHECK constraint failed: ") && refusal.contains(' '), "{refusal}");
        world.execute(&format!("DELETE FROM {table}")).await.unwrap();
    }
}

#[test]
fn the_schema_speaks_a_sqlite_of_2018() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join("\n");
        // 3.31: generated columns; 3.32: iif; 3.35: RETURNING, DROP COLUMN, math; 3.37: STRICT; 3.38: json, ->, unixepoch.
        let newer = [
            "STRICT",
            "GENERATED",
            "ALWAYS AS",
            "RETURNING",
            "IIF(",
            "UNIXEPOCH",
            "JSON",
            "->",
            "DROP COLUMN",
            "NULLS FIRST",
            "NULLS LAST",
            "FORMAT(",
            "CONCAT(",
            "OCTET_LENGTH",
            "UNHEX",
            "FLOOR(",
            "CEIL(",
            "MATERIALIZED",
            "IS DISTINCT",
            "FILTER",
            "SUBSTRING(",
            "TIMEDIFF",
            "'SUBSEC",
        ];
        let code = code.to_ascii_uppercase().replace("JSON OBJECT", "");
        for word in newer {
            assert!(!code.contains(word), "{word}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_changed_while_it_is_in_work_starts_afresh_and_is_copied_once_x2() {
    let mut world = World::new().await;
    world.set("transfer.min_throughput", "\"100B/s\"");
    world.create_queue();
    let file = |seed: u64| call(seed).always(Quirk::Throttle(4_000));
    let files: Vec<_> = (0..5).map(file).collect();
    for (number, file) in (1..).zip(&files) {
        world.kore.session(&id(number), Timeline::ready([file.clone()]));
        world.insert(&[&id(number)]).await;
    }
    world.kore.session("renamed", Timeline::new().finally("media_in_progress"));
    let _daemon = world.daemon().await;
    eventually("all of them are in work", async || world.kore.files_served().len() >= 5).await;
    let of = |number: u32| format!("WHERE session_id = '{}'", id(number));
    let first_token = world.column(&id(1), "lease_token").await;
    for statement in [
        format!("INSERT OR REPLACE INTO sessions (session_id, metadata) VALUES ('{}', '{{\"again\":1}}')", id(1)),
        format!("UPDATE sessions SET state = 'pending' {}", of(2)),
        format!("DELETE FROM sessions {}", of(3)),
        format!("DELETE FROM sessions {0}; INSERT INTO sessions (session_id) VALUES ('{1}')", of(4), id(4)),
        format!("UPDATE sessions SET session_id = 'renamed' {}", of(5)),
    ] {
        world.execute(&statement).await.expect(&statement);
    }
    assert_ne!(world.column(&id(1), "lease_token").await, first_token);
    for number in [1, 2, 4] {
        assert_eq!(world.end_of(&id(number)).await, "done/archived");
        assert_eq!(world.copies(&id(number), &files[number as usize - 1]), (1, 1), "{number}");
        assert!(world.events(&id(number), "requeued").await >= 1 || number == 1);
    }
    assert_eq!(world.column(&id(3), "state").await, None, "what was deleted stays deleted");
    eventually("the renamed row is asked about", async || world.kore.polls_of("renamed").len() >= 2).await;
    assert_eq!(
        world.column("renamed", "state").await.as_deref(),
        Some("pending"),
        "nothing was archived under that id"
    );
    eventually("that is said", async || world.log_lines("the row was changed meanwhile").len() >= 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_done_or_waiting_starts_afresh_and_nothing_is_copied_twice_x2() {
    let world = World::new().await;
    let files: Vec<_> = (1..=2).map(call).collect();
    for (number, file) in (1..).zip(&files) {
        world.kore.session(&id(number), Timeline::ready([file.clone()]));
    }
    world.kore.session(&id(3), Timeline::new().finally("media_in_progress"));
    world.insert(&[&id(1), &id(2), &id(3)]).await;
    let _daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(world.end_of(&id(2)).await, "done/archived");
    eventually("the third waits", async || world.number(&id(3), "polls").await >= 2).await;
    for statement in [
        format!("INSERT OR REPLACE INTO sessions (session_id) VALUES ('{}')", id(1)),
        format!("UPDATE sessions SET state = 'pending' WHERE session_id = '{}'", id(2)),
        format!("DELETE FROM sessions WHERE session_id = '{}'", id(3)),
    ] {
        world.execute(&statement).await.expect(&statement);
    }
    for (number, file) in (1..).zip(&files) {
        eventually("it was looked at again", async || world.kore.polls_of(&id(number)).len() == 2).await;
        assert_eq!(world.end_of(&id(number)).await, "done/archived");
        assert_eq!(world.copies(&id(number), file), (1, 1));
        assert_eq!(world.events(&id(number), "requeued").await, 1);
        assert_eq!(
            world.rows(&format!("SELECT key FROM recordings WHERE session_id = '{}'", id(number))).await.len(),
            1
        );
    }
    let polls = world.kore.polls_of(&id(3)).len();
    rest(600).await;
    assert!(world.kore.polls_of(&id(3)).len() <= polls + 1, "a deleted row is polled no more");
    assert_eq!(world.events(&id(3), "deleted").await, 1);
    assert_eq!(world.s3.overwrites(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_failed_is_cleared_when_it_starts_afresh() {
    let mut world = World::new().await;
    world.set("poll.max_failures", "1").set("poll.fail_after", "\"0s\"");
    world.insert(&[&id(1)]).await;
    let _daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "failed/not_found");
    world.kore.session(&id(1), Timeline::new().finally("media_in_progress"));
    world.execute(&format!("UPDATE sessions SET state = 'pending' WHERE session_id = '{}'", id(1))).await.unwrap();
    eventually("it is polled", async || world.number(&id(1), "polls").await >= 1).await;
    assert_eq!(world.column(&id(1), "reason").await, None);
    assert_eq!(world.column(&id(1), "finished_at").await, None);
    assert_eq!(world.number(&id(1), "failures").await, 0);
    let kinds = world.rows(&format!("SELECT kind FROM events WHERE session_id = '{}' ORDER BY id", id(1))).await;
    let kinds: Vec<_> = kinds.iter().map(|row| row["kind"].clone().unwrap()).collect();
    assert_eq!(kinds, ["error", "failed", "requeued"]);
}

/// What a clock that is three days ahead puts into a row.
const AHEAD: &str = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+3 days')";

#[tokio::test(flavor = "multi_thread")]
async fn a_row_from_a_clock_that_was_ahead_does_not_wait_for_that_time_p3() {
    let world = World::new().await;
    world.create_queue();
    world.kore.session("ahead", ready(1));
    let columns = "session_id, enqueued_at, pending_since, next_poll_at";
    world
        .execute(&format!("INSERT INTO sessions ({columns}) VALUES ('ahead', {AHEAD}, {AHEAD}, {AHEAD})"))
        .await
        .unwrap();
    let later = format!("INSERT INTO sessions (session_id, next_poll_at) VALUES ('later', {AHEAD})");
    world.execute(&later).await.unwrap();
    let daemon = world.daemon().await;
    assert_eq!(world.end_of("ahead").await, "done/archived");
    assert_eq!(world.column("later", "polls").await.as_deref(), Some("0"), "somebody has chosen that");
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_poll_is_put_off_once_whenever_the_row_says_that_it_came_p3() {
    let mut world = World::new().await;
    world
        .set("poll.schedule", "\"adaptive\"")
        .set("poll.adaptive_max", "\"12s\"")
        .set("poll.media_in_progress", "{ initial = \"100ms\", factor = 1.5, max = \"12s\" }");
    world.create_queue();
    world.kore.session("ahead", ready(1));
    let daemon = world.daemon().await;
    let columns = "session_id, enqueued_at, pending_since, call_ended_at";
    let now = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";
    world
        .execute(&format!("INSERT INTO sessions ({columns}) VALUES ('ahead', {AHEAD}, {AHEAD}, {now})"))
        .await
        .unwrap();
    eventually("it is put off", async || world.column("ahead", "wait_kind").await.as_deref() == Some("put_off")).await;
    assert_eq!(world.end_of("ahead").await, "done/archived");
    assert_eq!(daemon.stop().await, 0);
}
