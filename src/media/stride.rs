//! Carries a walker over a body that streams by: shows it the few bytes that it asks for, passes over the rest.
//!
//! A walker answers each window with a [`Next`]: how far to go from the window's start, and how many bytes to show
//! there. It is shown exactly that many, at exactly that place, however the body was cut into segments: so what it finds
//! cannot depend on the segmentation. Audio is passed over by arithmetic alone. A window that lies within one segment is
//! shown in place; only one that straddles segments is gathered, so at most [`LARGEST_WINDOW`] bytes are held.
//!
//! Positions saturate: a hostile size leads to the end of all files, which no body reaches.

/// The most that a walker may ask to see at once.
pub(super) const LARGEST_WINDOW: usize = 128 * 1024;

/// Where a walker wants to be carried, and how much it wants to see there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// From the start of the window just shown. A promise of the container: the file reaches at least that far.
    pub(super) skip: u64,
    /// Bytes to show there; 0: nothing more.
    pub(super) want: usize,
}

impl Next {
    /// Nothing more to see, and nothing said about what follows.
    pub(super) const DONE: Self = Self { skip: 0, want: 0 };

    /// More of the same window.
    pub(super) fn more(want: usize) -> Self {
        Self { skip: 0, want }
    }

    /// Over `skip` bytes, to a window of `want`.
    pub(super) fn over(skip: u64, want: usize) -> Self {
        Self { skip, want }
    }
}

/// Where in the body a walker is.
#[derive(Debug)]
pub(super) struct Stride {
    position: u64,
    skip: u64,
    want: usize,
    held: Vec<u8>,
}

impl Stride {
    /// At the start of a body, about to show its first `want` bytes.
    pub(super) fn new(want: usize) -> Self {
        Self { position: 0, skip: 0, want, held: Vec::new() }
    }

    /// Where the window begins that is to be shown next, or the place that was reached last.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// What has come of a window that is not full yet.
    pub(super) fn rest(&self) -> &[u8] {
        &self.held
    }

    /// Takes the body's next bytes, and shows `step` every window that is complete by now.
    pub(super) fn run(&mut self, bytes: &[u8], mut step: impl FnMut(u64, &[u8]) -> Next) {
        let mut fresh = bytes;
        while self.want > 0 {
            fresh = self.pass_over(fresh);
            let next = if self.held.is_empty() && fresh.len() >= self.want {
                step(self.position, &fresh[..self.want])
            } else {
                fresh = self.gather(fresh);
                if self.held.len() < self.want {
                    return;
                }
                step(self.position, &self.held[..self.want])
            };
            self.go(next);
        }
    }

    /// The body has ended inside a window: makes do with what there is of it.
    pub(super) fn settle_for_rest(&mut self, step: impl FnMut(u64, &[u8]) -> Next) {
        self.want = self.held.len();
        self.run(&[], step);
    }

    fn pass_over<'a>(&mut self, fresh: &'a [u8]) -> &'a [u8] {
        let passed = usize::try_from(self.skip).map_or(fresh.len(), |skip| skip.min(fresh.len()));
        self.skip -= passed as u64;
        &fresh[passed..]
    }

    fn gather<'a>(&mut self, fresh: &'a [u8]) -> &'a [u8] {
        if self.skip > 0 {
            return fresh;
        }
        let missing = self.want.saturating_sub(self.held.len()).min(fresh.len());
        self.held.extend_from_slice(&fresh[..missing]);
        &fresh[missing..]
    }

    fn go(&mut self, next: Next) {
        debug_assert!(next.want <= LARGEST_WINDOW, "a window of {} bytes", next.want);
        let held = usize::try_from(next.skip).map_or(self.held.len(), |skip| skip.min(self.held.len()));
        self.held.drain(..held);
        self.skip = next.skip - held as u64;
        self.position = self.position.saturating_add(next.skip);
        self.want = next.want;
        if self.want == 0 {
            self.held = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows windows of 3 bytes, 10 apart.
    fn windows_of(segments: &[&[u8]]) -> Vec<(u64, Vec<u8>)> {
        let mut seen = Vec::new();
        let mut stride = Stride::new(3);
        for segment in segments {
            stride.run(segment, |at, window| {
                seen.push((at, window.to_vec()));
                Next::over(10, 3)
            });
        }
        seen
    }

    #[test]
    fn windows_do_not_depend_on_the_segmentation() {
        let body: Vec<u8> = (0..100).collect();
        let whole = windows_of(&[&body]);
        assert_eq!(whole.len(), 10);
        assert_eq!(whole[9], (90, vec![90, 91, 92]));
        for size in 1..100 {
            let segments: Vec<&[u8]> = body.chunks(size).collect();
            assert_eq!(windows_of(&segments), whole, "segments of {size}");
        }
    }

    #[test]
    fn a_hostile_size_leads_to_the_end_of_all_files() {
        let mut stride = Stride::new(1);
        stride.run(&[0; 8], |_, _| Next::over(u64::MAX, 1));
        stride.run(&[0; 8], |_, _| unreachable!("passed over"));
        assert_eq!(stride.position(), u64::MAX);
    }

    #[test]
    fn after_the_last_window_nothing_is_held() {
        let mut stride = Stride::new(4);
        stride.run(&[1, 2, 3], |_, _| unreachable!("not full"));
        assert_eq!(stride.rest(), [1, 2, 3]);
        stride.settle_for_rest(|_, window| {
            assert_eq!(window, [1, 2, 3]);
            Next::over(1, 0)
        });
        stride.run(&[0; 1024], |_, _| unreachable!("done"));
        assert_eq!((stride.position(), stride.rest()), (1, &[][..]));
    }
}
