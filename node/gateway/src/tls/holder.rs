//! The certificate in use, and the answers to an authority's challenges; handshakes read both without waiting.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Where keepers put certificates and handshakes find them.
#[derive(Debug, Default)]
pub(super) struct Holder {
    current: ArcSwapOption<CertifiedKey>,
    answers: ArcSwap<HashMap<String, Arc<CertifiedKey>>>,
}

impl Holder {
    /// Uses a certificate for the handshakes that begin from now on.
    pub(super) fn install(&self, key: Arc<CertifiedKey>) {
        self.current.store(Some(key));
    }

    /// Returns whether the certificate in use is for a host name, which none is for an address.
    pub(super) fn is_for(&self, host: &str) -> bool {
        let current = self.current.load();
        let Some(first) = current.as_ref().and_then(|key| key.cert.first()) else { return false };
        match (ParsedCertificate::try_from(first), ServerName::try_from(host)) {
            (Ok(parsed), Ok(name @ ServerName::DnsName(_))) => verify_server_name(&parsed, &name).is_ok(),
            _ => false,
        }
    }

    /// Answers challenges for these names, until the guard is dropped.
    pub(super) fn answer(&self, answers: HashMap<String, Arc<CertifiedKey>>) -> Answering<'_> {
        self.answers.store(Arc::new(answers));
        Answering(self)
    }
}

/// Challenges are answered while this lives.
pub(super) struct Answering<'a>(&'a Holder);

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.answers.store(Arc::default());
    }
}

/// Gives ordinary clients the certificate in use.
#[derive(Debug)]
pub(super) struct ForClients(pub(super) Arc<Holder>);

impl ResolvesServerCert for ForClients {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.current.load_full()
    }
}

/// Gives an authority the answer for the name that it asks about.
#[derive(Debug)]
pub(super) struct ForAuthority(pub(super) Arc<Holder>);

impl ResolvesServerCert for ForAuthority {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_ascii_lowercase();
        self.0.answers.load().get(&name).cloned()
    }
}
