//! What was sent, what the bucket reports, and the proof that they agree.
//!
//! A [`Receipt`] is counted while the bytes pass from Kore to the bucket. A [`Verified`] can be made in this module
//! only, by comparing a receipt with what the bucket says after the last write; of nothing else is a recording made.

mod sha256;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;

pub(crate) use sha256::Hashing;
pub use sha256::Sha256;

/// A CRC64NVME over a whole object; its text is base64 of the big-endian bytes, as S3 writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Crc64Nvme(pub u64);

impl fmt::Display for Crc64Nvme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0.to_be_bytes()))
    }
}

impl Crc64Nvme {
    /// Reads S3's base64.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        Some(Self(u64::from_be_bytes(STANDARD.decode(text).ok()?.try_into().ok()?)))
    }
}

/// A CRC32 (ISO-HDLC) over a whole object; its text is base64 of the big-endian bytes, as S3 writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Crc32(pub u32);

impl fmt::Display for Crc32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0.to_be_bytes()))
    }
}

impl Crc32 {
    /// Reads S3's base64.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        Some(Self(u32::from_be_bytes(STANDARD.decode(text).ok()?.try_into().ok()?)))
    }
}

/// The three digests of one sequence of bytes, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// How many bytes.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: Sha256,
    /// Their CRC64NVME.
    pub crc64nvme: Crc64Nvme,
    /// Their CRC32, for stores that know no CRC64NVME; the queue does not keep it.
    pub crc32: Option<Crc32>,
}

impl Receipt {
    pub(crate) fn of(sums: &Checksums, sha256: Sha256) -> Self {
        let Checksums { bytes, crc64nvme, crc32 } = *sums;
        Self { bytes, sha256, crc64nvme, crc32: Some(crc32) }
    }

    /// Of bytes that are in hand.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        let mut tally = Tally::default();
        tally.update(bytes);
        tally.receipt()
    }

    /// Whether these, in order, make up the whole, as far as their lengths and CRC64NVMEs tell.
    #[must_use]
    pub fn is_of<'a>(&self, parts: impl IntoIterator<Item = &'a Checksums>) -> bool {
        let whole = parts.into_iter().fold(Checksums::default(), |before, part| before.then(part));
        (whole.bytes, whole.crc64nvme) == (self.bytes, self.crc64nvme)
    }
}

/// What S3 checks a part by: SHA-256 is left out, because it costs more than all the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksums {
    /// How many bytes.
    pub bytes: u64,
    /// Their CRC64NVME.
    pub crc64nvme: Crc64Nvme,
    /// Their CRC32.
    pub crc32: Crc32,
}

impl Checksums {
    /// The checksums of these pieces in order.
    pub fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut sums = Summing::default();
        pieces.into_iter().for_each(|piece| sums.update(piece));
        sums.checksums()
    }

    /// Those of these bytes and the next ones, which are not looked at for it.
    pub(crate) fn then(&self, next: &Self) -> Self {
        if self.bytes == 0 {
            return *next;
        }
        let combined = |algorithm, ours, theirs| crc_fast::checksum_combine(algorithm, ours, theirs, next.bytes);
        Self {
            bytes: self.bytes + next.bytes,
            crc64nvme: Crc64Nvme(combined(CrcAlgorithm::Crc64Nvme, self.crc64nvme.0, next.crc64nvme.0)),
            crc32: crc32(combined(CrcAlgorithm::Crc32IsoHdlc, self.crc32.0.into(), next.crc32.0.into())),
        }
    }
}

fn crc32(sum: u64) -> Crc32 {
    Crc32(u32::try_from(sum).expect("a CRC32 is 32 bits"))
}

/// Counts and sums what passes: [`Checksums`] in the making.
#[derive(Debug)]
pub(crate) struct Summing {
    bytes: u64,
    crc64nvme: crc_fast::Digest,
    crc32: crc_fast::Digest,
}

impl Default for Summing {
    fn default() -> Self {
        Self {
            bytes: 0,
            crc64nvme: crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme),
            crc32: crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc),
        }
    }
}

impl Summing {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.crc64nvme.update(bytes);
        self.crc32.update(bytes);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn checksums(&self) -> Checksums {
        Checksums {
            bytes: self.bytes,
            crc64nvme: Crc64Nvme(self.crc64nvme.finalize()),
            crc32: crc32(self.crc32.finalize()),
        }
    }
}

/// Counts and hashes what passes.
#[derive(Debug, Default)]
pub struct Tally {
    sha256: Hashing,
    sums: Summing,
}

impl Tally {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.sums.update(bytes);
    }

    /// How many bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sums.bytes
    }

    /// What all of it amounts to.
    #[must_use]
    pub fn receipt(self) -> Receipt {
        Receipt::of(&self.sums.checksums(), self.sha256.finish())
    }
}

/// What the bucket reports of an object, as far as a proof needs it.
#[derive(Clone, Copy, Debug)]
pub struct Reported<'a> {
    /// Its length.
    pub bytes: u64,
    /// The full-object CRC64NVME that the store holds, if it does.
    pub crc64nvme: Option<Crc64Nvme>,
    /// The full-object CRC32 that the store holds, if it does.
    pub crc32: Option<Crc32>,
    /// The store's tag for these bytes.
    pub etag: &'a str,
    /// In a versioned bucket.
    pub version_id: Option<&'a str>,
}

/// The proof that an object in the bucket has the bytes of a receipt. Only a comparison makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    receipt: Receipt,
    etag: String,
    version_id: Option<String>,
}

/// What a comparison came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The same bytes.
    Same(Verified),
    /// Other bytes; how that shows.
    Different(String),
    /// The length is right, and the store holds no checksum: read it back.
    Unknown,
}

impl Verified {
    /// Compares what was counted with what the bucket reports.
    #[must_use]
    pub fn compare(receipt: &Receipt, reported: Reported<'_>) -> Comparison {
        if reported.bytes != receipt.bytes {
            return Comparison::Different(format!("{} bytes where {} are right", reported.bytes, receipt.bytes));
        }
        let crc64 = reported.crc64nvme.map(|crc| crc == receipt.crc64nvme);
        let crc32 = reported.crc32.zip(receipt.crc32).map(|(theirs, ours)| theirs == ours);
        match (crc64, crc32) {
            (Some(false), _) => Comparison::Different("another CRC64NVME".into()),
            (_, Some(false)) => Comparison::Different("another CRC32".into()),
            (None, None) => Comparison::Unknown,
            (Some(true), _) | (_, Some(true)) => Comparison::Same(Self::of(receipt, reported)),
        }
    }

    /// Compares what was counted with what was counted when the object was read back whole.
    ///
    /// # Errors
    /// How it differs.
    pub fn compare_read_back(receipt: &Receipt, read: &Receipt, reported: Reported<'_>) -> Result<Self, String> {
        let same = (read.bytes, read.sha256, read.crc64nvme) == (receipt.bytes, receipt.sha256, receipt.crc64nvme);
        if same { Ok(Self::of(receipt, reported)) } else { Err("other bytes when read back".into()) }
    }

    fn of(receipt: &Receipt, reported: Reported<'_>) -> Self {
        Self {
            receipt: *receipt,
            etag: reported.etag.to_owned(),
            version_id: reported.version_id.map(ToOwned::to_owned),
        }
    }

    /// What was counted.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// The store's tag.
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// In a versioned bucket.
    #[must_use]
    pub fn version_id(&self) -> Option<&str> {
        self.version_id.as_deref()
    }
}

#[cfg(test)]
mod tests;
