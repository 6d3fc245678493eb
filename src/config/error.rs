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
    /// A fault at `place`.
    pub(super) fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }
}
