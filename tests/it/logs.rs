//! The log and who reads it: one that stands still holds nobody up, one that reads has every line in one form.

use std::io::{Read as _, pipe};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::kore::Timeline;
use crate::support::rows::ready;
use crate::support::world::{World, id, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_nobody_reads_holds_up_no_poll_no_page_and_no_end() {
    let world = World::new().await;
    world.create_queue();
    let (mut reader, writer) = pipe().unwrap();
    // Full, before the daemon says its first word.
    let mut zeros = Command::new("head");
    zeros.args(["-c", "65536", "/dev/zero"]).stdout(writer.try_clone().unwrap());
    assert!(zeros.status().unwrap().success());
    drop(zeros);
    let mut command = world.command(&["run"]);
    command.stderr(writer);
    let mut daemon = world.daemon_of(command).await;
    world.kore.session(&id(1), ready(1));
    world.insert(&[&id(1)]).await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(daemon.get("/healthz").await.0, 200);
    daemon.signal("TERM");
    let ended = until(|| daemon.has_ended()).await.expect("it ends");
    assert_eq!(ended.code(), Some(0));
    drop(daemon);
    let mut said = Vec::new();
    reader.read_to_end(&mut said).unwrap();
    assert_eq!(said.len(), 65536, "nothing was written, and nothing waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_comes_late_has_every_line_in_order() {
    let world = World::new().await;
    world.create_queue();
    let (mut reader, writer) = pipe().unwrap();
    let mut command = world.command(&["run"]);
    command.stderr(writer);
    let mut daemon = world.daemon_of(command).await;
    // More than the pipe takes.
    let ids: Vec<String> = (1..300).map(id).collect();
    for id in &ids {
        world.kore.session(id, Timeline::new().finally("recording_disabled"));
    }
    world.insert(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for id in &ids {
        assert_eq!(world.end_of(id).await, "unavailable/recording_disabled");
    }
    daemon.signal("TERM");
    let reading = std::thread::spawn(move || {
        let mut said = String::new();
        reader.read_to_string(&mut said).map(|_| said)
    });
    assert_eq!(daemon.ended().await.code(), Some(0));
    drop((daemon, world));
    let said = reading.join().unwrap().unwrap();
    assert!(said.len() > 65536, "{}", said.len());
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for id in &ids {
        assert!(lines.iter().any(|line| line["session.id"] == **id && line["message"] == "finished"), "{id}");
    }
    let at = |message: &str| lines.iter().position(|line| line["message"] == message);
    assert!(at("ready") < at("finished"));
    assert_eq!(lines.last().unwrap()["message"], "stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_error_of_run_is_a_line_of_its_log_and_said_once() {
    let mut world = World::new().await;
    world.kore.session(&id(1), Timeline::new().finally("recording_disabled"));
    world.insert(&[&id(1)]).await;
    let ended = world.run(&["run", "--until-empty"]);
    assert_eq!(ended.status.code(), Some(3));
    let last = last(&ended.stderr);
    let message = last["message"].as_str().unwrap();
    assert!(message.starts_with("not done: 1 unavailable; ") && last["level"] == "warn", "{last}");

    let daemon = world.daemon().await;
    let refused = world.run(&["run"]);
    assert_eq!(refused.status.code(), Some(75));
    let error = self::last(&refused.stderr);
    assert_eq!(error["level"], "error");
    let message = error["message"].as_str().unwrap();
    assert_eq!(String::from_utf8_lossy(&refused.stderr).matches(message).count(), 1, "{message}");
    world.set("log.format", "\"text\"");
    let refused = world.command(&["run"]).stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8(refused.stderr).unwrap();
    let line = text.lines().last().unwrap();
    assert!(line.contains(" ERROR ") && line.ends_with(message), "{line}");
    assert_eq!(daemon.stop().await, 0);
}

/// The last line; each must be JSON.
fn last(stderr: &[u8]) -> Value {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    lines.into_iter().next_back().unwrap()
}
