//! Why a daemon does not start or run on, and what its operator can do.

use libp2p::Multiaddr;
use pop_gateway::ServeError as GatewayError;
use pop_rpc::ErrorCode;
use pop_store::OpenError;

use crate::config::Contradiction;
use crate::money::MoneyError;
use crate::net::StartError;
use crate::repo::RepoError;
use crate::rpc_server::ServeError;

/// Why the daemon did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// The repository cannot be used.
    #[error("repository")]
    Repo(#[from] RepoError),
    /// The store does not open.
    #[error("store")]
    Store(#[from] OpenError),
    /// The store did not close in order; the next start rebuilds its index.
    #[error("store")]
    Close(#[source] pop_store::Error),
    /// The wallet or its chain does not open.
    #[error("money")]
    Money(#[from] MoneyError),
    /// The network does not start.
    #[error("network")]
    Net(#[from] StartError),
    /// Another program listens on a port of this node. libp2p would share it, and peers would reach either.
    #[error("{address} is taken")]
    PortTaken {
        /// The address.
        address: Multiaddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The control API cannot be served.
    #[error("control API")]
    Rpc(#[from] ServeError),
    /// The gateway cannot be served.
    #[error("gateway")]
    Gateway(#[from] GatewayError),
    /// Settings contradict each other.
    #[error(transparent)]
    Settings(#[from] Contradiction),
    /// Rows of the open transaction do not read.
    #[error("open transaction")]
    Tx(#[source] pop_rpc::Error),
    /// A setting asks for what this version does not do; silence would promise it.
    #[error("{0} is not built yet")]
    NotBuilt(&'static str),
    /// A node without a region would ask and answer nobody.
    #[error("regions names no region")]
    NoRegion,
    /// A task of the daemon ended although nobody stopped it.
    #[error("the {0} task ended")]
    TaskEnded(&'static str),
    /// The system gives no signals.
    #[error("signals")]
    Signals(#[source] std::io::Error),
}

impl DaemonError {
    /// Returns the kind of the failure in the one table, and with it the exit code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Repo(_) | Self::Store(_) | Self::Close(_) => ErrorCode::Storage,
            Self::Money(MoneyError::Keys(keys)) if is_plain_refused(keys) => ErrorCode::Refused,
            Self::Money(MoneyError::NotOurs(_)) | Self::NotBuilt(_) | Self::NoRegion | Self::Settings(_) => {
                ErrorCode::Usage
            }
            // Files that settings name, and what is in them.
            Self::Gateway(GatewayError::List(_) | GatewayError::Tls(_) | GatewayError::Log(_)) => {
                ErrorCode::Usage
            }
            Self::Tx(error) => error.code,
            Self::Money(_)
            | Self::Net(_)
            | Self::PortTaken { .. }
            | Self::Rpc(_)
            | Self::Gateway(_)
            | Self::TaskEnded(_)
            | Self::Signals(_) => ErrorCode::Internal,
        }
    }

    /// Returns the exit code of a process that ends with this.
    pub fn exit_code(&self) -> u8 {
        self.code().exit()
    }

    /// Returns what the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Repo(RepoError::InUse { .. }) => {
                "use that daemon, stop it with `pop off`, or start this one with another --repo"
            }
            Self::Repo(_) => "check the directory and its permissions",
            Self::Store(OpenError::InUse { .. }) => "another process has the store open; stop it first",
            Self::Store(_) | Self::Close(_) | Self::Tx(_) => "look at the disk and its free space",
            Self::NoRegion => "name at least one, like --regions Global",
            Self::NotBuilt(_) => "leave it out; this version has no such service yet",
            Self::Money(MoneyError::Keys(keys)) if is_plain_refused(keys) => {
                "set POP_WALLET_PASSPHRASE or POP_WALLET_PASSPHRASE_FILE"
            }
            Self::Money(MoneyError::Chain { .. }) => {
                "check --chain and --chain-token-file, and that the node there runs"
            }
            Self::Money(_) => "check the chain settings with `pop config show --origin`",
            Self::Net(_) | Self::PortTaken { .. } => "check --listen: another program may have the port",
            Self::Rpc(_) => "check the repository's permissions and --rpc-listen",
            Self::Gateway(_) => "check --gateway-listen and the other settings of the gateway",
            Self::Settings(_) => "see `pop config show --origin`, `pop start --help` and config.toml",
            Self::TaskEnded(_) | Self::Signals(_) => "start it again; tell the developers if it goes on",
        }
    }
}

fn is_plain_refused(error: &pop_keys::KeystoreError) -> bool {
    matches!(error, pop_keys::KeystoreError::PlainRefused(_))
}
