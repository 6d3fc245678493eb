//! Names in the bucket: the key template, and file names made safe (CONTRACT section 4).
//!
//! Kore's file names are strangers' text. What becomes of one depends on the name and on the path of its URL alone,
//! never on the order of a list, so that a file is called the same at every attempt.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use crate::clock::Timestamp;
use crate::receipt::Sha256;
use crate::session::SessionId;

/// A key in the bucket: 1 to 1,024 bytes, made by [`KeyTemplate`] or read back from the queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

/// A text that cannot be a key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a key in the bucket is 1 to 1,024 bytes without control characters")]
pub struct NotAKey;

impl ObjectKey {
    /// Of S3, in bytes.
    pub const LONGEST: usize = 1024;

    /// # Errors
    /// [`NotAKey`] if it is empty, longer than S3 allows, or has control characters.
    pub fn parse(text: impl Into<String>) -> Result<Self, NotAKey> {
        let text = text.into();
        let fits = (1..=Self::LONGEST).contains(&text.len());
        if fits && !text.chars().any(char::is_control) { Ok(Self(text)) } else { Err(NotAKey) }
    }

    /// The key as S3 gets it, before URL encoding.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key beside this one for other bytes of the same name: `.conflict-` and 8 digits of their SHA-256.
    ///
    /// # Errors
    /// [`NotAKey`] if that is longer than S3 allows.
    pub fn conflict(&self, sha256: &Sha256) -> Result<Self, NotAKey> {
        Self::parse(format!("{}.conflict-{}", self.0, sha256.short()))
    }

    /// This key under `bucket.suspect_prefix`.
    ///
    /// # Errors
    /// [`NotAKey`] if that is longer than S3 allows.
    pub fn under(&self, prefix: &str) -> Result<Self, NotAKey> {
        Self::parse(format!("{prefix}{}", self.0))
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `bucket.key_template`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTemplate {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Bot,
    Year,
    Month,
    Day,
    SessionId,
    FileName,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

/// A template that would lose or mix recordings, and what it needs.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    /// Without it, files of two sessions could meet under one key.
    #[error("it must contain {0}")]
    Missing(&'static str),
    /// Not one of the six.
    #[error("{{{0}}} is not known; there are {{bot}} {{yyyy}} {{mm}} {{dd}} {{session_id}} {{file_name}}")]
    Unknown(String),
    /// A `{` without `}`, or the other way round.
    #[error("a brace is not closed, or not opened")]
    Brace,
    /// Keys could not be stored, or would not be where they seem to be.
    #[error(
        "it must be 1 to 512 characters, must not start with `/`, and must not hold control characters, `//` or a `.` or `..` folder"
    )]
    Text,
}

/// What a key is made from.
#[derive(Clone, Copy, Debug)]
pub struct KeyParts<'a> {
    /// The name of the bot's section in the settings.
    pub bot: &'a str,
    /// The session's start, or when the row was enqueued.
    pub date: Timestamp,
    /// Kore's id.
    pub session_id: &'a SessionId,
}

impl KeyTemplate {
    const LONGEST: usize = 512;
    /// The longest name of a bot.
    pub const LONGEST_BOT: usize = 64;

    /// # Errors
    /// [`TemplateError`] says what the template lacks.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let folders_are_plain = text.split('/').all(|folder| !matches!(folder, "." | ".."));
        let sound = (1..=Self::LONGEST).contains(&text.chars().count())
            && !text.starts_with('/')
            && !text.contains("//")
            && !text.chars().any(char::is_control);
        if !(sound && folders_are_plain) {
            return Err(TemplateError::Text);
        }
        let pieces = Self::pieces(text)?;
        for (field, name) in [(Field::SessionId, "{session_id}"), (Field::FileName, "{file_name}")] {
            if !pieces.contains(&Piece::Field(field)) {
                return Err(TemplateError::Missing(name));
            }
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    fn pieces(mut rest: &str) -> Result<Vec<Piece>, TemplateError> {
        let mut pieces = Vec::new();
        while let Some(open) = rest.find(['{', '}']) {
            let close = rest[open..].find('}').map(|at| open + at).filter(|close| *close > open);
            let close = close.ok_or(TemplateError::Brace)?;
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].to_owned()));
            }
            pieces.push(Piece::Field(match &rest[open + 1..close] {
                "bot" => Field::Bot,
                "yyyy" => Field::Year,
                "mm" => Field::Month,
                "dd" => Field::Day,
                "session_id" => Field::SessionId,
                "file_name" => Field::FileName,
                other => return Err(TemplateError::Unknown(other.to_owned())),
            }));
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(pieces)
    }

    /// The key of another name in the folder of `sibling`, where this template makes a folder of each session: a row that
    /// was inserted again on another day, or another template since, must not part a session's files.
    #[must_use]
    pub fn beside(&self, sibling: &ObjectKey, file_name: &str) -> Option<Result<ObjectKey, NotAKey>> {
        let folder = sibling.as_str().rsplit_once('/').filter(|_| self.text.ends_with("/{file_name}"))?.0;
        Some(ObjectKey::parse(format!("{folder}/{file_name}")))
    }

    /// The longest key that it can make, in bytes: of the longest names and ids, beside another of that name.
    #[must_use]
    pub fn longest_key(&self) -> usize {
        let length = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Field(Field::Bot) => Self::LONGEST_BOT,
            Piece::Field(Field::Year) => 4,
            Piece::Field(Field::Month | Field::Day) => 2,
            Piece::Field(Field::SessionId) => SessionId::LONGEST,
            Piece::Field(Field::FileName) => LONGEST_NAME,
        };
        self.pieces.iter().map(length).sum::<usize>() + ".conflict-00000000".len()
    }

    /// The template as it stands in the settings.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The key of a file of this session. `file_name` is a [`safe_name`], or a name of ours.
    ///
    /// # Errors
    /// [`NotAKey`] if it would be longer than S3 allows.
    pub fn key(&self, parts: KeyParts<'_>, file_name: &str) -> Result<ObjectKey, NotAKey> {
        let (year, month, day) = parts.date.date();
        let mut key = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => key.push_str(text),
                Piece::Field(Field::Bot) => key.push_str(parts.bot),
                Piece::Field(Field::Year) => write!(key, "{year:04}").expect(NO_LIMIT),
                Piece::Field(Field::Month) => write!(key, "{month:02}").expect(NO_LIMIT),
                Piece::Field(Field::Day) => write!(key, "{day:02}").expect(NO_LIMIT),
                Piece::Field(Field::SessionId) => key.push_str(parts.session_id.as_str()),
                Piece::Field(Field::FileName) => key.push_str(file_name),
            }
        }
        ObjectKey::parse(without_dot_folders(&key))
    }
}

