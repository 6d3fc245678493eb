//! Two headers that are read leniently: `Retry-After` and `Date`. Pure.

use std::time::Duration;

use crate::clock::Timestamp;

/// CONTRACT section 3: whatever a server asks for, a pause is at least this long
const SHORTEST: Duration = Duration::from_secs(1);
/// and at most this.
const LONGEST: Duration = Duration::from_mins(15);

/// How long to wait by a `Retry-After` of seconds or of a date, clamped to 1 s .. 15 min; `None` if it is neither. A
/// date is compared with the server's own `now`, where that is known, so that a wrong clock here does not matter.
pub(crate) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let wait = if digits {
        // More digits than a number holds is longer than the longest.
        value.parse().map_or(LONGEST, Duration::from_secs)
    } else {
        date(value)?.since(now)
    };
    Some(wait.clamp(SHORTEST, LONGEST))
}

/// An HTTP date, in any of its three forms.
pub(crate) fn date(value: &str) -> Option<Timestamp> {
    Timestamp::parse_http(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn seconds_and_dates_are_read_and_clamped() {
        let now = date("Tue, 05 Mar 2024 12:00:00 GMT").unwrap();
        let wait = |value| retry_after(value, now).map(|wait| wait.as_secs());
        assert_eq!(wait("30"), Some(30));
        assert_eq!(wait(" 0 "), Some(1));
        assert_eq!(wait("99999999999999999999999"), Some(900));
        assert_eq!(wait("Tue, 05 Mar 2024 12:01:00 GMT"), Some(60));
        assert_eq!(wait("Tuesday, 05-Mar-24 12:01:00 GMT"), Some(60));
        assert_eq!(wait("Tue, 05 Mar 2024 11:00:00 GMT"), Some(1));
        assert_eq!(wait("Wed, 05 Mar 2025 12:00:00 GMT"), Some(900));
        for unreadable in ["", "-5", "1e99", "1.5", "soon", "٣", "Tue, 35 Mar 2024 12:00:00 GMT"] {
            assert_eq!(wait(unreadable), None, "{unreadable}");
        }
    }

    #[test]
    fn fuzz_retry_after_that_is_kept() {
        let now = date("Tue, 05 Mar 2024 12:00:00 GMT").unwrap();
        for value in crate::corpus::kept_text("retry-after") {
            assert!(retry_after(&value, now).is_none_or(|wait| (SHORTEST..=LONGEST).contains(&wait)), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn fuzz_retry_after(value in crate::corpus::bent_text("retry-after"), now: i64) {
            let wait = retry_after(&value, Timestamp::from_millis(now));
            prop_assert!(wait.is_none_or(|wait| (SHORTEST..=LONGEST).contains(&wait)), "{wait:?}");
        }

        #[test]
        fn any_text_gives_a_wait_within_the_bounds_or_none(value: String, now: i64) {
            if let Some(wait) = retry_after(&value, Timestamp::from_millis(now)) {
                prop_assert!((SHORTEST..=LONGEST).contains(&wait));
            }
        }
    }
}
