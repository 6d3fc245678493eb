//! What a store takes of that which a write asks for beyond having its bytes taken, found out by trying.
//!
//! Everything is asked for at first: a condition, a checksum, and of a completion also a checksum of all of it and its
//! length. A store that refuses one of these says so in many ways, so any refusal that is nobody's set-up and comes
//! twice is tried again with less: with one thing weaker or left out, then with two, and so on. The first that
//! *succeeds* names what the store does not take; that alone is kept, for the rest of the process, with a warning that
//! says what it means. A request that nothing helps was refused for another reason, and weakens none after it.
//!
//! What takes the place of what was left out is the caller's: a look right before a write without a condition, a
//! read-back of what bears no checksum. A store that takes a thing and ignores it is not found out here, but by whoever
//! looks at the object.
//!
//! Puts, multipart uploads and their completions are negotiated apart, since stores learned one before the other. Left
//! alone: a store that changes its mind while an upload is in progress refuses that upload's parts, and a new upload is
//! begun.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::errors::{Failure, bounded};
use crate::archive::store::StoreError;
use crate::config::ChecksumChoice;

/// How often one body is sent when the store says that other bytes arrived.
const SENDINGS: u32 = 3;

/// What the store is asked to check, from the best to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Proof {
    /// A full-object CRC64NVME.
    Crc64Nvme,
    /// A full-object CRC32.
    Crc32,
    /// Nothing: the object is read back.
    ReadBack,
}

impl Proof {
    const ALL: [Self; 3] = [Self::Crc64Nvme, Self::Crc32, Self::ReadBack];
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

/// Of what a completion states the checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stated {
    /// Of the whole and of each part.
    Whole,
    /// Of each part.
    Parts,
    /// Of nothing.
    Nothing,
}

impl Stated {
    const ALL: [Self; 3] = [Self::Whole, Self::Parts, Self::Nothing];
}

/// What one request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// By which checksum.
    pub(super) proof: Proof,
    /// Of a completion.
    pub(super) stated: Stated,
    /// Without the length of the whole, of a completion.
    pub(super) sizeless: bool,
    /// Without a condition: the caller looks right before it sends.
    pub(super) unconditional: bool,
}

impl Terms {
    const ALL: Self = Self { proof: Proof::Crc64Nvme, stated: Stated::Whole, sizeless: false, unconditional: false };

    /// `If-None-Match`.
    pub(super) fn condition(self) -> Option<String> {
        (!self.unconditional).then(|| "*".to_owned())
    }

    /// How many steps it is away from asking for everything.
    fn concessions(self) -> usize {
        let of_checksums = self.proof as usize + self.stated as usize;
        of_checksums + usize::from(self.sizeless) + usize::from(self.unconditional)
    }

    /// What asks for less than this, down to `least`, in the order in which it is tried: of what the first success
    /// leaves out, nothing could have stayed.
    fn down_to(self, least: Self) -> Vec<Self> {
        let mut all = Vec::new();
        for proof in Proof::ALL.into_iter().filter(|proof| (self.proof..=least.proof).contains(proof)) {
            for stated in Stated::ALL.into_iter().filter(|stated| (self.stated..=least.stated).contains(stated)) {
                for sizeless in [false, true].into_iter().filter(|it| (self.sizeless..=least.sizeless).contains(it)) {
                    let conditions = [false, true].into_iter();
                    let conditions = conditions.filter(|it| (self.unconditional..=least.unconditional).contains(it));
                    all.extend(conditions.map(|unconditional| Self { proof, stated, sizeless, unconditional }));
                }
            }
        }
        all.retain(|terms| *terms != self);
        all.sort_by_key(|terms| (terms.concessions(), terms.unconditional));
        all
    }

    /// Neither more than this nor more than that.
    fn and(self, other: Self) -> Self {
        Self {
            proof: self.proof.max(other.proof),
            stated: self.stated.max(other.stated),
            sizeless: self.sizeless || other.sizeless,
            unconditional: self.unconditional || other.unconditional,
        }
    }
}

/// What one kind of write has settled on so far.
#[derive(Debug)]
pub(super) struct Negotiation {
    what: &'static str,
    settled: Mutex<Terms>,
    least: Terms,
}

impl Negotiation {
    /// Puts: a checksum and a condition.
    pub(super) fn of_puts(choice: ChecksumChoice) -> Self {
        Self::new("puts", choice, Terms { proof: weakest(choice), unconditional: true, ..Terms::ALL })
    }

    /// Uploads in parts, begun and sent: a checksum.
    pub(super) fn of_uploads(choice: ChecksumChoice) -> Self {
        Self::new("multipart uploads", choice, Terms { proof: weakest(choice), ..Terms::ALL })
    }

