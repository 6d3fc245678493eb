//! What may happen to the queue's file and to those who share it (FAULTS Q).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::time::Duration;

use serde_json::Value;
use sqlx::Connection as _;

use crate::support::kore::{Answer, Outage, Timeline};
use crate::support::rows::{call, eventually, ready, rest};
use crate::support::world::{Daemon, World, id};

/// The daemon's exit code and complaint.
fn refusal(world: &World) -> (Option<i32>, String) {
    let ended = world.run(&["run"]);
    (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_queue_is_refused_by_name_and_left_as_it_is_q6() {
    let world = World::new().await;
    world.insert(&[&id(1)]).await;
    let sound = fs::read(world.queue_path()).unwrap();
    let mut torn = sound.clone();
    torn[4096..].fill(0xA5);
    let (cut, foreign) = (sound[..sound.len() / 2].to_vec(), {
        let mut foreign = sound.clone();
        // The application id, in SQLite's header.
        foreign[68..72].fill(0);
        foreign
    });
    for (content, cause) in [
        (torn, "damaged"),
        (cut, "damaged"),
        (Vec::new(), "it is empty"),
        (b"session ids, one a line".repeat(100), "it is not a SQLite database"),
        (foreign, "a database of some other program"),
    ] {
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(world.path(&format!("queue.db{suffix}")));
        }
        fs::write(world.queue_path(), &content).unwrap();
        for command in [&["run"][..], &["enqueue", "abc"], &["status"]] {
            let ended = world.run(command);
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            let harmless = cause == "damaged" && command[0] != "run";
            assert!(ended.status.code() == Some(74) || harmless, "{command:?} {cause}: {:?} {said}", ended.status);
            assert!(said.contains("queue.db") && said.contains(cause) || harmless, "{cause}: {said}");
            if !harmless {
                assert_eq!(fs::read(world.queue_path()).unwrap(), content, "{cause}: the file was changed");
            }
        }
    }
    fs::remove_file(world.queue_path()).unwrap();
    fs::create_dir(world.queue_path()).unwrap();
    let (code, said) = refusal(&world);
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("folder"), "{said}");
    assert_eq!(fs::read_dir(world.queue_path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_may_not_be_written_is_refused_q6() {
    let world = World::new().await;
    world.insert(&[&id(1)]).await;
    fs::set_permissions(world.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(world.queue_path(), fs::Permissions::from_mode(0o444)).unwrap();
    // Root may do everything: somebody else tries.
    let mut command = world.command(&["status"]);
    if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
        command.uid(65534).gid(65534);
    }
    let Ok(ended) = command.output() else { return };
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(74), "{said}");
    assert!(said.contains("queue.db"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused_and_left_alone_q13() {
    let world = World::new().await;
    world.insert(&[&id(1)]).await;
    world
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'of tomorrow', 1, X'00', 1)",
        )
        .await
        .unwrap();
    let (code, said) = refusal(&world);
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("newer kore-archiver") && said.contains("9999"), "{said}");
    for command in [&["status"][..], &["enqueue", "a"], &["retry", &id(1)], &["show", &id(1)], &["reconcile"]] {
        let ended = world.run(command);
        assert_eq!(ended.status.code(), Some(74), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
    assert_eq!(world.column(&id(1), "state").await.as_deref(), Some("pending"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_is_refused_by_the_name_of_the_first_q10() {
    let world = World::new().await;
    world.create_queue();
    let daemon = world.daemon().await;
    let (code, said) = refusal(&world);
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains(&format!("pid {}", daemon.id())), "{said}");
    // People may look while it works, and the daemon works on.
    world.kore.session(&id(1), ready(1));
    world.insert(&[&id(1)]).await;
    let status = String::from_utf8(world.run(&["status"]).stdout).unwrap();
    assert!(status.contains(&format!("pid {}", daemon.id())), "{status}");
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(daemon.stop().await, 0);
    let status = String::from_utf8(world.run(&["status"]).stdout).unwrap();
    assert!(status.contains("not running"), "{status}");
}

/// Their lock files are two, their queue is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_by_another_name_of_the_file_is_refused_as_well_q10() {
    let mut world = World::new().await;
    world.create_queue();
    let daemon = world.daemon().await;
    let (symbolic, hard) = (world.path("symbolic.db"), world.path("hard.db"));
    std::os::unix::fs::symlink(world.queue_path(), &symbolic).unwrap();
    fs::hard_link(world.queue_path(), &hard).unwrap();
    for other in [symbolic, hard] {
        world.set("queue.path", &format!("{:?}", other.display().to_string()));
        let (code, said) = refusal(&world);
        assert_eq!(code, Some(75), "{said}");
    }
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_moved_away_or_replaced_stops_the_daemon_q9() {
    for is_replaced in [false, true] {
        let world = World::new().await;
        world.create_queue();
        let mut daemon = world.daemon().await;
        let aside = world.path("aside.db");
        if is_replaced {
            fs::copy(world.queue_path(), world.path("restored.db")).unwrap();
            fs::rename(world.path("restored.db"), world.queue_path()).unwrap();
        } else {
            fs::rename(world.queue_path(), &aside).unwrap();
        }
        let began = world.kore.elapsed();
        assert_eq!(daemon.ended().await.code(), Some(74));
        assert!(world.kore.elapsed().saturating_sub(began) < Duration::from_secs(10));
        let log = world.log();
        assert!(log.contains("queue.db") && (log.contains("moved") || log.contains("no such file")), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_somebody_holds_the_write_lock_polling_and_copying_go_on_and_nothing_is_lost_q7() {
    let world = World::new().await;
    for number in 1..=4 {
        world.kore.session(&id(number), Timeline::ready([call(number.into())]));
    }
    world.kore.session(&id(5), Timeline::new().finally("media_in_progress"));
    world.insert(&[&id(1), &id(2), &id(3), &id(4), &id(5)]).await;
    let mut other = world.sql().await;
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    // It starts under the lock already.
    let daemon = world.daemon().await;
    eventually("all are copied", async || {
        (1..=4)
            .all(|number| world.s3.keys().iter().any(|key| key.contains(&id(number)) && key.ends_with("session.json")))
    })
    .await;
    let paused = "kore_archiver_paused{what=\"queue\",reason=\"locked\"}";
    eventually("the writer says why it waits", async || daemon.metric(paused).await == Some(1.0)).await;
    assert_eq!(world.number(&id(5), "polls").await, 0, "its result waits as well");
    // The table of pauses cannot be written; the people who look need to know all the same.
    let queue_is_paused = || {
        let status: Value = serde_json::from_slice(&world.run(&["status", "--json"]).stdout).unwrap();
        let told = status["pauses"].as_array().unwrap().clone();
        told.iter().any(|pause| pause["what"] == "queue" && pause["reason"] == "locked")
    };
    assert!(queue_is_paused());
    lock.rollback().await.unwrap();
    for number in 1..=4 {
        assert_eq!(world.end_of(&id(number)).await, "done/archived");
        assert_eq!(world.kore.polls_of(&id(number)).len(), 1);
    }
    eventually("the fifth goes on", async || world.number(&id(5), "polls").await >= 2).await;
    eventually("the pause is over", async || daemon.metric(paused).await == Some(0.0)).await;
    eventually("nobody is told of it any more", async || !queue_is_paused()).await;
    assert_eq!(world.kore.files_served().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_every_pending_row_goes_on_at_once_and_old_pauses_are_not_shown_q1_q11() {
    let world = World::new().await;
    world.kore.api_outage(Outage::Says(Answer::rate_limited().retry_after("900")));
    for number in 1..=3 {
        world.kore.session(&id(number), ready(number.into()));
    }
    world.insert(&[&id(1), &id(2), &id(3)]).await;
    let daemon = world.daemon().await;
    eventually("the pause is noted", async || world.row("SELECT * FROM pauses").await.is_some()).await;
    daemon.kill().await;
    let status = String::from_utf8(world.run(&["status"]).stdout).unwrap();
    assert!(status.contains("not running") && !status.contains("rate_limited"), "{status}");
    world.kore.api_outage(None);
    let _daemon = world.daemon().await;
    for number in 1..=3 {
        assert_eq!(world.end_of(&id(number)).await, "done/archived");
    }
    assert!(world.row("SELECT * FROM pauses").await.is_none());
}

/// Times that the daemon's main thread went to sleep.
fn naps(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{0}/task/{0}/status", daemon.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("Linux says so");
    line.trim().parse().expect("it is a number")
}

/// A row whose result was not taken is left alone for two seconds; after them nothing is due, and nobody commits.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_deleted_while_it_was_in_hand_leaves_a_daemon_that_sleeps() {
    let mut world = World::new().await;
    world.set("poll.timeout", "\"1s\"");
    world.create_queue();
    world.kore.api_outage(Outage::BlackHole);
    world.insert(&[&id(1)]).await;
    let daemon = world.daemon().await;
    eventually("it is asked for", async || !world.kore.polls().is_empty()).await;
    world.execute("DELETE FROM sessions").await.unwrap();
    world.until_logged("the row was changed meanwhile").await;
    rest(2500).await;
    let before = naps(&daemon);
    rest(2000).await;
    let naps = naps(&daemon) - before;
    assert!(naps < 200, "it woke {naps} times in two seconds");
}
