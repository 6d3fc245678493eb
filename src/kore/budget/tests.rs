//! The spacing of requests: idle time, slow connections, order, high rates.

use super::*;
use crate::clock::{SystemClock, Timestamp};
use crate::kore::testing::FrozenClock;
use futures_util::FutureExt;
use proptest::prelude::*;

/// Time that passes only while somebody sleeps, or when it is told to.
#[derive(Debug, Default)]
struct StillClock(StdMutex<Duration>);

impl StillClock {
    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

#[async_trait::async_trait]
impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(0)
    }
    fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap()
    }
    async fn sleep(&self, wait: Duration) {
        self.advance(wait);
    }
}

fn grant(budget: &Budget) {
    budget.take().now_or_never().expect("the clock's sleeps are immediate");
}

#[test]
fn the_first_slot_comes_one_interval_after_the_start_and_idle_time_is_not_saved_up() {
    let clock = Arc::new(StillClock::default());
    let budget = Budget::new(60, Arc::clone(&clock) as Arc<dyn Clock>);
    grant(&budget);
    assert!(clock.elapsed() >= Duration::from_secs(1));
    clock.advance(Duration::from_hours(1));
    let idle_until = clock.elapsed();
    grant(&budget);
    assert_eq!(clock.elapsed(), idle_until);
    grant(&budget);
    assert!(clock.elapsed() >= idle_until + Duration::from_secs(1));
    assert_eq!(budget.used_in_last_minute(), 2);
}

#[tokio::test]
async fn a_waiter_that_leaves_costs_nobody_a_slot() {
    let budget = Budget::new(60, Arc::new(FrozenClock));
    let before = *budget.next.lock().await;
    assert!(budget.take().now_or_never().is_none(), "it sleeps, and is dropped");
    assert_eq!(*budget.next.lock().await, before);
}

/// What opens connections, each as this says.
struct Opener<F>(F);

impl<F: FnMut() -> BoxFuture<'static, ()>> Service<()> for Opener<F> {
    type Response = ();
    type Error = ();
    type Future = BoxFuture<'static, Result<(), ()>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        self.0().map(Ok).boxed()
    }
}

#[tokio::test]
async fn nothing_follows_too_soon_on_a_request_whose_connection_took_long() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let budget = Arc::new(Budget::new(600, Arc::clone(&clock)));
    let slowly = || {
        let clock = Arc::clone(&clock);
        async move { clock.sleep(Duration::from_millis(80)).await }.boxed()
    };
    let mut client = Told::new(Arc::clone(&budget)).layer(Opener(slowly));
    let mut left = Vec::new();
    for _ in 0..3 {
        budget.take().await;
        let _ = client.call(()).await;
        left.push(clock.elapsed());
        // The next has a connection already.
        budget.take().await;
        left.push(clock.elapsed());
    }
    // Another one asks while a connection is being opened.
    budget.take().await;
    let connection = client.call(());
    let (stands, slot) = tokio::join!(
        async {
            let _ = connection.await;
            clock.elapsed()
        },
        async {
            budget.take().await;
            clock.elapsed()
        }
    );
    left.extend([stands, slot]);
    assert!(left.windows(2).all(|pair| pair[1] >= pair[0] + Duration::from_millis(100)), "{left:?}");
}

#[tokio::test]
async fn requests_whose_connections_come_to_stand_together_leave_an_interval_apart_v4() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let budget = Arc::new(Budget::new(600, Arc::clone(&clock)));
    let gate = Arc::new(Notify::new());
    let mut client = Told::new(Arc::clone(&budget)).layer(Opener(|| Arc::clone(&gate).notified_owned().boxed()));
    // As many slots as a host that lets connections wait for long was granted.
    let leave: Vec<_> = (0..4)
        .map(|_| {
            let (connection, clock) = (client.call(()), Arc::clone(&clock));
            async move {
                let _ = connection.await;
                clock.elapsed()
            }
        })
        .collect();
    gate.notify_waiters();
    let slot = async {
        budget.take().await;
        clock.elapsed()
    };
    let (mut left, slot) = tokio::join!(futures_util::future::join_all(leave), slot);
    left.push(slot);
    left.sort();
    assert!(left.windows(2).all(|pair| pair[1] >= pair[0] + Duration::from_millis(100)), "{left:?}");
}

#[tokio::test]
async fn slots_are_granted_in_the_order_of_asking() {
    let budget = Arc::new(Budget::new(60 * 200, Arc::new(SystemClock::new())));
    let order = Arc::new(StdMutex::new(Vec::new()));
    let waiters = (0..8).map(|waiter| {
        let (budget, order) = (Arc::clone(&budget), Arc::clone(&order));
        async move {
            budget.take().await;
            order.lock().unwrap().push(waiter);
        }
    });
    futures_util::future::join_all(waiters).await;
    assert_eq!(*order.lock().unwrap(), (0..8).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_million_a_minute_is_not_slowed_by_timers() {
    let clock = Arc::new(SystemClock::new());
    let budget = Budget::new(1_000_000, Arc::clone(&clock) as Arc<dyn Clock>);
    for _ in 0..2000 {
        budget.take().await;
    }
    assert!(clock.elapsed() >= Duration::from_millis(110));
    assert!(clock.elapsed() < Duration::from_secs(2), "{:?}", clock.elapsed());
}

proptest! {
    #[test]
    fn two_slots_are_never_within_the_interval(rate in 1u32..=60_000, idle in prop::collection::vec(0u64..5000, 1..50)) {
        let clock = Arc::new(StillClock::default());
        let budget = Budget::new(rate, Arc::clone(&clock) as Arc<dyn Clock>);
        let mut last = Duration::ZERO;
        for idle in idle {
            clock.advance(Duration::from_millis(idle));
            grant(&budget);
            prop_assert!(clock.elapsed() >= last + Duration::from_mins(1) / rate);
            last = clock.elapsed();
        }
    }
}
