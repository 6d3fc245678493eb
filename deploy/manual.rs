//! Writes the manual pages and the shells' completions into a folder: `cargo run --example manual -- FOLDER`.
//!
//! `kore-archiver(1)` and one page a command come from the command line that the binary parses, and
//! `kore-archiver.toml(5)` from the sample settings, whose comments are the reference: neither can drift from what is
//! installed. Packages are made of what is written here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use kore_archiver::commands::Cli;

#[path = "manual/settings_page.rs"]
mod settings_page;

const SETTINGS: &str = include_str!("../config/config.toml");
const NAME: &str = "kore-archiver";
/// What stands before a page's examples in `--help`, and its own heading in the manual.
const EXAMPLES: &str = "Examples:\n";

const EXIT_STATUS: [(&str, &str); 7] = [
    ("0", "Done."),
    ("1", "An error at run time."),
    ("2", "Wrong usage."),
    (
        "3",
        "Finished, and something needs a person: \"check\" found a fault, \"reconcile\" found drift, \"run --until-empty\" ended with rows that are not \"done\".",
    ),
    ("74", "The queue's storage is damaged or not usable."),
    ("75", "Another daemon holds this queue."),
    ("78", "The settings are wrong: the message names file, key and what is expected."),
];

const FILES: [(&str, &str); 5] = [
    ("/etc/kore-archiver/config.toml", "The settings; see kore-archiver.toml(5)."),
    (
        "/etc/kore-archiver/client-secret",
        "The client secret, where the settings name it; owned by kore-archiver, mode 0400.",
    ),
    (
        "/etc/kore-archiver/environment",
        "Variables of the service, if it is there; root's, mode 0600: AWS credentials, overrides of settings.",
    ),
    (
        "/var/lib/kore-archiver/queue.db",
        "The queue, 0660; with the two files of SQLite beside it, -wal and -shm. Members of the group kore-archiver insert rows.",
    ),
    (
        "/usr/share/kore-archiver/, /usr/share/doc/kore-archiver/examples/",
        "The sidecar's JSON Schema, alerts, a dashboard, AWS policies; drop-ins for the service.",
    ),
];

const ENVIRONMENT: [(&str, &str); 4] = [
    ("KORE_ARCHIVER__SECTION__KEY", "Overrides section.key of the settings; two underscores between the levels."),
    (
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE, …",
        "AWS's standard chain of credentials.",
    ),
    (
        "CREDENTIALS_DIRECTORY",
        "Where systemd keeps the credential client-secret.NAME of a bot without client_secret_file.",
    ),
    ("NO_COLOR", "No colour, on a terminal either."),
];

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| io::Error::other("usage: manual FOLDER"))?;
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder)?;
    }
    write_commands(&man)?;
    fs::write(man.join("kore-archiver.toml.5"), title("kore-archiver.toml", "5") + &settings_page::of(SETTINGS))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut Cli::command(), NAME, &completions)?;
    }
    Ok(())
}

/// The page of the whole, and one a command.
fn write_commands(folder: &Path) -> io::Result<()> {
    let mut whole = Cli::command()
        .disable_help_subcommand(true)
        .subcommand_value_name("COMMAND")
        .subcommand_help_heading("COMMANDS");
    whole.build();
    fs::write(folder.join("kore-archiver.1"), page(&whole, NAME, true)?)?;
    for command in whole.get_subcommands() {
        let name = format!("{NAME}-{}", command.get_name());
        fs::write(folder.join(format!("{name}.1")), page(command, &name, false)?)?;
    }
    Ok(())
}

fn page(command: &Command, name: &str, is_whole: bool) -> io::Result<Vec<u8>> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let help = help.strip_prefix(EXAMPLES).unwrap_or_default();
    let (examples, notes) = help.split_once("\n\n").unwrap_or((help, ""));
    let man = Man::new(command.clone());
    let mut page = title(name, "1").into_bytes();
    man.render_name_section(&mut page)?;
    write_synopsis(&mut page, command)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if is_whole {
        man.render_subcommands_section(&mut page)?;
        // Its notes are the exit codes, which have a section here.
        write_section(&mut page, "EXAMPLES", examples)?;
        write_list(&mut page, "EXIT STATUS", &EXIT_STATUS)?;
        write_list(&mut page, "FILES", &FILES)?;
        write_list(&mut page, "ENVIRONMENT", &ENVIRONMENT)?;
    } else {
        write_section(&mut page, "NOTES", notes)?;
        write_section(&mut page, "EXAMPLES", examples)?;
    }
    let others = if is_whole {
        "kore-archiver.toml(5), sqlite3(1), systemctl(1)"
    } else {
        "kore-archiver(1), kore-archiver.toml(5)"
    };
    Roff::new().control("SH", ["SEE ALSO"]).text([roman(others)]).to_writer(&mut page)?;
    Ok(page)
}

/// The first line of a page. It has no date, so that the same sources make the same package.
fn title(name: &str, section: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(".TH \"{}\" {section} \"\" \"{NAME} {version}\" \"{NAME}\"\n", name.to_uppercase())
}

/// As `--help` says it.
fn write_synopsis(page: &mut Vec<u8>, command: &Command) -> io::Result<()> {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    Roff::new().control("SH", ["SYNOPSIS"]).text([roman(usage)]).to_writer(page)
}

/// Text of `--help`: what is indented there stays as it is, lines of prose are filled.
fn write_section(page: &mut Vec<u8>, heading: &str, text: &str) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    let mut was_typed = false;
    for line in text.lines() {
        let typed = line.strip_prefix("  ");
        if typed.is_some() != was_typed {
            roff.control(if was_typed { "fi" } else { "nf" }, []);
            was_typed = typed.is_some();
        }
        if line.is_empty() {
            roff.control("PP", []);
        } else {
            roff.text([roman(typed.unwrap_or(line))]);
        }
    }
    if was_typed {
        roff.control("fi", []);
    }
    roff.to_writer(page)
}

fn write_list(page: &mut Vec<u8>, heading: &str, items: &[(&str, &str)]) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    for (term, text) in items {
        roff.control("TP", []).text([bold(*term)]).text([roman(*text)]);
    }
    roff.to_writer(page)
}