    /// Their completion: whose checksum is stated, the length of the whole, a condition. By which checksum, the upload
    /// says.
    pub(super) fn of_completions(choice: ChecksumChoice) -> Self {
        let stated = if choice == ChecksumChoice::Auto { Stated::Nothing } else { Stated::Whole };
        let least = Terms { stated, sizeless: true, unconditional: true, proof: Proof::Crc64Nvme };
        Self::new("completions of multipart uploads", ChecksumChoice::Auto, least)
    }

    fn new(what: &'static str, choice: ChecksumChoice, least: Terms) -> Self {
        Self { what, settled: Mutex::new(Terms { proof: strongest(choice), ..Terms::ALL }), least }
    }

    /// What is in force.
    pub(super) fn settled(&self) -> Terms {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Terms> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one request.
    pub(super) fn attempt(&self) -> Attempt<'_> {
        let terms = self.settled();
        let less = terms.down_to(self.least).into_iter();
        Attempt { negotiation: self, begun_with: terms, terms, less, refused: None, sendings: 1 }
    }

    /// Another request, begun before, may have settled for less meanwhile: less stays.
    fn settle(&self, terms: Terms) {
        let mut settled = self.lock();
        let (what, before, after) = (self.what, *settled, settled.and(terms));
        *settled = after;
        drop(settled);
        if after.proof != before.proof {
            tracing::warn!(what, from = %before.proof, to = %after.proof, "the store refuses the checksum: using another");
        }
        if after.stated != before.stated {
            tracing::warn!(what, stated = ?after.stated, "the store refuses the checksum of the whole: what it keeps none of is read back");
        }
        if after.sizeless != before.sizeless {
            tracing::warn!(what, "the store refuses the length of the whole: it is compared afterwards only");
        }
        if after.unconditional != before.unconditional {
            tracing::warn!(
                what,
                "the store refuses conditional writes: a look comes right before each, and another writer of the same key at the same moment is not noticed"
            );
        }
    }
}

fn strongest(choice: ChecksumChoice) -> Proof {
    match choice {
        ChecksumChoice::Auto | ChecksumChoice::Crc64Nvme => Proof::Crc64Nvme,
        ChecksumChoice::Crc32 => Proof::Crc32,
        ChecksumChoice::ReadBack => Proof::ReadBack,
    }
}

/// A checksum that the settings name is not given up.
fn weakest(choice: ChecksumChoice) -> Proof {
    if choice == ChecksumChoice::Auto { Proof::ReadBack } else { strongest(choice) }
}

/// One request, through its repetitions.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    negotiation: &'a Negotiation,
    begun_with: Terms,
    terms: Terms,
    less: std::vec::IntoIter<Terms>,
    /// The first refusal.
    refused: Option<StoreError>,
    sendings: u32,
}

impl Attempt<'_> {
    /// What to ask for this time.
    pub(super) fn terms(&self) -> Terms {
        self.terms
    }

    /// Whether the key must be looked at right before: the store does not say that it is taken.
    pub(super) fn needs_look(&self) -> bool {
        self.terms.unconditional
    }

    /// From here on nothing but a condition is left out.
    pub(super) fn keep_sums(&mut self) {
        let least = Terms { unconditional: self.negotiation.least.unconditional, ..self.terms };
        self.less = self.terms.down_to(least).into_iter();
    }

    /// The store took it.
    pub(super) fn succeeded(self) {
        if self.terms != self.begun_with {
            self.negotiation.settle(self.terms);
        }
    }

    /// Whether to send it once more.
    ///
    /// # Errors
    /// The failure, if not. When everything was refused it is the first one's, and the last one's words: one of the two is
    /// about what the settings ask for.
    pub(super) fn failed(&mut self, failure: Failure) -> Result<(), StoreError> {
        if self.is_worth_another_sending(&failure) {
            self.sendings += 1;
            return Ok(());
        }
        if !failure.may_be_refusal || self.less.as_slice().is_empty() {
            let first = self.refused.take().filter(|_| failure.may_be_refusal);
            return Err(first.map_or(failure.error.clone(), |first| with_words_of(first, &failure.error)));
        }
        // What was refused once only teaches nothing: the same is sent again before less is.
        match self.refused {
            None => self.refused = Some(failure.error),
            Some(_) => self.terms = self.less.next().expect("it was just seen not to be empty"),
        }
        Ok(())
    }

    /// What the SDK does not repeat by itself: bytes that arrived wrong.
    fn is_worth_another_sending(&self, failure: &Failure) -> bool {
        matches!(failure.error, StoreError::Corrupted(_)) && !failure.may_be_refusal && self.sendings < SENDINGS
    }
}

/// A refusal, with what was said when as little as possible was asked for.
fn with_words_of(first: StoreError, last: &StoreError) -> StoreError {
    match (first, last) {
        (StoreError::Setup { reason, message }, StoreError::Setup { message: words, .. }) if message != *words => {
            let message = bounded(&format!("{message}; and when less was asked for: {words}"));
            StoreError::Setup { reason, message }
        }
        (first, _) => first,
    }
}

#[cfg(test)]
mod tests;
