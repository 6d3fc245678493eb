//! Where two transfers meet that have bytes to hash, so that [both are hashed at once](Hashing::update_both).
//!
//! Who comes first leaves its bytes and gives way; who comes second takes them along. Where nobody comes within a few
//! turns of the others the first does it alone: on an idle machine those pass at once.

use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::Segments;
use crate::receipt::Hashing;

/// How many turns of the others are waited for: two parts of 8 MB are seldom full in the same one.
const TURNS: u32 = 16;
/// Less is not worth a meeting.
const LEAST: u64 = 256 * 1024;

/// The place where they meet.
#[derive(Clone, Debug)]
pub struct Pairing {
    place: Arc<Mutex<Place>>,
    is_open: bool,
}

impl Default for Pairing {
    fn default() -> Self {
        Self { place: Arc::default(), is_open: Hashing::gains_by_two() }
    }
}

#[derive(Debug, Default)]
struct Place {
    left: Option<Work>,
    /// How often something was left.
    times: u64,
}

/// Something to hash.
#[derive(Debug)]
struct Work {
    hashing: Hashing,
    segments: Segments,
    done: oneshot::Sender<Hashing>,
}

/// What one has left; whoever gives up takes it back.
struct Left<'a> {
    pairing: &'a Pairing,
    time: u64,
}

impl Left<'_> {
    /// `None` if another has it.
    fn take_back(&self) -> Option<Work> {
        let mut place = self.pairing.place();
        if place.times == self.time { place.left.take() } else { None }
    }
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        drop(self.take_back());
    }
}

impl Pairing {
    /// Whether it is of use here.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Hashes these bytes, with another's if there are some.
    pub(super) async fn update(&self, hashing: &mut Hashing, segments: &Segments) {
        if segments.len() < LEAST {
            return alone(hashing, segments);
        }
        let (left, mut result) = match self.meet(hashing, segments) {
            Ok(mut other) => {
                Hashing::update_both((hashing, pieces(segments)), (&mut other.hashing, pieces(&other.segments)));
                // Who called it off wants no answer.
                let _ = other.done.send(other.hashing);
                return;
            }
            Err(left) => left,
        };
        for _ in 0..TURNS {
            yield_now().await;
            if let Ok(done) = result.try_recv() {
                *hashing = done;
                return;
            }
        }
        *hashing = match left.take_back() {
            Some(mut work) => {
                alone(&mut work.hashing, segments);
                work.hashing
            }
            None => result.await.expect("whoever takes it along finishes it"),
        };
    }

    /// What another has left there; else it is left there itself, and comes back through the channel.
    fn meet(&self, hashing: &mut Hashing, segments: &Segments) -> Result<Work, (Left<'_>, oneshot::Receiver<Hashing>)> {
        let mut place = self.place();
        if let Some(other) = place.left.take() {
            return Ok(other);
        }
        let (done, result) = oneshot::channel();
        place.left = Some(Work { hashing: take(hashing), segments: segments.clone(), done });
        place.times += 1;
        Err((Left { pairing: self, time: place.times }, result))
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn alone(hashing: &mut Hashing, segments: &Segments) {
    pieces(segments).for_each(|piece| hashing.update(piece));
}

fn pieces(segments: &Segments) -> impl Iterator<Item = &[u8]> {
    segments.iter().map(AsRef::as_ref)
}

#[cfg(test)]
impl Pairing {
    /// Open or not, whatever this machine gains by it.
    pub(super) fn that_is(is_open: bool) -> Self {
        Self { is_open, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::*;
    use crate::receipt::Sha256;

    fn open() -> Pairing {
        Pairing::that_is(true)
    }

    fn work(byte: u8, length: u64) -> (Hashing, Segments, Sha256) {
        let bytes = Bytes::from(vec![byte; usize::try_from(length).unwrap()]);
        let digest = Sha256::of(&bytes);
        (Hashing::default(), Segments::from(bytes), digest)
    }

    #[tokio::test]
    async fn who_comes_second_does_both() {
        let pairing = open();
        let (mut one, bytes, digest) = work(1, LEAST);
        let (mut other, others, its_digest) = work(2, 2 * LEAST + 1);
        let mut first = Box::pin(pairing.update(&mut one, &bytes));
        assert!((&mut first).now_or_never().is_none(), "it gives way");
        pairing.update(&mut other, &others).now_or_never().expect("nothing to wait for");
        first.now_or_never().expect("it is done");
        assert_eq!((one.finish(), other.finish()), (digest, its_digest));
    }

    #[tokio::test]
    async fn who_is_done_takes_back_nothing_of_the_next() {
        let pairing = open();
        let [mut one, mut other, mut third, mut fourth] = [1, 2, 3, 4].map(|byte| work(byte, LEAST));
        let mut first = Box::pin(pairing.update(&mut one.0, &one.1));
        assert!((&mut first).now_or_never().is_none());
        pairing.update(&mut other.0, &other.1).now_or_never().expect("the first is there");
        let mut next = Box::pin(pairing.update(&mut third.0, &third.1));
        assert!((&mut next).now_or_never().is_none());
        first.now_or_never().expect("it is done");
        pairing.update(&mut fourth.0, &fourth.1).now_or_never().expect("the third is there");
        next.now_or_never().expect("it is done");
        assert_eq!(third.0.finish(), third.2);
    }

    #[tokio::test]
    async fn who_meets_nobody_does_it_alone() {
        let pairing = open();
        for _ in 0..2 {
            let (mut hashing, bytes, digest) = work(1, LEAST);
            pairing.update(&mut hashing, &bytes).await;
            assert_eq!(hashing.finish(), digest);
            assert!(pairing.place().left.is_none());
        }
    }

    #[tokio::test]
    async fn who_is_called_off_leaves_nothing_behind() {
        let pairing = open();
        let (mut hashing, bytes, _) = work(1, LEAST);
        assert!(pairing.update(&mut hashing, &bytes).now_or_never().is_none());
        assert!(pairing.place().left.is_none());
    }

    #[tokio::test]
    async fn little_is_done_at_once() {
        let (mut hashing, bytes, digest) = work(1, LEAST - 1);
        open().update(&mut hashing, &bytes).now_or_never().expect("nobody is waited for");
        assert_eq!(hashing.finish(), digest);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn among_many_everybody_gets_his_own() {
        let pairing = open();
        let tasks: Vec<_> = (0..64_u8)
            .map(|byte| {
                let pairing = pairing.clone();
                tokio::spawn(async move {
                    let (mut hashing, bytes, digest) = work(byte, LEAST + u64::from(byte));
                    pairing.update(&mut hashing, &bytes).await;
                    assert_eq!(hashing.finish(), digest);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
}
