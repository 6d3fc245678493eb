//! Strangers' words made fit for a log, a table and a terminal: bounded, escaped, and free of what grants access.
//!
//! What Kore, file hosts and the store say is kept, because it helps; but an error may repeat the URL that was asked for,
//! the token, or the secret. Two nets catch that. `Secrets` are the very values that were sent or signed with, and are
//! replaced wherever they stand. What merely looks like a key is hidden too: a URL loses its query and user, and a word
//! that holds a token or a signature goes as a whole. Control and invisible characters are escaped. Every message of the
//! edges passes `message` or `plain` on its way out.

use std::error::Error;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};

/// The longest message of an error (`PollError`, `FetchError`).
pub(crate) const LONGEST_MESSAGE: usize = 300;
/// No more of a text than this is looked at.
const LONGEST_READ: usize = 4096;
/// A run of so many letters and digits is a key or a signature: the signature of a token has 43 characters, a secret key
/// of AWS 40. A UUID (36) counts as none of them, whatever stands around it.
const SECRET_RUN: usize = 40;
/// No word of a name is longer.
const LONGEST_WORD: usize = 20;
/// A shorter value is part of ordinary words.
const SHORTEST_KNOWN: usize = 6;
const HIDDEN: &str = "[hidden]";

/// Values that grant access, whatever they look like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets(Vec<SecretString>);

impl Secrets {
    /// The longest first, so that none is replaced in the middle of a longer one.
    pub(crate) fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut values: Vec<&str> = values.into_iter().filter(|value| value.len() >= SHORTEST_KNOWN).collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        Self(values.into_iter().map(SecretString::from).collect())
    }

    /// These, and those.
    pub(crate) fn and<'a>(&'a self, others: impl IntoIterator<Item = &'a SecretString>) -> Self {
        Self::of(self.0.iter().chain(others).map(ExposeSecret::expose_secret))
    }

    /// `text` with each of them replaced.
    pub(crate) fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, value| text.replace(value.expose_secret(), HIDDEN))
    }
}

/// `text` with secrets hidden and control characters escaped, at most `limit` characters.
pub(crate) fn plain(text: &str, limit: usize) -> String {
    let escaped: String = hidden(text).trim().chars().flat_map(escaped).collect();
    bounded(&escaped, limit)
}

/// An error and what lies under it, outermost first.
pub(crate) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause: &&'a (dyn Error + 'static)| (**cause).source())
}

