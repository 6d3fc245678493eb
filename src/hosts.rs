//! Where file URLs may lead: `bots.NAME.media_hosts`. Placeholder: interface only.

/// One entry of `media_hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaHost(String);

impl MediaHost {
    /// # Errors
    /// A sentence that says what an entry looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Display for MediaHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
