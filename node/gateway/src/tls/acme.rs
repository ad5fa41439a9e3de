//! Certificates from an authority that speaks ACME (RFC 8555), asked by TLS-ALPN-01 (RFC 8737).
//!
//! The challenge comes to the listener that serves HTTPS, so no other port and no file is needed; the authority
//! connects to port 443 of every name. One certificate covers all names. Nothing waits for the authority: until
//! it answers, handshakes use the certificate at hand or are refused.

mod authority;
mod cache;
#[cfg(test)]
mod pebble_tests;
mod schedule;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::DnsName;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::cache::Cache;
use super::certificate::{Certificate, Source};
use super::holder::Holder;
use super::{TlsError, told};

pub(super) use self::authority::Order;

/// Authorities answer within seconds, slow ones within minutes.
const ORDER_LIMIT: Duration = Duration::from_secs(600);
/// The clock may be set, or the machine may sleep: how often it is read again.
const LOOK: Duration = Duration::from_secs(3600);
/// What an authority takes into one certificate.
const MOST_NAMES: usize = 100;

/// Renews in time.
pub(crate) struct Renewal {
    order: Order,
    cache: Cache,
    provider: Arc<CryptoProvider>,
    holder: Arc<Holder>,
    certificate: Option<Certificate>,
}

impl Renewal {
    /// Uses the certificate that was kept, if it is for these names.
    ///
    /// # Errors
    /// The cache cannot be used, or the file of roots cannot.
    pub(super) fn new(
        order: Order,
        cache: &Path,
        provider: Arc<CryptoProvider>,
        holder: Arc<Holder>,
    ) -> Result<Self, TlsError> {
        let cache = Cache::open(cache, &order.directory)?;
        // Told at the start and not hours later.
        order.check()?;
        let mut renewal = Self { order, cache, provider, holder, certificate: None };
        match renewal.kept() {
            Ok(Some(certificate)) => renewal.take(certificate),
            Ok(None) => {}
            Err(error) => warn!(error = told(&error), "the kept certificate cannot be used"),
        }
        Ok(renewal)
    }

    /// Orders and renews until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut failures = 0;
        let mut next = schedule::due(self.validity(), SystemTime::now());
        loop {
            let wait = next.duration_since(SystemTime::now()).unwrap_or_default();
            if !wait.is_zero() {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(wait.min(LOOK)) => continue,
                }
            }
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                outcome = self.renew() => outcome,
            };
            let now = SystemTime::now();
            next = match outcome {
                Ok(()) => {
                    failures = 0;
                    schedule::after(self.validity(), now)
                }
                Err(error) => {
                    let wait = schedule::pause(failures);
                    failures = failures.saturating_add(1);
                    let ends = self.certificate.as_ref().and_then(|held| held.complaint(now));
                    warn!(
                        error, held = ends, retry_s = wait.as_secs(), domains = ?self.order.domains,
                        "no certificate from the authority"
                    );
                    now.checked_add(wait).unwrap_or(now)
                }
            };
        }
    }

    async fn renew(&mut self) -> Result<(), String> {
        let ordered = authority::order(&self.order, &self.cache, &self.provider, &self.holder);
        let pem = match tokio::time::timeout(ORDER_LIMIT, ordered).await {
            Ok(Ok(pem)) => pem,
            Ok(Err(error)) => return Err(told(&error)),
            Err(_) => return Err(format!("no answer within {} s", ORDER_LIMIT.as_secs())),
        };
        let path = self.cache.certificate_path();
        let certificate = self.parse(&path, pem.as_bytes()).map_err(|error| told(&error))?;
        if !self.covers(&certificate) {
            return Err(format!("the certificate is for {:?}", certificate.names));
        }
        // Without the file the next start orders again; handshakes need not suffer for it.
        if let Err(error) = self.cache.keep_certificate(&pem) {
            warn!(error = told(&error), "the certificate cannot be kept for the next start");
        }
        self.take(certificate);
        Ok(())
    }

    fn take(&mut self, certificate: Certificate) {
        self.holder.install(Arc::clone(&certificate.key));
        let ends = httpdate::fmt_http_date(certificate.ends);
        info!(names = ?certificate.names, %ends, "certificate in use");
        self.certificate = Some(certificate);
    }

    fn kept(&self) -> Result<Option<Certificate>, TlsError> {
        let Some(pem) = self.cache.certificate()? else {
            return Ok(None);
        };
        let certificate = self.parse(&self.cache.certificate_path(), &pem)?;
        Ok(Some(certificate).filter(|certificate| self.covers(certificate)))
    }

    fn parse(&self, path: &Path, pem: &[u8]) -> Result<Certificate, TlsError> {
        let source = Source { path, bytes: pem };
        Certificate::parse(source, source, &self.provider)
    }

    fn covers(&self, certificate: &Certificate) -> bool {
        self.order.domains.iter().all(|domain| certificate.names.contains(domain))
    }

    fn validity(&self) -> Option<(SystemTime, SystemTime)> {
        self.certificate.as_ref().map(|certificate| (certificate.begins, certificate.ends))
    }
}

/// Returns names as they are certified: in lower case, each once.
///
/// # Errors
/// There are none, too many, or one that no authority proves by TLS-ALPN-01.
pub(super) fn names(domains: &[String]) -> Result<Vec<String>, TlsError> {
    let mut names: Vec<String> = Vec::new();
    for domain in domains {
        let refused = |why| Err(TlsError::Domain { domain: domain.clone(), why });
        let name = domain.trim_end_matches('.').to_ascii_lowercase();
        if name.starts_with("*.") {
            return refused("wildcards need a proof by DNS; use certificate files");
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
        if is_number || DnsName::try_from(name.as_str()).is_err() {
            return refused("not a DNS name");
        }
        if names.len() >= MOST_NAMES {
            return refused("one certificate is for at most 100 names");
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { Err(TlsError::NoDomains) } else { Ok(names) }
}
