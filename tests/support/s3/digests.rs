//! What a request declares of its body, and what the body is.
//!
//! Declarations are read from headers and trailers alike; every one is checked. A checksum of a whole object is
//! combined from its parts', as S3 does it; one of checksums (`COMPOSITE`) is computed where it is asked for.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc64Nvme, Md5};
use s3s::{S3Result, TrailingHeaders, s3_error};

/// S3's checksum algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// As headers spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "crc32",
            Self::Crc32c => "crc32c",
            Self::Crc64Nvme => "crc64nvme",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// Those whose checksum of a whole is made from the parts'.
    pub fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }

    fn header(self) -> String {
        format!("x-amz-checksum-{}", self.name())
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name().to_uppercase())
    }
}

/// Checksums in base64, by algorithm.
pub type Digests = BTreeMap<Algorithm, String>;

/// The checksums that headers name.
pub fn declared(headers: &HeaderMap) -> Digests {
    let value = |algorithm: Algorithm| headers.get(algorithm.header())?.to_str().ok().map(ToOwned::to_owned);
    Algorithm::ALL.into_iter().filter_map(|algorithm| Some((algorithm, value(algorithm)?))).collect()
}

/// The algorithms that a request speaks of in any way: with a value, with a trailer to come, or by name.
pub fn named(headers: &HeaderMap) -> Vec<Algorithm> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let trailers = text("x-amz-trailer").to_lowercase();
    let by_name = text("x-amz-checksum-algorithm");
    let spoken = |algorithm: &Algorithm| {
        headers.contains_key(algorithm.header())
            || trailers.split(',').any(|trailer| trailer.trim() == algorithm.header())
            || by_name.eq_ignore_ascii_case(algorithm.name())
    };
    Algorithm::ALL.into_iter().filter(spoken).collect()
}

/// The checksums as response headers.
pub fn as_headers(digests: &Digests, into: &mut HeaderMap) {
    for (algorithm, digest) in digests {
        let name = HeaderName::try_from(algorithm.header()).expect("the names are plain");
        into.insert(name, HeaderValue::try_from(digest).expect("base64 is plain"));
    }
}

/// Everything that is computed while a body passes.
pub struct Hasher {
    checksums: ChecksumHasher,
    md5: Option<Md5>,
}

impl Hasher {
    /// CRC64NVME always, as S3 does it, and what else is wanted.
    pub fn new(wanted: &[Algorithm], md5: bool) -> Self {
        let wants = |algorithm| wanted.contains(&algorithm);
        let checksums = ChecksumHasher {
            crc32: wants(Algorithm::Crc32).then(Default::default),
            crc32c: wants(Algorithm::Crc32c).then(Default::default),
            sha1: wants(Algorithm::Sha1).then(Default::default),
            sha256: wants(Algorithm::Sha256).then(Default::default),
            crc64nvme: Some(Crc64Nvme::default()),
        };
        Self { checksums, md5: md5.then(Md5::new) }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.checksums.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
    }

    /// The checksums, and the MD5 in base64 if it was wanted.
    pub fn finish(self) -> (Digests, Option<String>) {
        let sums = self.checksums.finalize();
        let all = [
            (Algorithm::Crc32, sums.checksum_crc32),
            (Algorithm::Crc32c, sums.checksum_crc32c),
            (Algorithm::Crc64Nvme, sums.checksum_crc64nvme),
            (Algorithm::Sha1, sums.checksum_sha1),
            (Algorithm::Sha256, sums.checksum_sha256),
        ];
        let digests = all.into_iter().filter_map(|(algorithm, sum)| Some((algorithm, sum?))).collect();
        (digests, self.md5.map(|md5| STANDARD.encode(md5.finalize())))
    }
}

/// What a request says of its body; trailers are known only after it has been read.
pub struct Declaration {
    headers: Digests,
    trailers: Option<TrailingHeaders>,
    md5: Option<String>,
}

impl Declaration {
    pub fn new(headers: &HeaderMap, trailers: Option<TrailingHeaders>) -> Self {
        let md5 = headers.get("content-md5").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Self { headers: declared(headers), trailers, md5 }
    }

    pub fn wants_md5(&self) -> bool {
        self.md5.is_some()
    }

    /// Compares what was said with what came.
    pub fn verify(self, computed: &Digests, md5: Option<&str>) -> S3Result<()> {
        if self.md5.as_deref() != md5 {
            return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received."));
        }
        let mut said = self.headers;
        if let Some(trailers) = self.trailers.and_then(|trailers| trailers.take()) {
            said.extend(declared(&trailers));
        }
        for (algorithm, digest) in said {
            if computed.get(&algorithm) != Some(&digest) {
                return Err(s3_error!(
                    BadDigest,
                    "The {algorithm} you specified did not match the calculated checksum."
                ));
            }
        }
        Ok(())
    }
}

/// A part, as far as its object's checksum is concerned.
#[derive(Clone, Copy)]
pub struct Piece<'a> {
    pub digest: &'a str,
    pub bytes: u64,
}

/// The CRC of the whole from those of its parts, in order.
pub fn combined(algorithm: Algorithm, crc: CrcAlgorithm, parts: &[Piece<'_>]) -> String {
    let crcs = parts.iter().map(|part| (number(part.digest), part.bytes));
    let whole = crcs.reduce(|(so_far, _), (part, bytes)| (crc_fast::checksum_combine(crc, so_far, part, bytes), bytes));
    let bytes = whole.map_or(0, |(crc, _)| crc).to_be_bytes();
    let width = if algorithm == Algorithm::Crc64Nvme { 8 } else { 4 };
    STANDARD.encode(&bytes[8 - width..])
}

/// The checksum of the parts' checksums, with their number.
pub fn composite(algorithm: Algorithm, parts: &[Piece<'_>]) -> String {
    let mut hasher = Hasher::new(&[algorithm], false);
    for part in parts {
        hasher.update(&STANDARD.decode(part.digest).expect("we encoded it"));
    }
    let (digests, _) = hasher.finish();
    format!("{}-{}", digests[&algorithm], parts.len())
}

fn number(digest: &str) -> u64 {
    let bytes = STANDARD.decode(digest).expect("we encoded it");
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
