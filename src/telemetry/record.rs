//! The gate that every event passes: its own fields and those of its spans, made safe and bounded.
//!
//! Names of fields are ours and static. Texts may be a stranger's: what could end a line, move a cursor or turn the
//! direction of writing is escaped, and long texts are cut.

use std::fmt;
use std::fmt::Write as _;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as SpanRecord};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::lines::Form;
use crate::clock::{Clock as _, SystemClock, Timestamp};

/// The longest message, and the longest field, in characters. A record of 32 fields, which is the most that an event
/// can have, then fits the 208 KiB of a datagram to the journal.
const LONGEST_MESSAGE: usize = 4096;
const LONGEST_FIELD: usize = 1024;

/// Fields by name, in the order in which they were recorded; the newest value of a name counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    pub(super) message: String,
    pub(super) others: Vec<(&'static str, Value)>,
}

/// One event, ready to be spelled.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) at: Timestamp,
    pub(super) level: Level,
    pub(super) target: String,
    pub(super) fields: Fields,
}

/// A layer that spells each event and hands it to a writer.
pub(super) struct Gate {
    clock: SystemClock,
    form: Form,
    write: Box<Sink>,
}

/// Takes a spelled record; what cannot be written is dropped there.
pub(super) type Sink = dyn Fn(&[u8]) + Send + Sync;

impl Gate {
    pub(super) fn new(form: Form, write: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self { clock: SystemClock::new(), form, write: Box::new(write) }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Gate {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &SpanRecord<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                of_span.others.iter().for_each(|(name, value)| fields.set(name, value.clone()));
            }
        }
        event.record(&mut fields);
        let metadata = event.metadata();
        let target = safe(format_args!("{}", metadata.target()), LONGEST_FIELD);
        let record = Record { at: self.clock.now(), level: *metadata.level(), target, fields };
        (self.write)(&self.form.spell(&record));
    }
}

impl Fields {
    fn set(&mut self, name: &'static str, value: Value) {
        match self.others.iter_mut().find(|(other, _)| *other == name) {
            Some((_, old)) => *old = value,
            None => self.others.push((name, value)),
        }
    }

    fn set_text(&mut self, field: &Field, text: fmt::Arguments<'_>) {
        if field.name() == "message" {
            self.message = safe(text, LONGEST_MESSAGE);
        } else {
            self.set(field.name(), Value::String(safe(text, LONGEST_FIELD)));
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set_text(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set_text(field, format_args!("{value:?}"));
    }
}

/// The text with everything escaped that is not plainly visible, cut after `longest` characters.
fn safe(text: fmt::Arguments<'_>, longest: usize) -> String {
    let mut safe = Safe { text: String::new(), room: longest };
    if safe.write_fmt(text).is_err() {
        // The only error is that of `Safe`, when there is no room left.
        safe.text.push('…');
    }
    safe.text
}

/// Escapes while it is written to, so that a text of megabytes is never held.
struct Safe {
    text: String,
    room: usize,
}

impl fmt::Write for Safe {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            self.room = self.room.checked_sub(1).ok_or(fmt::Error)?;
            if is_invisible(c) { self.text.extend(c.escape_default()) } else { self.text.push(c) }
        }
        Ok(())
    }
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and marks that turn the direction of writing.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_could_end_a_line_or_move_a_cursor_is_escaped() {
        let text = safe(format_args!("a\r\nb\x1b[2J\x07\t\u{9b}1m\u{202e}c\u{2028}é\u{0}"), 100);
        assert_eq!(text, "a\\r\\nb\\u{1b}[2J\\u{7}\\t\\u{9b}1m\\u{202e}c\\u{2028}é\\u{0}");
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(safe(format_args!("{}", "é".repeat(9)), 4), "éééé…");
        assert_eq!(safe(format_args!("éééé"), 4), "éééé");
    }

    proptest! {
        #[test]
        fn no_text_keeps_a_control_character_or_outgrows_its_room(
            text in prop::collection::vec(any::<char>(), 0..150), longest in 0usize..100
        ) {
            let text = String::from_iter(text);
            let safe = safe(format_args!("{text}"), longest);
            prop_assert!(!safe.chars().any(is_invisible));
            let longest_escape = "\\u{10ffff}".len();
            prop_assert!(safe.chars().count() <= longest * longest_escape + 1);
        }
    }
}
