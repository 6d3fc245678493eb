//! The body of an answer, read leniently: documented fields are looked for, everything else is survived.
//!
//! Documented: `{"status":"success","recording":[{"fileName":…,"fileUrl":…}]}` and `{"errors":[{"msg":…,"code":…}]}`,
//! where `code` is a number or a string. Tolerated: a byte order mark, other case of the keys, unknown fields, a
//! `recording` that is missing, null or a single object, a missing file name. Not tolerated, because guessing could
//! lose or mix recordings: a key that is there twice with different values, another session's answer, an item
//! without a usable URL, or with two. All of that is an error of that row alone. Left alone: of a key that an item spells
//! twice alike, the last counts, as everywhere in JSON.
//!
//! Pure. The size is bounded by the caller, the depth by `serde_json` (128).

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;

use crate::session::{SessionId, Status};
use crate::source::{SignedUrl, SourceFile};
use crate::words::{Secrets, hidden, plain};

/// How much of one of Kore's own sentences is kept.
const LONGEST_WORDS: usize = 160;
/// Where a file can be had.
const FILE_URL: &str = "fileUrl";

/// A JSON object's members in order, duplicates included.
#[derive(Debug)]
pub(crate) struct Document(Vec<(String, Value)>);

/// `{"errors":[…]}`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint(pub(crate) String);

impl Document {
    /// Reads a body.
    ///
    /// # Errors
    /// What came instead of a JSON object, as it stands after "Kore answered with": none of its text.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
        match body.first() {
            None => Err("an empty body".to_owned()),
            Some(b'<') => Err("an HTML or XML page".to_owned()),
            Some(b'{') => serde_json::from_slice(body).map_err(|error| {
                let place = format!("line {}, column {}", error.line(), error.column());
                if error.is_eof() { "JSON that is cut off".to_owned() } else { format!("broken JSON ({place})") }
            }),
            Some(_) => Err("something that is no JSON object".to_owned()),
        }
    }

    /// The same without these values in any text but a URL that is to be fetched, which is never shown whole.
    pub(crate) fn without(mut self, known: &Secrets) -> Self {
        self.0.iter_mut().for_each(|(_, value)| hide(known, value));
        self
    }

    /// The member of that name, whatever its case; `null` counts as absent.
    fn get(&self, name: &str) -> Result<Option<&Value>, String> {
        let mut found = None;
        let named = self.0.iter().filter(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_null());
        for (_, value) in named {
            if found.is_some_and(|earlier| earlier != value) {
                return Err(format!("two different values of `{name}`"));
            }
            found = Some(value);
        }
        Ok(found)
    }

    /// What Kore complains of, if it does. An empty list of errors is none.
    pub(crate) fn complaint(&self) -> Option<Complaint> {
        let spoken = |(key, value): &&(String, Value)| key.eq_ignore_ascii_case("errors") && !is_empty(value);
        self.0.iter().find(spoken).map(|(_, errors)| Complaint(sentences(errors)))
    }

    /// What a person would want to know of an answer that is an error by its code: its complaint, or a sentence.
    pub(crate) fn words(&self) -> Option<String> {
        let sentence = ["msg", "message", "error"].into_iter().find_map(|name| self.get(name).ok().flatten()?.as_str());
        self.complaint().map(|complaint| complaint.0).or_else(|| sentence.map(|text| plain(text, LONGEST_WORDS)))
    }

    /// The status, if there is a readable one.
    pub(crate) fn status(&self) -> Result<Option<Status>, String> {
        match self.get("status")? {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(Status::new(&without_secrets(text)))),
            Some(other) => Err(format!("a `status` that is {}", kind(other))),
        }
    }

    /// # Errors
    /// If the answer, or one of its files, names another session.
    pub(crate) fn speaks_of(&self, wanted: &SessionId) -> Result<(), String> {
        let items = self.items().unwrap_or_default();
        let of_items = items.into_iter().filter_map(Value::as_object).flatten();
        let mut named = self.0.iter().map(|(key, value)| (key, value)).chain(of_items);
        let other = |(key, value): (&String, &Value)| is_session_key(key) && names_another(value, wanted);
        if named.any(other) { Err("another session's answer".to_owned()) } else { Ok(()) }
    }

    /// The files, each once by what of its URL names it, in Kore's order; and what is wrong with the first item that is no
    /// file, counted from 0.
    ///
    /// # Errors
    /// The same where no item is a file.
    pub(crate) fn recordings(&self) -> Result<(Vec<SourceFile>, Option<String>), String> {
        let mut seen = HashSet::new();
        let (mut files, mut fault) = (Vec::new(), None);
        for (index, item) in self.items()?.into_iter().enumerate() {
            match source_file(item) {
                Ok(file) if seen.insert(file.url.whole_identity()) => files.push(file),
                Ok(_) => {}
                Err(what) => drop(fault.get_or_insert(format!("a recording {index} {what}"))),
            }
        }
        match fault {
            Some(fault) if files.is_empty() => Err(fault),
            fault => Ok((apart(files), fault)),
        }
    }

    fn items(&self) -> Result<Vec<&Value>, String> {
        match self.get("recording")? {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items.iter().collect()),
            Some(one @ Value::Object(_)) => Ok(vec![one]),
            Some(other) => Err(format!("a `recording` that is {}", kind(other))),
        }
    }
}

