//! Certificates in files of the owner, read again when they change.
//!
//! Tools write the two files one after the other, so a pair that does not fit is looked at once more before
//! anybody is told; the certificate that worked stays until there is one that works.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::certificate::{Certificate, Source};
use super::holder::Holder;
use super::{TlsError, read, told};

/// Two calls to the file system each time; an owner who waits for a new certificate does not wait longer.
const EVERY: Duration = Duration::from_secs(2);
/// How often the owner is told that a certificate ends.
const REMIND: Duration = Duration::from_secs(24 * 3600);

/// Looks at the files.
pub(crate) struct Watch {
    chain: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    holder: Arc<Holder>,
    certificate: Certificate,
    /// What the files looked like when the certificate in use was read.
    good: Stamps,
    /// What they looked like when a pair was read that cannot be used, and whether that was told.
    bad: Option<(Stamps, bool)>,
    reminded: Option<SystemTime>,
}

/// What a look found.
#[derive(Debug)]
pub(super) enum Look {
    /// Nothing new.
    Same,
    /// Files that cannot be used, maybe because somebody is still writing them.
    Waiting,
    /// Files that cannot be used and did not change since the last look; told once.
    Kept(TlsError),
    /// A new certificate is in use.
    Replaced,
}

/// What tells one state of both files from another; nothing for a file that is not there.
type Stamps = [Option<Stamp>; 2];

/// Inode, length, and the times of the last change to content and to the inode.
type Stamp = (u64, u64, (i64, i64), (i64, i64));

impl Watch {
    /// Reads both files and uses what they hold.
    ///
    /// # Errors
    /// They cannot be read or used.
    pub(super) fn new(
        chain: &Path,
        key: &Path,
        provider: Arc<CryptoProvider>,
        holder: Arc<Holder>,
    ) -> Result<Self, TlsError> {
        let good = stamps(chain, key);
        let certificate = load(chain, key, &provider)?;
        warn_of_readers(key);
        holder.install(Arc::clone(&certificate.key));
        info!(names = ?certificate.names, "certificate in use");
        let (chain, key) = (chain.to_owned(), key.to_owned());
        Ok(Self { chain, key, provider, holder, certificate, good, bad: None, reminded: None })
    }

    /// Looks now and then until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut watch = self;
        loop {
            // File systems over a network may take their time.
            let looked = tokio::task::spawn_blocking(move || {
                watch.tend(SystemTime::now());
                watch
            });
            watch = match looked.await {
                Ok(watch) => watch,
                Err(why) => {
                    error!(%why, "certificate files are no longer watched");
                    return;
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    fn tend(&mut self, now: SystemTime) {
        match self.look() {
            Look::Same | Look::Waiting => {}
            Look::Kept(error) => {
                warn!(error = told(&error), "new certificate files cannot be used, the certificate stays");
            }
            Look::Replaced => info!(names = ?self.certificate.names, "new certificate in use"),
        }
        let is_time =
            self.reminded.is_none_or(|last| now.duration_since(last).is_ok_and(|ago| ago >= REMIND));
        if let (true, Some(complaint)) = (is_time, self.certificate.complaint(now)) {
            warn!(file = %self.chain.display(), "{complaint}");
            self.reminded = Some(now);
        }
    }

    /// Looks once.
    pub(super) fn look(&mut self) -> Look {
        let seen = stamps(&self.chain, &self.key);
        if seen == self.good {
            self.bad = None;
            return Look::Same;
        }
        if self.bad == Some((seen, true)) {
            return Look::Same;
        }
        match load(&self.chain, &self.key, &self.provider) {
            // Written to while it was read: the next look sees what became of it.
            Ok(_) if stamps(&self.chain, &self.key) != seen => Look::Waiting,
            Ok(certificate) => {
                self.holder.install(Arc::clone(&certificate.key));
                self.certificate = certificate;
                (self.good, self.bad, self.reminded) = (seen, None, None);
                Look::Replaced
            }
            Err(error) => {
                let is_second = self.bad == Some((seen, false));
                self.bad = Some((seen, is_second));
                if is_second { Look::Kept(error) } else { Look::Waiting }
            }
        }
    }
}

fn load(chain: &Path, key: &Path, provider: &CryptoProvider) -> Result<Certificate, TlsError> {
    let (chain_bytes, key_bytes) = (read(chain)?, read(key)?);
    let chain = Source { path: chain, bytes: &chain_bytes };
    Certificate::parse(chain, Source { path: key, bytes: &key_bytes }, provider)
}

fn stamps(chain: &Path, key: &Path) -> Stamps {
    [chain, key].map(|path| {
        let meta = std::fs::metadata(path).ok()?;
        let times = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
        Some((meta.ino(), meta.len(), times.0, times.1))
    })
}

fn warn_of_readers(key: &Path) {
    /// Read, write or run for everybody.
    const OTHERS: u32 = 0o007;
    if std::fs::metadata(key).is_ok_and(|meta| meta.mode() & OTHERS != 0) {
        warn!(file = %key.display(), "every user of this machine can open the key of the certificate");
    }
}
