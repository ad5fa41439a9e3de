//! Plain HTTP that leads to TLS, where the owner wants it.
//!
//! Only under names of the certificate in use: so nobody is sent to a host that is not the owner's, nor to one that
//! browsers warn of, nor anywhere while there is no certificate yet. An address is no such name: what checks the
//! machine's health by its address is answered where it asks.

use std::net::IpAddr;
use std::num::NonZeroU16;

use http::request::Parts;
use http::{Method, StatusCode};

use crate::refusal::Refusal;
use crate::request::host::{self, Address};
use crate::request::{caller, redirect};
use crate::server::Transport;
use crate::settings::Settings;
use crate::tls::Acceptor;

/// Where plain HTTP leads.
pub(crate) struct ToTls {
    acceptor: Acceptor,
    port: NonZeroU16,
}

impl ToTls {
    /// Leads to the port where clients find the acceptor.
    pub(crate) fn new(acceptor: Acceptor, port: NonZeroU16) -> Self {
        Self { acceptor, port }
    }

    /// Lets a request pass that came over TLS, or under a name that TLS is not spoken under.
    ///
    /// # Errors
    /// A request for content is redirected. An upload is refused: whoever listens has its token, and a client that
    /// is only sent on would say it aloud each time without anybody noticing.
    pub(crate) fn lead(&self, settings: &Settings, head: &Parts, peer: IpAddr) -> Result<(), Refusal> {
        let is_proxy = host::is_proxy(settings, peer);
        if head.extensions.get::<Transport>().is_some_and(|transport| transport.is_tls)
            || may_be_private(head, is_proxy)
        {
            return Ok(());
        }
        // What is wrong with a host is told to whom it matters.
        let Ok(Address { host, .. }) = host::read(head, false, is_proxy) else { return Ok(()) };
        if !self.acceptor.is_for(&host) {
            return Ok(());
        }
        match head.method {
            Method::GET | Method::HEAD => {
                Err(redirect::to_tls(&host.to_ascii_lowercase(), self.port, head.uri.path_and_query()))
            }
            Method::POST => {
                Err(Refusal::new(StatusCode::FORBIDDEN, "under this name uploads are taken over HTTPS alone")
                    .hint("send it to https://; a token that was sent without could be read on its way"))
            }
            _ => Ok(()),
        }
    }
}

/// Returns whether a proxy may have taken the request over TLS: sent on, it would come back for ever. Whoever says so
/// is believed, as it costs nobody else anything; a proxy of ours that says nothing may be one.
fn may_be_private(head: &Parts, is_proxy: bool) -> bool {
    match host::forwarded_scheme(&head.headers) {
        Some(scheme) => !scheme.eq_ignore_ascii_case("http"),
        None => is_proxy && caller::is_forwarded(&head.headers),
    }
}

#[cfg(test)]
mod tests;
