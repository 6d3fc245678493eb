//! Tells text from recordings: error pages, JSON answers, XML faults that a server sent in the place of a file.
//!
//! Text is what a byte order mark announces, UTF-8 without control characters, UTF-16 of plain letters, or markup in an
//! older encoding. It is decided on the first bytes alone, and only after no container was recognised.

const BLANKS: &[u8] = b" \t\r\n\x0C";
/// Bytes from which UTF-16 without a mark is believed.
const SHORTEST_UTF16: usize = 8;

/// The content type of `head`, the start of a file, if it is text.
pub(super) fn sniff(head: &[u8]) -> Option<&'static str> {
    let plain = if let Some(behind) = head.strip_prefix(b"\xEF\xBB\xBF") {
        Some(behind.to_vec())
    } else if head.starts_with(b"\xFF\xFE") || head.starts_with(b"\xFE\xFF") {
        Some(without_nul(&head[2..]))
    } else {
        utf8(head).or_else(|| utf16(head)).or_else(|| older_markup(head))
    };
    plain.map(|plain| content_type(&plain))
}

fn utf8(head: &[u8]) -> Option<Vec<u8>> {
    let valid = match std::str::from_utf8(head) {
        Ok(_) => true,
        // A character that is cut at the end of the head says nothing.
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    (valid && !head.is_empty() && has_no_controls(head)).then(|| head.to_vec())
}

/// Without a mark: every other byte is 0, the others are ASCII.
fn utf16(head: &[u8]) -> Option<Vec<u8>> {
    let pairs = head.as_chunks::<2>().0;
    let is_plain = |high: u8, low: u8| high == 0 && low != 0 && low.is_ascii() && has_no_controls(&[low]);
    let all = pairs.iter().all(|[a, b]| is_plain(*b, *a)) || pairs.iter().all(|[a, b]| is_plain(*a, *b));
    (all && head.len() >= SHORTEST_UTF16).then(|| without_nul(head))
}

/// Latin-1 and its like, when it starts as markup does.
fn older_markup(head: &[u8]) -> Option<Vec<u8>> {
    let starts = matches!(trimmed(head), [b'<', next, ..] if next.is_ascii_alphabetic() || matches!(next, b'!' | b'?'));
    (starts && has_no_controls(head)).then(|| head.to_vec())
}

fn has_no_controls(text: &[u8]) -> bool {
    // ESC stands in the output of terminals.
    text.iter().all(|byte| *byte >= 0x20 && *byte != 0x7F || BLANKS.contains(byte) || *byte == 0x1B)
}

fn without_nul(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|byte| *byte != 0).collect()
}

fn trimmed(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !BLANKS.contains(byte)).unwrap_or(text.len());
    &text[start..]
}

fn content_type(text: &[u8]) -> &'static str {
    let text = trimmed(text);
    let starts = |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()));
    if ["<!doctype html", "<html", "<head", "<body", "<title", "<!--"].into_iter().any(starts) {
        "text/html"
    } else if starts("<?xml") {
        "application/xml"
    } else if starts("{") || starts("[") {
        "application/json"
    } else {
        "text/plain"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_answers_and_faults_are_text_whatever_their_encoding() {
        let wide: Vec<u8> = "<html>no".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let wide_big: Vec<u8> = "{\"error\":1}".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = [b"\xFF\xFE".as_slice(), &wide].concat();
        let cases: [(&[u8], &str); 13] = [
            (b"<!DOCTYPE html><title>Sign in</title>", "text/html"),
            (b"\r\n  <HTML>", "text/html"),
            (b"\xEF\xBB\xBF{\"errors\":[]}", "application/json"),
            (b"[]", "application/json"),
            (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "application/xml"),
            (b"<Error>", "text/plain"),
            (b"Not found\n", "text/plain"),
            (b"x", "text/plain"),
            (b" ", "text/plain"),
            (b"<p>Zugriff verweigert: ung\xFCltig, bitte", "text/plain"),
            (&wide, "text/html"),
            (&wide_big, "application/json"),
            (&marked, "text/html"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(sniff(bytes), Some(expected), "{bytes:?}");
        }
    }

    #[test]
    fn a_character_cut_at_the_end_of_the_head_is_still_text() {
        let head = "grün".as_bytes();
        assert_eq!(sniff(&head[..3]), Some("text/plain"));
    }

    #[test]
    fn samples_are_no_text() {
        for bytes in [&[0xFF; 64][..], &[0; 64], &[0x7F; 64], &[0xD5; 64], b"abc\0def", b""] {
            assert_eq!(sniff(bytes), None, "{bytes:?}");
        }
    }
}
