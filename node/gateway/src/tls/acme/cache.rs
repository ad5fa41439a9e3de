//! Account and certificate on disk, for their owner's eyes only; each file is whole or not there.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::super::{TlsError, read};

/// A folder for each authority: a test authority's account is nothing to another one.
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Makes the folder where it is not.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn open(cache: &Path, directory: &str) -> Result<Self, TlsError> {
        let folder = cache.join(slug(directory));
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|source| TlsError::File { path: folder.clone(), source })?;
        Ok(Self { folder })
    }

    pub(super) fn account_path(&self) -> PathBuf {
        self.folder.join("account.json")
    }

    /// Returns where the certificate is kept, together with its key so that one never lacks the other.
    pub(super) fn certificate_path(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    pub(super) fn account(&self) -> Result<Option<Vec<u8>>, TlsError> {
        existing(&self.account_path())
    }

    pub(super) fn certificate(&self) -> Result<Option<Vec<u8>>, TlsError> {
        existing(&self.certificate_path())
    }

    pub(super) fn keep_account(&self, json: &[u8]) -> Result<(), TlsError> {
        write(&self.account_path(), json)
    }

    pub(super) fn keep_certificate(&self, pem: &str) -> Result<(), TlsError> {
        write(&self.certificate_path(), pem.as_bytes())
    }

    /// Forgets an account that the authority does not know.
    pub(super) fn forget_account(&self) -> Result<(), TlsError> {
        let path = self.account_path();
        std::fs::remove_file(&path).map_err(|source| TlsError::File { path, source })
    }
}

/// Returns a name for a folder that tells one authority from another.
fn slug(directory: &str) -> String {
    /// Below what file systems take.
    const LONGEST: usize = 200;
    let rest = directory.split_once("://").map_or(directory, |(_, rest)| rest);
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let text: String = rest.chars().map(plain).take(LONGEST).collect();
    let text = text.trim_matches('-');
    if text.is_empty() { "authority".to_owned() } else { text.to_owned() }
}

fn existing(path: &Path) -> Result<Option<Vec<u8>>, TlsError> {
    match read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(TlsError::File { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), TlsError> {
    let new = path.with_extension("new");
    let write = || {
        // A leftover may have been made with other permissions.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().map_err(|source| TlsError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_owner_reads_what_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("acme"), "https://ca.example/directory").unwrap();
        assert!(cache.account().unwrap().is_none());
        cache.keep_account(b"{}").unwrap();
        cache.keep_certificate("one").unwrap();
        std::fs::write(cache.certificate_path().with_extension("new"), "left over").unwrap();
        cache.keep_certificate("two").unwrap();
        assert_eq!(cache.certificate().unwrap().unwrap(), b"two");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&cache.account_path()), 0o600);
        assert_eq!(mode(&cache.certificate_path()), 0o600);
        assert_eq!(mode(&cache.folder), 0o700);
        assert_eq!(mode(&folder.path().join("acme")), 0o700);
        cache.forget_account().unwrap();
        assert!(cache.account().unwrap().is_none());
    }

    #[test]
    fn authorities_have_folders_of_their_own() {
        assert_eq!(slug("https://acme.example/dir?x"), "acme-example-dir-x");
        assert_ne!(slug("https://acme.example/a"), slug("https://acme.example/b"));
        assert_eq!(slug("https://../../"), "authority");
    }
}