fn hide(known: &Secrets, value: &mut Value) {
    match value {
        Value::String(text) => *text = known.hide(text),
        Value::Array(items) => items.iter_mut().for_each(|item| hide(known, item)),
        Value::Object(fields) => {
            let told = fields.iter_mut().filter(|(key, _)| !key.eq_ignore_ascii_case(FILE_URL));
            told.for_each(|(_, value)| hide(known, value));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A status as it was spelled, unless it says what it must not.
fn without_secrets(text: &str) -> String {
    let kept = hidden(text);
    if text.starts_with(&kept) { text.to_owned() } else { kept.trim().to_owned() }
}

/// Files that share a path are told apart by more than that.
fn apart(files: Vec<SourceFile>) -> Vec<SourceFile> {
    let mut of_path: HashMap<String, usize> = HashMap::new();
    for file in &files {
        *of_path.entry(file.url.path().to_owned()).or_default() += 1;
    }
    let apart = |file: SourceFile| match of_path[file.url.path()] {
        1 => file,
        _ => SourceFile { url: file.url.apart(), name: file.name },
    };
    files.into_iter().map(apart).collect()
}

fn source_file(item: &Value) -> Result<SourceFile, String> {
    let Value::Object(fields) = item else { return Err(format!("that is {}", kind(item))) };
    let named = |name: &'static str| fields.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name));
    let field = |name| named(name).map(|(_, value)| value).next();
    if named(FILE_URL).any(|(_, value)| Some(value) != field(FILE_URL)) {
        return Err("with two different values of `fileUrl`".to_owned());
    }
    let url = match field(FILE_URL) {
        Some(Value::String(text)) if !text.trim().is_empty() => {
            SignedUrl::parse(text).map_err(|what| format!("whose `fileUrl` {what}"))?
        }
        None | Some(Value::Null | Value::String(_)) => return Err("without a `fileUrl`".to_owned()),
        Some(other) => return Err(format!("whose `fileUrl` is {}", kind(other))),
    };
    let name = match field("fileName") {
        Some(Value::String(text)) if !text.trim().is_empty() => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => name_from_path(url.path()),
    };
    Ok(SourceFile { name: url.unsigned(&name), url })
}

fn name_from_path(path: &str) -> String {
    path.rsplit('/').find(|segment| !segment.is_empty()).unwrap_or("recording").to_owned()
}

/// `sessionId`, `session_id`, `SESSION-ID`.
fn is_session_key(key: &str) -> bool {
    let letters = key.chars().filter(|c| !matches!(c, '_' | '-'));
    letters.map(|c| c.to_ascii_lowercase()).eq("sessionid".chars())
}

fn names_another(value: &Value, wanted: &SessionId) -> bool {
    match value {
        Value::String(text) if text.trim().is_empty() => false,
        Value::String(text) => !text.trim().eq_ignore_ascii_case(wanted.as_str()),
        Value::Number(number) => number.to_string() != wanted.as_str(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// Kore's sentences and codes in `errors`, the first few of them.
fn sentences(errors: &Value) -> String {
    let said: Vec<String> = match errors {
        Value::Array(items) => items.iter().take(3).map(sentence).collect(),
        one => vec![sentence(one)],
    };
    plain(&said.join("; "), LONGEST_WORDS)
}

fn sentence(error: &Value) -> String {
    let words = ["msg", "message"].into_iter().find_map(|name| error.get(name)?.as_str());
    let code = error.get("code").filter(|code| code.is_string() || code.is_number());
    match (words.or(error.as_str()), code) {
        (Some(words), Some(code)) => format!("{words} (code {})", code.as_str().unwrap_or(&code.to_string())),
        (Some(words), None) => words.to_owned(),
        (None, _) => "errors without words".to_owned(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Document;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Document(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}
