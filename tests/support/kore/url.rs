//! Signed file URLs, as they look in Kore's samples: `…/f-<uuid>.wav?e=<expiry>&n=<nonce>&s=<signature>`.
//!
//! The signature holds a `$` as it is and a `=` in escaped form. A client that parses the query and prints it again
//! would change one or the other, so the host compares the query byte for byte with what it would have made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::body::mix;
use super::clock::FakeClock;

#[derive(Debug)]
pub(super) struct Signer {
    /// `http://127.0.0.1:port` of the file host, or of who stands before it.
    pub(super) base: String,
    key: hmac::Key,
    clock: Arc<FakeClock>,
    issued: AtomicU64,
}

/// Why a URL is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadUrl {
    Expired,
    BadSignature,
}

impl Signer {
    pub(super) fn new(base: String, clock: Arc<FakeClock>) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"known to the file host alone");
        Self { base, key, clock, issued: AtomicU64::new(0) }
    }

    /// A query that lets `path` be fetched for so many seconds; another one at each call.
    pub(super) fn sign(&self, path: &str, lifetime_seconds: i64) -> String {
        let expiry = self.clock.unix_seconds() + lifetime_seconds;
        let nonce = 1_000_000_000 + mix(self.issued.fetch_add(1, Ordering::Relaxed)) % 9_000_000_000;
        self.query(path, &expiry.to_string(), &nonce.to_string())
    }

    /// Checks the raw query of a request for `path`.
    pub(super) fn check(&self, path: &str, query: &str) -> Result<(), BadUrl> {
        let (expiry, nonce) = split(query).ok_or(BadUrl::BadSignature)?;
        if query != self.query(path, expiry, nonce) {
            return Err(BadUrl::BadSignature);
        }
        let expiry: i64 = expiry.parse().map_err(|_| BadUrl::BadSignature)?;
        if expiry <= self.clock.unix_seconds() { Err(BadUrl::Expired) } else { Ok(()) }
    }

    fn query(&self, path: &str, expiry: &str, nonce: &str) -> String {
        let tag = hmac::sign(&self.key, format!("{path}\n{expiry}\n{nonce}").as_bytes());
        let text = BASE64_URL_SAFE_NO_PAD.encode(tag.as_ref());
        format!("e={expiry}&n={nonce}&s=InpqMWpn{}${}%3D%3D", &text[..20], &text[20..])
    }
}

/// `e` and `n` of a query in the order that they are issued in.
fn split(query: &str) -> Option<(&str, &str)> {
    let (expiry, rest) = query.strip_prefix("e=")?.split_once("&n=")?;
    let (nonce, _) = rest.split_once("&s=")?;
    Some((expiry, nonce))
}
