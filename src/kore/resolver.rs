//! Resolves names, where need be to public addresses only: for hosts that a `*.` entry of `media_hosts` covers.
//!
//! What is filtered here is what is connected to, so a name cannot look public to a check and lead inside afterwards.
//! No resolver is asked for an IP literal; those are judged before, by [`crate::hosts::MediaHosts::allows`].

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec::IntoIter;

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use super::line::BoxError;
use crate::hosts::{Reach, is_public};

/// The machine's resolver, less every address that is out of reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolver(pub(crate) Reach);

/// Why a name under `*.` is not connected to.
#[derive(Debug, thiserror::Error)]
#[error("it resolves to no public address")]
pub(crate) struct NotPublic;

impl Service<Name> for Resolver {
    type Response = IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let reach = self.0;
        Box::pin(async move {
            // Port 0 stands for the URL's.
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            match reach {
                Reach::Any => Ok(found.into_iter()),
                Reach::Public => among_public(found),
            }
        })
    }
}

fn among_public(mut found: Vec<SocketAddr>) -> Result<IntoIter<SocketAddr>, BoxError> {
    found.retain(|address| is_public(address.ip()));
    if found.is_empty() { Err(NotPublic.into()) } else { Ok(found.into_iter()) }
}