/// An error with its causes, each said once.
pub(crate) fn told(error: &(dyn Error + 'static)) -> String {
    let mut told: Vec<String> = Vec::new();
    for words in causes(error).map(ToString::to_string) {
        if !told.iter().any(|earlier| earlier.contains(&words)) {
            told.push(words);
        }
    }
    told.join(": ")
}

/// A whole message: our sentence, in which strangers' words may stand.
pub(crate) fn message(text: &str) -> String {
    plain(text, LONGEST_MESSAGE)
}

/// `text` with what looks like a secret hidden. Where there is none, it is as it came, up to a bound.
pub(crate) fn hidden(text: &str) -> String {
    let read: String = text.chars().take(LONGEST_READ).collect();
    // What may stand unescaped in a query, such as a comma, ends no word.
    read.split_inclusive(|c: char| c.is_whitespace() || "\"<>".contains(c)).map(without_secrets).collect()
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let keep = matches!(c, '"' | '\'' | '\\');
    keep.then_some(c).into_iter().chain((!keep).then(|| c.escape_debug()).into_iter().flatten())
}

fn bounded(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let kept: String = text.chars().take(limit.saturating_sub(1)).collect();
    kept + "…"
}

/// What `%3F`, `&amp;` and `\u0026` in a text stand for: a URL inside a URL, a page or JSON is dressed like that, perhaps
/// more than once.
pub(crate) fn undressed(text: &str) -> String {
    let mut bare = text.to_owned();
    for _ in 0..MOST_LAYERS {
        let next = percent_decode_str(&bare).decode_utf8_lossy();
        let next = DRESSES.iter().fold(next.into_owned(), |text, (dress, bare)| text.replace(dress, bare));
        if next == bare {
            break;
        }
        bare = next;
    }
    bare
}

/// More than anybody wraps around a URL.
const MOST_LAYERS: u32 = 4;
/// What divides a query, as HTML and JSON may write it.
const DRESSES: [(&str, &str); 17] = [
    ("&amp;", "&"),
    ("&AMP;", "&"),
    ("&#38;", "&"),
    ("&#x26;", "&"),
    ("\\u0026", "&"),
    ("&quest;", "?"),
    ("&#63;", "?"),
    ("&#x3f;", "?"),
    ("&#x3F;", "?"),
    ("\\u003f", "?"),
    ("\\u003F", "?"),
    ("&equals;", "="),
    ("&#61;", "="),
    ("&#x3d;", "="),
    ("&#x3D;", "="),
    ("\\u003d", "="),
    ("\\u003D", "="),
];

/// One word, with the delimiter that ended it: as it is, or undressed, where that shows a secret.
fn without_secrets(word: &str) -> String {
    let kept = without_plain_secrets(word);
    let bare = undressed(&kept);
    if bare == kept {
        return kept;
    }
    let hidden = without_plain_secrets(&bare);
    if hidden == bare { kept } else { hidden }
}

fn without_plain_secrets(word: &str) -> String {
    let run = |c: char| c.is_ascii_alphanumeric() || "+_-=%$".contains(c);
    // A JWT's header is base64 of `{"`.
    if word.contains("eyJ") || without_uuids(word).split(|c| !run(c)).any(is_a_key) {
        return format!("{HIDDEN} ");
    }
    let query =
        word.find('?').filter(|at| word.contains("://") || word[*at..].contains('=')).or_else(|| query_in(word));
    let (word, cut) = query
        .map_or((word, ""), |at| (&word[..at], if word[at..].starts_with('?') { "?[hidden] " } else { "[hidden] " }));
    match (word.find("://"), word.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}{}{cut}", &word[..scheme + 3], &word[at + 1..]),
        _ => format!("{word}{cut}"),
    }
}

/// Where a query stands without its `?`: from the first of several `name=value` with `&` between them.
fn query_in(word: &str) -> Option<usize> {
    let (first, rest) = (word.find('=')?, word.find('&')?);
    let several = first < rest && word[rest..].contains('=');
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || "_-.%".contains(c);
    several.then(|| word[..first].trim_end_matches(is_of_a_name).len())
}

/// Keys and signatures are long, and no mere words: `media_not_ready` is letters of one case.
fn is_a_key(run: &str) -> bool {
    let has = |is: fn(&u8) -> bool| run.as_bytes().iter().any(is);
    let is_mixed = has(u8::is_ascii_digit) || has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    run.len() >= SECRET_RUN && is_mixed && !is_a_name(run)
}

