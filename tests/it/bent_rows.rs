//! Rows that went around the CHECKs, or that the CHECKs cannot judge (FAULTS X3 to X8), and rows in bulk.

use std::time::Duration;

use sqlx::Connection as _;

use crate::support::kore::Timeline;
use crate::support::rows::{eventually, ready, rest};
use crate::support::world::{World, id};

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_went_around_the_checks_are_refused_with_a_reason_and_the_others_go_on_x4() {
    let world = World::new().await;
    world.create_queue();
    let of_columns = [
        ("priority", "'high'"),
        ("priority", "X'00'"),
        ("priority", "1e300"),
        ("priority", "-1e300"),
        ("priority", "0.5"),
        ("call_ended_at", "X'00'"),
        ("metadata", "X'7b7d'"),
        ("metadata", "'{' || printf('%01000001d', 7)"),
        ("enqueued_at", "'yesterday'"),
        ("enqueued_at", "X'00'"),
        ("enqueued_at", "'abcd-ef-ghTij:kl:mn.opqZ'"),
        ("next_poll_at", "''"),
        ("next_poll_at", "X'00'"),
        ("next_poll_at", "'zzz'"),
        ("next_poll_at", "'0000-xx-xxTxx:xx:xx.xxxZ'"),
        ("reason", "X'00'"),
        ("finished_at", "X'00'"),
        ("polls", "'x'"),
        ("polls", "-7"),
        ("failures", "X'00'"),
        ("kore_status", "X'00'"),
        ("last_error", "printf('%01000000d', 7)"),
        ("lease_token", "X'ff'"),
        ("lease_token", "CAST(X'ff' AS TEXT)"),
        ("lease_token", "printf('%05000000d', 7)"),
        ("metadata", "'{' || printf('%05000000d', 7)"),
        ("bot", "X'00'"),
        ("bot", "''"),
        ("bot", "printf('%0200d', 7)"),
    ];
    let ids = [
        "''",
        "X'616263'",
        "'a/b'",
        "'../../a'",
        "'a%2Fb'",
        "'a' || char(0) || 'b'",
        "'a' || char(10) || char(27) || '[2J'",
        "'\u{202e}abc'",
        "printf('%01000000d', 7)",
        "zeroblob(1000000)",
        "CAST(X'61FF' AS TEXT)",
    ];
    let mut statements = vec!["PRAGMA ignore_check_constraints = ON".to_owned()];
    let columns = (1..).zip(of_columns).map(|(number, (column, value))| {
        format!("INSERT INTO sessions (session_id, {column}) VALUES ('bent-{number}', {value})")
    });
    statements.extend(columns);
    statements.extend(ids.map(|id| format!("INSERT INTO sessions (session_id) VALUES ({id})")));
    world.execute(&statements.join(";\n")).await.unwrap();
    world.kore.session(&id(1), ready(1));
    world.insert(&[&id(1)]).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    eventually("nothing is pending", async || {
        world.row("SELECT 1 FROM sessions WHERE state = 'pending'").await.is_none()
    })
    .await;
    let rows = "SELECT CAST(substr(session_id, 1, 20) AS BLOB) AS id, state, reason, last_error, length(last_error) AS length FROM sessions WHERE state <> 'done'";
    let rows = world.rows(rows).await;
    assert_eq!(rows.len(), of_columns.len() + ids.len());
    for row in rows {
        assert_eq!(
            (row["state"].as_deref(), row["reason"].as_deref()),
            (Some("failed"), Some("invalid_row")),
            "{row:?}"
        );
        assert!(
            row["last_error"].as_deref().unwrap().contains(" must be ")
                || row["last_error"].as_deref().unwrap().contains("session id is")
                || row["last_error"].as_deref().unwrap().contains("written by"),
            "{row:?}"
        );
        assert!(row["length"].as_deref().unwrap().parse::<u32>().unwrap() <= 1000);
    }
    assert_eq!(world.kore.polls().len(), 1, "Kore was asked about none of them");
    assert!(!world.log().contains('\u{1b}') && !world.log().contains('\u{202e}'));
    assert!(world.log().len() < 1_000_000, "the log took in no row whole");
    assert_eq!(daemon.stop().await, 0);
}

