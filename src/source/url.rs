//! The URL of a file, which is its own authority: whoever has the query can fetch the recording until it expires.
//!
//! So the whole URL never leaves this crate's vendor side: `Debug` and `Display` show scheme and host, and only
//! the download reads the rest. The path identifies the file (KORE.md, inferred: `…/f-<uuid>.wav`); the query (`e`, the
//! Unix second of expiry, `n`, a nonce, `s`, the signature) differs at each call and is sent byte for byte.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use url::Url;

use crate::clock::Timestamp;
use crate::receipt::Sha256;
use crate::words::{Secrets, undressed};

/// A file's URL with its signature.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl {
    url: Url,
    path: String,
    /// What stands for the path where several files of one list have the same.
    identity: Option<String>,
    heeds_expiry: bool,
}

/// Longer than any URL that a server takes (8 KiB is usual), and bounded.
const LONGEST: usize = 16 * 1024;
/// An `e` before September 2001 is no expiry but something we do not know.
const EARLIEST_EXPIRY: i64 = 1_000_000_000;

/// 64 bits in base64 have 11 characters; what is shorter signs nothing.
const SHORTEST_SIGNATURE: usize = 10;

/// A name with more question marks than that is taken for its own beginning.
const MOST_MARKS: usize = 16;

impl SignedUrl {
    /// Reads an absolute http or https URL.
    ///
    /// # Errors
    /// A sentence, free of the URL's text, if it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_matches(|c: char| c <= ' ');
        if text.len() > LONGEST {
            return Err(format!("is longer than {LONGEST} bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err("holds control characters".to_owned());
        }
        let mut url = Url::parse(text).map_err(|error| format!("is no URL ({error})"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("is neither https nor http".to_owned());
        }
        url.set_fragment(None);
        let path = path_as_it_came(text).ok_or("has no `//` before its host")?.to_owned();
        Ok(Self { url, path, identity: None, heeds_expiry: true })
    }

    /// The path as it came, without query: it identifies the file at every call.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What tells this file from all others of its session: the SHA-256 of its path; or, where that does not, of all that
    /// does.
    #[must_use]
    pub fn digest(&self) -> Sha256 {
        Sha256::of(self.identity.as_ref().unwrap_or(&self.path).as_bytes())
    }

    /// That the path identifies a file is inferred: what tells it from another of the same path is its host, and what is
    /// in its query beside the expiry, the nonce and the signature, which differ at each call.
    pub(crate) fn whole_identity(&self) -> String {
        let stays = |(key, value): &(Cow<'_, str>, Cow<'_, str>)| !passes(key) && !is_signature(key, value);
        let query: Vec<_> = self.url.query_pairs().filter(stays).map(|(key, value)| format!("{key}={value}")).collect();
        format!("{}\n{}\n{}", self.host(), self.path, query.join("&"))
    }

    /// The same URL, known by its whole identity.
    pub(crate) fn apart(self) -> Self {
        Self { identity: Some(self.whole_identity()), ..self }
    }

    /// The same URL, to be tried whatever its `e` says: that it is an expiry is inferred, and a clock may be wrong.
    #[must_use]
    pub fn to_be_tried(self) -> Self {
        Self { heeds_expiry: false, ..self }
    }

    /// When the URL ceases to work, where its query tells and that is to be heeded.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        if !self.heeds_expiry {
            return None;
        }
        let e = self.url.query()?.split('&').find_map(|pair| pair.strip_prefix("e="))?;
        e.parse().ok().filter(|seconds| *seconds >= EARLIEST_EXPIRY).map(Timestamp::from_seconds)
    }

    /// The host, in its normal spelling.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// A name without what makes this URL one that grants access: its query behind a `?`, or any other that is signed,
    /// and its signature wherever else it stands. Another name is as it came.
    pub(crate) fn unsigned(&self, name: &str) -> String {
        let kept = self.without_query(name);
        let bare = undressed(&kept);
        let hidden = self.without_query(&bare);
        // Escapes that hide nothing are the name's own.
        if hidden == bare { kept } else { hidden }
    }

    fn without_query(&self, name: &str) -> String {
        let ours: HashSet<_> = self.url.query_pairs().collect();
        let is_query = |name: &str, at: usize| self.grants_access(&name[at + 1..], &ours);
        // Each mark costs a look at all that follows it.
        let mut name = match name.match_indices('?').nth(MOST_MARKS) {
            Some(_) => name.split('?').next().unwrap_or_default(),
            None => name,
        };
        while let Some(at) = name.rmatch_indices('?').map(|(at, _)| at).find(|at| is_query(name, *at)) {
            name = &name[..at];
        }
        self.signatures().hide(name)
    }

