//! Resolves names to public addresses only: for hosts that a `*.` entry of `media_hosts` covers.
//!
//! What is filtered here is what is connected to, so a name cannot look public to a check and lead inside afterwards.
//! `reqwest` asks no resolver for an IP literal; those are judged before, by [`crate::hosts::MediaHosts::allows`].

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::hosts::is_public;

/// The machine's resolver, less every address that is not public.
#[derive(Debug)]
pub(crate) struct PublicOnly;

/// Why a name under `*.` is not connected to.
#[derive(Debug, thiserror::Error)]
#[error("it resolves to no public address")]
pub(crate) struct NotPublic;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // Port 0 stands for the URL's.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}
