//! What strangers may send, kept: `tests/corpus/KIND`, one input a file, for the tests that stand beside each reader.
//!
//! Every `cargo test` replays each file as it is, and bends them at random for as many cases as proptest makes: 256, or
//! `PROPTEST_CASES`. All of these tests are called `fuzz`, so that one command runs them for long:
//!
//! ```text
//! PROPTEST_CASES=100000 cargo test --release --lib fuzz
//! ```
//!
//! What fails is printed at its smallest; it becomes a file of the corpus.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What has a meaning to one reader or another: put in the middle of things, it leads farther than noise does.
const WORDS: [&str; 32] = [
    "\"",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "null",
    "status",
    "errors",
    "recording",
    "fileUrl",
    "success",
    "sessionId",
    "https://",
    "http://",
    "@",
    "?s=CANARY",
    "#",
    "..",
    "/",
    "\\",
    "%2F",
    "%00",
    "\0",
    "\r\n",
    "\u{1b}[2J",
    "\u{202e}",
    "127.0.0.1",
    "[::1]",
    "18446744073709551616",
    "-1",
];

/// The kept inputs of this kind.
pub(crate) fn kept(kind: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(kind);
    let mut files: Vec<_> = fs::read_dir(folder).expect("it is in the tree").map(|file| file.unwrap().path()).collect();
    files.sort_unstable();
    assert!(!files.is_empty(), "{kind}: a corpus without inputs proves nothing");
    files.iter().map(|file| fs::read(file).expect("it is in the tree")).collect()
}

/// One of the kept inputs, bent in up to six places, or noise.
pub(crate) fn bent(kind: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let bent = (select(kept(kind)), vec(bend(), 0..6)).prop_map(|(mut bytes, bends)| {
        for bend in bends {
            bend.apply(&mut bytes);
        }
        bytes
    });
    prop_oneof![9 => bent, 1 => vec(any::<u8>(), 0..300)]
}

/// The same as text, whatever it was.
pub(crate) fn bent_text(kind: &str) -> impl Strategy<Value = String> + use<> {
    bent(kind).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The kept inputs as text.
pub(crate) fn kept_text(kind: &str) -> Vec<String> {
    kept(kind).iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
}

#[derive(Clone, Debug)]
enum Bend {
    Cut(Index),
    Remove(Index, usize),
    Repeat(Index, usize),
    Insert(Index, Vec<u8>),
    Overwrite(Index, Vec<u8>),
}

impl Bend {
    fn apply(self, bytes: &mut Vec<u8>) {
        let place = |at: Index| at.index(bytes.len() + 1);
        let span = |at: usize, length: usize| at..(at + length).min(bytes.len());
        match self {
            Self::Cut(at) => bytes.truncate(place(at)),
            Self::Remove(at, length) => drop(bytes.drain(span(place(at), length))),
            Self::Repeat(at, length) => {
                let copy = bytes[span(place(at), length)].to_vec();
                let at = place(at);
                bytes.splice(at..at, copy);
            }
            Self::Insert(at, what) => drop(bytes.splice(place(at)..place(at), what)),
            Self::Overwrite(at, what) => drop(bytes.splice(span(place(at), what.len()), what)),
        }
    }
}

fn bend() -> impl Strategy<Value = Bend> {
    let what = || {
        let word = select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec());
        prop_oneof![word, vec(any::<u8>(), 1..5)]
    };
    let at = any::<Index>;
    prop_oneof![
        1 => at().prop_map(Bend::Cut),
        2 => (at(), 1..40_usize).prop_map(|(at, length)| Bend::Remove(at, length)),
        2 => (at(), 1..200_usize).prop_map(|(at, length)| Bend::Repeat(at, length)),
        4 => (at(), what()).prop_map(|(at, what)| Bend::Insert(at, what)),
        4 => (at(), what()).prop_map(|(at, what)| Bend::Overwrite(at, what)),
    ]
}