    fn signatures(&self) -> Secrets {
        Secrets::of(self.spelt_signatures().iter().map(String::as_str))
    }

    /// Its signatures, in each of their spellings: the `url` crate writes `'` as `%27`.
    pub(crate) fn spelt_signatures(&self) -> Vec<String> {
        let decoded = self.url.query_pairs().filter(|(key, value)| is_signature(key, value));
        let decoded = decoded.map(|(_, value)| value.into_owned());
        let raw = self.url.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let raw = raw.filter(|(key, value)| is_signature(key, value));
        let raw = raw.flat_map(|(_, value)| [value.to_owned(), value.replace("%27", "'")]);
        raw.chain(decoded).collect()
    }

    /// Whether a query is this URL's, or a part of it (`ours`), or bears a signature.
    fn grants_access(&self, query: &str, ours: &HashSet<(Cow<'_, str>, Cow<'_, str>)>) -> bool {
        let is_ours = |pair: &(_, _)| ours.contains(pair);
        let mut pairs = url::form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty());
        self.url.query().is_some_and(|ours| !ours.is_empty() && ours == query)
            || pairs.any(|pair| is_signature(&pair.0, &pair.1) || is_ours(&pair))
    }

    /// All of it, for the request alone.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }
}

/// Whether what is called so in a query changes from call to call: Kore's expiry, nonce and signature, and what the
/// presigned URLs of S3, Google Cloud, Azure and content networks say of who signed, when, and until when.
fn passes(key: &str) -> bool {
    const PREFIXES: [&str; 3] = ["x-amz-", "x-goog-", "x-ms-"];
    const NAMES: [&str; 27] = [
        "e",
        "n",
        "s",
        "exp",
        "expires",
        "expiry",
        "expiration",
        "nonce",
        "t",
        "ts",
        "time",
        "timestamp",
        "date",
        "policy",
        "key-pair-id",
        "awsaccesskeyid",
        "googleaccessid",
        "se",
        "ske",
        "sks",
        "skt",
        "skv",
        "sktid",
        "skoid",
        "sp",
        "st",
        "sv",
    ];
    let key = key.to_ascii_lowercase();
    NAMES.contains(&key.as_str()) || PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// Whether this pair of a query signs it: Kore's `s`, or as others call it.
fn is_signature(key: &str, value: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let is_named = matches!(key.as_str(), "s" | "sig") || key.ends_with("signature") || key.ends_with("token");
    is_named && value.len() >= SHORTEST_SIGNATURE
}

/// What stands between the authority and `?` or `#`, unnormalised.
fn path_as_it_came(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let path = rest.find(['/', '\\', '?', '#']).map_or("", |start| &rest[start..]);
    path.split(['?', '#']).next()
}

impl fmt::Display for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.url))
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedUrl({self})")
    }
}

