//! The README, held to its word: its settings are read, its SQL runs, its commands and metrics exist, and its tables
//! leave nothing out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kore_archiver::config::{self, Environment};
use kore_archiver::pause;
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
    let listed = help.split_once("Commands:").expect("the help lists the commands").1.lines().skip(1);
    let known: BTreeSet<_> = listed.map_while(|line| line.split_whitespace().next()).collect();
    let told = table("| command | does |");
    let told: BTreeSet<_> = told.iter().map(String::as_str).chain(["help"]).collect();
    assert_eq!(told, known);
    let prose: String = README.split("```").step_by(2).collect();
    let shell = blocks("sh").concat();
    let typed: Vec<_> = shell.lines().chain(code(&prose)).flat_map(typed).collect();
    assert!(typed.len() > 20, "{typed:?}");
    for words in typed {
        let command = words[0].as_str();
        assert!(known.contains(command), "{words:?}");
        let help = self::help(&world, &[command]);
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(flag.as_str()), "{words:?}: {flag}");
        }
    }
}

/// What stands behind the program's name wherever a line of shell calls it, up to the next command or remark.
fn typed(line: &str) -> Vec<Vec<String>> {
    let words: Vec<_> = line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
    let commands = words.split(|word| ["|", "&&", ";"].contains(word)).filter_map(|command| {
        let own = command.iter().position(|word| *word == "kore-archiver")?;
        // Elsewhere it is the name of a unit, a user or a group.
        let is_called = command.len() > own + 1 && (own == 0 || command[0] == "systemd-run");
        is_called.then(|| command[own + 1..].iter().map(|word| (*word).to_owned()).collect())
    });
    commands.collect()
}

#[test]
fn the_runbook_knows_every_alert() {
    let rules = fs::read_to_string(root().join("deploy/prometheus/rules.yml")).unwrap();
    let fired: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(fired.len() > 10, "{fired:?}");
    assert_eq!(table("| alert | means | type |"), fired);
}

#[test]
fn the_runbook_knows_every_reason() {
    let told: BTreeSet<_> = table("| reason | means | do |").into_iter().collect();
    let all: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect();
    assert_eq!(told, all);
    let by_state = section("| state | means | reasons |");
    for reason in Reason::ALL {
        let line = by_state.lines().find(|line| code(line).any(|word| word == reason.as_str())).unwrap();
        assert!(line.starts_with(&format!("| `{}` |", reason.state().as_str())), "{line}");
    }
    let pauses = section("### A pause").lines().filter(|line| line.starts_with("| `"));
    let pauses = pauses.map(|line| code(line).nth(1).unwrap_or_else(|| panic!("no reason in {line}")));
    assert_eq!(pauses.collect::<Vec<_>>(), pause::REASONS);
}

#[test]
fn the_code_map_lists_every_module_in_reading_order() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared: Vec<_> = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(table("| module | owns |"), declared);
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
fn the_policy_of_the_readme_is_the_one_that_is_shipped() {
    let shipped = fs::read_to_string(root().join("deploy/aws/iam-policy.json")).unwrap();
    let [told, shipped] =
        [blocks("json").concat(), shipped].map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap());
    assert_eq!(told, shipped, "aws_policy.rs holds the shipped one to the calls that are made");
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

/// The first code of each row of the table with this heading.
fn table(heading: &str) -> Vec<String> {
    let rows = README.split_once(heading).unwrap_or_else(|| panic!("there is {heading}")).1.lines().skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| code(row).next().unwrap_or_else(|| panic!("nothing is named in {row}")).to_owned()).collect()
}

/// As GitHub makes one of a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}