/// Made of short words, as a host's label is: `acme-call-recordings-eu-central-1-123456789012`.
fn is_a_name(run: &str) -> bool {
    run.split('-')
        .all(|word| word.len() <= LONGEST_WORD && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

/// Each UUID replaced by a dot, so that it makes no run longer.
fn without_uuids(word: &str) -> String {
    let (mut kept, mut rest) = (String::new(), word);
    while let Some(c) = rest.chars().next() {
        let skipped = rest.get(..UUID).filter(|text| is_uuid(text)).map_or(c.len_utf8(), str::len);
        kept.push(if skipped == UUID { '.' } else { c });
        rest = &rest[skipped..];
    }
    kept
}

/// The length of 00000000-0000-0000-0000-000000000000.
const UUID: usize = 36;

fn is_uuid(text: &str) -> bool {
    text.bytes()
        .enumerate()
        .all(|(at, b)| if matches!(at, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_grants_access_is_hidden_and_the_rest_is_kept() {
        let plain = |text: &str| plain(text, 300);
        assert_eq!(plain("You've exceeded the limit. Please wait."), "You've exceeded the limit. Please wait.");
        assert_eq!(plain("cannot get https://a.b/f.wav?e=1&s=CANARY now"), "cannot get https://a.b/f.wav?[hidden] now");
        assert_eq!(plain("link expired: e=1&n=2&s=CANARY at a=1 & b=2"), "link expired: [hidden] at a=1 & b=2");
        assert_eq!(plain("(s=CANARY&e=1)"), "([hidden]");
        for dressed in [
            "no https%3A%2F%2Fa.b%2Ff.wav%3Fs%3DCANARY",
            "no https%253A%252F%252Fa.b%252Ff.wav%253Fs%253DCANARY",
            "no https:\\u002f/a.b/f.wav\\u003fs\\u003dCANARY",
            "no f.wav&#x3f;s&#61;CANARY&amp;e=1",
            "no e=1&amp;s=CANARY",
            "no f.wav&#63;s&#x3D;CANARY",
            "no f.wav\\u003Fs\\u003DCANARY",
        ] {
            let said = plain(dressed);
            assert!(said.starts_with("no ") && said.ends_with("[hidden]") && !said.contains("CANARY"), "{said}");
        }
        assert_eq!(plain("100%25 of Q&amp;A at a%3Db"), "100%25 of Q&amp;A at a%3Db");
        assert_eq!(plain("error verifying the jwt: eyJhbGciOi.eyJzdWIi.CANARY"), "error verifying the jwt: [hidden]");
        assert_eq!(plain("(https://a.b/f?x,'(CANARY)[CANARY]) {?s=a,CANARY}"), "(https://a.b/f?[hidden] {?[hidden]");
        assert_eq!(plain("at https://u:CANARY@a.b/x"), "at https://a.b/x");
        assert_eq!(plain(&format!("s={}", "CANARY00".repeat(6))), "[hidden]");
        assert_eq!(plain(&format!("s {}", "canary00".repeat(6))), "s [hidden]");
        let host =
            "the file host acme-call-recordings-production-eu-central-1-123456789012.s3.example.com is not named";
        assert_eq!(plain(host), host);
        assert_eq!(
            plain("bot st-00000000-0000-0000-0000-000000000000?"),
            "bot st-00000000-0000-0000-0000-000000000000?"
        );
        assert_eq!(plain("a\r\nb\u{1b}[31m\u{202e}c"), "a\\r\\nb\\u{1b}[31m\\u{202e}c");
    }

    #[test]
    fn a_signature_is_hidden_and_ids_and_long_words_stay() {
        let plain = |text: &str| plain(text, 300);
        assert_eq!(plain("for SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"), "for [hidden]");
        assert_eq!(plain("key wJalrXUtnFEMIaK7MDENGabPxRfiCYEXAMPLEKEY now"), "key [hidden] now");
        for readable in [
            "bot st-00000000-0000-0000-0000-000000000000",
            "object default/f-00000000-0000-0000-0000-000000000000-merged.wav",
            "status media_unavailable_because_the_storage_is_being_moved",
        ] {
            assert_eq!(plain(readable), readable);
            assert_eq!(hidden(readable), readable);
        }
        assert_eq!(hidden(" As it\r\nCame "), " As it\r\nCame ");
    }

    #[test]
    fn known_values_are_replaced_wherever_they_stand_the_longest_first() {
        let known = Secrets::of(["CANARY", "x", "a CANARY!"]);
        assert_eq!(known.hide("x=(a CANARY!)CANARYCANARY"), "x=([hidden])[hidden][hidden]");
        assert!(!format!("{known:?}").contains("CANARY"));
    }

    proptest! {
        #[test]
        fn no_control_character_and_no_flood_comes_through(text: String, limit in 1usize..400) {
            let said = plain(&text, limit);
            prop_assert!(said.chars().count() <= limit);
            prop_assert!(!said.chars().any(char::is_control));
        }
    }
}
