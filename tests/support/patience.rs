//! Waiting for another process, whose clock is the machine's.

use std::time::Duration;

/// Waits no test should reach.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// How often a condition is looked at,
const LOOK_MILLIS: u64 = 20;
/// and how many looks that is.
pub const LOOKS: u64 = PATIENCE.as_secs() * 1000 / LOOK_MILLIS;

/// Looks until there is something, for as long as a test may take.
pub async fn until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..LOOKS {
        if let Some(found) = look() {
            return Some(found);
        }
        nap().await;
    }
    None
}

/// Looks until it holds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..LOOKS {
        if holds().await {
            return;
        }
        nap().await;
    }
    panic!("never came true: {what}");
}

/// Until the next look.
pub async fn nap() {
    rest(LOOK_MILLIS).await;
}

/// Lets so many milliseconds pass.
#[expect(clippy::disallowed_methods, reason = "a test waits for another process, whose clock is the machine's")]
pub async fn rest(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
