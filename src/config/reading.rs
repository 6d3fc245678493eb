//! From a value as it was given to a type that can be trusted, or to a sentence that says what is expected.
//!
//! One function a kind of value. They know neither keys nor files: [`super::section`] puts those in front.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::section::Given;
use super::text::{parse_duration, parse_size, write_size};
use crate::hosts::MediaHost;
use crate::key::{KeyTemplate, ObjectKey};

/// A trusted value, or what is expected.
pub(super) type Read<T> = Result<T, String>;

/// A duration; none at all is one too.
pub(super) fn any_duration(given: Given<'_>) -> Read<Duration> {
    let parsed = given.text().and_then(parse_duration);
    parsed.ok_or_else(|| "a duration such as \"100ms\", \"90s\", \"15m\", \"72h\" or \"2d\"".to_owned())
}

/// A duration longer than nothing.
pub(super) fn duration(given: Given<'_>) -> Read<Duration> {
    let duration = any_duration(given)?;
    if duration.is_zero() { Err("a duration longer than 0".to_owned()) } else { Ok(duration) }
}

/// A size within `bounds`.
pub(super) fn size(bounds: RangeInclusive<u64>) -> impl FnOnce(Given<'_>) -> Read<u64> {
    move |given| {
        let bytes = given.text().and_then(parse_size).ok_or("a size such as \"8MiB\", \"16KiB\" or \"5GiB\"")?;
        within(bytes, &bounds, write_size)
    }
}

/// A size a second.
pub(super) fn throughput(given: Given<'_>) -> Read<u64> {
    let bytes = given.text().and_then(|text| text.strip_suffix("/s")).and_then(parse_size);
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| "a size a second, above 0, such as \"16KiB/s\"".to_owned())
}

