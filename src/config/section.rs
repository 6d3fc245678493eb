//! One table of the settings, read key by key.
//!
//! A [`Section`] is asked for each key once, with its default in the words of CONTRACT section 7 and a reading: a
//! function from what [`Given`] holds to a trusted type, or to a sentence that says what is expected. What nobody asked
//! for is an unknown key, so a key is known by being read and there is no second list to keep. Values under `[bots]`
//! and URLs are never shown in a fault: a secret may have been put there by mistake.

use config::{Value, ValueKind};

use super::error::SettingsError;
use super::layers::{Table, inline, origin};

/// The longest part of a value that a message shows.
const SHOWN: usize = 80;

/// A table that is being read.
pub(super) struct Section {
    /// Dotted, empty for the root.
    key: String,
    /// The file, or what stands for it when there is none.
    file: String,
    unread: Table,
    /// The keys asked for, each with the variable that set it.
    known: Vec<(String, Option<String>)>,
}

/// A value as it was given: typed in the file, a text in a variable and in a default.
#[derive(Clone, Copy)]
pub(super) struct Given<'a>(&'a Value);

impl<'a> Given<'a> {
    /// A text.
    pub(super) fn text(self) -> Option<&'a str> {
        match &self.0.kind {
            ValueKind::String(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number.
    pub(super) fn integer(self) -> Option<i64> {
        match self.0.kind {
            ValueKind::I64(number) if self.is_typed() => Some(number),
            _ => self.parsed(),
        }
    }

    /// A number, whole or not.
    pub(super) fn number(self) -> Option<f64> {
        match self.0.kind {
            #[expect(clippy::cast_precision_loss, reason = "factors and shares are small")]
            ValueKind::I64(whole) => Some(whole as f64),
            ValueKind::Float(number) => Some(number),
            _ => self.parsed(),
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(self) -> Option<bool> {
        match self.0.kind {
            ValueKind::Boolean(flag) if self.is_typed() => Some(flag),
            _ => self.parsed(),
        }
    }

    /// A list of texts; in a variable as a TOML array or with commas between.
    pub(super) fn list(self) -> Option<Vec<String>> {
        match (&self.0.kind, inline(self.0).map(|value| value.kind)) {
            (ValueKind::Array(array), _) => texts(array),
            (_, Some(ValueKind::Array(array))) => texts(&array),
            (ValueKind::String(text), _) if !self.is_typed() => match text.trim() {
                "" => Some(Vec::new()),
                text => Some(text.split(',').map(|item| item.trim().to_owned()).collect()),
            },
            _ => None,
        }
    }

    /// What the text of a variable says; a text in the file is no number.
    fn parsed<T: std::str::FromStr>(self) -> Option<T> {
        if self.is_typed() { None } else { self.text()?.parse().ok() }
    }

    fn is_typed(self) -> bool {
        self.0.origin().is_none()
    }
}

fn texts(array: &[Value]) -> Option<Vec<String>> {
    array.iter().map(|item| Given(item).text().map(str::to_owned)).collect()
}

impl Section {
    /// The whole tree; `file` names the settings file in faults.
    pub(super) fn root(tree: Table, file: String) -> Self {
        Self { key: String::new(), file, unread: tree, known: Vec::new() }
    }

    /// The table `name`, empty if it is not there.
    pub(super) fn section(&mut self, name: &str) -> Result<Self, SettingsError> {
        let unread = match self.take(name) {
            None => Table::new(),
            Some(value) => self.table(name, value)?,
        };
        Ok(Self { key: self.dotted(name), file: self.file.clone(), unread, known: Vec::new() })
    }

    fn table(&self, name: &str, value: Value) -> Result<Table, SettingsError> {
        match inline(&value).unwrap_or(value).kind {
            ValueKind::Table(table) => Ok(table),
            other => Err(self.fault(name, &format!("is {}, expected a table", kind(&other)))),
        }
    }

    /// The names of the keys that were not read yet.
    pub(super) fn names(&self) -> Vec<String> {
        self.unread.keys().cloned().collect()
    }

    /// Whether the file or the environment sets `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.unread.contains_key(name)
    }

    /// The value of `name`, or of its default, spelled as it would be in a variable.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        default: &str,
        reading: impl FnOnce(Given<'_>) -> Result<T, String>,
    ) -> Result<T, SettingsError> {
        // Not typed, as if from a variable; it is right, so the variable's name is never needed.
        let default = || Value::new(Some(&String::new()), default);
        let value = self.take(name).unwrap_or_else(default);
        self.understand(name, &value, reading)
    }

    /// The value of `name`, which has no default; `hint` says what it is.
    pub(super) fn require<T>(
        &mut self,
        name: &str,
        hint: &str,
        reading: impl FnOnce(Given<'_>) -> Result<T, String>,
    ) -> Result<T, SettingsError> {
        match self.take(name) {
            None => Err(self.misspelt(name).unwrap_or_else(|| {
                SettingsError::new(&self.file, format!("{} is missing: {hint}", self.dotted(name)))
            })),
            Some(value) => self.understand(name, &value, reading),
        }
    }

    /// To be called when every key was read: what is left is unknown.
    ///
    /// # Errors
    /// Names the first unknown key, and the known one that looks like it.
    pub(super) fn finish(self) -> Result<(), SettingsError> {
        let Some((name, value)) = self.unread.first() else {
            return Ok(());
        };
        let advice = match nearest(name, self.known.iter().map(|(known, _)| known.as_str())) {
            Some(near) => format!("did you mean `{}`?", self.dotted(near)),
            None => format!("there are {}", self.known_names()),
        };
        Err(self.unknown(name, value, &advice))
    }

    /// The unknown key that was probably meant to be `name`, which is needed and not there.
    pub(super) fn misspelt(&self, name: &str) -> Option<SettingsError> {
        let mut unread = self.unread.iter();
        let (near, value) = unread.find(|(unread, _)| nearest(unread, std::iter::once(name)).is_some())?;
        Some(self.unknown(near, value, &format!("did you mean `{}`?", self.dotted(name))))
    }

    fn unknown(&self, name: &str, value: &Value, advice: &str) -> SettingsError {
        let place = origin(value).unwrap_or(&self.file);
        let name = self.dotted(&name.escape_debug().to_string());
        SettingsError::new(place, format!("`{name}` is not a setting; {advice}"))
    }

    /// A fault of `name`, at the place that set it.
    pub(super) fn fault(&self, name: &str, problem: &str) -> SettingsError {
        SettingsError::new(self.place(name), format!("{} {problem}", self.dotted(name)))
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let value = self.unread.shift_remove(name);
        self.known.push((name.to_owned(), value.as_ref().and_then(origin).map(str::to_owned)));
        value
    }

    fn understand<T>(
        &self,
        name: &str,
        value: &Value,
        reading: impl FnOnce(Given<'_>) -> Result<T, String>,
    ) -> Result<T, SettingsError> {
        reading(Given(value)).map_err(|expected| {
            let found = if self.may_show(name) { shown(&value.kind) } else { kind(&value.kind).to_owned() };
            self.fault(name, &format!("is {found}, expected {expected}"))
        })
    }

    /// What stands under a bot may be its secret in the wrong place, and a URL may carry a password.
    fn may_show(&self, name: &str) -> bool {
        let key = self.dotted(name);
        !key.starts_with("bots") && !key.ends_with("url")
    }

    fn place(&self, name: &str) -> String {
        let known = self.known.iter().find(|(known, _)| known == name).and_then(|(_, variable)| variable.as_deref());
        let variable = known.or_else(|| self.unread.get(name).and_then(origin));
        variable.unwrap_or(&self.file).to_owned()
    }

    fn dotted(&self, name: &str) -> String {
        if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) }
    }

    fn known_names(&self) -> String {
        self.known.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }
}

fn kind(value: &ValueKind) -> &'static str {
    match value {
        ValueKind::Nil => "nothing",
        ValueKind::String(text) if text.is_empty() => "empty",
        ValueKind::String(_) => "a text (not shown here)",
        ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) | ValueKind::Float(_) => {
            "a number"
        }
        ValueKind::Boolean(_) => "true or false",
        ValueKind::Array(_) => "a list",
        ValueKind::Table(_) => "a table",
    }
}

/// The value in one line, without control characters, cut where it gets long.
fn shown(value: &ValueKind) -> String {
    match value {
        ValueKind::String(text) if text.chars().count() > SHOWN => {
            format!("{:?} and more", text.chars().take(SHOWN).collect::<String>())
        }
        ValueKind::String(text) => format!("{text:?}"),
        // As TOML spells it: 1.0, 1e300, nan.
        ValueKind::Float(number) => format!("{number:?}").to_lowercase(),
        ValueKind::I64(_) | ValueKind::Boolean(_) => value.to_string(),
        other => kind(other).to_owned(),
    }
}

/// The known name that `name` was probably meant to be: at most a third of it mistyped.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.map(|known| (distance(name, known), known));
    let (distance, known) = distances.min()?;
    (distance <= known.len().max(3) / 3).then_some(known)
}

/// Levenshtein's distance; the first 64 characters are enough to tell a typing mistake.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_that_was_mistyped() {
        let known = ["timeout", "jitter", "concurrency", "max_failures"];
        assert_eq!(nearest("timout", known.into_iter()), Some("timeout"));
        assert_eq!(nearest("max-failures", known.into_iter()), Some("max_failures"));
        assert_eq!(nearest("colour", known.into_iter()), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
