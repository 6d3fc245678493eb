//! `status`: counts by state, the oldest pending row, pauses, and the newest rows that need a person.

mod watch;

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::{Exit, desk, output};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::Settings;
use crate::queue::Desk;
use crate::queue::desk::Record;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kore-archiver status
  kore-archiver status --json | jq '.states[] | select(.state == \"pending\")'
  kore-archiver status --watch")]
pub(super) struct Arguments {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Show it again every two seconds, until Ctrl-C
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

const NEWEST: u32 = 10;

pub(super) async fn run(arguments: &Arguments, settings: &Settings) -> anyhow::Result<Exit> {
    let desk = desk(settings).await?;
    if arguments.json {
        output::print_json(&document(&desk).await?)?;
        return Ok(Exit::Done);
    }
    if arguments.watch {
        watch::watch(&desk).await?;
        return Ok(Exit::Done);
    }
    output::print(&text(&document(&desk).await?, SystemClock::new().now()))?;
    Ok(Exit::Done)
}

async fn document(desk: &Desk) -> anyhow::Result<Value> {
    let daemon = desk.daemon();
    // A daemon that was killed could not take its pauses back.
    let pauses = if daemon.is_some() { desk.pauses().await? } else { Vec::new() };
    Ok(json!({
        "daemon": daemon,
        "states": desk.overview().await?,
        "pauses": pauses,
        "newest_failures": desk.newest_in_need(NEWEST).await?,
    }))
}

fn text(document: &Value, now: Timestamp) -> String {
    let daemon = document["daemon"].as_str().map_or("not running".to_owned(), output::plain);
    let states = records(&document["states"]);
    let mut paragraphs = vec![format!("daemon: {daemon}\n")];
    paragraphs.push(if states.is_empty() {
        "the queue is empty\n".to_owned()
    } else {
        output::table(&["state", "sessions", "oldest_enqueued_at", "next_due_at"], &states)
    });
    if let Some(oldest) = oldest_pending(&states) {
        let age = humantime::format_duration(Duration::from_secs(now.since(oldest).as_secs()));
        paragraphs.push(format!("oldest pending: enqueued {age} ago\n"));
    }
    for (title, key, columns) in [
        ("paused", "pauses", &["what", "reason", "since", "until", "message"][..]),
        ("newest that need a person", "newest_failures", &["session_id", "reason", "finished_at", "last_error"][..]),
    ] {
        let records = records(&document[key]);
        if !records.is_empty() {
            paragraphs.push(format!("{title}:\n{}", output::table(columns, &records)));
        }
    }
    paragraphs.join("\n")
}

fn records(value: &Value) -> Vec<Record> {
    value.as_array().into_iter().flatten().filter_map(|record| record.as_object().cloned()).collect()
}

fn oldest_pending(states: &[Record]) -> Option<Timestamp> {
    let pending = states.iter().find(|state| state["state"] == "pending")?;
    Timestamp::parse(pending["oldest_enqueued_at"].as_str()?).ok()
}
