//! One table of the settings, read key by key.
//!
//! A [`Section`] is asked for each key once, with its default in the words of CONTRACT section 7 and a reading: a
//! function from what [`Given`] holds to a trusted type, or to a sentence that says what is expected. What nobody asked
//! for is an unknown key, so a key is known by being read and there is no second list to keep. Values under `[bots]`
//! and URLs are never shown in a fault: a secret may have been put there by mistake.

use toml::Value;

use super::error::SettingsError;
use super::tree::{Branch, Leaf, Node, inline_table};

/// The longest part of a value that a message shows.
const SHOWN: usize = 80;

/// A table that is being read.
pub(super) struct Section {
    /// Dotted, empty for the root.
    key: String,
    /// The file, or what stands for it when there is none.
    file: String,
    unread: Branch,
    /// The keys asked for, each with the variable that set it.
    known: Vec<(String, Option<String>)>,
}

/// A value as it was given: typed in the file, a text in a variable and in a default.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    value: &'a Value,
    is_typed: bool,
}

impl<'a> Given<'a> {
    /// A text.
    pub(super) fn text(self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// A whole number.
    pub(super) fn integer(self) -> Option<i64> {
        if self.is_typed { self.value.as_integer() } else { self.text()?.parse().ok() }
    }

    /// A number, whole or not.
    pub(super) fn number(self) -> Option<f64> {
        match self.value {
            #[expect(clippy::cast_precision_loss, reason = "factors and shares are small")]
            Value::Integer(whole) => Some(*whole as f64),
            Value::Float(number) => Some(*number),
            value => {
                if self.is_typed {
                    None
                } else {
                    value.as_str()?.parse().ok()
                }
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(self) -> Option<bool> {
        if self.is_typed { self.value.as_bool() } else { self.text()?.parse().ok() }
    }

    /// A list of texts; in a variable as a TOML array or with commas between.
    pub(super) fn list(self) -> Option<Vec<String>> {
        let texts = |array: &Vec<Value>| array.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        match self.value {
            Value::Array(array) => texts(array),
            Value::String(text) if !self.is_typed => match text.parse() {
                Ok(Value::Array(array)) => texts(&array),
                _ if text.trim().is_empty() => Some(Vec::new()),
                _ => Some(text.split(',').map(|item| item.trim().to_owned()).collect()),
            },
            _ => None,
        }
    }
}

impl Section {
    /// The whole tree; `file` names the settings file in faults.
    pub(super) fn root(tree: Branch, file: String) -> Self {
        Self { key: String::new(), file, unread: tree, known: Vec::new() }
    }

    /// The table `name`, empty if it is not there.
    pub(super) fn section(&mut self, name: &str) -> Result<Self, SettingsError> {
        let node = self.take(name);
        let unread = match node {
            None => Branch::new(),
            Some(Node::Branch(branch)) => branch,
            Some(Node::Leaf(leaf)) => inline_table(&leaf).ok_or_else(|| {
                let found = kind(&leaf.value);
                SettingsError::new(self.place(name), format!("{} is {found}, expected a table", self.dotted(name)))
            })?,
        };
        Ok(Self { key: self.dotted(name), file: self.file.clone(), unread, known: Vec::new() })
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
        let default = Leaf { value: Value::String(default.to_owned()), variable: Some(String::new()) };
        match self.take(name) {
            None => self.understand(name, &default, reading),
            Some(node) => self.understand_node(name, node, reading),
        }
    }

    /// The value of `name`, which has no default; `hint` says what it is.
    pub(super) fn require<T>(
        &mut self,
        name: &str,
        hint: &str,
        reading: impl FnOnce(Given<'_>) -> Result<T, String>,
    ) -> Result<T, SettingsError> {
        match self.take(name) {
            None => Err(SettingsError::new(&self.file, format!("{} is missing: {hint}", self.dotted(name)))),
            Some(node) => self.understand_node(name, node, reading),
        }
    }

    /// To be called when every key was read: what is left is unknown.
    ///
    /// # Errors
    /// Names the first unknown key, and the known one that looks like it.
    pub(super) fn finish(self) -> Result<(), SettingsError> {
        let Some((name, node)) = self.unread.first_key_value() else {
            return Ok(());
        };
        let place = variable_of(node).map_or(self.file.as_str(), String::as_str);
        let advice = match nearest(name, self.known.iter().map(|(known, _)| known.as_str())) {
            Some(near) => format!("did you mean `{}`?", self.dotted(near)),
            None => format!("there are {}", self.known_names()),
        };
        Err(SettingsError::new(
            place,
            format!("`{}` is not a setting; {advice}", self.dotted(&name.escape_debug().to_string())),
        ))
    }

    /// A fault of `name`, at the place that set it.
    pub(super) fn fault(&self, name: &str, problem: &str) -> SettingsError {
        SettingsError::new(self.place(name), format!("{} {problem}", self.dotted(name)))
    }

    fn take(&mut self, name: &str) -> Option<Node> {
        let node = self.unread.remove(name);
        self.known.push((name.to_owned(), node.as_ref().and_then(variable_of).cloned()));
        node
    }

    fn understand_node<T>(
        &self,
        name: &str,
        node: Node,
        reading: impl FnOnce(Given<'_>) -> Result<T, String>,
    ) -> Result<T, SettingsError> {
        match node {
            Node::Leaf(leaf) => self.understand(name, &leaf, reading),
            Node::Branch(_) => {
                let value = Value::Table(toml::Table::new());
                self.understand(name, &Leaf { value, variable: variable_of(&node).cloned() }, reading)
            }
        }
    }

    fn understand<T>(
        &self,
        name: &str,
        leaf: &Leaf,
        reading: impl FnOnce(Given<'_>) -> Result<T, String>,
    ) -> Result<T, SettingsError> {
        let given = Given { value: &leaf.value, is_typed: leaf.variable.is_none() };
        reading(given).map_err(|expected| {
            let found = if self.may_show(name) { shown(&leaf.value) } else { kind(&leaf.value).to_owned() };
            self.fault(name, &format!("is {found}, expected {expected}"))
        })
    }

    /// What stands under a bot may be its secret in the wrong place, and a URL may carry a password.
    fn may_show(&self, name: &str) -> bool {
        let key = self.dotted(name);
        !key.starts_with("bots") && !key.ends_with("url")
    }

    fn place(&self, name: &str) -> String {
        let variable = self.known.iter().find(|(known, _)| known == name).and_then(|(_, variable)| variable.clone());
        variable.unwrap_or_else(|| self.file.clone())
    }

    fn dotted(&self, name: &str) -> String {
        if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) }
    }

    fn known_names(&self) -> String {
        self.known.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }
}

/// The variable that set this, or the first of those that set something under it.
fn variable_of(node: &Node) -> Option<&String> {
    match node {
        Node::Leaf(leaf) => leaf.variable.as_ref(),
        Node::Branch(branch) => branch.values().find_map(variable_of),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(text) if text.is_empty() => "empty",
        Value::String(_) => "a text (not shown here)",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// The value in one line, without control characters, cut where it gets long.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().count() > SHOWN => {
            format!("{:?} and more", text.chars().take(SHOWN).collect::<String>())
        }
        Value::String(text) => format!("{text:?}"),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => value.to_string(),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => kind(value).to_owned(),
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
