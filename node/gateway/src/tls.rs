//! TLS in front of HTTP: certificates, handshakes, and their renewal while connections live.
//!
//! TLS 1.3 and 1.2 with HTTP/2 and HTTP/1.1 by ALPN, sessions resumed by tickets, and no early data, because a
//! replayed request is one that nobody sent. Certificates are files of the owner or come from an authority
//! that speaks ACME; a connection keeps the one that it began with. Nothing here reads a request.

mod acme;
mod certificate;
mod config;
mod file;
mod holder;
#[cfg(test)]
pub(crate) mod tests;

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use self::config::Configs;
use self::holder::Holder;
use crate::settings::Certificates;

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{} cannot be read or written", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {what}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The key belongs to another certificate.
    #[error("the key in {} does not belong to the first certificate in {}", .key.display(), .chain.display())]
    Mismatch {
        /// The file of the certificates.
        chain: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// A name cannot be certified automatically.
    #[error("{domain:?} cannot be certified automatically: {why}")]
    Domain {
        /// The name.
        domain: String,
        /// Why not.
        why: &'static str,
    },
    /// No names are given.
    #[error("automatic certificates need the names that they are for")]
    NoDomains,
    /// The cryptography of this build does not offer what is needed.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
}

/// Makes connections private. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Acceptor {
    configs: Arc<Configs>,
    holder: Arc<Holder>,
}

impl Acceptor {
    /// Returns an acceptor, and the task that keeps its certificate fresh. Reads a few small files.
    ///
    /// With an authority there may be no certificate yet; then handshakes are refused until there is one.
    ///
    /// # Errors
    /// A file or a name cannot be used.
    pub(crate) fn new(source: &Certificates) -> Result<(Self, Keeper), TlsError> {
        let provider = config::provider();
        let holder = Arc::new(Holder::default());
        let configs = Arc::new(Configs::new(&provider, &holder)?);
        let keeper = match source {
            Certificates::Files { chain, key } => {
                Keeper::Files(Box::new(file::Watch::new(chain, key, provider, Arc::clone(&holder))?))
            }
            Certificates::Acme { domains, directory, contact, roots, cache } => {
                let order = acme::Order {
                    domains: acme::names(domains)?,
                    directory: directory.clone(),
                    contact: contact.clone(),
                    roots: roots.clone(),
                };
                Keeper::Acme(Box::new(acme::Renewal::new(order, cache, provider, Arc::clone(&holder))?))
            }
        };
        Ok((Self { configs, holder }, keeper))
    }

    /// Returns whether clients that ask for a host name can be greeted under it now.
    pub(crate) fn is_for(&self, host: &str) -> bool {
        self.holder.is_for(host)
    }

    /// Completes a handshake. `None` is an authority that saw the answer to its challenge: nothing follows.
    ///
    /// It takes as long as the client likes: the caller sets the deadline. Not cancel safe: dropping it closes
    /// the connection.
    ///
    /// # Errors
    /// The client speaks no TLS that is spoken here, left, or there is no certificate yet.
    pub(crate) async fn accept<S>(&self, io: S) -> io::Result<Option<TlsStream<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let begun = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), io).await?;
        let (config, is_challenge) = self.configs.choose(&begun.client_hello());
        let mut stream = begun.into_stream(config).await?;
        if !is_challenge {
            return Ok(Some(stream));
        }
        // RFC 8737 section 4: no application data; the authority has what it came for, so its leaving early is fine.
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
        Ok(None)
    }
}

/// The task that keeps the certificate of an [`Acceptor`] fresh.
pub(crate) enum Keeper {
    /// Looks at files.
    Files(Box<file::Watch>),
    /// Asks an authority.
    Acme(Box<acme::Renewal>),
}

impl Keeper {
    /// Works until `stop`. Dropping it leaves the certificate as it is.
    pub(crate) async fn run(self, stop: CancellationToken) {
        match self {
            Self::Files(watch) => watch.run(stop).await,
            Self::Acme(renewal) => renewal.run(stop).await,
        }
    }
}

/// Reads a file that is at most as large as certificates are.
fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read;

    /// Thousands of certificates; what is larger is another file, or a device without end.
    const LARGEST: u64 = 4 << 20;

    let file = |source| TlsError::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path).map_err(file)?;
    opened.take(LARGEST.saturating_add(1)).read_to_end(&mut bytes).map_err(file)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > LARGEST) {
        return Err(content(path, "too large for certificates or a key"));
    }
    Ok(bytes)
}

fn content(path: &Path, what: impl Into<String>) -> TlsError {
    TlsError::Content { path: path.to_owned(), what: what.into() }
}

/// Returns an error with all that is behind it, for the log.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        // Some libraries repeat their source in their own message.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = source.source();
    }
    text
}