impl fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why writing to a String cannot fail.
const NO_LIMIT: &str = "a String takes everything";

/// A session id may be `.` or `..`, which tools that walk a bucket as folders would follow: it stands in
/// brackets, which no id holds.
fn without_dot_folders(key: &str) -> String {
    let plain = |folder: &str| !matches!(folder, "." | "..");
    if key.split('/').all(plain) {
        return key.to_owned();
    }
    let folders = key.split('/').map(|folder| if plain(folder) { folder.to_owned() } else { format!("({folder})") });
    folders.collect::<Vec<_>>().join("/")
}

/// The longest file name in a key.
const LONGEST_NAME: usize = 128;
/// The longest that counts as an extension and survives a cut.
const LONGEST_EXTENSION: usize = 16;

/// Kore's file name made safe: `A-Z a-z 0-9 . _ -`, 1 to 128 characters, never starting with a dot, never one of the
/// sidecar's names. Other characters become `_`; what is too long is cut before its extension.
#[must_use]
pub fn safe_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let mut safe: String = name.chars().map(plain).collect();
    if safe.is_empty() {
        "recording".clone_into(&mut safe);
    }
    if safe.starts_with('.') {
        safe.replace_range(..1, "_");
    }
    // Cut first: that may make a sidecar's name of a longer one.
    safe = fitted(&safe, "");
    if is_reserved(&safe) {
        safe = fitted(&format!("recording-{safe}"), "");
    }
    safe
}

/// Whether it is `session.json` or `session-N.json`, which belong to the sidecar.
fn is_reserved(name: &str) -> bool {
    let number = name.strip_prefix("session").and_then(|rest| rest.strip_suffix(".json"));
    match number {
        Some("") => true,
        Some(rest) => rest.strip_prefix('-').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())),
        None => false,
    }
}

/// `name` with `addition` before its extension, cut so that all of it fits.
fn fitted(name: &str, addition: &str) -> String {
    let dot = name.rfind('.').filter(|dot| *dot > 0 && name.len() - dot <= LONGEST_EXTENSION);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let room = LONGEST_NAME - extension.len() - addition.len();
    format!("{}{addition}{extension}", &stem[..stem.len().min(room)])
}

/// One file to be named: Kore's name for it, and the digest of its URL's path, which tells it from its siblings.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// As Kore spelled it.
    pub name: &'a str,
    /// SHA-256 of the URL's path.
    pub path: &'a Sha256,
}

/// The names of a session's files, one for each input in order. Where two would be called the same, each of them is
/// lengthened by `-` and 8 hex digits of the SHA-256 of its URL's path; and so is a third that is called by chance what
/// one of them became.
#[must_use]
pub fn distinct_names(files: &[Named<'_>]) -> Vec<String> {
    let plain: Vec<String> = files.iter().map(|file| safe_name(file.name)).collect();
    let mut names = plain.clone();
    loop {
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        for name in &names {
            *count.entry(name).or_default() += 1;
        }
        let is_shared: Vec<bool> = names.iter().map(|name| count[name.as_str()] > 1).collect();
        let mut changed = false;
        for (index, _) in is_shared.iter().enumerate().filter(|(_, shared)| **shared) {
            let lengthened = fitted(&plain[index], &format!("-{}", files[index].path.short()));
            changed |= names[index] != lengthened;
            names[index] = lengthened;
        }
        // Each name is lengthened once at most, so this ends.
        if !changed {
            return names;
        }
    }
}

#[cfg(test)]
mod tests;
