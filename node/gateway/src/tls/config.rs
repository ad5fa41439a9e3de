//! What is spoken: protocol versions, cipher suites and their order, ALPN, resumption.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::cipher_suite as suite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::{CipherSuite, SupportedCipherSuite};

use super::holder::{ForAuthority, ForClients, Holder};

/// The protocol of challenges: RFC 8737.
const CHALLENGE: &[u8] = b"acme-tls/1";

/// AES with the shorter key first: all of these are beyond breaking, and it is the fastest where a processor
/// has instructions for AES.
const SUITES: [SupportedCipherSuite; 9] = [
    suite::TLS13_AES_128_GCM_SHA256,
    suite::TLS13_AES_256_GCM_SHA384,
    suite::TLS13_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Returns the cryptography used here: the one that the node's other TLS brings along, and the faster one.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { cipher_suites: SUITES.to_vec(), ..aws_lc_rs::default_provider() })
}

/// The ways to greet a client.
pub(super) struct Configs {
    /// Our order of ciphers.
    fast: Arc<ServerConfig>,
    /// The client's order of ciphers.
    humble: Arc<ServerConfig>,
    /// For authorities.
    challenge: Arc<ServerConfig>,
}

impl Configs {
    /// Returns configurations that take certificates from `holder`.
    ///
    /// # Errors
    /// The cryptography of this build cannot do it.
    pub(super) fn new(provider: &Arc<CryptoProvider>, holder: &Arc<Holder>) -> Result<Self, rustls::Error> {
        // One maker of tickets for both, so that a client may come back either way; it changes its keys by itself.
        let tickets = aws_lc_rs::Ticketer::new()?;
        let clients: Arc<dyn ResolvesServerCert> = Arc::new(ForClients(Arc::clone(holder)));
        let mut fast = plain(provider, Arc::clone(&clients))?;
        fast.ignore_client_order = true;
        let humble = plain(provider, clients)?;
        let with_http = |mut config: ServerConfig| {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            config.ticketer = Arc::clone(&tickets);
            Arc::new(config)
        };
        let mut challenge = plain(provider, Arc::new(ForAuthority(Arc::clone(holder))))?;
        challenge.alpn_protocols = vec![CHALLENGE.to_vec()];
        challenge.send_tls13_tickets = 0;
        Ok(Self { fast: with_http(fast), humble: with_http(humble), challenge: Arc::new(challenge) })
    }

    /// Returns the configuration for a client, and whether it is an authority with a challenge.
    pub(super) fn choose(&self, hello: &ClientHello<'_>) -> (Arc<ServerConfig>, bool) {
        // RFC 8737 section 3: a validation offers this protocol and no other.
        let mut offered = hello.alpn().into_iter().flatten();
        if offered.next() == Some(CHALLENGE) && offered.next().is_none() {
            return (Arc::clone(&self.challenge), true);
        }
        let chosen = if prefers_chacha(hello.cipher_suites()) { &self.humble } else { &self.fast };
        (Arc::clone(chosen), false)
    }
}

/// Returns whether the client has no instructions for AES: such clients put the other cipher first.
fn prefers_chacha(suites: &[CipherSuite]) -> bool {
    let known = suites.iter().find(|suite| SUITES.iter().any(|known| known.suite() == **suite));
    known.is_some_and(|suite| {
        matches!(
            suite,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        )
    })
}

fn plain(
    provider: &Arc<CryptoProvider>,
    certificates: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, rustls::Error> {
    let config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    Ok(config)
}
