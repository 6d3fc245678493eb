//! Which checksum a store takes, found out by trying.
//!
//! `auto` begins with CRC64NVME. A store that refuses the header or the algorithm is tried with CRC32, then without;
//! only what then *succeeds* is kept, for the rest of the process, with one warning: a request that was refused for
//! another reason does not weaken the ones after it. A store that takes the header and ignores it is not found out
//! here, but by whoever looks at the object and sees no checksum.
//!
//! Puts and multipart uploads are negotiated apart, since stores learned one before the other. Left alone: a store that
//! changes its mind while an upload is in progress refuses that upload's parts, and a new upload is begun.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::errors::Failure;
use crate::archive::store::StoreError;
use crate::config::ChecksumChoice;

/// How often one body is sent when the store says that other bytes arrived.
const SENDINGS: u32 = 3;

/// What the store is asked to check, from the best to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// A full-object CRC64NVME.
    Crc64Nvme,
    /// A full-object CRC32.
    Crc32,
    /// Nothing: the object is read back.
    ReadBack,
}

impl Proof {
    fn weaker(self) -> Option<Self> {
        match self {
            Self::Crc64Nvme => Some(Self::Crc32),
            Self::Crc32 => Some(Self::ReadBack),
            Self::ReadBack => None,
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crc64Nvme => "CRC64NVME",
            Self::Crc32 => "CRC32",
            Self::ReadBack => "no checksum",
        })
    }
}

/// What one kind of write has settled on so far.
#[derive(Debug)]
pub(super) struct Negotiation {
    what: &'static str,
    settled: Mutex<Proof>,
    may_weaken: bool,
}

impl Negotiation {
    /// `what` is how the warning names the kind of write.
    pub(super) fn new(what: &'static str, choice: ChecksumChoice) -> Self {
        let proof = match choice {
            ChecksumChoice::Auto | ChecksumChoice::Crc64Nvme => Proof::Crc64Nvme,
            ChecksumChoice::Crc32 => Proof::Crc32,
            ChecksumChoice::ReadBack => Proof::ReadBack,
        };
        Self { what, settled: Mutex::new(proof), may_weaken: choice == ChecksumChoice::Auto }
    }

    /// What is in force.
    pub(super) fn settled(&self) -> Proof {
        *self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one request.
    pub(super) fn attempt(&self) -> Attempt<'_> {
        Attempt { negotiation: self, proof: self.settled(), refusal: None, sendings: 1 }
    }

    fn settle(&self, proof: Proof) {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        // Another request, begun before, may have settled for less meanwhile: less stays.
        if settled.weaker().is_some_and(|weaker| weaker == proof || weaker.weaker() == Some(proof)) {
            tracing::warn!(what = self.what, from = %*settled, to = %proof, "the store refuses the checksum: using another");
            *settled = proof;
        }
    }
}

/// One request, through its repetitions.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    negotiation: &'a Negotiation,
    proof: Proof,
    refusal: Option<StoreError>,
    sendings: u32,
}

impl Attempt<'_> {
    /// What to send this time.
    pub(super) fn proof(&self) -> Proof {
        self.proof
    }

    /// The store took it.
    pub(super) fn succeeded(self) {
        self.negotiation.settle(self.proof);
    }

    /// Whether to send it once more.
    ///
    /// # Errors
    /// The failure, if not. When every checksum was refused it is the first one's, which was not about checksums.
    pub(super) fn failed(&mut self, failure: Failure) -> Result<(), StoreError> {
        if matches!(failure.error, StoreError::Corrupted(_)) && self.sendings < SENDINGS {
            self.sendings += 1;
            return Ok(());
        }
        if !failure.refuses_checksum {
            return Err(failure.error);
        }
        let refusal = self.refusal.take().unwrap_or(failure.error);
        match self.proof.weaker().filter(|_| self.negotiation.may_weaken) {
            Some(weaker) => {
                (self.proof, self.refusal) = (weaker, Some(refusal));
                Ok(())
            }
            None => Err(refusal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Failure {
        Failure { error: StoreError::Unavailable(text.to_owned()), refuses_checksum: true }
    }

    #[test]
    fn what_succeeds_after_a_refusal_is_kept() {
        let negotiation = Negotiation::new("put", ChecksumChoice::Auto);
        let mut attempt = negotiation.attempt();
        attempt.failed(refused("first")).unwrap();
        assert_eq!((attempt.proof(), negotiation.settled()), (Proof::Crc32, Proof::Crc64Nvme));
        attempt.succeeded();
        assert_eq!(negotiation.settled(), Proof::Crc32);
    }

    #[test]
    fn a_request_that_nothing_helps_weakens_nothing() {
        let negotiation = Negotiation::new("put", ChecksumChoice::Auto);
        let mut attempt = negotiation.attempt();
        attempt.failed(refused("first")).unwrap();
        attempt.failed(refused("second")).unwrap();
        assert_eq!(attempt.failed(refused("third")).unwrap_err().to_string(), "first");
        assert_eq!(negotiation.settled(), Proof::Crc64Nvme);
    }

    #[test]
    fn a_checksum_that_the_settings_name_is_not_given_up() {
        let negotiation = Negotiation::new("put", ChecksumChoice::Crc32);
        assert!(negotiation.attempt().failed(refused("first")).is_err());
    }

    #[test]
    fn a_late_success_does_not_strengthen_what_was_settled() {
        let negotiation = Negotiation::new("put", ChecksumChoice::Auto);
        let early = negotiation.attempt();
        let mut late = negotiation.attempt();
        late.failed(refused("first")).unwrap();
        late.succeeded();
        early.succeeded();
        assert_eq!(negotiation.settled(), Proof::Crc32);
    }

    #[test]
    fn a_body_that_arrives_wrong_is_sent_three_times() {
        let negotiation = Negotiation::new("put", ChecksumChoice::Auto);
        let mut attempt = negotiation.attempt();
        let corrupted = || Failure { error: StoreError::Corrupted(String::new()), refuses_checksum: false };
        let outcomes: Vec<bool> = (0..3).map(|_| attempt.failed(corrupted()).is_ok()).collect();
        assert_eq!(outcomes, [true, true, false]);
    }
}
