//! Strangers' words made fit for a log, a table and a terminal: bounded, escaped, and free of what grants access.
//!
//! What Kore and file hosts say is kept, because it helps; but an error may repeat the URL that was asked for, or the
//! token. So a URL loses its query and user, what looks like a token or signature is hidden, and control and
//! invisible characters are escaped. Every message of this module tree passes [`message`] on its way out.

/// The longest message of an error (`PollError`, `FetchError`).
pub(crate) const LONGEST_MESSAGE: usize = 300;
/// No more of a text than this is looked at.
const LONGEST_READ: usize = 4096;
/// A run of so many letters and digits is a key or a signature. A UUID has 36 characters, Kore's ids 39.
const SECRET_RUN: usize = 44;
const HIDDEN: &str = "[hidden]";

/// `text` with secrets hidden and control characters escaped, at most `limit` characters.
pub(crate) fn plain(text: &str, limit: usize) -> String {
    let read: String = text.chars().take(LONGEST_READ).collect();
    // What may stand unescaped in a query, such as a comma, ends no word.
    let words = read.split_inclusive(|c: char| c.is_whitespace() || "\"<>".contains(c));
    let escaped: String = words.map(without_secrets).collect::<String>().trim().chars().flat_map(escaped).collect();
    bounded(&escaped, limit)
}

/// A whole message: our sentence, in which strangers' words may stand.
pub(crate) fn message(text: &str) -> String {
    plain(text, LONGEST_MESSAGE)
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

/// One word, with the delimiter that ended it.
fn without_secrets(word: &str) -> String {
    let run = |c: char| c.is_ascii_alphanumeric() || "+_-=%$".contains(c);
    let longest_run = word.split(|c| !run(c)).map(str::len).max().unwrap_or(0);
    // A JWT's header is base64 of `{"`.
    if word.contains("eyJ") || longest_run >= SECRET_RUN {
        return format!("{HIDDEN} ");
    }
    let query = word.find('?').filter(|at| word.contains("://") || word[*at..].contains('='));
    let (word, cut) = query.map_or((word, ""), |at| (&word[..at], "?[hidden] "));
    match (word.find("://"), word.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}{}{cut}", &word[..scheme + 3], &word[at + 1..]),
        _ => format!("{word}{cut}"),
    }
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
        assert_eq!(plain("error verifying the jwt: eyJhbGciOi.eyJzdWIi.CANARY"), "error verifying the jwt: [hidden]");
        assert_eq!(plain("(https://a.b/f?x,'(CANARY)[CANARY]) {?s=a,CANARY}"), "(https://a.b/f?[hidden] {?[hidden]");
        assert_eq!(plain("at https://u:CANARY@a.b/x"), "at https://a.b/x");
        assert_eq!(plain(&format!("s={}", "CANARY00".repeat(6))), "[hidden]");
        assert_eq!(
            plain("bot st-00000000-0000-0000-0000-000000000000?"),
            "bot st-00000000-0000-0000-0000-000000000000?"
        );
        assert_eq!(plain("a\r\nb\u{1b}[31m\u{202e}c"), "a\\r\\nb\\u{1b}[31m\\u{202e}c");
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
