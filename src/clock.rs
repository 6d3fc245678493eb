//! Time, passed in: the only module that reads the wall clock or sleeps.
//!
//! Two clocks exist. The wall clock ([`Clock::now`]) dates rows and decides what is due; it may jump by hours.
//! The monotonic clock ([`Clock::elapsed`]) spaces requests and measures pauses and stalls, so that a jump of the
//! wall clock neither bursts the budget nor stretches a pause, and ends no row by its age (`steady`). Tests and
//! simulations bring their own [`Clock`].

mod steady;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

pub(crate) use steady::JUMP;
use steady::Steadiness;

/// An instant of the wall clock in UTC, in whole milliseconds since 1970.
///
/// Its text is `YYYY-MM-DDTHH:MM:SS.mmmZ` (CONTRACT section 2): it sorts as text, and people can read it.
/// The range is the years 0000 to 9999; arithmetic saturates there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

const TEXT: &[FormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
/// 0000-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z, the ends of what the text form can say.
const EARLIEST: i64 = -62_167_219_200_000;
const LATEST: i64 = 253_402_300_799_999;

/// A text that is not a time in the form of [`Timestamp`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a UTC time like 2026-11-23T08:15:00.000Z")]
pub struct NotATime;

impl Timestamp {
    /// The instant `millis` milliseconds after 1970, clamped to the years 0000 to 9999.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        if millis < EARLIEST {
            Self(EARLIEST)
        } else if millis > LATEST {
            Self(LATEST)
        } else {
            Self(millis)
        }
    }

    /// The instant `seconds` seconds after 1970, clamped like [`Timestamp::from_millis`].
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339 in UTC or with an offset; fractions of a second are optional.
    ///
    /// # Errors
    /// [`NotATime`] for anything else, and for years outside 0000 to 9999.
    pub fn parse(text: &str) -> Result<Self, NotATime> {
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| NotATime)?;
        let millis = i64::try_from(at.unix_timestamp_nanos() / 1_000_000).map_err(|_| NotATime)?;
        Ok(Self::from_millis(millis))
    }

    /// Reads an HTTP date, in any of its three forms, from 1970 on.
    #[must_use]
    pub fn parse_http(text: &str) -> Option<Self> {
        let since = httpdate::parse_http_date(text.trim()).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self::from_seconds(i64::try_from(since.as_secs()).ok()?))
    }

    /// This instant, later by `wait`.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_add(wait))
    }

    /// This instant, earlier by `ago`.
    #[must_use]
    pub fn before(self, ago: Duration) -> Self {
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_sub(ago))
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// Year, month and day in UTC, as they stand in a key.
    #[must_use]
    pub fn date(self) -> (i32, u8, u8) {
        let date = self.to_date_time().date();
        (date.year(), u8::from(date.month()), date.day())
    }

    fn to_date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .expect("the constructors keep it within the years 0000 to 9999")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_date_time().format(TEXT).expect("every component is in range"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where time comes from.
#[async_trait]
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// Monotonic time since some fixed moment of this process.
    fn elapsed(&self) -> Duration;

    /// Returns once [`Clock::elapsed`] has advanced by `wait`.
    async fn sleep(&self, wait: Duration);

    /// Whether the wall clock has gone evenly of late. While it has not, no row is ended by its age.
    fn is_steady(&self) -> bool {
        true
    }

    /// Somebody else's clock says quite another time: no row is ended by its age until that is long past. Says whether it
    /// is time to tell people, which it is at first, and once an hour while it lasts.
    fn doubt(&self) -> bool {
        false
    }

    /// By how much the wall clock was seen to be set back in all; steps of less than most of an hour do not count.
    fn set_back(&self) -> Duration {
        Duration::ZERO
    }
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: std::time::Instant,
    steadiness: Mutex<Steadiness>,
}

impl SystemClock {
    /// A clock whose [`Clock::elapsed`] starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is passed")]
    pub fn new() -> Self {
        let steadiness = Mutex::new(Steadiness::new(wall_clock(), Duration::ZERO));
        Self { started: std::time::Instant::now(), steadiness }
    }

    fn steadiness(&self) -> MutexGuard<'_, Steadiness> {
        // It is two moments and a count, whole at every step.
        self.steadiness.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is passed")]
fn wall_clock() -> Timestamp {
    let millis = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(LATEST))
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        wall_clock()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is passed")]
    async fn sleep(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
    }

    fn is_steady(&self) -> bool {
        let mut steadiness = self.steadiness();
        steadiness.look(self.now(), self.elapsed())
    }

    fn doubt(&self) -> bool {
        self.steadiness().doubt(self.elapsed())
    }

    fn set_back(&self) -> Duration {
        let mut steadiness = self.steadiness();
        steadiness.look(self.now(), self.elapsed());
        steadiness.set_back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_as_it_was_written() {
        let at = Timestamp::parse("2024-03-05T12:30:50.125Z").unwrap();
        assert_eq!(at.to_string(), "2024-03-05T12:30:50.125Z");
        assert_eq!(Timestamp::from_seconds(1_709_640_506).to_string(), "2024-03-05T12:08:26.000Z");
    }

    #[test]
    fn milliseconds_are_optional_and_an_offset_is_honoured() {
        let expected = Timestamp::parse("2024-03-05T12:30:50.000Z").unwrap();
        assert_eq!(Timestamp::parse("2024-03-05T12:30:50Z").unwrap(), expected);
        assert_eq!(Timestamp::parse("2024-03-05T14:30:50+02:00").unwrap(), expected);
        assert_eq!(Timestamp::parse("yesterday"), Err(NotATime));
    }

    #[test]
    fn arithmetic_saturates_where_the_text_form_ends() {
        let end = Timestamp::from_millis(i64::MAX);
        assert_eq!(end.to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(end.after(Duration::MAX), end);
        assert_eq!(Timestamp::from_millis(i64::MIN).to_string(), "0000-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_millis(0).since(end), Duration::ZERO);
    }
}