/// A whole number within `bounds`.
pub(super) fn count<N>(bounds: RangeInclusive<N>) -> impl FnOnce(Given<'_>) -> Read<N>
where
    N: TryFrom<i64> + PartialOrd + fmt::Display + Copy,
{
    move |given| {
        let expected = || format!("a whole number from {} to {}", bounds.start(), bounds.end());
        let number = given.integer().and_then(|number| N::try_from(number).ok());
        number.filter(|number| bounds.contains(number)).ok_or_else(expected)
    }
}

fn within<N: PartialOrd + Copy>(value: N, bounds: &RangeInclusive<N>, write: impl Fn(N) -> String) -> Read<N> {
    let expected = || format!("something from {} to {}", write(*bounds.start()), write(*bounds.end()));
    if bounds.contains(&value) { Ok(value) } else { Err(expected()) }
}

/// A number; which ones make sense is decided by the type that it goes into.
pub(super) fn number(given: Given<'_>) -> Read<f64> {
    given.number().ok_or_else(|| "a number such as 1.5".to_owned())
}

/// A number from 0 to 1.
pub(super) fn share(given: Given<'_>) -> Read<f64> {
    let share = given.number().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a number from 0.0 to 1.0".to_owned())
}

/// `true` or `false`.
pub(super) fn flag(given: Given<'_>) -> Read<bool> {
    given.boolean().ok_or_else(|| "true or false".to_owned())
}

/// One of the words of `choices`.
pub(super) fn one_of<T: Copy>(choices: &[(&str, T)]) -> impl FnOnce(Given<'_>) -> Read<T> {
    |given| {
        let chosen = choices.iter().find(|(word, _)| given.text() == Some(word));
        let words = || choices.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        chosen.map(|(_, value)| *value).ok_or_else(|| format!("one of {}", words()))
    }
}

/// `""` for none.
pub(super) fn optional<T>(reading: impl FnOnce(Given<'_>) -> Read<T>) -> impl FnOnce(Given<'_>) -> Read<Option<T>> {
    |given| if given.text() == Some("") { Ok(None) } else { reading(given).map(Some) }
}

/// A text of `lengths` characters, all of them allowed.
pub(super) fn plain(
    expected: &'static str,
    lengths: RangeInclusive<usize>,
    allowed: impl Fn(char) -> bool,
) -> impl FnOnce(Given<'_>) -> Read<String> {
    move |given| {
        let sound = |text: &&str| lengths.contains(&text.chars().count()) && text.chars().all(&allowed);
        given.text().filter(sound).map(str::to_owned).ok_or_else(|| expected.to_owned())
    }
}

/// A path.
pub(super) fn path(given: Given<'_>) -> Read<PathBuf> {
    let path = given.text().filter(|text| !text.is_empty() && !text.chars().any(char::is_control));
    path.map(PathBuf::from).ok_or_else(|| "a path".to_owned())
}

/// A path that begins at the root. A secret that was pasted in place of its path does not, and is refused unseen.
pub(super) fn absolute_path(given: Given<'_>) -> Read<PathBuf> {
    let path = path(given).ok().filter(|path| path.is_absolute());
    path.ok_or_else(|| "an absolute path, beginning with \"/\"".to_owned())
}

/// An id of Kore's. It stands in URLs and tokens, so it is kept to what needs no escaping there.
pub(super) fn kore_id(example: &'static str) -> impl FnOnce(Given<'_>) -> Read<String> {
    move |given| {
        let id = plain(example, 1..=128, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))(given);
        id.ok().filter(|id| !id.starts_with('.')).ok_or_else(|| format!("an id such as \"{example}\""))
    }
}

/// The name of an account: it tells budgets apart.
pub(super) fn account(given: Given<'_>) -> Read<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    plain("a name of 1 to 64 of A-Z a-z 0-9 . _ -", 1..=64, allowed)(given)
}

/// Kore's platform: a scheme, a host, perhaps a port, and nothing else.
pub(super) fn platform(insecure: bool) -> impl FnOnce(Given<'_>) -> Read<Url> {
    move |given| {
        let url = given.text().and_then(plain_url).filter(|url| url.path() == "/");
        let url = url.ok_or("a URL without path, user or query, such as \"https://platform.kore.ai\"")?;
        if url.scheme() == "https" || insecure {
            Ok(url)
        } else {
            Err("an https URL (http only with allow_insecure_http = true)".to_owned())
        }
    }
}

/// The endpoint of an S3-compatible store.
pub(super) fn endpoint(given: Given<'_>) -> Read<Url> {
    let url = given.text().and_then(plain_url);
    url.ok_or_else(|| "an https or http URL without user or query, such as \"https://s3.example.com\"".to_owned())
}

/// An http or https URL with a host, and without userinfo, query and fragment.
fn plain_url(text: &str) -> Option<Url> {
    // The URL standard drops tabs and line ends silently; a setting with them is a mistake.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) || text.contains(['@', '?', '#']) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    (matches!(url.scheme(), "https" | "http") && url.has_host()).then_some(url)
}

/// Where file URLs may lead: at least one entry. A wrong one is counted, not quoted, as all that stands under a bot.
pub(super) fn media_hosts(given: Given<'_>) -> Read<Vec<MediaHost>> {
    let example = "host names such as [\"*.kore.ai\", \"media.acme.lan\", \"127.0.0.1:9000\"]";
    let entries = given.list().filter(|entries| !entries.is_empty()).ok_or_else(|| format!("a list of {example}"))?;
    let parse = |(index, entry): (usize, &String)| {
        MediaHost::parse(entry).map_err(|_| format!("{example}; number {} is none", index + 1))
    };
    entries.iter().enumerate().map(parse).collect()
}

/// A bucket's name, or the ARN of an access point.
pub(super) fn bucket_name(given: Given<'_>) -> Read<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if given.text().is_some_and(|text| text.starts_with("arn:")) {
        return arn("the ARN of an access point", |resource| resource.starts_with("accesspoint"))(given);
    }
    plain("a bucket's name: 3 to 255 of A-Z a-z 0-9 . _ -", 3..=255, allowed)(given)
}