/// Somebody's trigger keeps a recording out of the table: its row must not be called done without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_recording_the_queue_refuses_is_not_done_and_is_asked_about_ever_more_seldom() {
    let world = World::new().await;
    world.create_queue();
    let trigger = "CREATE TRIGGER theirs BEFORE INSERT ON recordings BEGIN SELECT RAISE(ABORT, 'not here'); END";
    world.execute(trigger).await.unwrap();
    world.kore.session(&id(1), ready(1));
    world.insert(&[&id(1)]).await;
    let daemon = world.daemon().await;
    eventually("it was tried three times", async || world.kore.polls_of(&id(1)).len() == 3).await;
    let at: Vec<_> = world.kore.polls_of(&id(1)).iter().map(|poll| poll.at).collect();
    assert!(at[2].abs_diff(at[1]) > at[1].abs_diff(at[0]).mul_f64(1.3), "{at:?}");
    assert_eq!(world.column(&id(1), "state").await.as_deref(), Some("pending"));
    assert!(!world.log_lines("the queue refused a result").is_empty());
    world.execute("DROP TRIGGER theirs").await.unwrap();
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(world.rows("SELECT 1 FROM recordings").await.len(), 1);
    assert_eq!(daemon.stop().await, 0);
}

/// They are found by `check`, and what it advises puts them to work.
#[tokio::test(flavor = "multi_thread")]
async fn rows_in_no_state_that_there_is_are_told_and_can_be_put_right_x4() {
    let world = World::new().await;
    world.create_queue();
    let bent = "PRAGMA ignore_check_constraints = ON; INSERT INTO sessions (session_id, state) VALUES";
    world.execute(&format!("{bent} ('{}', 'Pending'), ('{}', X'70656e64696e67')", id(1), id(2))).await.unwrap();
    let told = world.run(&["check", "--offline"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("on which nobody works: 2"), "{told}");
    let from = told.find("UPDATE sessions").expect("it says what to do");
    world.execute(told[from..].lines().next().unwrap()).await.unwrap();
    for number in 1..=2 {
        world.kore.session(&id(number), ready(number.into()));
    }
    let daemon = world.daemon().await;
    for number in 1..=2 {
        assert_eq!(world.end_of(&id(number)).await, "done/archived");
    }
    assert!(!String::from_utf8_lossy(&world.run(&["check", "--offline"]).stdout).contains("in no state"));
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_is_no_object_and_bots_that_nobody_knows_are_refused_and_said_why_x5_x6() {
    let world = World::new().await;
    world.create_queue();
    for (number, metadata) in (1..).zip(["", "[]", "7", "null", "{\"a\":", "{\"a\":1} x", "\"CANARY secret text\""]) {
        let sql = format!("INSERT INTO sessions (session_id, metadata) VALUES ('{}', '{metadata}')", id(number));
        world.execute(&sql).await.unwrap();
    }
    for (number, bot) in
        (10..).zip(["'nobody'", "'aaa'", "'zzz'", "'Default'", "'a' || char(10)", "CAST(X'61FF' AS TEXT)"])
    {
        let sql = format!("INSERT INTO sessions (session_id, bot) VALUES ('{}', {bot})", id(number));
        world.execute(&sql).await.unwrap();
    }
    let swapped = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
                   INSERT INTO sessions (session_id, bot) SELECT 'swapped-' || i, 'bot-' || i FROM n";
    world.execute(swapped).await.unwrap();
    world.kore.session(&id(50), ready(1));
    world.insert(&[&id(50)]).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(50)).await, "done/archived");
    for number in 1..=7 {
        assert_eq!(world.end_of(&id(number)).await, "failed/invalid_row");
        let why = world.column(&id(number), "last_error").await.unwrap();
        assert!(why.starts_with("metadata is not a JSON object"), "{why}");
    }
    for number in 10..=15 {
        assert_eq!(world.end_of(&id(number)).await, "failed/unknown_bot");
        let why = world.column(&id(number), "last_error").await.unwrap();
        assert!(why.contains("[bots."), "{why}");
    }
    let strangers = "kore_archiver_sessions_finished_total{bot=\"unknown\",state=\"failed\",reason=\"unknown_bot\"}";
    eventually("every stranger is refused", async || daemon.metric(strangers).await == Some(2006.0)).await;
    assert_eq!(world.kore.polls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_times_and_priorities_are_clamped_and_processed_x8() {
    let world = World::new().await;
    world.create_queue();
    let absurd = [
        ("priority", "9223372036854775807"),
        ("priority", "-9223372036854775808"),
        ("enqueued_at", "'9999-12-31T23:59:59.999Z'"),
        ("enqueued_at", "'0000-01-01T00:00:00.000Z'"),
        ("enqueued_at", "'2026-19-39T29:59:69.999Z'"),
        ("next_poll_at", "'9999-12-31T23:59:59.999Z'"),
        ("next_poll_at", "'0000-01-01T00:00:00.000Z'"),
        ("call_ended_at", "'yesterday'"),
        ("call_ended_at", "'2999-01-01T00:00:00Z'"),
        ("call_ended_at", "'2024-03-05T12:42:34Z'"),
        ("pending_since", "'9999-12-31T23:59:59.999Z'"),
    ];
    for (number, (column, value)) in (1..).zip(absurd) {
        world.kore.session(&id(number), ready(number.into()));
        let sql = format!("INSERT INTO sessions (session_id, {column}) VALUES ('{}', {value})", id(number));
        world.execute(&sql).await.unwrap();
    }
    assert_eq!((world.number(&id(1), "priority").await, world.number(&id(2), "priority").await), (1000, -1000));
    let _daemon = world.daemon().await;
    for number in 1..=11 {
        assert_eq!(world.end_of(&id(number)).await, "done/archived", "{number}");
        let ignored = usize::from([8, 9].contains(&number));
        assert_eq!(world.events(&id(number), "call_ended_at_ignored").await, ignored, "{number}");
    }
    // Of a row that was polled before.
    world.execute("UPDATE sessions SET state = 'pending', call_ended_at = 'yesterday' WHERE rowid <= 2").await.unwrap();
    for number in 1..=2 {
        assert_eq!(world.end_of(&id(number)).await, "done/archived", "{number}");
        assert_eq!(world.events(&id(number), "call_ended_at_ignored").await, 1, "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_rows_at_once_disturb_nobody_and_a_new_row_is_seen_at_once_x7() {
    let mut world = World::new().await;
    world.set("bots.default.requests_per_minute", "6000");
    world.kore.unknown_sessions_get("media_in_progress".into());
    world.set("poll.media_in_progress", "{ initial = \"1h\", factor = 1.0, max = \"1h\" }");
    world.create_queue();
    let daemon = world.daemon().await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
                INSERT INTO sessions (session_id) SELECT printf('65e7133affffffff%08x', i) FROM n";
    // Somebody never commits: what is inside is nobody's yet, and what was there before is asked about all the same.
    let soon = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+1 second')";
    let before = format!("INSERT INTO sessions (session_id, next_poll_at) VALUES ('{}', {soon})", id(2));
    world.execute(&before).await.unwrap();
    let mut undecided = world.sql().await;
    let mut transaction = undecided.begin_with("BEGIN IMMEDIATE").await.unwrap();
    sqlx::query(many).execute(&mut *transaction).await.unwrap();
    eventually("the row of before is asked about", async || !world.kore.polls().is_empty()).await;
    let asked: Vec<_> = world.kore.polls().into_iter().map(|poll| poll.session).collect();
    assert_eq!(asked, [id(2)]);
    transaction.rollback().await.unwrap();

    world.execute(many).await.unwrap();
    eventually("they are being asked about", async || world.kore.polls().len() > 100).await;
    world.kore.session(&id(1), ready(1));
    world.execute(&format!("INSERT INTO sessions (session_id, priority) VALUES ('{}', 1)", id(1))).await.unwrap();
    let asked_before = world.kore.polls().len();
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    let polls = world.kore.polls();
    let at = polls.iter().position(|poll| poll.session == id(1)).unwrap();
    // A second's worth, for the fake and the test look at the same list from two processes.
    assert!(at <= asked_before + 100, "{at} after {asked_before}");
    assert_eq!(daemon.metric("kore_archiver_sessions{state=\"pending\"}").await, Some(100_001.0));
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_daemon_sees_a_new_row_within_two_seconds_and_does_nothing_meanwhile() {
    let world = World::new().await;
    world.create_queue();
    let daemon = world.daemon().await;
    let cpu = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        // Ticks of a hundredth of a second: in user mode, and in the kernel.
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = cpu();
    rest(2000).await;
    assert!(cpu() - before <= 20, "an idle daemon used {} hundredths of a second in two seconds", cpu() - before);
    world.kore.session(&id(1), Timeline::new().finally("media_in_progress"));
    let began = world.kore.elapsed();
    world.insert(&[&id(1)]).await;
    eventually("it is asked about", async || !world.kore.polls().is_empty()).await;
    let took = world.kore.polls()[0].at.saturating_sub(began);
    assert!(took < Duration::from_secs(3), "{took:?}");
}
