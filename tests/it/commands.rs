//! What people type (CONTRACT section 6): documents, streams and exit codes.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::kore::{Answer, FakeKore, Options, Timeline};
use crate::support::rows::{eventually, ready, rest};
use crate::support::world::{World, id};

const COLUMNS: [&str; 14] = [
    "session_id",
    "bot",
    "priority",
    "call_ended_at",
    "metadata",
    "enqueued_at",
    "state",
    "kore_status",
    "next_poll_at",
    "polls",
    "failures",
    "reason",
    "last_error",
    "finished_at",
];
const OF_A_RECORDING: [&str; 12] = [
    "session_id",
    "file_name",
    "bucket",
    "key",
    "bytes",
    "sha256",
    "crc64nvme",
    "etag",
    "version_id",
    "content_type",
    "suspect",
    "archived_at",
];

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    unwarned(std::str::from_utf8(&output.stderr).unwrap())
}

/// Without the warnings that every command gives of a test's settings.
fn unwarned(text: &str) -> String {
    let known = ["client_secret_file: others", "allow_insecure_http: tokens", "endpoint_url: it is not https"];
    text.split_inclusive('\n').filter(|line| !known.iter().any(|known| line.contains(known))).collect()
}

/// One document on stdout, and nothing on stderr.
fn document(output: &Output) -> Value {
    assert_eq!(err(output), "");
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn fed(mut command: Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that has refused its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_enqueued_from_arguments_files_and_pipes_all_or_none() {
    let world = World::new().await;
    let made = world.run(&["enqueue", &id(1), &id(2), &id(1)]);
    assert_eq!(
        (made.status.code(), out(&made).as_str(), err(&made).as_str()),
        (Some(0), "2 new, 1 already known\n", "")
    );
    let options =
        ["--priority", "-3", "--call-ended-at", "2026-11-01T08:15:00+02:00", "--metadata", "{\"case\":\"A-17\"}"];
    let mut command = world.command(&["enqueue", "--file", "-", "--json"]);
    let piped = fed(
        {
            command.args(options);
            command
        },
        &format!("{}\r\n\n  {}  \n{}", id(2), id(3), id(4)),
    );
    assert_eq!(document(&piped), serde_json::json!({ "new": 2, "already_known": 1 }));
    let row = world.row(&format!("SELECT * FROM sessions WHERE session_id = '{}'", id(3))).await.unwrap();
    assert_eq!(row["priority"].as_deref(), Some("-3"));
    assert_eq!(row["call_ended_at"].as_deref(), Some("2026-11-01T06:15:00.000Z"));
    assert_eq!(row["metadata"].as_deref(), Some("{\"case\":\"A-17\"}"));

    for (said, new) in [("", 0), ("\r\n \n", 0), (&*format!("\u{feff}{}\r\n{}", id(1), id(5)), 1)] {
        let piped = fed(world.command(&["enqueue", "--file", "-"]), said);
        let known = i32::from(new == 1);
        let counts = format!("{new} new, {known} already known\n");
        assert_eq!((piped.status.code(), out(&piped), err(&piped)), (Some(0), counts, String::new()), "{said:?}");
    }

    for wrong in [&b"a/\x1b[2Jb"[..], b"\xff\xfe"] {
        let text = [id(7).as_bytes(), id(8).as_bytes(), wrong, id(9).as_bytes()].join(&b'\n');
        std::fs::write(world.path("ids"), text).unwrap();
        let refused = world.run(&["enqueue", "--file", world.path("ids").to_str().unwrap()]);
        assert_eq!((refused.status.code(), out(&refused).as_str()), (Some(2), ""));
        assert!(
            err(&refused).contains("line 3") && err(&refused).contains("nothing was enqueued"),
            "{}",
            err(&refused)
        );
        assert!(!err(&refused).contains('\u{1b}'));
    }
    // What has no line end is no list, and is not read to its own.
    let endless = fed(world.command(&["enqueue", "--file", "-"]), &format!("{}\n{}", id(7), "x".repeat(1 << 20)));
    assert_eq!((endless.status.code(), out(&endless).as_str()), (Some(2), ""));
    assert!(err(&endless).contains("line 2 of - has 4096 bytes or more; nothing was enqueued"), "{}", err(&endless));
    assert_eq!(world.rows("SELECT session_id FROM sessions").await.len(), 5);
    // What an INSERT may say, and the daemon copies as it is.
    for odd in ["{\"n\":1e400}", "{\"a\":\"\\ud800\"}"] {
        let made = world.run(&["enqueue", &id(1), "--metadata", odd]);
        assert_eq!((made.status.code(), err(&made)), (Some(0), String::new()), "{odd}");
    }
    for (wrong, word) in [
        (&["enqueue"][..], "no session id"),
        (&["enqueue", "a b"], "on the command line"),
        (&["enqueue", "a", "--bot", "nobody"], "--bot nobody"),
        (&["enqueue", "a", "--metadata", "[1]"], "--metadata is not a JSON object"),
        (&["enqueue", "a", "--call-ended-at", "yesterday"], "--call-ended-at"),
    ] {
        let refused = world.run(wrong);
        assert_eq!((refused.status.code(), out(&refused).as_str()), (Some(2), ""), "{wrong:?}");
        assert!(err(&refused).contains(word), "{wrong:?}: {}", err(&refused));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_wait_for_a_program_that_writes_longer_than_the_daemon_would() {
    let world = World::new().await;
    world.create_queue();
    world.insert(&[&id(1)]).await;
    world.execute("UPDATE sessions SET state = 'failed', reason = 'not_found'").await.unwrap();
    let mut other = world.sql().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let (new, old) = (id(2), id(1));
    // Each writes the settings anew: both are made before one of them reads.
    let commands = [["enqueue", &new], ["retry", &old]].map(|command| world.command(&command));
    let mut children = commands
        .map(|mut command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts"));
    rest(7000).await;
    assert!(children.iter_mut().all(|child| child.try_wait().unwrap().is_none()), "they wait");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    let [enqueued, sent_back] = children.map(|child| child.wait_with_output().unwrap());
    assert_eq!((err(&enqueued), out(&enqueued).as_str()), (String::new(), "1 new, 0 already known\n"));
    assert_eq!((err(&sent_back), out(&sent_back).as_str()), (String::new(), "1 back to pending\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_have_the_columns_of_the_contract_as_keys() {
    let world = World::new().await;
    world.kore.session(&id(1), ready(1));
    world.kore.session(&id(2), Timeline::new().finally("recording_disabled"));
    world.kore.session(&id(3), Timeline::new().finally(Answer::error(404, "who?")));
    world.insert(&[&id(1), &id(2), &id(3)]).await;
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(world.end_of(&id(2)).await, "unavailable/recording_disabled");
    eventually("the third has failed once", async || world.number(&id(3), "failures").await > 0).await;

    let show = document(&world.run(&["show", &id(1), "--json"]));
    let mut wanted = COLUMNS.to_vec();
    wanted.extend(["recordings", "events"]);
    assert_eq!(sorted(keys(&show)), sorted(wanted));
    assert_eq!(sorted(keys(&show["recordings"][0])), sorted(OF_A_RECORDING.to_vec()));
    assert_eq!((show["polls"].as_i64(), show["priority"].as_i64()), (Some(1), Some(0)));
    assert_eq!(sorted(keys(&show["events"][0])), ["at", "detail", "kind", "session_id"]);

    let status = document(&world.run(&["status", "--json"]));
    assert_eq!(sorted(keys(&status)), ["daemon", "newest_failures", "pauses", "states"]);
    let of_a_state = ["next_due_at", "oldest_enqueued_at", "sessions", "state"];
    assert_eq!(sorted(keys(&status["states"][0])), of_a_state);
    assert_eq!(status["states"].as_array().unwrap().len(), 3);
    assert!(status["daemon"].as_str().unwrap().contains("pid"));
    assert_eq!(daemon.stop().await, 0);

    let back = document(&world.run(&["retry", &id(2), "--json"]));
    assert_eq!(back, serde_json::json!({ "pending": 1, "unknown": 0 }));
    let config = document(&world.run(&["config", "--json"]));
    for section in ["queue", "bots", "bucket", "poll", "transfer", "http", "log"] {
        assert!(config[section].is_object(), "{section}");
    }
    assert!(!config.to_string().contains(&world.kore.options().client_secret));
}

fn sorted(mut words: Vec<&str>) -> Vec<&str> {
    words.sort_unstable();
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_a_row_its_files_its_history_and_no_control_characters() {
    let mut world = World::new().await;
    world.set("poll.max_failures", "1").set("poll.fail_after", "\"0s\"");
    world.kore.session(&id(1), ready(1));
    let nasty = "\u{1b}[31mred\u{7}\r\n\u{202e}gnp";
    world.kore.session(&id(2), Timeline::new().finally(Answer::error(404, nasty)));
    world.kore.session(&id(3), Timeline::new().finally(nasty));
    world.insert(&[&id(1), &id(2), &id(3)]).await;
    let _daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(world.end_of(&id(2)).await, "failed/not_found");
    eventually("the third was polled", async || world.number(&id(3), "polls").await > 0).await;

    for kind in ["noted earlier", "noted later"] {
        let event = format!("INSERT INTO events (session_id, kind, detail) VALUES ('{}', '{kind}', '{{}}')", id(1));
        world.execute(&event).await.unwrap();
    }
    let show = out(&world.run(&["show", &id(1)]));
    for word in ["done", "archived", "call-merged.wav", "sha256", "history"] {
        assert!(show.contains(word), "{word}: {show}");
    }
    assert!(show.find("noted earlier").unwrap() < show.find("noted later").unwrap(), "{show}");
    let status = out(&world.run(&["status"]));
    assert!(status.contains("not_found") && status.contains("oldest pending"), "{status}");
    for text in [status, out(&world.run(&["show", &id(2)])), out(&world.run(&["show", &id(3)]))] {
        assert!(text.contains("red"), "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}'), "{text:?}");
    }
    let unknown = world.run(&["show", "nobody\u{1b}"]);
    assert_eq!((unknown.status.code(), out(&unknown).as_str()), (Some(1), ""));
    assert!(err(&unknown).contains("there is no session nobody") && !err(&unknown).contains('\u{1b}'));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_enqueued_for_a_second_bot_is_archived_by_that_one() {
    let mut world = World::new().await;
    let elsewhere = FakeKore::start(Options { bot_id: "st-of-sales".to_owned(), ..Options::default() }).await;
    elsewhere.session(&id(1), ready(1));
    world.add_bot("sales", "another", &elsewhere);
    let made = world.run(&["enqueue", &id(1), "--bot", "sales"]);
    assert_eq!(out(&made), "1 new, 0 already known\n", "{}", err(&made));
    assert!(world.run_until_empty().await.success(), "{}", world.log());
    assert_eq!((world.kore.polls().len(), elsewhere.polls().len()), (0, 1));
    let folder = format!("sales/year=2024/month=03/day=05/{}", id(1));
    assert_eq!(world.s3.keys(), [format!("{folder}/call-merged.wav"), format!("{folder}/session.json")]);
    let sidecar = world.sidecar(&format!("{folder}/session.json"));
    assert_eq!((sidecar["bot"].as_str(), sidecar["bot_id"].as_str()), (Some("sales"), Some("st-of-sales")));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_sent_back_by_id_by_state_and_by_reason() {
    let mut world = World::new().await;
    world.set("poll.max_failures", "1").set("poll.fail_after", "\"0s\"").set("poll.give_up_after", "\"1ms\"");
    world.kore.session(&id(1), Timeline::new().finally(Answer::error(404, "who?")));
    world.kore.session(&id(2), Timeline::new().finally("media_in_progress"));
    world.kore.session(&id(3), ready(3));
    world.insert(&[&id(1), &id(2), &id(3)]).await;
    let ended = world.run(&["run", "--until-empty"]);
    assert_eq!(ended.status.code(), Some(3), "{}", err(&ended));
    assert_eq!(out(&ended), "");
    assert!(err(&ended).contains("not done: 2 failed; `kore-archiver status`"), "{}", err(&ended));

    let back = |arguments: &[&str]| out(&world.run(arguments));
    assert_eq!(back(&["retry", "--state", "failed", "--reason", "not_found"]), "1 back to pending\n");
    assert_eq!(world.column(&id(1), "reason").await, None);
    assert_eq!(back(&["retry", "--state", "failed"]), "1 back to pending\n");
    assert_eq!(back(&["retry", &id(3), "--reason", "not_found"]), "0 back to pending\n");
    let mixed = world.run(&["retry", &id(3), "nobody"]);
    assert_eq!((mixed.status.code(), out(&mixed).as_str()), (Some(1), "1 back to pending\n"));
    assert!(err(&mixed).contains("there is no session nobody"));
    for wrong in [
        &["retry"][..],
        &["retry", "--state", "broken"],
        &["retry", "--state", "pending"],
        &["retry", "--state", "failed", "--reason", "because\u{202e}"],
        &["retry", "a b"],
        &["retry", "a", "--state", "failed"],
    ] {
        let refused = world.run(wrong);
        assert_eq!((refused.status.code(), out(&refused).as_str()), (Some(2), ""), "{wrong:?}");
        assert!(!err(&refused).contains('\u{202e}'), "{wrong:?}");
    }
    world.kore.session(&id(1), ready(1));
    world.kore.session(&id(2), ready(2));
    assert_eq!(world.run(&["run", "--until-empty"]).status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_run_and_enqueue_create_a_queue_and_wrong_settings_are_78() {
    let world = World::new().await;
    for command in [&["status"][..], &["show", "a"], &["retry", "a"], &["reconcile"]] {
        let refused = world.run(command);
        assert_eq!((refused.status.code(), out(&refused).as_str()), (Some(74), ""), "{command:?}");
        assert!(err(&refused).contains("queue.db") && err(&refused).contains("no such file"), "{}", err(&refused));
        assert!(!world.queue_path().exists(), "{command:?}");
    }
    assert_eq!(world.run(&["config"]).status.code(), Some(0));
    assert!(!world.queue_path().exists());
    let mut wrong = World::new().await;
    wrong.set("poll.timeuot", "\"30s\"");
    for command in [&["run"][..], &["status"], &["enqueue", "a"], &["config"]] {
        let refused = wrong.run(command);
        assert_eq!((refused.status.code(), out(&refused).as_str()), (Some(78), ""), "{command:?}");
        assert!(err(&refused).contains("timeuot") && err(&refused).contains("config.toml"), "{}", err(&refused));
    }
    assert!(!wrong.queue_path().exists());
    // Where there is a journal, it can be written to.
    if !std::path::Path::new("/run/systemd/journal/socket").exists() {
        let mut without = World::new().await;
        without.set("log.format", "\"journald\"");
        let refused = without.run(&["run"]);
        assert_eq!(refused.status.code(), Some(78), "{}", err(&refused));
        assert!(err(&refused).contains("config.toml: log.format is \"journald\""), "{}", err(&refused));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_has_examples_and_a_reader_that_leaves_is_no_panic() {
    let world = World::new().await;
    let binary = env!("CARGO_BIN_EXE_kore-archiver");
    for command in ["run", "enqueue", "status", "show", "retry", "config"] {
        let help = Command::new(binary).args([command, "--help"]).env("CLICOLOR_FORCE", "1").output().unwrap();
        assert_eq!(help.status.code(), Some(0));
        assert!(out(&help).contains("Examples:") && out(&help).contains("--config"), "{command}");
        assert_eq!(err(&help), "");
        assert!(!out(&help).contains('\u{1b}'), "no colour where nobody sees it");
    }
    let unknown = Command::new(binary).arg("no-such-command").env("CLICOLOR_FORCE", "1").output().unwrap();
    assert_eq!((unknown.status.code(), err(&unknown).contains('\u{1b}')), (Some(2), false));
    assert_eq!(Command::new(binary).output().unwrap().status.code(), Some(2));

    world.run(&["enqueue", &id(1)]);
    let config = world.config();
    for command in ["config", "status", "status --json", "status --watch", "--help"] {
        let line = format!(
            "set -o pipefail; {binary} {command} --config {} 2> {} | true; echo ${{PIPESTATUS[0]}}",
            config.display(),
            world.path("complaints").display()
        );
        let ended = Command::new("timeout").args(["20", "bash", "-c", &line]).env("NO_COLOR", "1").output().unwrap();
        assert_eq!(out(&ended), "0\n", "{command}");
        let complaints = std::fs::read_to_string(world.path("complaints")).unwrap();
        assert_eq!(unwarned(&complaints), "", "{command}");
    }
}
