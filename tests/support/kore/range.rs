//! `Range` and `If-Range`, honoured or mishandled (RFC 9110, section 14).

use super::quirk::Ranges;
use super::reply::{Payload, Reply};
use super::wire::Request;

/// Cuts the asked range out of a 200 reply, in the way that its [`Ranges`] says.
pub(super) fn narrow(reply: &mut Reply, request: &Request) {
    let whole = reply.payload.len;
    let asked = request.header("range").and_then(|text| parse(text, whole));
    match (reply.ranges, asked) {
        (Ranges::Unasked, None) => partial(reply, 0, whole / 2, 0),
        (Ranges::Ignored | Ranges::Unasked, _) | (_, None) => {}
        (Ranges::Honoured, Some(_)) if !if_range_holds(reply, request) => {}
        (Ranges::Unsatisfiable, Some(_))
        | (Ranges::Honoured | Ranges::Blindly | Ranges::Misnamed, Some(Range::Beyond)) => {
            unsatisfiable(reply, whole);
        }
        (Ranges::Honoured | Ranges::Blindly, Some(Range::Within { start, end })) => partial(reply, start, end, start),
        (Ranges::Misnamed, Some(Range::Within { start, end })) => partial(reply, start, end, start + 1),
        (Ranges::Shifted, Some(_)) => partial(reply, 0, whole, 0),
    }
}

enum Range {
    /// From `start` up to, and without, `end`.
    Within {
        start: u64,
        end: u64,
    },
    Beyond,
}

/// One range; several at once, and what cannot be read, are as if nothing was asked.
fn parse(text: &str, whole: u64) -> Option<Range> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = if first.is_empty() {
        let suffix: u64 = last.parse().ok()?;
        (whole.saturating_sub(suffix), whole)
    } else if last.is_empty() {
        (first.parse().ok()?, whole)
    } else {
        (first.parse().ok()?, last.parse::<u64>().ok()?.saturating_add(1).min(whole))
    };
    Some(if start < end { Range::Within { start, end } } else { Range::Beyond })
}

/// A weak validator never matches: RFC 9110, section 13.1.5.
fn if_range_holds(reply: &Reply, request: &Request) -> bool {
    let Some(wanted) = request.header("if-range") else { return true };
    reply.header("ETag").is_some_and(|tag| tag == wanted && !tag.starts_with("W/"))
}

fn partial(reply: &mut Reply, start: u64, end: u64, named_start: u64) {
    let whole = reply.payload.len;
    let named_end = named_start + (end - start).max(1) - 1;
    reply.set_header("Content-Range", format!("bytes {named_start}-{named_end}/{whole}"));
    reply.code = 206;
    reply.payload.start += start;
    reply.payload.len = end - start;
}

fn unsatisfiable(reply: &mut Reply, whole: u64) {
    reply.set_header("Content-Range", format!("bytes */{whole}"));
    reply.code = 416;
    reply.payload = Payload::whole("".into());
}
