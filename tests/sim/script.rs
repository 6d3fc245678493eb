//! The sessions of a run: what Kore knows of each, and what its files are.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::rng::Rng;
use crate::stage::START;

/// The signature of every URL: nobody may write it down.
pub(crate) const CANARY: &str = "CANARY";

/// One session at Kore.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) id: String,
    pub(crate) bot: &'static str,
    /// What Kore says before it says the last word.
    pub(crate) before: Vec<&'static str>,
    /// Its last word.
    pub(crate) fate: &'static str,
    pub(crate) files: Vec<File>,
}

/// One recording.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) body: Bytes,
    /// Whether it looks like a recording.
    pub(crate) sound: bool,
}

const WAITING: [&str; 6] = [
    "call_in_progress",
    "media_in_progress",
    "media_in_progress",
    "partial_upload_failed",
    "media_unavailable",
    "media_conversion_failed",
];
const NO_RECORDING: [&str; 5] = [
    "media_unavailable",
    "failed",
    "recording_disabled",
    "media_unavailable_short_duration",
    "media_generation_failed",
];

impl Script {
    pub(crate) fn random(rng: &mut Rng, number: usize) -> Self {
        let started = START / 1000 - i64::try_from(rng.below(100_000)).expect("it is small");
        let id = if rng.chance(700) { format!("{started:08x}00000000{number:08x}") } else { format!("call-{number}") };
        let before = (0..rng.below(4)).map(|_| *rng.pick(&WAITING)).collect();
        let fate = if rng.chance(120) { rng.pick(&NO_RECORDING) } else { "success" };
        let files = (0..=rng.index(3)).map(|file| File::random(rng, &id, file)).collect();
        let bot = if rng.chance(150) { "second" } else { "default" };
        Self { id, bot, before, fate, files }
    }

    /// Whether nothing but trouble keeps it from being `done`.
    pub(crate) fn is_archivable(&self) -> bool {
        self.fate == "success" && self.files.iter().all(|file| file.sound)
    }
}

const NAMES: [&str; 5] = ["agent.wav", "agent.wav", "caller.wav", "../session.json", "Gespräch 1.wav"];

impl File {
    fn random(rng: &mut Rng, session: &str, number: usize) -> Self {
        let samples = 40 + rng.index(600);
        let sound = !rng.chance(40);
        let mut body = wav(rng, samples);
        if !sound {
            // It says that it is longer than it is.
            body.truncate(body.len() / 2);
        }
        let name = (*rng.pick(&NAMES)).to_owned();
        Self { name, path: format!("/api/media/{session}/f-{number}.wav"), body: body.into(), sound }
    }

    pub(crate) fn url(&self, turn: u64) -> String {
        let mut url = format!("https://files.kore.ai{}", self.path);
        write!(url, "?e=4102444800&n={turn}&s={CANARY}").expect("a String takes everything");
        url
    }
}

/// 8-bit PCM at 8 kHz, mono. Without a pad byte behind an odd number of samples, as many write it: a file that was cut
/// just before that byte is whole to everybody who has not seen its length.
fn wav(rng: &mut Rng, samples: usize) -> Vec<u8> {
    let size = u32::try_from(samples).expect("it is small");
    let mut file = Vec::with_capacity(44 + samples);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + size).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16u32.to_le_bytes());
    for half in [1u16, 1] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    for rate in [8000u32, 8000] {
        file.extend_from_slice(&rate.to_le_bytes());
    }
    for half in [1u16, 8] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    file.extend_from_slice(b"data");
    file.extend_from_slice(&size.to_le_bytes());
    file.extend((0..samples).map(|_| rng.next().to_le_bytes()[0]));
    file
}
