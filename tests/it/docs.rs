//! The README, held to its word: its settings are read, its SQL runs, its commands and metrics exist, and its tables
//! leave nothing out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kore_archiver::config::{self, Environment};
use kore_archiver::session::Reason;

use crate::support::world::World;

const README: &str = include_str!("../../README.md");

#[test]
fn the_settings_in_the_readme_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, blocks("toml").concat()).unwrap();
    let settings = config::read_without_secrets(Some(&path), &Environment::default()).unwrap();
    assert_eq!(settings.bots.keys().collect::<Vec<_>>(), ["default", "sales"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sql_in_the_readme_runs_in_its_order() {
    let world = World::new().await;
    world.create_queue();
    for block in blocks("sql") {
        world.execute(&block).await.unwrap_or_else(|error| panic!("{error}\n{block}"));
    }
    let left = world.rows("SELECT session_id FROM sessions").await;
    assert_eq!(left.len(), 1, "the second one was deleted, the first one inserted once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_in_the_readme_are_on_the_page_and_no_others() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    let (_, page) = daemon.get("/metrics").await;
    let served: BTreeSet<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let told: BTreeSet<_> = words(section("## Metrics")).filter(|word| word.starts_with("kore_archiver_")).collect();
    assert_eq!(told, served);
    for (row, labels) in section("## Metrics").lines().filter_map(|line| {
        let mut cells = line.split('|').skip(1);
        Some((cells.next()?, cells.next()?))
    }) {
        for metric in code(row).filter(|name| name.starts_with("kore_archiver_")) {
            for label in code(labels) {
                let has =
                    |line: &str| line.starts_with(&format!("{metric}{{")) && line.contains(&format!("{label}=\""));
                assert!(page.lines().any(has), "{metric} has the label {label}");
            }
        }
    }
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_in_the_readme_are_those_of_the_program() {
    let world = World::new().await;
    let help = help(&world, &[]);
    let listed: BTreeSet<_> = help
        .split("Commands:")
        .nth(1)
        .unwrap()
        .lines()
        .skip(1)
        .map_while(|line| line.split_whitespace().next())
        .collect();
    let told: BTreeSet<_> = rows("## Commands", 2).into_iter().filter(|name| name.parse::<u8>().is_err()).collect();
    let known: BTreeSet<_> = listed.iter().copied().filter(|name| *name != "help").collect();
    assert!(known.iter().all(|name| told.contains(*name)), "{told:?} {known:?}");
    for line in blocks("sh").concat().lines() {
        let Some(typed) = line.split("kore-archiver ").nth(1).filter(|_| !line.starts_with("sqlite3")) else {
            continue;
        };
        let typed = typed.split('#').next().unwrap();
        if !known.contains(typed.split_whitespace().next().unwrap()) {
            continue;
        }
        let help = self::help(&world, &[typed.split_whitespace().next().unwrap()]);
        for flag in typed.split_whitespace().filter(|word| word.starts_with("--")) {
            assert!(help.contains(flag), "{line}: {flag}");
        }
    }
}

#[test]
fn the_runbook_knows_every_reason_and_every_exit_code() {
    let told: BTreeSet<_> = rows("### A row that is not done", 2).into_iter().collect();
    let all: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect();
    assert_eq!(told, all);
    let by_state = section("| state | means | reasons |");
    for reason in Reason::ALL {
        let line = by_state.lines().find(|line| code(line).any(|word| word == reason.as_str())).unwrap();
        assert!(line.starts_with(&format!("| `{}` |", reason.state().as_str())), "{line}");
    }
    let pauses: BTreeSet<_> = section("### A pause")
        .lines()
        .filter_map(|line| code(line.split('|').nth(1)?).nth(1))
        .map(str::to_owned)
        .collect();
    for reason in ["src/archive/s3/errors.rs", "src/queue/writer.rs", "src/journey/mod.rs"].iter().flat_map(pause_words)
    {
        assert!(pauses.contains(&reason), "the runbook does not tell what to do about {reason}");
    }
}

/// The words of pauses that a source names.
fn pause_words(file: &&str) -> Vec<String> {
    const WORDS: [&str; 12] = [
        "rate_limited",
        "unauthorized",
        "access_denied",
        "credentials",
        "kms",
        "no_such_bucket",
        "wrong_region",
        "clock",
        "invalid",
        "locked",
        "disk_full",
        "io_error",
    ];
    let text = fs::read_to_string(root().join(file)).unwrap();
    WORDS.iter().filter(|word| text.contains(&format!("\"{word}\""))).map(|word| (*word).to_owned()).collect()
}

#[test]
fn the_code_map_lists_every_module_in_reading_order() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared: Vec<_> = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(rows("## Code map", 2), declared);
}

#[test]
fn every_link_of_the_readme_leads_somewhere() {
    let headings: BTreeSet<_> = README.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
    for link in README.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        match link.strip_prefix('#') {
            Some(heading) => assert!(headings.contains(heading), "{link}"),
            None => assert!(link.starts_with("https://") || root().join(link).exists(), "{link}"),
        }
    }
}

#[test]
fn the_policy_of_the_readme_allows_what_is_called_and_no_more() {
    let policy: serde_json::Value = serde_json::from_str(&blocks("json").concat()).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    let actions = statements.iter().flat_map(|statement| statement["Action"].as_array().unwrap());
    let actions: BTreeSet<_> = actions.map(|action| action.as_str().unwrap()).collect();
    let needed =
        ["s3:AbortMultipartUpload", "s3:GetObject", "s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:PutObject"];
    assert_eq!(actions, BTreeSet::from(needed));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn help(world: &World, command: &[&str]) -> String {
    let output = world.run(&[command, &["--help"]].concat());
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The code blocks of this language.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    README.split(&fence).skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())).collect()
}

/// From this line to the next heading.
fn section(start: &str) -> &'static str {
    let rest = README.split_once(start).unwrap_or_else(|| panic!("there is {start}")).1;
    rest.find("\n#").map_or(rest, |end| &rest[..end])
}

/// What is set as code.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// The first code of each row of the tables with so many columns.
fn rows(start: &str, least_columns: usize) -> Vec<String> {
    let lines = section(start).lines().filter(|line| line.starts_with("| `"));
    let cells = lines.map(|line| line.split('|').skip(1).collect::<Vec<_>>());
    let rows = cells.filter(|cells| cells.len() > least_columns);
    rows.filter_map(|cells| code(cells[0]).next()).map(str::to_owned).collect()
}

/// As GitHub makes one of a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}
