//! The doors of the control API: a unix socket for this user, loopback TCP with a token where it is asked for, and one
//! for pages in browsers.
//!
//! The first two speak JSON-RPC 2.0 by HTTP POST and by WebSocket on the same socket. Every connection is counted, bounded and
//! ended when the daemon stops. What the methods do is none of this module's business.

mod browser;
mod door;
mod notify;

use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jsonrpsee::Methods;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use browser::Browsers;

use browser::Rules;
use door::{Door, Pages, Token};

/// How long calls may go on after the stop before their connections are cut.
const GRACE: Duration = Duration::from_secs(5);

/// Where the control API is served.
#[derive(Clone, Debug)]
pub struct Listen {
    /// The unix socket.
    pub socket: PathBuf,
    /// A TCP address as well, and the token that it wants.
    pub tcp: Option<(SocketAddr, String)>,
    /// An address for pages in browsers as well.
    pub browsers: Option<Browsers>,
}

/// Why a door cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The unix socket cannot be made.
    #[error("control socket {}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory of the socket belongs to somebody else or lets others in.
    #[error("the directory {} of the control socket is open to other users", path.display())]
    Shared {
        /// The directory.
        path: PathBuf,
    },
    /// The TCP address cannot be listened on.
    #[error("control address {address}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The TCP address can be reached from outside.
    #[error("control address {0} is not on loopback")]
    NotLoopback(SocketAddr),
}

/// A served API.
#[derive(Debug)]
pub struct Serving {
    socket: PathBuf,
    tcp: Option<SocketAddr>,
    pages: Option<SocketAddr>,
    task: JoinHandle<()>,
}

impl Serving {
    /// Returns the address that belongs in `<repo>/api`.
    pub fn endpoint(&self) -> pop_rpc::Endpoint {
        pop_rpc::Endpoint::Unix(self.socket.clone())
    }

    /// Returns the TCP address, with its port.
    pub fn tcp(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Returns the address for pages in browsers, with its port.
    pub fn pages(&self) -> Option<SocketAddr> {
        self.pages
    }

    /// Waits until every connection has ended; the stop must have been asked for.
    pub async fn finished(self) {
        // A panic in there has been printed; at the end of the daemon there is nobody else to tell.
        let _ = self.task.await;
    }
}

/// Serves `methods` until `stop` is cancelled; then calls that run get a moment to answer.
///
/// # Errors
/// A socket cannot be made where `listen` says.
pub async fn serve(
    listen: Listen,
    methods: impl Into<Methods>,
    stop: CancellationToken,
) -> Result<Serving, ServeError> {
    let unix = bind_unix(&listen.socket)?;
    let (tcp, address, token) = match listen.tcp {
        None => (None, None, None),
        Some((address, token)) => {
            let listener = bind_tcp(address).await?;
            let bound = listener.local_addr().map_err(|source| ServeError::Tcp { address, source })?;
            (Some(listener), Some(bound), Some(Token::new(token)))
        }
    };
    let pages = match listen.browsers {
        None => None,
        Some(browsers) => Some(bind_pages(&browsers).await?),
    };
    let page_address = pages.as_ref().map(|(_, address)| *address);
    let door = Door::new(methods.into(), stop, token);
    let task = tokio::spawn(door.run(unix, tcp, pages.map(|(pages, _)| pages)));
    Ok(Serving { socket: listen.socket, tcp: address, pages: page_address, task })
}

fn bind_unix(socket: &Path) -> Result<UnixListener, ServeError> {
    let fail = |source| ServeError::Socket { path: socket.to_owned(), source };
    if let Some(dir) = socket.parent() {
        keep_private(dir)
            .map_err(fail)?
            .then_some(())
            .ok_or_else(|| ServeError::Shared { path: dir.into() })?;
    }
    // The caller holds the repo's lock: whatever socket is there belongs to a daemon that is gone.
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(socket).map_err(fail)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600)).map_err(fail)?;
    Ok(listener)
}

/// Makes the directory for this user alone where it is missing; returns whether it is this user's own.
fn keep_private(dir: &Path) -> io::Result<bool> {
    if !dir.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let found = std::fs::symlink_metadata(dir)?;
    let own = found.uid() == rustix::process::geteuid().as_raw();
    // Others may look into a repo that its owner opened to them; they may not put a socket there.
    Ok(own && (found.is_symlink() || found.mode() & 0o022 == 0))
}

async fn bind_tcp(address: SocketAddr) -> Result<TcpListener, ServeError> {
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|source| ServeError::Tcp { address, source })
}

async fn bind_pages(browsers: &Browsers) -> Result<(Pages, SocketAddr), ServeError> {
    let address = browsers.listen;
    let fail = |source| ServeError::Tcp { address, source };
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let at = listener.local_addr().map_err(fail)?;
    Ok((Pages { listener, rules: Rules::new(browsers, at) }, at))
}

#[cfg(test)]
mod tests;
