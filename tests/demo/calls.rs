//! The calls: made up, or with a person's own files as their recordings.
//!
//! A session id is made as Kore makes them: its first 8 hex digits are the second in which the call began.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use kore_archiver::clock::{Clock as _, SystemClock};
use serde_json::json;

use crate::support::audit::Sources;
use crate::support::kore::{Body, Cut, FakeKore, Quirk, SourceFile, Timeline};
use crate::support::media::{self, WavShape};

/// One call, from its start to its recordings.
#[derive(Debug)]
pub(crate) struct Call {
    pub metadata: String,
    pub files: Vec<SourceFile>,
    /// How long it goes on, and how long its media is made.
    talk: Duration,
    making: Duration,
}

/// All calls, by session id.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub by_id: BTreeMap<String, Call>,
    /// How many were made up.
    made: u32,
}

const AGENTS: [&str; 5] = ["Amira", "Jonas", "Mei", "Pascal", "Zofia"];
/// What is in a made-up call, in turn.
const CASTS: [&[&str]; 4] =
    [&["merged.wav"], &["agent.wav", "caller.wav"], &["merged.flac"], &["merged.wav", "agent.wav", "caller.wav"]];
/// The call whose recording is long enough to be sent in parts, and the one whose download breaks off.
const LONG: u32 = 1;
const BROKEN: u32 = 2;

impl Calls {
    pub(crate) fn made_up(count: u32) -> Self {
        let mut calls = Self::default();
        let started_at = SystemClock::new().now().as_millis() / 1000;
        for number in 0..count {
            calls.make_up(&format!("{started_at:08x}6b6f7265{number:08x}"));
        }
        calls
    }

    /// The user's own files: each a session, the files of a subfolder one together.
    pub(crate) fn from_folder(folder: &Path) -> anyhow::Result<Self> {
        let mut calls = Self::default();
        let started_at = SystemClock::new().now().as_millis() / 1000;
        for path in entries(folder)? {
            let paths = if path.is_dir() { entries(&path)? } else { vec![path.clone()] };
            let files = paths.iter().filter(|path| path.is_file()).map(|path| source(path));
            let files = files.collect::<anyhow::Result<Vec<_>>>()?;
            if !files.is_empty() {
                let number = calls.by_id.len();
                let metadata = json!({ "from": path.display().to_string() }).to_string();
                let call = Call { metadata, files, talk: talk(number), making: making(number) };
                calls.by_id.insert(format!("{started_at:08x}6b6f7265{number:08x}"), call);
            }
        }
        if calls.by_id.is_empty() {
            bail!("there is no file in {}", folder.display());
        }
        Ok(calls)
    }

    /// One more call, with recordings of its own.
    pub(crate) fn make_up(&mut self, id: &str) -> &Call {
        let number = self.made;
        self.made += 1;
        let cast = CASTS[number as usize % CASTS.len()];
        let seconds = if number == LONG { 330 } else { 12 + u64::from(number * 7 % 30) };
        let files = (0..).zip(cast).map(|(part, role)| recording(number, part, role, seconds)).collect();
        let agent = AGENTS[number as usize % AGENTS.len()];
        let metadata = json!({ "agent": agent, "queue": "demo", "call": number + 1 }).to_string();
        let place = number as usize;
        self.by_id.entry(id.to_owned()).or_insert(Call { metadata, files, talk: talk(place), making: making(place) })
    }

    /// All calls begin now.
    pub(crate) fn begin(&self, kore: &FakeKore) {
        self.by_id.iter().for_each(|(id, call)| call.begin(id, kore));
    }

    pub(crate) fn sources(&self) -> Sources {
        self.by_id.iter().map(|(id, call)| (id.clone(), call.files.clone())).collect()
    }
}

impl Call {
    pub(crate) fn begin(&self, id: &str, kore: &FakeKore) {
        kore.session(id, Timeline::call(self.talk, self.making, self.files.clone()));
    }
}

/// Calls end one after the other, over eight seconds.
fn talk(number: usize) -> Duration {
    Duration::from_millis(1500 + 900 * (number as u64 % 8))
}

fn making(number: usize) -> Duration {
    Duration::from_millis(1200 + 400 * (number as u64 % 3))
}

fn recording(number: u32, part: u64, role: &str, seconds: u64) -> SourceFile {
    let samples = media::speech(u64::from(number) << 8 | part << 4, Duration::from_secs(seconds));
    let bytes =
        if role.ends_with("flac") { media::flac::flac(&samples) } else { media::wav(WavShape::Plain, &samples) };
    let half = bytes.len() as u64 / 2;
    let file = SourceFile::new(role, bytes);
    if number == BROKEN { file.next(1, Quirk::Cut { after: half, how: Cut::Rst }) } else { file }
}

fn source(path: &Path) -> anyhow::Result<SourceFile> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let body = Body::disk(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(SourceFile::new(&name, body))
}

/// What is in a folder, by name, without hidden files.
fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listed = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut paths = listed.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.retain(|path| !path.file_name().unwrap_or_default().to_string_lossy().starts_with('.'));
    paths.sort();
    Ok(paths)
}
