//! `config`: the settings in force, as a settings file, secrets hidden.

use clap::Args;

use super::{Exit, output};
use crate::config::Settings;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kore-archiver config
  KORE_ARCHIVER__POLL__TIMEOUT=10s kore-archiver config --config ./my.toml
  kore-archiver config --json | jq .poll")]
pub(super) struct Arguments {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, settings: &Settings) -> anyhow::Result<Exit> {
    for warning in settings.warnings() {
        output::complain(&warning);
    }
    if arguments.json {
        output::print_json(&settings.to_json())?;
    } else {
        output::print(&settings.to_toml())?;
    }
    Ok(Exit::Done)
}
