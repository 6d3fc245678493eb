//! What the daemon costs: CPU seconds and memory of the whole process, beside others that do the same work in the same run.
//!
//! `cargo bench --bench cost` measures the daemon; `tests/bench/cost/run.sh` installs the peers first and measures them
//! as well. Words after `--` choose parts: `bytes`, `slow`, `polls`, `inserts`, `queue`, `idle`.
//!
//! Fakes and daemon share the machine, so that seconds of the clock say little about another one; what is compared is
//! the ratio to a peer between the same servers, and CPU seconds of the process alone.

#![allow(clippy::disallowed_methods, reason = "what is measured is other processes, whose clock is the machine's")]
#![allow(unreachable_pub, reason = "`pub` marks what the other modules of this benchmark use")]

mod bare;
mod bytes;
mod peers;
mod polls;
mod process;
mod queue;
#[path = "../../support/mod.rs"]
mod support;

type Part = (&'static str, fn(&tokio::runtime::Runtime));

const PARTS: [Part; 6] = [
    ("bytes", |runtime| runtime.block_on(bytes::against_peers())),
    ("slow", |runtime| runtime.block_on(bytes::slow_sources())),
    ("polls", |runtime| runtime.block_on(polls::sustained())),
    ("inserts", |runtime| runtime.block_on(polls::inserts())),
    ("queue", |runtime| runtime.block_on(queue::by_size())),
    ("idle", |runtime| runtime.block_on(polls::idle())),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some((bare::WORD, words)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
        return runtime.block_on(bare::run(words));
    }
    // `cargo test --benches` runs this as well, in a debug build: there is nothing to be tested.
    if !words.iter().any(|word| word == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let is_asked_for = |name: &str| words.iter().all(|word| word.starts_with("--")) || words.iter().any(|w| w == name);
    for (name, part) in PARTS {
        if is_asked_for(name) {
            part(&runtime);
        }
    }
}
