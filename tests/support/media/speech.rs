//! Two people taking turns: formant-like noise with pauses, 16 bits, 8 kHz, one speaker a channel.
//!
//! A pulse train (vowels) or noise (consonants) rings two resonators, as in the oldest speech synthesizers. It
//! compresses, pauses and clips like speech, which silence and white noise do not.

use std::f64::consts::TAU;
use std::time::Duration;

pub const SAMPLE_RATE: u32 = 8000;
pub const CHANNELS: u16 = 2;

/// Interleaved samples, the same ones for the same seed.
pub fn speech(seed: u64, length: Duration) -> Vec<i16> {
    let frames = length.as_millis() * u128::from(SAMPLE_RATE) / 1000;
    let mut agent = Speaker::new(seed, 118.0, true);
    let mut caller = Speaker::new(seed ^ 0x5eed, 196.0, false);
    (0..frames).flat_map(|_| [agent.next(), caller.next()]).collect()
}

/// How long these samples play.
pub fn seconds(samples: &[i16]) -> f64 {
    let frames = samples.len() / usize::from(CHANNELS);
    f64::from(u32::try_from(frames).expect("a sample is short")) / f64::from(SAMPLE_RATE)
}

struct Speaker {
    random: u64,
    pitch: f64,
    talking: bool,
    /// Samples until the turn changes, and until the sound does.
    turn: u32,
    sound: u32,
    voiced: bool,
    phase: f64,
    loudness: f64,
    formants: [Resonator; 2],
}

/// Vowels by their first two formants, in Hz: a, e, i, o, u.
const VOWELS: [(f64, f64); 5] = [(730.0, 1090.0), (530.0, 1840.0), (270.0, 2290.0), (570.0, 840.0), (300.0, 870.0)];

impl Speaker {
    fn new(seed: u64, pitch: f64, talking: bool) -> Self {
        let formants = [Resonator::new(730.0), Resonator::new(1090.0)];
        let turn = SAMPLE_RATE;
        Self { random: seed | 1, pitch, talking, turn, sound: 0, voiced: true, phase: 0.0, loudness: 0.0, formants }
    }

    fn next(&mut self) -> i16 {
        if self.turn == 0 {
            self.talking = !self.talking;
            self.turn = SAMPLE_RATE / 2 + self.below(SAMPLE_RATE * 2);
        }
        if self.sound == 0 {
            self.next_sound();
        }
        self.turn -= 1;
        self.sound -= 1;
        let target = if self.talking { 1.0 } else { 0.0 };
        self.loudness += (target - self.loudness) * 0.002;
        let source = self.source();
        let ringing: f64 = self.formants.iter_mut().map(|formant| formant.ring(source)).sum();
        sample(ringing * 900.0 * self.loudness)
    }

    /// Another vowel or consonant, for 60 to 180 ms.
    fn next_sound(&mut self) {
        self.sound = 480 + self.below(960);
        self.voiced = self.below(4) > 0;
        let (first, second) = VOWELS[self.below(5) as usize];
        self.formants = [self.formants[0].tuned(first), self.formants[1].tuned(second)];
    }

    fn source(&mut self) -> f64 {
        if !self.voiced {
            return f64::from(self.below(2000)) / 1000.0 - 1.0;
        }
        self.phase += self.pitch / f64::from(SAMPLE_RATE);
        if self.phase < 1.0 {
            return 0.0;
        }
        self.phase -= 1.0;
        8.0
    }

    /// Xorshift: a number below the limit.
    fn below(&mut self, limit: u32) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        u32::try_from((self.random >> 16) % u64::from(limit)).expect("below a u32")
    }
}

/// A two-pole filter that rings at one frequency.
struct Resonator {
    feedback: (f64, f64),
    last: (f64, f64),
}

impl Resonator {
    fn new(hertz: f64) -> Self {
        /// A bandwidth of about 80 Hz, as a throat has.
        const RADIUS: f64 = 0.97;
        let turn = TAU * hertz / f64::from(SAMPLE_RATE);
        Self { feedback: (2.0 * RADIUS * turn.cos(), RADIUS * RADIUS), last: (0.0, 0.0) }
    }

    /// At another frequency, still ringing.
    fn tuned(&self, hertz: f64) -> Self {
        Self { last: self.last, ..Self::new(hertz) }
    }

    fn ring(&mut self, input: f64) -> f64 {
        let output = input + self.feedback.0 * self.last.0 - self.feedback.1 * self.last.1;
        self.last = (output, self.last.0);
        output
    }
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to the range of the type")]
fn sample(value: f64) -> i16 {
    value.clamp(-32768.0, 32767.0) as i16
}
