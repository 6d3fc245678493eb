//! Room for what is done at once, polls and copies, shared by all bots.
//!
//! A bot's file host may be slow for hours, or its Kore answer nothing until each request times out, and it would come to
//! hold every seat, while the recordings of another bot are deleted by Kore unread. So each bot has one seat of its own,
//! and all of them share the rest: what one does slowly costs the others pace, and stops none. Where bots are so many that
//! this would leave less than half to share, all seats are shared, and nothing is promised.

use std::collections::BTreeMap;

use tokio::sync::{Semaphore, SemaphorePermit};

/// The seats.
#[derive(Debug)]
pub struct Seats {
    all: usize,
    shared: Semaphore,
    own: BTreeMap<String, Semaphore>,
}

impl Seats {
    /// So many seats in all, for these bots.
    pub fn new<'a>(all: usize, bots: impl IntoIterator<Item = &'a String>) -> Self {
        let mut own: BTreeMap<_, _> = bots.into_iter().map(|bot| (bot.clone(), Semaphore::new(1))).collect();
        if own.len() > all / 2 {
            own.clear();
        }
        Self { all, shared: Semaphore::new(all - own.len()), own }
    }

    /// How many there are.
    #[must_use]
    pub fn all(&self) -> usize {
        self.all
    }

    /// Waits for a seat; it is given back when this is dropped.
    ///
    /// # Panics
    /// Never: nobody closes a semaphore.
    pub async fn take(&self, bot: &str) -> SemaphorePermit<'_> {
        let shared = self.shared.acquire();
        let permit = match self.own.get(bot) {
            Some(own) => tokio::select! {
                biased;
                permit = own.acquire() => permit,
                permit = shared => permit,
            },
            None => shared.await,
        };
        permit.expect("this semaphore is never closed")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn seats(all: usize, bots: &[&str]) -> Seats {
        Seats::new(all, &bots.iter().map(|bot| (*bot).to_owned()).collect::<Vec<_>>())
    }

    fn taken<'a>(seats: &'a Seats, bot: &str) -> Vec<SemaphorePermit<'a>> {
        std::iter::from_fn(|| seats.take(bot).now_or_never()).collect()
    }

    #[test]
    fn one_bot_takes_all_but_what_is_kept_for_each_other() {
        let seats = seats(8, &["a", "b", "c"]);
        let busy = taken(&seats, "a");
        assert_eq!(busy.len(), 6);
        let others = [taken(&seats, "b"), taken(&seats, "c")];
        assert_eq!(others.each_ref().map(Vec::len), [1, 1]);
        drop(busy);
        assert_eq!(taken(&seats, "b").len(), 5, "the shared ones, and not the first bot's own");
    }

    #[test]
    fn a_single_bot_has_all_and_too_many_share_all() {
        for (all, bots) in [(1, &["a"][..]), (8, &["a"]), (3, &["a", "b"]), (1, &["a", "b"])] {
            assert_eq!(taken(&seats(all, bots), "a").len(), all, "{all} seats, {bots:?}");
        }
        assert_eq!(taken(&seats(4, &["a", "b"]), "a").len(), 3);
    }

    #[tokio::test]
    async fn whoever_waits_gets_the_first_that_comes_free() {
        let seats = seats(4, &["a", "b"]);
        let (mut busy, own) = (taken(&seats, "a"), taken(&seats, "b"));
        let mut waiting = std::pin::pin!(seats.take("b"));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(busy.pop());
        let held = waiting.await;
        drop(own);
        assert_eq!(taken(&seats, "b").len(), 1, "its own, which it no longer waits for");
        drop(held);
        assert_eq!(taken(&seats, "b").len(), 2, "nothing that was waited for twice is lost");
    }
}
