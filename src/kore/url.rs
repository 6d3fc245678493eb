//! Placeholder: interface only.

/// The URL of a file, with its signature: what may be shown of it is scheme, host and path.
#[derive(Clone)]
pub struct SignedUrl(url::Url);

impl std::fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.path())
    }
}

impl SignedUrl {
    /// # Errors
    /// A sentence, free of the URL's query, if it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        url::Url::parse(text).map(Self).map_err(|error| error.to_string())
    }

    /// The path as it came, without query: it identifies the file at every call.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path()
    }
}
