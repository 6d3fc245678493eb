//! How many polls, and how late: replays traces through the decisions of the daemon, in virtual time.
//!
//! `cargo bench --bench schedule` prints tables, and writes them and the plots into `tests/bench`. The same seeds give
//! the same figures on every machine.

#![allow(unreachable_pub, reason = "`pub` marks what the other modules of this benchmark use")]

mod bound;
mod plot;
mod policy;
mod report;
mod sim;
mod trace;

fn main() {
    // `cargo test --benches` runs this as well, in a debug build: there is nothing to be tested.
    if std::env::args().any(|argument| argument == "--bench") {
        report::write();
    }
}
