//! Reads the `auth` header as Kore does with an app that enforces JTI (KORE.md, "The token").
//!
//! Signatures are checked by hand with HMAC, not with the crate that the daemon signs with: two ends of one library
//! agree with each other even where both are wrong.

use std::collections::HashSet;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Why a request is refused: an HTTP code and Kore's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: u16,
    pub(super) msg: String,
}

impl Refusal {
    pub(super) fn new(code: u16, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into() }
    }

    pub(super) fn credentials() -> Self {
        Self::new(401, "Invalid SDK credentials")
    }

    fn not_a_jwt() -> Self {
        Self::new(401, "Invalid JWT token")
    }

    fn unverified(why: &str) -> Self {
        Self::new(401, format!("error verifying the jwt: {why}"))
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

/// What the payload may say; numbers must be numbers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    sub: Option<String>,
    app_id: Option<String>,
    iss: Option<String>,
    aud: Option<String>,
    iat: Option<i64>,
    exp: Option<i64>,
    jti: Option<String>,
}

/// Whom a token must come from.
pub(super) struct Issuer<'a> {
    pub(super) client_id: &'a str,
    pub(super) client_secret: &'a str,
}

/// The documented audience.
const AUDIENCE: &str = "https://idproxy.kore.ai/authorize";
/// The documented limit of an app that enforces JTI.
const LONGEST_LIFE_SECONDS: i64 = 3600;

impl Issuer<'_> {
    /// Lets a token through once: its `jti` joins those that were `seen`.
    pub(super) fn verify(&self, token: &str, now: i64, seen: &mut HashSet<String>) -> Result<(), Refusal> {
        let (signed, signature) = token.rsplit_once('.').ok_or_else(Refusal::not_a_jwt)?;
        let (header, payload) = signed.split_once('.').ok_or_else(Refusal::not_a_jwt)?;
        let header: Header = decode(header).ok_or_else(Refusal::not_a_jwt)?;
        let claims: Claims = decode(payload).ok_or_else(Refusal::not_a_jwt)?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refusal::not_a_jwt())?;

        let key = hmac::Key::new(hmac::HMAC_SHA256, self.client_secret.as_bytes());
        let genuine = header.alg == "HS256" && hmac::verify(&key, signed.as_bytes(), &signature).is_ok();
        if !genuine || claims.app_id.as_deref() != Some(self.client_id) || claims.sub.is_none_or(|sub| sub.is_empty()) {
            return Err(Refusal::credentials());
        }
        let strange = |claim: Option<String>, wanted: &str| claim.is_some_and(|claim| claim != wanted);
        if strange(claims.iss, self.client_id) {
            return Err(Refusal::unverified("jwt issuer invalid"));
        }
        if strange(claims.aud, AUDIENCE) {
            return Err(Refusal::unverified("jwt audience invalid"));
        }
        check_times(claims.iat, claims.exp, now)?;
        let jti = claims.jti.filter(|jti| !jti.is_empty()).ok_or_else(|| Refusal::unverified("jti is required"))?;
        if seen.insert(jti) { Ok(()) } else { Err(Refusal::unverified("jti is already used")) }
    }
}

fn check_times(iat: Option<i64>, exp: Option<i64>, now: i64) -> Result<(), Refusal> {
    let exp = exp.ok_or_else(|| Refusal::unverified("exp is required"))?;
    if iat.is_some_and(|iat| iat > now) {
        return Err(Refusal::unverified("iat is in the future"));
    }
    if exp <= now {
        return Err(Refusal::unverified("jwt expired"));
    }
    if exp - now > LONGEST_LIFE_SECONDS {
        return Err(Refusal::unverified("exp is more than an hour away"));
    }
    Ok(())
}

/// The `jti` of anything that can be read as a token, for the records.
pub(super) fn jti_of(token: &str) -> Option<String> {
    decode::<Claims>(token.split('.').nth(1)?)?.jti
}

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
