//! Imports run one way (the house's layers), held by reading the sources.
//!
//! Looked at is every path in `src`: `use` lines and paths in the middle of code alike, once comments, texts and
//! tests are taken out. A new module must be placed in [`LAYERS`] before anything passes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom to the top: a module imports from its own layer and from those below.
const LAYERS: [(&str, &[&str]); 5] = [
    (
        "nouns and policy",
        &[
            "session", "clock", "backoff", "key", "hosts", "receipt", "media", "words", "source", "schedule", "decide",
            "pause", "transfer", "flights", "config",
        ],
    ),
    ("edges", &["queue", "kore", "archive"]),
    ("work", &["metrics", "telemetry", "shutdown", "journey", "worker", "http"]),
    ("root", &["app"]),
    ("commands", &["commands"]),
];

/// Never of each other: a fault of one is no fault of another, and each can be replaced in a test.
const EDGES: &[&str] = LAYERS[1].1;

/// What only some may name, and where. A trailing `*` stands for any rest of the word.
const AT_HOME: &[(&str, &[&str])] = &[
    ("sqlx", &["src/queue/"]),
    ("libsqlite3_sys", &["src/queue/"]),
    ("reqwest", &["src/kore/"]),
    ("hyper", &["src/http/", "src/kore/"]),
    ("hyper_rustls", &["src/kore/"]),
    ("hyper_util", &["src/http/", "src/kore/"]),
    ("rustls", &["src/kore/"]),
    ("rustls_platform_verifier", &["src/kore/"]),
    ("tower_layer", &["src/kore/"]),
    ("tower_service", &["src/kore/"]),
    ("jsonwebtoken", &["src/kore/"]),
    ("aws_config", &["src/archive/s3/"]),
    ("aws_credential_types", &["src/archive/s3/"]),
    ("aws_sdk_s3", &["src/archive/s3/"]),
    ("aws_smithy_*", &["src/archive/s3/"]),
    ("axum", &["src/http"]),
    ("clap", &["src/commands/", "src/main.rs"]),
    ("indicatif", &["src/commands/"]),
    ("comfy_table", &["src/commands/"]),
    ("rustix", &["src/commands/check/", "src/queue/file.rs"]),
    ("terminal_size", &["src/commands/status/"]),
    ("std::env", &["src/config/", "src/commands/heap.rs"]),
    ("SystemTime", &["src/clock.rs"]),
    ("OffsetDateTime", &["src/clock.rs"]),
    ("Instant", &["src/clock.rs"]),
    ("tokio::time", &["src/clock.rs"]),
    ("thread::sleep", &["src/clock.rs"]),
    // Whoever builds an edge decides what it is; everybody else is handed one.
    ("Queue::open", &["src/app.rs"]),
    ("KoreClient::new", &["src/app.rs", "src/commands/check/"]),
    ("S3Store::connect", &["src/app.rs", "src/commands/check/", "src/commands/reconcile/"]),
    ("SystemClock::new", &["src/app.rs", "src/clock.rs", "src/commands/", "src/telemetry/"]),
];

/// One source file without comments, texts and tests.
struct Source {
    /// `src/kore/client.rs`
    path: String,
    /// `["kore", "client"]`; of `mod.rs` the folder alone.
    module: Vec<String>,
    code: String,
}

