//! The token that every request of the API carries in its `auth` header.
//!
//! Documented: HS256, signed with the client secret, payload `sub` and `appId`; where an app enforces JTI, each request
//! needs its own `jti` and an `exp` at most an hour away. Observed: `iss`, `aud`, `iat` are accepted. So every request
//! gets a fresh token; signing costs microseconds.
//!
//! The secret is read when it is first needed and kept until Kore refuses a token: then [`Tokens::forget`] makes the
//! next one read it again, so that a rotation needs no restart. Two requests may do so at once; each reads the same
//! small file, and nothing is lost. Neither secret nor token has a `Debug` that shows it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::clock::Timestamp;
use crate::config::ClientSecret;
use crate::words::Secrets;

/// What Kore's own samples name as the audience.
const AUDIENCE: &str = "https://idproxy.kore.ai/authorize";
/// Any text is accepted as the user; this one tells the tenant's administrators who asks.
const SUBJECT: &str = "kore-archiver";
/// A clock of ours that is fast by less does not make a token come from the future.
const ISSUED_EARLIER: Duration = Duration::from_mins(1);
/// Half of what is allowed, so that a clock off by a quarter of an hour either way still makes good tokens.
const LIFETIME: Duration = Duration::from_mins(30);

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    #[serde(rename = "appId")]
    app_id: &'a str,
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
}

/// A token for one request.
#[derive(Debug)]
pub struct Token {
    /// The token itself.
    pub text: SecretString,
    /// What nobody may repeat of it: the whole, its parts, and the secret that it was signed with.
    pub(super) known: Secrets,
}

impl Token {
    fn new(text: String, secret: &SecretString) -> Self {
        let parts = text.split('.').chain([text.as_str(), secret.expose_secret()]);
        Self { known: Secrets::of(parts), text: SecretString::from(text) }
    }
}

/// Makes the tokens of one bot.
#[derive(Debug)]
pub struct Tokens {
    client_id: String,
    source: ClientSecret,
    cached: Mutex<Option<SecretString>>,
}

impl Tokens {
    /// Tokens of this client id; the secret is read when the first is made.
    #[must_use]
    pub fn new(client_id: String, source: ClientSecret) -> Self {
        Self { client_id, source, cached: Mutex::new(None) }
    }

    /// A token that no request has carried yet.
    ///
    /// # Errors
    /// A sentence that names the file, if the secret cannot be read or is empty.
    pub fn fresh(&self, now: Timestamp) -> Result<Token, String> {
        let secret = self.secret()?;
        let issued = now.before(ISSUED_EARLIER);
        let claims = Claims {
            sub: SUBJECT,
            app_id: &self.client_id,
            iss: &self.client_id,
            aud: AUDIENCE,
            iat: issued.as_millis() / 1000,
            exp: issued.after(LIFETIME).as_millis() / 1000,
            // 128 bits, unguessable and never repeated: a repeat is refused as a replay.
            jti: format!("{:032x}", rand::random::<u128>()),
        };
        let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key);
        token.map(|text| Token::new(text, &secret)).map_err(|error| format!("cannot sign a token: {error}"))
    }

    /// Kore refused a token: the next one is signed with the secret as it is then.
    pub fn forget(&self) {
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn secret(&self) -> Result<SecretString, String> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(secret) = cached.as_ref() {
            return Ok(secret.clone());
        }
        let secret = self.source.read()?;
        if secret.expose_secret().is_empty() {
            return Err(match &self.source {
                ClientSecret::File(path) => format!("the client secret {} is empty", path.display()),
                ClientSecret::Environment(_) | ClientSecret::Absent => "the client secret is empty".to_owned(),
            });
        }
        *cached = Some(secret.clone());
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation};
    use serde_json::Value;

    const NOW: i64 = 1_709_706_000;

    fn decode(token: &SecretString, secret: &str) -> Option<Value> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        validation.set_audience(&[AUDIENCE]);
        let key = DecodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::decode::<Value>(token.expose_secret(), &key, &validation).ok().map(|data| data.claims)
    }

    #[test]
    fn a_token_says_what_kore_wants_and_lives_under_an_hour() {
        let tokens = Tokens::new("cs-1".into(), ClientSecret::Environment("CANARY".into()));
        let claims = decode(&tokens.fresh(Timestamp::from_seconds(NOW)).unwrap().text, "CANARY").unwrap();
        for (claim, wanted) in [("appId", "cs-1"), ("iss", "cs-1"), ("sub", SUBJECT), ("aud", AUDIENCE)] {
            assert_eq!(claims[claim], wanted);
        }
        assert_eq!(claims["iat"], NOW - 60);
        let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert!((600..3600).contains(&lifetime), "{lifetime}");
        assert!(!format!("{tokens:?}").contains("CANARY"));
    }

    #[test]
    fn no_two_tokens_share_a_jti() {
        let tokens = Tokens::new("cs-1".into(), ClientSecret::Environment("s".into()));
        let jti = || decode(&tokens.fresh(Timestamp::from_seconds(NOW)).unwrap().text, "s").unwrap()["jti"].to_string();
        let all: std::collections::HashSet<String> = (0..1000).map(|_| jti()).collect();
        assert_eq!(all.len(), 1000);
        assert!(all.iter().all(|jti| jti.len() == 34), "32 hex digits and two quotes");
    }

    #[test]
    fn a_rotated_secret_is_read_once_a_token_was_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "old\n").unwrap();
        let tokens = Tokens::new("cs-1".into(), ClientSecret::File(file.path().to_owned()));
        let fresh = || tokens.fresh(Timestamp::from_seconds(NOW)).unwrap().text;
        assert!(decode(&fresh(), "old").is_some());
        std::fs::write(file.path(), "new\n").unwrap();
        assert!(decode(&fresh(), "old").is_some(), "kept until it is refused");
        tokens.forget();
        assert!(decode(&fresh(), "new").is_some());
    }

    #[test]
    fn a_missing_or_empty_secret_names_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let tokens = Tokens::new("cs-1".into(), ClientSecret::File(file.path().to_owned()));
        assert!(tokens.fresh(Timestamp::from_seconds(NOW)).unwrap_err().contains("is empty"));
        let tokens = Tokens::new("cs-1".into(), ClientSecret::File("/nonexistent/secret".into()));
        assert!(tokens.fresh(Timestamp::from_seconds(NOW)).unwrap_err().contains("/nonexistent/secret"));
    }
}
