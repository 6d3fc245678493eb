//! The keys in use, so that none of them is repeated: a store may name in its refusal the very token that it was sent.
//!
//! Every provider that the client is built on is wrapped in [`Overheard`], which notes what passes. A session token lives
//! for hours, and an answer that repeats one comes within a request's time: the newest few are enough.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};

use crate::words::Secrets;

/// Those of a role and those that it was assumed with, each before and after a rotation, and as many again.
const MOST_REMEMBERED: usize = 8;

/// The secret keys and session tokens of late.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(Arc<Mutex<VecDeque<Credentials>>>);

impl Keys {
    /// The same provider, whose credentials are noted.
    pub(super) fn of(&self, provider: SharedCredentialsProvider) -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(Overheard { provider, keys: self.clone() })
    }

    /// What must not be repeated.
    pub(super) fn known(&self) -> Secrets {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let secret =
            |one: &Credentials| [Some(one.secret_access_key().to_owned()), one.session_token().map(str::to_owned)];
        let values: Vec<String> = all.iter().flat_map(secret).flatten().collect();
        Secrets::of(values.iter().map(String::as_str))
    }

    fn note(&self, credentials: &Credentials) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains(credentials) {
            all.push_back(credentials.clone());
        }
        if all.len() > MOST_REMEMBERED {
            all.pop_front();
        }
    }
}

#[derive(Debug)]
struct Overheard {
    provider: SharedCredentialsProvider,
    keys: Keys,
}

impl ProvideCredentials for Overheard {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let credentials = self.provider.provide_credentials().await?;
            self.keys.note(&credentials);
            Ok(credentials)
        })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.provider.fallback_on_interrupt().inspect(|credentials| self.keys.note(credentials))
    }
}