#[test]
fn every_module_has_its_place() {
    let placed: BTreeSet<_> = LAYERS.iter().flat_map(|(_, modules)| modules.iter().copied()).collect();
    let lib = code_of(&fs::read_to_string(root().join("src/lib.rs")).unwrap());
    let declared: BTreeSet<_> =
        lib.lines().filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(declared, placed, "lib.rs declares what is on the left, LAYERS places what is on the right");
}

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(layer) = source.module.first().and_then(|module| layer_of(module)) else { continue };
        for imported in source.imports() {
            if layer_of(&imported).is_some_and(|other| other > layer) {
                wrong.push(format!("{} ({}) imports {imported}", source.path, LAYERS[layer].0));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_edges_know_nothing_of_each_other() {
    for source in sources().iter().filter(|source| EDGES.contains(&source.top())) {
        for imported in source.imports() {
            let is_other_edge = EDGES.contains(&imported.as_str()) && imported != source.top();
            assert!(!is_other_edge, "{} imports {imported}", source.path);
        }
    }
}

#[test]
fn every_crate_the_clock_and_the_environment_have_one_home() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (path, homes) in AT_HOME {
            if names(&source.code, path) && !homes.iter().any(|home| source.path.starts_with(home)) {
                wrong.push(format!("{} names {path}, which is at home in {homes:?}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn this_test_sees_what_it_must() {
    let text = "use crate::{kore, queue::Desk}; // crate::app\nfn f() { let _ = \"sqlx\"; super::super::archive::x() }\n\
                let c = '\"'; r#\"crate::worker\"#;\n#[cfg(test)]\nmod tests { use crate::commands; }\n\
                #[cfg(test)]\nmod testing;\nuse crate::http::{self};";
    let module = ["journey", "copy"].map(str::to_owned).to_vec();
    let source = Source { path: "src/journey/copy.rs".to_owned(), module, code: code_of(text) };
    let imports: Vec<_> = source.imports().into_iter().collect();
    assert_eq!(imports, ["archive", "http", "kore", "queue"]);
    assert!(!names(&source.code, "sqlx") && !names("my_sqlx::x", "sqlx") && names("use sqlx::query", "sqlx"));
    assert!(names("aws_smithy_types::Blob", "aws_smithy_*") && !names("aws_lc_rs::digest", "aws_smithy_*"));
    assert!(names("std::env::var_os()", "std::env") && !names("env!(\"X\")", "std::env"));
    assert!(sources().len() > 50, "there are sources");
}

impl Source {
    fn top(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    /// The top-level modules that it names.
    fn imports(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (at, _) in self.code.match_indices("crate::") {
            if !is_word_end(&self.code[..at]) {
                found.extend(heads(&self.code[at + "crate::".len()..]));
            }
        }
        // As many `super` as the module is deep lead to the root.
        let up = "super::".repeat(self.module.len());
        for (at, _) in self.code.match_indices(&up) {
            let before = &self.code[..at];
            if !is_word_end(before) && !before.ends_with("::") {
                found.extend(heads(&self.code[at + up.len()..]));
            }
        }
        found.retain(|name| layer_of(name).is_some());
        found
    }
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, modules)| modules.contains(&module))
}

/// The first names of a path, or of each path in a group.
fn heads(rest: &str) -> Vec<String> {
    let word = |text: &str| text.trim_start().chars().take_while(|c| is_word(*c)).collect::<String>();
    let Some(group) = rest.trim_start().strip_prefix('{') else { return vec![word(rest)] };
    let (mut depth, mut heads, mut start) = (0, vec![word(group)], None);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = Some(at + 1),
            _ => {}
        }
        if let Some(from) = start.take() {
            heads.push(word(&group[from..]));
        }
    }
    heads
}

/// Whether the path stands in the code as whole words.
fn names(code: &str, path: &str) -> bool {
    let (stem, is_prefix) = path.strip_suffix('*').map_or((path, false), |stem| (stem, true));
    code.match_indices(stem).any(|(at, _)| {
        let ends = is_prefix || !code[at + stem.len()..].starts_with(is_word);
        !is_word_end(&code[..at]) && ends
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_word_end(text: &str) -> bool {
    text.ends_with(is_word)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    let mut sources: Vec<_> = files.iter().map(|file| read(file)).collect();
    let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    // Modules that only tests have are declared so by their parents, and may do as tests do.
    let of_tests: BTreeSet<PathBuf> =
        files.iter().zip(&texts).flat_map(|(file, text)| test_modules(file, text)).collect();
    sources.retain(|source| {
        let path = root().join(&source.path);
        !of_tests.iter().any(|test| path == test.with_extension("rs") || path.starts_with(test))
    });
    sources
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Where the modules under `#[cfg(test)] mod name;` are, without extension.
fn test_modules(file: &Path, text: &str) -> Vec<PathBuf> {
    let folder = if matches!(file.file_name().and_then(|name| name.to_str()), Some("mod.rs" | "lib.rs")) {
        file.parent().unwrap().to_owned()
    } else {
        file.with_extension("")
    };
    let declared = text.split("#[cfg(test)]").skip(1);
    let names = declared.filter_map(|rest| {
        rest.trim_start()
            .split_once(';')?
            .0
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub(super) ")
            .strip_prefix("mod ")
    });
    names.filter(|name| name.chars().all(is_word)).map(|name| folder.join(name)).collect()
}

fn read(file: &Path) -> Source {
    let path = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let mut module: Vec<String> =
        path.trim_start_matches("src/").trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|name| name == "mod") {
        module.pop();
    }
    Source { path, module, code: code_of(&fs::read_to_string(file).unwrap()) }
}

/// The code alone: no comments, no texts, no modules of tests.
fn code_of(text: &str) -> String {
    let bare = without_comments_and_texts(text);
    let mut code = String::new();
    let mut rest = bare.as_str();
    while let Some((before, after)) = rest.split_once("#[cfg(test)]") {
        code.push_str(before);
        rest = after_item(after);
    }
    code + rest
}

/// What follows the item at the start: its `;`, or the brace that closes it.
fn after_item(text: &str) -> &str {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            ';' if depth == 0 => return &text[at + 1..],
            '{' => depth += 1,
            '}' if depth == 1 => return &text[at + 1..],
            '}' => depth -= 1,
            _ => {}
        }
    }
    ""
}

fn without_comments_and_texts(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            text_length(rest)
        } else if let Some(hashes) = raw_text(rest).filter(|_| !is_word_end(&code)) {
            let end = format!("\"{}", "#".repeat(hashes));
            rest[hashes + 2..].find(&end).map_or(rest.len(), |at| hashes + 2 + at + end.len())
        } else if c == '\'' {
            char_length(rest)
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

fn text_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// How many hashes a raw text has, if one begins here.
fn raw_text(text: &str) -> Option<usize> {
    let rest = text.strip_prefix('r')?;
    let hashes = rest.chars().take_while(|c| *c == '#').count();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// A character, or the quote of a lifetime.
fn char_length(text: &str) -> usize {
    if text.starts_with("'\\") {
        return text[3..].find('\'').map_or(text.len(), |at| at + 4);
    }
    let second = text.chars().nth(1).map_or(0, char::len_utf8);
    if text[1 + second..].starts_with('\'') { 2 + second } else { 1 }
}
