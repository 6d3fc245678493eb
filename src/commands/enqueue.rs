//! `enqueue`: the convenience over INSERT. All of it is put in, or, if one id will not do, nothing.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::{Exit, Usage, output};
use crate::clock::Timestamp;
use crate::config::Settings;
use crate::queue::desk::Order;
use crate::queue::{self, Desk};
use crate::session::SessionId;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kore-archiver enqueue 65e7133a3242653c58d70001 65e7133a3242653c58d70002
  kore-archiver enqueue --file ids.txt --bot sales --priority 5
  other-program | kore-archiver enqueue --file -
  kore-archiver enqueue 65e7133a3242653c58d70001 \\
    --call-ended-at 2026-11-23T08:15:00Z --metadata '{\"case\":\"A-17\"}'")]
pub(super) struct Arguments {
    /// Kore's session ids
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// A file with one id a line; - for standard input
    #[arg(long, value_name = "F")]
    file: Option<String>,
    /// The NAME of their [bots.NAME] in the settings
    #[arg(long, default_value = "default", value_name = "NAME")]
    bot: String,
    /// Higher goes first
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_name = "N")]
    priority: i64,
    /// When the calls ended, like 2026-11-23T08:15:00Z
    #[arg(long, value_name = "TIME")]
    call_ended_at: Option<String>,
    /// A JSON object, copied into the sidecars
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

/// Editors of Windows begin files with it.
const BYTE_ORDER_MARK: char = '\u{feff}';
/// Room for an id and many blanks. What is no list at all may have no line end.
const LONGEST_LINE: u64 = 4096;

pub(super) async fn run(arguments: &Arguments, settings: &Settings) -> anyhow::Result<Exit> {
    let order = order(arguments, settings)?;
    let ids = ids(arguments)?;
    let desk = Desk::open_or_create(&settings.queue.path).await?.patient().await?;
    let new = desk.enqueue(&ids, &order).await?;
    let known = ids.len() as u64 - new;
    if arguments.json {
        output::print_json(&json!({ "new": new, "already_known": known }))?;
    } else {
        output::print(&format!("{new} new, {known} already known\n"))?;
    }
    Ok(Exit::Done)
}

fn order(arguments: &Arguments, settings: &Settings) -> Result<Order, Usage> {
    let Arguments { bot, priority, call_ended_at, metadata, .. } = arguments;
    if !settings.bots.contains_key(bot) {
        let known: Vec<_> = settings.bots.keys().map(String::as_str).collect();
        return Err(Usage(format!("--bot {}: the settings have only {}", output::plain(bot), known.join(", "))));
    }
    let call_ended_at = match call_ended_at {
        None => None,
        Some(text) => Some(Timestamp::parse(text).map_err(|error| Usage(format!("--call-ended-at: {error}")))?),
    };
    if let Some(text) = metadata {
        queue::metadata(text).map_err(|why| Usage(format!("--{why}")))?;
    }
    Ok(Order { bot: bot.clone(), priority: *priority, call_ended_at, metadata: metadata.clone() })
}

fn ids(arguments: &Arguments) -> anyhow::Result<Vec<SessionId>> {
    let mut ids = Vec::new();
    for text in &arguments.ids {
        ids.push(parse(text, "on the command line")?);
    }
    if let Some(file) = &arguments.file {
        let shown = output::plain(file);
        let mut reader: Box<dyn BufRead> = match file.as_str() {
            "-" => Box::new(io::stdin().lock()),
            path => Box::new(BufReader::new(File::open(path).with_context(|| format!("cannot read {shown}"))?)),
        };
        for number in 1_u64.. {
            let mut line = Vec::new();
            let read = (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line);
            if read.with_context(|| format!("cannot read line {number} of {shown}"))? == 0 {
                break;
            }
            if line.len() as u64 == LONGEST_LINE {
                let text = format!("line {number} of {shown} has {LONGEST_LINE} bytes or more; nothing was enqueued");
                return Err(Usage(text).into());
            }
            // What is no text is no id either, and is told as one.
            let line = String::from_utf8_lossy(&line);
            let line = if number == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line) } else { &line };
            if !line.trim().is_empty() {
                ids.push(parse(line.trim(), &format!("in line {number} of {shown}"))?);
            }
        }
    }
    // A program that has nothing to say is no mistake.
    if ids.is_empty() && arguments.file.is_none() {
        return Err(Usage("no session id was given; name some, or a --file with one a line".into()).into());
    }
    Ok(ids)
}

fn parse(text: &str, place: &str) -> Result<SessionId, Usage> {
    let shown: String = text.chars().take(60).collect();
    SessionId::parse(text)
        .map_err(|error| Usage(format!("\"{}\" {place}: {error}; nothing was enqueued", output::plain(&shown))))
}
