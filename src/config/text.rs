//! Durations and sizes as people write them: a whole number and a unit, nothing else.
//!
//! `90s` and `8MiB` leave no doubt; a bare number does, so it is refused (CONTRACT section 7), and so are fractions,
//! blanks and several units in a row. What is printed reads back as the same value.

use std::time::Duration;

/// Milliseconds a unit, the longest first.
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Bytes a unit, the largest first.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1000),
    ("B", 1),
];

/// Ten years: longer is a typing mistake, and arithmetic with it stays far from any limit.
const LONGEST: u64 = 3650 * 86_400_000;

/// Reads `100ms`, `90s`, `15m`, `72h` or `2d`, up to ten years.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    number_with_unit(text, &TIMES).filter(|millis| *millis <= LONGEST).map(Duration::from_millis)
}

/// Reads `8MiB`; also `B`, `kB`, `KiB`, `MB`, `GB`, `GiB`, `TB` and `TiB`.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    number_with_unit(text, &SIZES)
}

/// Writes a duration so that [`parse_duration`] reads it; hours are the largest unit, as in `72h`.
#[must_use]
pub fn write_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 { "0s".to_owned() } else { written(millis, &TIMES[1..]) }
}

/// Writes a size so that [`parse_size`] reads it.
#[must_use]
pub fn write_size(bytes: u64) -> String {
    if bytes == 0 { "0B".to_owned() } else { written(bytes, &SIZES) }
}

fn number_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*scale)
}

/// In the unit that makes the shortest number.
fn written(amount: u64, units: &[(&str, u64)]) -> String {
    let whole = units.iter().find(|(_, scale)| amount.is_multiple_of(*scale));
    let (unit, scale) = whole.expect("the smallest unit is 1, which divides every amount");
    format!("{}{unit}", amount / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_forms_of_the_contract_are_read() {
        let millis = |text| parse_duration(text).unwrap().as_millis();
        assert_eq!(["100ms", "90s", "15m", "72h", "2d"].map(millis), [100, 90_000, 900_000, 259_200_000, 172_800_000]);
        let sizes =
            ["8MiB", "5GiB", "16KiB", "1kB", "2MB", "3GB", "7B", "5TiB", "1TB"].map(|text| parse_size(text).unwrap());
        let expected = [8 << 20, 5 << 30, 16 << 10, 1000, 2_000_000, 3_000_000_000, 7, 5 << 40, 1_000_000_000_000];
        assert_eq!(sizes, expected);
    }

    #[test]
    fn anything_doubtful_is_refused() {
        for text in [
            "",
            "90",
            "s",
            "-1s",
            "+1s",
            "1.5h",
            "1 s",
            " 1s",
            "1h30m",
            "1S",
            "1min",
            "٣s",
            "4000d",
            "99999999999999999999s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        for text in ["", "8", "MiB", "8mib", "8 MiB", "8M", "8K", "-1B", "1.5GiB", "18446744073709551615KiB", "8MiB/s"]
        {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_what_a_person_would_write() {
        let written =
            ["90s", "60s", "15m", "2d", "1500ms", "0h"].map(|text| write_duration(parse_duration(text).unwrap()));
        assert_eq!(written, ["90s", "1m", "15m", "48h", "1500ms", "0s"]);
        assert_eq!(
            ["8MiB", "1000kB", "1025B"].map(|text| write_size(parse_size(text).unwrap())),
            ["8MiB", "1MB", "1025B"]
        );
    }

    proptest! {
        #[test]
        fn durations_and_sizes_read_back(millis in 0..=LONGEST, bytes: u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&write_duration(duration)), Some(duration));
            prop_assert_eq!(parse_size(&write_size(bytes)), Some(bytes));
        }

        #[test]
        fn no_text_makes_them_panic(text in "(?s).*", number: u64, unit in "[a-zA-Z]{0,3}") {
            let _ = (parse_duration(&text), parse_size(&text));
            let text = format!("{number}{unit}");
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }
}
