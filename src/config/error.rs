//! What is wrong with the settings: one fault, one sentence, with where it is and what is expected there.

/// The place (a file, an environment variable), the dotted key, what was found if that cannot be a secret, and what is
/// expected. Whoever gets it ends with exit code 78; there is nothing else to decide, so it has no variants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct SettingsError {
    place: String,
    problem: String,
}

impl SettingsError {
    /// A fault at `place`. Names of keys, variables and files may hold anything; the message is one plain line.
    pub(super) fn new(place: impl AsRef<str>, problem: impl AsRef<str>) -> Self {
        Self { place: one_line(place.as_ref()), problem: one_line(problem.as_ref()) }
    }
}

fn one_line(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}
