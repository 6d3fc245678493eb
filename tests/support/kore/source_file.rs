//! A recording on the file host: name, path, content, and how the host misbehaves when it is fetched.
//!
//! Rules count requests with a good URL from the moment they are added, so that a test can script a file in advance
//! (`.nth(0, cut).nth(1, stall)`) or bend it in the middle of a download.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::body::{Body, mix};
use super::quirk::Quirk;
use super::url::Signer;

/// A handle: clones are the same file, so that a test can bend it while it is being served.
#[derive(Clone, Debug)]
pub struct SourceFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    path: String,
    body: Body,
    requests: AtomicU32,
    script: Mutex<Script>,
}

#[derive(Debug)]
struct Script {
    rules: Vec<Rule>,
    lifetime_seconds: i64,
    address: Address,
}

/// A quirk for the requests number `from` up to, and without, `until`.
#[derive(Debug)]
struct Rule {
    from: u32,
    until: u32,
    quirk: Quirk,
}

/// What Kore says where the file is.
#[derive(Clone, Debug)]
enum Address {
    FileHost,
    /// The usual path and query, at another origin.
    Elsewhere(String),
    /// This text, whatever it is.
    Literal(String),
}

/// Within the 18 hours that Kore's sample URLs stay below.
const USUAL_LIFETIME: i64 = 17 * 3600;

impl SourceFile {
    /// A file under a path like Kore's, unique within this process.
    pub fn new(name: &str, body: impl Into<Body>) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let (high, low) = (MADE.fetch_add(1, Ordering::Relaxed), 0x6b6f_7265);
        let extension = name.rsplit_once('.').map_or("wav", |(_, extension)| extension);
        let extension = if extension.bytes().all(|b| b.is_ascii_alphanumeric()) { extension } else { "wav" };
        let organisation = "o-5c1ad1ee-0c9f-5e1b-8d6e-1f0a7a3c9b21/st-2f1e7a54-93d0-5c9c-b0e8-6a2d4f8c7e10";
        let folder = format!("/api/getMediaStream/smartassistrecording/UAT/{organisation}/2024/05-03-2024");
        Self::at(&format!("{folder}/f-{}.{extension}", uuid(high, low)), name, body)
    }

    /// A file under a path of its own.
    pub fn at(path: &str, name: &str, body: impl Into<Body>) -> Self {
        let script = Script { rules: Vec::new(), lifetime_seconds: USUAL_LIFETIME, address: Address::FileHost };
        Self(Arc::new(Inner {
            name: name.to_owned(),
            path: path.to_owned(),
            body: body.into(),
            requests: AtomicU32::new(0),
            script: Mutex::new(script),
        }))
    }

    /// Every request from now on is bent like this.
    #[must_use]
    pub fn always(self, quirk: Quirk) -> Self {
        self.rule(0, u32::MAX, quirk)
    }

    /// The next `count` requests are bent like this.
    #[must_use]
    pub fn next(self, count: u32, quirk: Quirk) -> Self {
        self.rule(0, count, quirk)
    }

    /// The one request that comes after `skipped` others is bent like this; 0 is the next.
    #[must_use]
    pub fn nth(self, skipped: u32, quirk: Quirk) -> Self {
        self.rule(skipped, skipped + 1, quirk)
    }

    /// After `skipped` more requests, every one is bent like this.
    #[must_use]
    pub fn after(self, skipped: u32, quirk: Quirk) -> Self {
        self.rule(skipped, u32::MAX, quirk)
    }

    /// Every request from now on is served decently.
    pub fn heal(&self) {
        self.script().rules.clear();
    }

    /// Its URLs expire that many seconds after the poll; less than 1: they come expired.
    #[must_use]
    pub fn expires_in(self, seconds: i64) -> Self {
        self.script().lifetime_seconds = seconds;
        self
    }

    /// Kore names it at another origin (`https://elsewhere.example`), under the usual path and query.
    #[must_use]
    pub fn listed_at(self, origin: &str) -> Self {
        self.script().address = Address::Elsewhere(origin.to_owned());
        self
    }

    /// Kore names it by this text.
    #[must_use]
    pub fn listed_as(self, url: &str) -> Self {
        self.script().address = Address::Literal(url.to_owned());
        self
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn path(&self) -> &str {
        &self.0.path
    }

    pub fn body(&self) -> &Body {
        &self.0.body
    }

    /// How often it was asked for with a good URL.
    pub fn requests(&self) -> u32 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Counts one request and says how it is bent.
    pub(super) fn quirks_of_this_request(&self) -> Vec<Quirk> {
        let script = self.script();
        let number = self.0.requests.fetch_add(1, Ordering::Relaxed);
        let applies = |rule: &&Rule| (rule.from..rule.until).contains(&number);
        script.rules.iter().filter(applies).map(|rule| rule.quirk.clone()).collect()
    }

    /// A URL under a fresh signature, or what Kore is made to say in its place.
    pub(super) fn url(&self, signer: &Signer) -> String {
        let script = self.script();
        let at_origin = |origin: &str| {
            let query = signer.sign(self.path(), script.lifetime_seconds);
            format!("{origin}{}?{query}", self.path())
        };
        match &script.address {
            Address::FileHost => at_origin(&signer.base),
            Address::Elsewhere(origin) => at_origin(origin),
            Address::Literal(text) => text.clone(),
        }
    }

    /// A strong validator that belongs to this file alone.
    pub(super) fn etag(&self) -> String {
        let sum = self.path().bytes().fold(0, |sum, byte| mix(sum ^ u64::from(byte)));
        format!("\"{sum:016x}\"")
    }

    fn rule(self, from: u32, until: u32, quirk: Quirk) -> Self {
        let seen = self.requests();
        let rule = Rule { from: seen.saturating_add(from), until: seen.saturating_add(until), quirk };
        self.script().rules.push(rule);
        self
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text of a version 4 UUID made of two numbers.
fn uuid(high: u64, low: u64) -> String {
    let (a, b) = (mix(high), mix(high ^ mix(low)));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}
