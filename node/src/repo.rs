//! The repository directory: what lies where, who may use it, and the node's identity key.
//!
//! ```text
//! <repo>/config.toml   settings            <repo>/identity.key  libp2p key, 0600
//! <repo>/keystore/     wallet keys         <repo>/blocks/       segments and their index
//! <repo>/state/        durable state       <repo>/tmp/          spooled input, emptied at start
//! <repo>/api           address of the control socket, there while the node answers
//! <repo>/lock          held by the running daemon; its text is the daemon's process id
//! ```
//! Nothing here reads blocks, keys of the wallet or settings; it only hands out their places.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use libp2p::identity::Keypair;
use rustix::fs::{FlockOperation, flock};

/// Longest path that fits a unix socket address on every platform (108 bytes on Linux, less elsewhere).
const MAX_SOCKET_PATH: usize = 100;

/// Why a repository cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepoError {
    /// Another daemon holds the lock.
    #[error("the repository {} is in use by the daemon with process id {pid}", path.display())]
    InUse {
        /// The repository.
        path: PathBuf,
        /// What the lock file says.
        pid: String,
    },
    /// A file or directory could not be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The identity key cannot be decoded.
    #[error("the identity key {} is damaged; restore it from a copy, or remove it to become a new peer", path.display())]
    Identity {
        /// The key file.
        path: PathBuf,
    },
}

/// A repository directory. It exists; nothing is said about its content.
#[derive(Clone, Debug)]
pub struct Repo {
    path: PathBuf,
}

/// The lock on a repository, held until it is dropped.
#[derive(Debug)]
pub struct RepoLock {
    _file: File,
}

impl Repo {
    /// Opens the repository at `path`, creating its directories where they are missing.
    ///
    /// # Errors
    /// The directory cannot be created.
    pub fn open(path: &Path) -> Result<Self, RepoError> {
        let repo = Self { path: path.to_owned() };
        for dir in [repo.path.clone(), repo.keystore(), repo.tmp()] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
            made.map_err(|source| RepoError::Io { path: dir, source })?;
        }
        Ok(repo)
    }

    /// Returns true when a repository was set up at `path` before.
    pub fn exists(path: &Path) -> bool {
        path.join("identity.key").exists()
    }

    /// Returns the directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where the settings are.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// Returns where wallet keys are.
    pub fn keystore(&self) -> PathBuf {
        self.path.join("keystore")
    }

    /// Returns where spooled input goes.
    pub fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Returns where the address of the control socket is written.
    pub fn api(&self) -> PathBuf {
        self.path.join("api")
    }

    /// Returns where the control socket is: in the repository, or in the system's directory for temporary
    /// files when the repository's path is too long for a socket address.
    pub fn socket(&self) -> PathBuf {
        let here = self.path.join("api.sock");
        if here.as_os_str().len() <= MAX_SOCKET_PATH {
            return here;
        }
        let name = short_name(self.path.as_os_str().as_encoded_bytes());
        std::env::temp_dir().join(format!("pop-{name}")).join("api.sock")
    }

    /// Takes the repository for this process.
    ///
    /// # Errors
    /// Another daemon holds it, or the lock file cannot be written.
    pub fn lock(&self) -> Result<RepoLock, RepoError> {
        let path = self.path.join("lock");
        let fail = |source| RepoError::Io { path: path.clone(), source };
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(fail)?;
        if let Err(errno) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if errno != rustix::io::Errno::WOULDBLOCK {
                return Err(fail(errno.into()));
            }
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(fail)?;
            let pid = pid.lines().next().unwrap_or("unknown").to_owned();
            return Err(RepoError::InUse { path: self.path.clone(), pid });
        }
        file.set_len(0).map_err(fail)?;
        file.rewind().map_err(fail)?;
        writeln!(file, "{}", std::process::id()).map_err(fail)?;
        Ok(RepoLock { _file: file })
    }

    /// Reads the node's identity key, making one at first use.
    ///
    /// # Errors
    /// The key file is damaged, or cannot be read or written.
    pub fn identity(&self) -> Result<Keypair, RepoError> {
        let path = self.path.join("identity.key");
        match fs::read(&path) {
            Ok(bytes) => Keypair::from_protobuf_encoding(&bytes).map_err(|_| RepoError::Identity { path }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let key = Keypair::generate_ed25519();
                let bytes =
                    key.to_protobuf_encoding().map_err(|_| RepoError::Identity { path: path.clone() })?;
                write_private(&path, &bytes).map_err(|source| RepoError::Io { path, source })?;
                Ok(key)
            }
            Err(source) => Err(RepoError::Io { path, source }),
        }
    }

    /// Removes what an earlier run left in the directory for spooled input.
    pub fn clear_tmp(&self) {
        let Ok(entries) = fs::read_dir(self.tmp()) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if let Err(error) = removed {
                tracing::debug!(path = %path.display(), %error, "left in tmp");
            }
        }
    }

    /// Says where the control socket is, for the CLI and scripts; written when the node is ready to answer.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn announce_api(&self, address: &str) -> Result<(), RepoError> {
        let path = self.api();
        write_private(&path, address.as_bytes()).map_err(|source| RepoError::Io { path, source })
    }

    /// Withdraws the address of the control socket.
    pub fn withdraw_api(&self) {
        for path in [self.api(), self.socket()] {
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "control socket not removed");
            }
        }
    }

    /// Reads a secret token file, making a random one at first use.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn token(&self, name: &str) -> Result<String, RepoError> {
        let path = self.path.join(name);
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(RepoError::Io { path, source }),
            _ => {
                let token: String = rand::random::<[u8; 32]>().iter().map(|b| format!("{b:02x}")).collect();
                write_private(&path, token.as_bytes()).map_err(|source| RepoError::Io { path, source })?;
                Ok(token)
            }
        }
    }
}

/// Writes a file that only its owner may read, all or nothing: a temporary name, synced, then renamed.
///
/// # Errors
/// What the system says.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    if let Some(parent) = path.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Returns a short stable name for `bytes`.
fn short_name(bytes: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_made_once_and_kept_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::open(&dir.path().join("repo")).unwrap();
        assert!(!Repo::exists(repo.path()));
        let first = repo.identity().unwrap().public().to_peer_id();
        assert_eq!(repo.identity().unwrap().public().to_peer_id(), first);
        assert!(Repo::exists(repo.path()));
        let mode = fs::metadata(repo.path().join("identity.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn damaged_identity_is_refused_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::open(dir.path()).unwrap();
        fs::write(dir.path().join("identity.key"), b"garbage").unwrap();
        assert!(matches!(repo.identity(), Err(RepoError::Identity { .. })));
        assert_eq!(fs::read(dir.path().join("identity.key")).unwrap(), b"garbage");
    }

    #[test]
    fn second_lock_names_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::open(dir.path()).unwrap();
        let held = repo.lock().unwrap();
        let refused = repo.lock().unwrap_err().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(held);
        repo.lock().unwrap();
    }

    #[test]
    fn socket_path_always_fits_an_address() {
        let long = PathBuf::from(format!("/tmp/{}", "x".repeat(200)));
        let repo = Repo { path: long };
        assert!(repo.socket().as_os_str().len() <= MAX_SOCKET_PATH);
    }
}
