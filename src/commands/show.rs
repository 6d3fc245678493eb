//! `show ID`: a row, what of it is in the bucket, and what happened to it.

use clap::Args;
use serde_json::Value;

use super::{Exit, desk, output};
use crate::config::Settings;
use crate::queue::desk::Record;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kore-archiver show 65e7133a3242653c58d70001
  kore-archiver show 65e7133a3242653c58d70001 --json | jq .recordings")]
pub(super) struct Arguments {
    /// Kore's session id
    #[arg(value_name = "ID")]
    id: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, settings: &Settings) -> anyhow::Result<Exit> {
    let desk = desk(settings).await?;
    let Some(mut session) = desk.session(&arguments.id).await? else {
        output::complain(&format!("there is no session {} in the queue", output::plain(&arguments.id)));
        return Ok(Exit::Failed);
    };
    let (recordings, events) = (desk.recordings(&arguments.id).await?, desk.events(&arguments.id).await?);
    if arguments.json {
        session.insert("recordings".into(), recordings.into());
        session.insert("events".into(), events.into());
        output::print_json(&Value::Object(session))?;
    } else {
        output::print(&text(&session, &recordings, &events))?;
    }
    Ok(Exit::Done)
}

/// What `show` tells of a recording.
const OF_A_RECORDING: [&str; 10] =
    ["bucket", "key", "bytes", "sha256", "crc64nvme", "etag", "version_id", "content_type", "suspect", "archived_at"];

fn text(session: &Record, recordings: &[Record], events: &[Record]) -> String {
    let width = session.keys().map(String::len).max().unwrap_or_default();
    let line = |name: &str, value: &Value| format!("{name:width$}  {}", output::cell(value));
    let mut lines: Vec<_> = session.iter().map(|(name, value)| line(name, value)).collect();
    for recording in recordings {
        lines.push(format!("\nrecording {}", output::cell(&recording["file_name"])));
        lines.extend(OF_A_RECORDING.iter().map(|column| line(column, &recording[*column])));
    }
    if !events.is_empty() {
        lines.push(format!("\nhistory:\n{}", output::table(&["at", "kind", "detail"], events).trim_end()));
    }
    lines.join("\n") + "\n"
}
