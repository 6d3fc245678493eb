//! What is sent: bytes in memory, a file on disk, or content that is computed where it is read, so that a source of
//! gigabytes costs no memory.
//!
//! [`Body::noise`] repeats one pseudo-random block and stamps every 4 KiB with a hash of its position: copying is a
//! `memcpy`, yet a part that is lost, doubled or out of order changes the checksum.

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;

/// Content of a known length that can be read from any offset. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Body {
    Memory(Bytes),
    Disk { file: Arc<File>, len: u64 },
    Noise { seed: u64, block: Bytes, len: u64 },
    Repeat { pattern: Bytes, len: u64 },
    Chain(Arc<[Body]>),
}

/// What one read returns at most, and the period of the noise.
const BLOCK: usize = 256 * 1024;
/// Every so many bytes the noise carries its position.
const STRIDE: usize = 4096;

impl Body {
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::Memory(bytes.into())
    }

    /// The file as it is now; it must not shrink while it is served.
    pub fn disk(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self::Disk { file: Arc::new(file), len })
    }

    /// `len` bytes that depend on `seed` and position alone.
    pub fn noise(seed: u64, len: u64) -> Self {
        let words = (0..BLOCK as u64 / 8).flat_map(|word| mix(seed.wrapping_add(word)).to_le_bytes());
        Self::Noise { seed, block: words.collect(), len }
    }

    /// `pattern` again and again, cut at `len`.
    pub fn repeat(pattern: impl Into<Bytes>, len: u64) -> Self {
        let pattern: Bytes = pattern.into();
        let times = BLOCK.div_ceil(pattern.len());
        Self::Repeat { pattern: pattern.repeat(times).into(), len }
    }

    /// One after the other: a header in memory before gigabytes of noise, say.
    pub fn chain(parts: impl IntoIterator<Item = Body>) -> Self {
        Self::Chain(parts.into_iter().collect())
    }

    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Disk { len, .. } | Self::Noise { len, .. } | Self::Repeat { len, .. } => *len,
            Self::Chain(parts) => parts.iter().map(Self::len).sum(),
        }
    }

    /// Some bytes from `at` on, at most `most`; none only at the end.
    pub fn read(&self, at: u64, most: usize) -> Bytes {
        let left = usize::try_from(self.len().saturating_sub(at)).unwrap_or(usize::MAX);
        let most = most.min(left).min(BLOCK);
        if most == 0 {
            return Bytes::new();
        }
        match self {
            Self::Memory(bytes) => {
                let at = index(at);
                bytes.slice(at..at + most)
            }
            Self::Disk { file, .. } => {
                let mut buffer = vec![0; most];
                file.read_exact_at(&mut buffer, at).expect("the file is as long as when it was opened");
                buffer.into()
            }
            Self::Noise { seed, block, .. } => stamped(*seed, block, at, most),
            Self::Repeat { pattern, .. } => {
                let within = index(at % pattern.len() as u64);
                pattern.slice(within..(within + most).min(pattern.len()))
            }
            Self::Chain(parts) => read_chain(parts, at, most),
        }
    }

    /// The whole content; for bodies that fit.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::new();
        self.for_each_chunk(|chunk| all.extend_from_slice(chunk));
        all
    }

    /// SHA-256 in hex, to compare with what arrived.
    pub fn sha256(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        self.for_each_chunk(|chunk| context.update(chunk));
        hex(context.finish().as_ref())
    }

    fn for_each_chunk(&self, mut take: impl FnMut(&[u8])) {
        let mut at = 0;
        while at < self.len() {
            let chunk = self.read(at, BLOCK);
            take(&chunk);
            at += chunk.len() as u64;
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::bytes(bytes)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::bytes(text)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn read_chain(parts: &[Body], mut at: u64, most: usize) -> Bytes {
    for part in parts {
        if at < part.len() {
            return part.read(at, most);
        }
        at -= part.len();
    }
    Bytes::new()
}

/// Up to `most` bytes from `at`, ending with the block at the latest.
fn stamped(seed: u64, block: &[u8], at: u64, most: usize) -> Bytes {
    let within = index(at % BLOCK as u64);
    let skip = within % STRIDE;
    let end = (within + most).min(BLOCK);
    let mut piece = block[within - skip..end.next_multiple_of(STRIDE)].to_vec();
    let start = at - skip as u64;
    for (number, stride) in piece.chunks_exact_mut(STRIDE).enumerate() {
        let position = start + (number * STRIDE) as u64;
        stride[..8].copy_from_slice(&mix(seed ^ position).to_le_bytes());
    }
    Bytes::from(piece).slice(skip..skip + end - within)
}

fn index(at: u64) -> usize {
    usize::try_from(at).expect("an offset into memory fits")
}

/// The finalizer of `SplitMix64`: every bit of the input changes half of the output's.
pub(super) fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
