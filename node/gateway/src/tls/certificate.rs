//! A certificate with its key, checked: they belong together, can be parsed, and until when they hold.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;

use super::{TlsError, content};

/// An owner who reads the log once in a while should have met the warning by then.
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);

/// A certificate that can be used.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) begins: SystemTime,
    pub(super) ends: SystemTime,
    /// The DNS names that it is for, in lower case.
    pub(super) names: Vec<String>,
}

/// A file's bytes with its path, for messages.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) bytes: &'a [u8],
}

impl Certificate {
    /// Reads a chain and a key in PEM; one file may hold both.
    ///
    /// # Errors
    /// One of them is not what it should be, or they do not belong together.
    pub(super) fn parse(
        chain: Source<'_>,
        key: Source<'_>,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let certificates = CertificateDer::pem_slice_iter(chain.bytes).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|error| content(chain.path, format!("no PEM: {error}")))?;
        let Some(first) = certificates.first() else {
            return Err(content(chain.path, "no certificate in it"));
        };
        let (begins, ends, names) = facts(first).map_err(|what| content(chain.path, what))?;
        let secret = PrivateKeyDer::from_pem_slice(key.bytes).map_err(|error| match error {
            pem::Error::NoItemsFound => content(key.path, "no private key in it, or one behind a password"),
            error => content(key.path, format!("no PEM: {error}")),
        })?;
        let certified =
            CertifiedKey::from_der(certificates, secret, provider).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    TlsError::Mismatch { chain: chain.path.to_owned(), key: key.path.to_owned() }
                }
                rustls::Error::InvalidCertificate(why) => {
                    content(chain.path, format!("its first certificate cannot be used: {why}"))
                }
                error => content(key.path, format!("its key cannot be used: {error}")),
            })?;
        Ok(Self { key: Arc::new(certified), begins, ends, names })
    }

    /// Returns what is wrong with its time, or will be soon.
    pub(super) fn complaint(&self, now: SystemTime) -> Option<String> {
        let date = httpdate::fmt_http_date;
        if now >= self.ends {
            return Some(format!("the certificate ended on {}", date(self.ends)));
        }
        if now < self.begins {
            return Some(format!("the certificate is not valid before {}", date(self.begins)));
        }
        let left = self.ends.duration_since(now).unwrap_or_default();
        (left < SOON).then(|| format!("the certificate ends on {}", date(self.ends)))
    }
}

type Facts = (SystemTime, SystemTime, Vec<String>);

fn facts(der: &[u8]) -> Result<Facts, String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der)
        .map_err(|error| format!("its first certificate cannot be parsed: {error}"))?;
    let names = match parsed.subject_alternative_name() {
        Ok(Some(extension)) => extension.value.general_names.iter().filter_map(dns).collect(),
        Ok(None) => Vec::new(),
        Err(error) => return Err(format!("the names of its first certificate cannot be parsed: {error}")),
    };
    let validity = parsed.validity();
    Ok((time(validity.not_before.timestamp()), time(validity.not_after.timestamp()), names))
}

fn dns(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    }
}

/// Returns a time from seconds since 1970; what does not fit is that long ago that it does not matter.
fn time(seconds: i64) -> SystemTime {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}
