//! Whether the wall clock can be believed when it says how old something is.
//!
//! The two clocks are compared at every look. When wall time has run away from monotonic time, or back, since the look
//! before (a clock that was set, a machine that slept), no row may be ended by its age until the clock has gone
//! steadily for a while: a jump is often followed by its correction. What is due is still told by the wall clock; when
//! that is set back, what waits is brought back with it.
//!
//! A daemon that starts under a wrong clock cannot see that by itself: it learns it from the time that Kore's answers
//! tell, and believes its own no more than after a jump. While the two stay apart, whichever is wrong, no row is ended by
//! its age, for days if need be: people are told of it again and again.
//!
//! Left alone: rows that were inserted while the clock was wrong carry a wrong age for good; one that was sent back then
//! waits for that time, if the daemon did not run when the clock was mended. A wait that was decided in the same breath in
//! which the clock was set back, and is written after what waits was brought back, stays too long.

use std::time::Duration;

use super::Timestamp;

/// More than any clock is slewed, and less than a wrong time zone.
pub(crate) const JUMP: Duration = Duration::from_mins(50);
/// How long the clock must have gone without a jump.
const PROBATION: Duration = Duration::from_hours(1);

/// How often people are told that another clock contradicts this one.
const REMINDER: Duration = Duration::from_hours(1);

/// What the looks at both clocks have shown.
#[derive(Debug)]
pub(super) struct Steadiness {
    last: (Timestamp, Duration),
    jumped_at: Option<Duration>,
    /// When people were last told of a doubt.
    told_at: Option<Duration>,
    set_back: Duration,
}

impl Steadiness {
    pub(super) fn new(wall: Timestamp, elapsed: Duration) -> Self {
        Self { last: (wall, elapsed), jumped_at: None, told_at: None, set_back: Duration::ZERO }
    }

    /// Takes another look at both clocks; whether the wall clock is steady.
    pub(super) fn look(&mut self, wall: Timestamp, elapsed: Duration) -> bool {
        let (last_wall, last_elapsed) = std::mem::replace(&mut self.last, (wall, elapsed));
        let expected = last_wall.after(elapsed.saturating_sub(last_elapsed));
        let (ahead, behind) = (wall.since(expected), expected.since(wall));
        if ahead.max(behind) > JUMP {
            self.jumped_at = Some(elapsed);
        }
        if behind > JUMP {
            self.set_back = self.set_back.saturating_add(behind);
        }
        self.jumped_at.is_none_or(|at| elapsed.saturating_sub(at) >= PROBATION)
    }

    /// Another clock says quite another time; whether it is time to tell people.
    pub(super) fn doubt(&mut self, elapsed: Duration) -> bool {
        self.jumped_at = Some(elapsed);
        let is_time = self.told_at.is_none_or(|at| elapsed.saturating_sub(at) >= REMINDER);
        if is_time {
            self.told_at = Some(elapsed);
        }
        is_time
    }

    /// By how much the clock was set back, in all.
    pub(super) fn set_back(&self) -> Duration {
        self.set_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn at(minutes: u32) -> (Timestamp, Duration) {
        (Timestamp::from_seconds(1_700_000_000).after(MINUTE * minutes), MINUTE * minutes)
    }

    #[test]
    fn clocks_that_go_alike_are_steady_however_seldom_one_looks() {
        let mut steadiness = Steadiness::new(at(0).0, at(0).1);
        for minutes in [1, 2, 100, 100_000] {
            assert!(steadiness.look(at(minutes).0, at(minutes).1));
        }
        assert_eq!(steadiness.set_back(), Duration::ZERO);
    }

    #[test]
    fn after_a_jump_the_clock_is_on_probation_p3_p4() {
        let year = Duration::from_hours(365 * 24);
        let mut steadiness = Steadiness::new(at(0).0, at(0).1);
        assert!(!steadiness.look(at(1).0.after(year), at(1).1), "forward");
        assert!(!steadiness.look(at(60).0.after(year), at(60).1), "not yet an hour");
        assert!(steadiness.look(at(61).0.after(year), at(61).1), "an hour without a jump");
        assert!(!steadiness.look(at(62).0, at(62).1), "and back");
        assert_eq!(steadiness.set_back(), year);
    }

    #[test]
    fn a_clock_that_another_contradicts_is_on_probation_as_after_a_jump_p3() {
        let mut steadiness = Steadiness::new(at(0).0, at(0).1);
        steadiness.doubt(at(1).1);
        assert!(!steadiness.look(at(60).0, at(60).1));
        assert!(steadiness.look(at(61).0, at(61).1));
    }

    /// Each answer of Kore renews the doubt: told once, nobody would know a week later why no row ends.
    #[test]
    fn a_doubt_that_lasts_is_told_again_each_hour_p3() {
        let mut steadiness = Steadiness::new(at(0).0, at(0).1);
        let told = (1..=180).filter(|minutes| steadiness.doubt(at(*minutes).1)).collect::<Vec<_>>();
        assert_eq!(told, [1, 61, 121]);
        assert!(!steadiness.look(at(180).0, at(180).1));
    }
}