/// Scheme and host: URLs of files are stored nowhere.
fn shown(url: &Url) -> String {
    format!("{}://{}", url.scheme(), crate::hosts::shown_host(url))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "https://smartassist.kore.ai:443/api/getMediaStream/smartassistrecording/UAT/o-1/st-2/2024/\
                          05-03-2024/f-4a76.wav?e=1709706278&n=6398115875&s=InpqMW$pn%24'CANARY";

    #[test]
    fn what_is_shown_ends_before_the_path() {
        let url = SignedUrl::parse(SAMPLE).unwrap();
        for shown in [url.to_string(), format!("{url:?}"), format!("{url:#?}")] {
            assert!(shown.contains("https://smartassist.kore.ai") && !shown.contains("f-4a76.wav"), "{shown}");
            assert!(!shown.contains("CANARY") && !shown.contains('?') && !shown.contains("6398115875"), "{shown}");
        }
        let long = SignedUrl::parse(&format!("https://u:CANARY@{}.a/{}#CANARY", "h".repeat(500), "p".repeat(9000)));
        assert!(long.as_ref().unwrap().to_string().len() < 400);
        assert!(!format!("{long:?}").contains("CANARY"));
    }

    #[test]
    fn a_name_loses_the_query_that_signs_its_url_and_nothing_else() {
        let url = SignedUrl::parse(SAMPLE).unwrap();
        let query = "e=1709706278&n=6398115875&s=InpqMW$pn%24'CANARY";
        for name in [
            format!("f.wav?{query}"),
            format!("f.wav?{query}?again"),
            format!("f.wav?x=1?{query}"),
            "f.wav?n=6398115875".to_owned(),
            "f.wav?s=InpqMW%24pn$'CANARY".to_owned(),
            "f.wav?X-Amz-Date=2026&X-Amz-Signature=0123456789".to_owned(),
        ] {
            let kept = url.unsigned(&name);
            assert!(["f.wav", "f.wav?x=1"].contains(&kept.as_str()), "{name}: {kept}");
        }
        assert_eq!(url.unsigned("f%3Fs%3DInpqMW$pn%24'CANARY"), "f%3Fs%3D[hidden]");
        for dressed in [
            "https%3A%2F%2Fa.b%2Ff.wav%3Fe%3D1%26s%3D0123456789CANARY",
            "https://a.b/f.wav&#63;e=1&amp;s=0123456789CANARY",
            "https://a.b/f.wav\\u003fe=1\\u0026s\\u003d0123456789CANARY",
        ] {
            assert_eq!(url.unsigned(dressed), "https://a.b/f.wav");
        }
        assert_eq!(url.unsigned("Q&amp;A%20call.wav"), "Q&amp;A%20call.wav");
        for name in ["ready?.wav", "what?s=1.wav", "a?b=c.wav", "call-1709706278.wav", "?", "", "f?x=0123456789abcdef"]
        {
            assert_eq!(url.unsigned(name), name);
        }
        assert_eq!(SignedUrl::parse("https://a/f").unwrap().unsigned("f?"), "f?");
        // A query without names.
        assert_eq!(SignedUrl::parse("https://a/f?CANARY").unwrap().unsigned("f?CANARY"), "f");
    }

    #[test]
    fn the_path_is_kept_as_it_came() {
        let path = |text| SignedUrl::parse(text).unwrap().path().to_owned();
        assert_eq!(path(SAMPLE), "/api/getMediaStream/smartassistrecording/UAT/o-1/st-2/2024/05-03-2024/f-4a76.wav");
        assert_eq!(path("https://a.kore.ai/x/../%7e y/ü.wav?e=1#f"), "/x/../%7e y/ü.wav");
        assert_eq!(path("https://a.kore.ai?e=1"), "");
        let (one, two) = (SignedUrl::parse("https://a/f?s=1").unwrap(), SignedUrl::parse("https://b/f?s=2").unwrap());
        assert_eq!(one.digest(), two.digest());
    }

    #[test]
    fn the_expiry_is_read_from_e() {
        let expiry = |text| SignedUrl::parse(text).unwrap().expires_at();
        assert_eq!(expiry(SAMPLE), Some(Timestamp::from_seconds(1_709_706_278)));
        for none in
            ["https://a/?n=1", "https://a/", "https://a/?e=", "https://a/?e=soon", "https://a/?e=5", "https://a/?e=-1"]
        {
            assert_eq!(expiry(none), None, "{none}");
        }
        assert!(expiry("https://a/?e=9223372036854775807").is_some());
    }

    #[test]
    fn what_is_no_file_url_is_refused_without_its_text() {
        for bad in
            ["", "CANARY", "ftp://a/CANARY", "https:///", "file:///CANARY", "https://a/\nCANARY", "https:a/CANARY"]
        {
            if let Err(message) = SignedUrl::parse(bad) {
                assert!(!message.contains("CANARY"), "{message}");
            } else {
                assert_eq!(bad, "https:///");
            }
        }
        let long = |length: usize| SignedUrl::parse(&format!("https://a/{}", "x".repeat(length - "https://a/".len())));
        assert!(long(LONGEST).is_ok() && long(LONGEST + 1).is_err());
    }

    proptest! {
        #[test]
        fn fuzz_signed_urls(text in crate::corpus::bent_text("urls")) {
            match SignedUrl::parse(&text) {
                Ok(url) => {
                    let shown = format!("{url} {url:?}");
                    // A path has no question mark of its own.
                    prop_assert!(!shown.contains(['?', '#']), "{shown}");
                    prop_assert!(!shown.chars().any(char::is_control), "{shown:?}");
                }
                Err(message) => prop_assert!(!message.contains("CANARY"), "{message}"),
            }
        }

        #[test]
        fn no_text_panics_and_no_query_is_shown(text in "(https?://)?\\PC{0,60}(\\?s=CANARY)?") {
            if let Ok(url) = SignedUrl::parse(&text) {
                prop_assert!(!url.to_string().contains("?s=CANARY"));
            }
        }

        #[test]
        fn the_query_is_sent_as_it_came(query in "[A-Za-z0-9$%&=+/:;,._~!*()@-]{0,80}") {
            let url = SignedUrl::parse(&format!("https://a.kore.ai/f?{query}")).unwrap();
            prop_assert_eq!(url.url().query(), Some(query.as_str()));
        }
    }
}
