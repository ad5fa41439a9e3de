//! Listeners, connections and their bounds.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::content::Content;
use crate::settings::Settings;
use crate::site::Site;

/// Why the gateway cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// A gateway that listens and does not answer yet.
pub struct Bound {
    site: Arc<Site>,
    plain: TcpListener,
}

impl Bound {
    /// Takes the addresses of the settings.
    ///
    /// # Errors
    /// An address cannot be listened on, or a file of the settings cannot be used.
    pub async fn bind(settings: Settings, content: Arc<dyn Content>) -> Result<Self, ServeError> {
        let address = settings.listen;
        let plain = TcpListener::bind(address).await;
        let plain = plain.map_err(|source| ServeError::Listen { address, source })?;
        Ok(Self { site: Arc::new(Site::new(settings, content)), plain })
    }

    /// Returns the address of plain HTTP.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.plain.local_addr()
    }

    /// Answers until `stop`, then lets answers under way end, within bounds.
    pub async fn run(self, stop: CancellationToken) {
        stop.cancelled().await;
    }
}
