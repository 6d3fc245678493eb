//! `retry`: back to `pending`. The daemon looks again, finds what is whole in the bucket, and copies nothing twice.

use clap::Args;
use serde_json::json;

use super::{Exit, Usage, desk, output};
use crate::config::Settings;
use crate::queue::desk::Selection;
use crate::session::{Reason, SessionId, State};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kore-archiver retry 65e7133a3242653c58d70001
  kore-archiver retry --state failed
  kore-archiver retry --state failed --reason too_many_failures")]
pub(super) struct Arguments {
    /// Kore's session ids
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All sessions in this state: done, suspect, unavailable or failed
    #[arg(long, value_name = "STATE", conflicts_with = "ids")]
    state: Option<String>,
    /// Only those with this reason
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Print the count as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, settings: &Settings) -> anyhow::Result<Exit> {
    let (selection, reason) = (selection(arguments)?, reason(arguments)?);
    let desk = desk(settings).await?;
    let mut unknown = 0;
    if let Selection::Ids(ids) = &selection {
        for id in ids {
            if desk.session(id.as_str()).await?.is_none() {
                output::complain(&format!("there is no session {id} in the queue"));
                unknown += 1;
            }
        }
    }
    let count = desk.retry(&selection, reason).await?;
    if arguments.json {
        output::print_json(&json!({ "pending": count, "unknown": unknown }))?;
    } else {
        output::print(&format!("{count} back to pending\n"))?;
    }
    Ok(if unknown > 0 { Exit::Failed } else { Exit::Done })
}

fn selection(arguments: &Arguments) -> Result<Selection, Usage> {
    if let Some(text) = &arguments.state {
        let state = State::parse(text).filter(|state| *state != State::Pending);
        let words = State::ALL.iter().skip_while(|state| **state == State::Pending).map(|state| state.as_str());
        let refusal =
            || Usage(format!("--state {}: there are {}", output::plain(text), words.collect::<Vec<_>>().join(", ")));
        return Ok(Selection::State(state.ok_or_else(refusal)?));
    }
    if arguments.ids.is_empty() {
        return Err(Usage("which sessions? name their ids, or all in a state: --state failed".to_owned()));
    }
    let parse =
        |id: &String| SessionId::parse(id).map_err(|error| Usage(format!("\"{}\": {error}", output::plain(id))));
    Ok(Selection::Ids(arguments.ids.iter().map(parse).collect::<Result<_, _>>()?))
}

fn reason(arguments: &Arguments) -> Result<Option<Reason>, Usage> {
    let Some(text) = &arguments.reason else { return Ok(None) };
    let words = Reason::ALL.map(Reason::as_str).join(", ");
    Reason::parse(text).map(Some).ok_or_else(|| Usage(format!("--reason {}: there are {words}", output::plain(text))))
}