/// An Amazon Resource Name: `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`.
fn arn(expected: &'static str, is_right: fn(&str) -> bool) -> impl FnOnce(Given<'_>) -> Read<String> {
    move |given| {
        let text = plain(expected, 20..=2048, |c| c.is_ascii_graphic())(given)?;
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        match parts[..] {
            ["arn", partition, service, _, _, resource]
                if partition.starts_with("aws") && !service.is_empty() && is_right(resource) =>
            {
                Ok(text)
            }
            _ => Err(expected.to_owned()),
        }
    }
}

/// `arn:aws:iam::123456789012:role/NAME`
pub(super) fn role_arn(given: Given<'_>) -> Read<String> {
    let is_role = |resource: &str| resource.strip_prefix("role/").is_some_and(|name| !name.is_empty());
    arn("a role such as \"arn:aws:iam::123456789012:role/NAME\"", is_role)(given)
}

/// `bucket.key_template`
pub(super) fn template(given: Given<'_>) -> Read<KeyTemplate> {
    let example = "such as \"{bot}/{session_id}/{file_name}\"";
    let text = given.text().ok_or_else(|| format!("a template {example}"))?;
    KeyTemplate::parse(text).map_err(|error| format!("a template {example}: {error}"))
}

/// `bucket.suspect_prefix`: never empty, since a suspect file must not take the place of a sound one.
pub(super) fn prefix(given: Given<'_>) -> Read<String> {
    let sound = |text: &&str| {
        let folders_are_plain = text.split('/').all(|folder| !matches!(folder, "." | ".."));
        let fits = (1..=256).contains(&text.chars().count()) && !text.starts_with('/') && !text.contains("//");
        fits && folders_are_plain && ObjectKey::parse(format!("{text}x")).is_ok()
    };
    let expected = "1 to 256 characters such as \"suspect/\", not starting with \"/\"";
    given.text().filter(sound).map(str::to_owned).ok_or_else(|| expected.to_owned())
}

/// The value of a tag.
pub(super) fn tag_value(given: Given<'_>) -> Read<String> {
    plain("a text of at most 256 letters, digits, blanks and + - = . _ : / @", 0..=256, is_tag_character)(given)
}

/// Checks what S3 limits about tags beside their values.
pub(super) fn tags(tags: BTreeMap<String, String>) -> Read<BTreeMap<String, String>> {
    let is_sound = |key: &String| {
        (1..=128).contains(&key.chars().count()) && key.chars().all(is_tag_character) && !key.starts_with("aws:")
    };
    if tags.len() > 10 {
        return Err("has more than the 10 tags that an object can bear".to_owned());
    }
    match tags.keys().find(|key| !is_sound(key)) {
        None => Ok(tags),
        Some(key) => Err(format!(
            "has the key {key:?}, expected 1 to 128 letters, digits, blanks and + - = . _ : / @, not beginning with aws:"
        )),
    }
}

fn is_tag_character(c: char) -> bool {
    c.is_alphanumeric() || " +-=._:/@".contains(c)
}

/// `http.listen`
pub(super) fn listen(given: Given<'_>) -> Read<SocketAddr> {
    let address = given.text().and_then(|text| text.parse().ok());
    address.ok_or_else(|| "an IP address and a port such as \"127.0.0.1:9464\", or \"\" for none".to_owned())
}

/// `log.level`: a level, or several with targets, as in `info,kore_archiver::journey=debug`.
pub(super) fn log_level(given: Given<'_>) -> Read<String> {
    let is_level = |word: &str| matches!(word, "error" | "warn" | "info" | "debug" | "trace");
    let is_target = |target: &str| {
        target.starts_with(|c: char| c.is_ascii_alphabetic())
            && target.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))
    };
    let is_directive = |directive: &str| match directive.split_once('=') {
        None => is_level(directive),
        Some((target, level)) => is_target(target) && is_level(level),
    };
    let text = given.text().filter(|text| text.split(',').all(is_directive));
    text.map(str::to_owned).ok_or_else(|| "one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"".to_owned())
}
