//! The `kore-archiver` command; everything it does is in the library.

use std::process::ExitCode;

use kore_archiver::commands::{self, Cli};

fn main() -> ExitCode {
    ExitCode::from(commands::main(&Cli::of_process()))
}
