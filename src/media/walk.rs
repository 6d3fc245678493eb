//! What every walker of a container does, and what it reports at the end.

use super::stride::Next;
use std::fmt::Debug;
use std::time::Duration;

/// Goes through the structure of one container while its bytes stream by.
pub(super) trait Walk: Debug + Send {
    /// How many bytes to show first, from where the container starts.
    fn first_window(&self) -> usize;

    /// Looks at the window that was asked for, which starts at byte `at` of the file, and says where to go on.
    ///
    /// A step without progress must ask for a larger window than the one that it saw.
    fn step(&mut self, at: u64, window: &[u8]) -> Next;

    /// The least length that the container has promised beyond the walker's own position. Never shrinks.
    fn promised_end(&self) -> u64 {
        0
    }

    /// The end of the file, no less than everything promised: what is there?
    fn close(&self, end: End<'_>) -> Account;
}

/// How a file ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End<'a> {
    /// Its length.
    pub(super) length: u64,
    /// What there is of the window that the walker was waiting for.
    pub(super) rest: &'a [u8],
}

/// What a walker found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub(super) content_type: &'static str,
    pub(super) duration_seconds: Option<f64>,
    pub(super) channels: Option<u16>,
    pub(super) sample_rate: Option<u32>,
    pub(super) claim: Claim,
}

/// What a container says of its own end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It says where it ends, and that came.
    Whole,
    /// It does not say, and nothing speaks against it.
    Open,
    /// There is more to it, though nothing tells how many bytes; what is missing.
    Cut(&'static str),
    /// There is no audio in it.
    NoAudio,
}

/// `units` of which there are `per_second`, as seconds: finite, and never negative.
pub(super) fn seconds(units: u64, per_second: u64) -> Option<f64> {
    let whole = units.checked_div(per_second)?;
    let nanos = u128::from(units % per_second) * 1_000_000_000 / u128::from(per_second);
    Some(Duration::new(whole, u32::try_from(nanos).ok()?).as_secs_f64())
}

/// A number at `at`, lowest byte first.
pub(super) fn little(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    Some(bytes.get(at..at.checked_add(width)?)?.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
}

/// A number at `at`, highest byte first.
pub(super) fn big(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    Some(bytes.get(at..at.checked_add(width)?)?.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
}

/// Zero means that the container does not say.
pub(super) fn nonzero<T: TryFrom<u64> + Default + PartialEq>(number: u64) -> Option<T> {
    T::try_from(number).ok().filter(|number| *number != T::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_finite_and_never_negative() {
        assert_eq!(seconds(12_000, 8_000), Some(1.5));
        assert_eq!(seconds(0, 8_000), Some(0.0));
        assert_eq!(seconds(1, 0), None);
        assert!(seconds(u64::MAX, 1).is_some_and(f64::is_finite));
        assert!(seconds(u64::MAX, u64::MAX).is_some_and(f64::is_finite));
    }

    #[test]
    fn numbers_are_read_in_either_order_and_never_past_the_end() {
        assert_eq!(little(&[0, 1, 2, 3], 1, 2), Some(0x0201));
        assert_eq!(big(&[0, 1, 2, 3], 1, 2), Some(0x0102));
        assert_eq!(big(&[0, 1], 1, 2), None);
        assert_eq!(big(&[0, 1], usize::MAX, 2), None);
    }
}
