//! The node's money at start-up: which chain, which keys, one wallet over both.
//!
//! An embedded chain and its first key are founded together: the key is on disk before the genesis that gives
//! it everything, so a crash in between leaves an unused key and never a chain that nobody owns.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pop_chain::{
    ChainStore, Change, Clock, Devnet, FilRpc, Genesis, Http, InProcess, Router, Row, StoreError, Token,
};
use pop_keys::{ChainId, Keystore, KeystoreError, Protection, SecretKey, Zeroizing};
use pop_payments::{Chain, ChainError};
use pop_store::{Batch, State};
use pop_units::ChainEpoch;
use pop_wallet::{Wallet, WalletError};
use tokio::net::TcpListener;

use crate::config::{ChainChoice, Config};
use crate::repo::{Repo, RepoError};

/// Filecoin's time from one epoch to the next, which the embedded chain keeps too.
const EPOCH: Duration = Duration::from_secs(30);
/// Where a Filecoin node answers when a URL names only its host.
const RPC_PATH: &str = "/rpc/v1";

/// Why the node has no money to work with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoneyError {
    /// A key cannot be read or kept.
    #[error("wallet keys")]
    Keys(#[source] Box<KeystoreError>),
    /// The embedded chain does not open.
    #[error("embedded chain")]
    Devnet(#[from] pop_chain::Error),
    /// The chain does not answer, or is another than the keys are bound to.
    #[error("chain {url}")]
    Chain {
        /// Where it was looked for.
        url: String,
        /// What it said.
        #[source]
        source: Box<ChainError>,
    },
    /// The wallet's rows cannot be read.
    #[error("wallet")]
    Wallet(#[source] Box<WalletError>),
    /// A token or passphrase file cannot be read.
    #[error("{path}")]
    Secret {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A token file holds no token.
    #[error("{0} holds no token")]
    NoToken(String),
    /// The chain's address cannot be listened on.
    #[error("chain address {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The repository does not give its token file.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The embedded chain can only be served by the node that runs it.
    #[error("chain-listen serves the embedded chain, and this node is on {0}")]
    NotOurs(String),
}

/// What is served to the operator's other nodes.
#[derive(Debug)]
pub struct Served {
    /// Where.
    pub listener: TcpListener,
    /// What.
    pub router: Router,
}

impl From<KeystoreError> for MoneyError {
    fn from(error: KeystoreError) -> Self {
        Self::Keys(Box::new(error))
    }
}

impl From<WalletError> for MoneyError {
    fn from(error: WalletError) -> Self {
        Self::Wallet(Box::new(error))
    }
}

impl Served {
    /// Returns where other nodes reach it.
    ///
    /// # Errors
    /// The listener has lost its address.
    pub fn address(&self) -> Result<SocketAddr, MoneyError> {
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        self.listener.local_addr().map_err(|source| MoneyError::Listen { address: unknown, source })
    }
}

/// The chain the money lives on, as far as the daemon itself steers it.
#[derive(Debug, Clone)]
pub enum Steering {
    /// The embedded chain of this process.
    Own(Arc<Devnet>),
    /// Another node's embedded chain.
    Other(Arc<FilRpc<Http>>),
}

impl Steering {
    /// Moves an embedded chain on.
    ///
    /// # Errors
    /// The chain does not allow it, or its store fails.
    pub async fn advance(&self, epochs: u32) -> Result<ChainEpoch, ChainError> {
        match self {
            Self::Own(devnet) => devnet.advance(epochs).map_err(|e| ChainError::Storage(Box::new(e))),
            Self::Other(chain) => chain.advance(epochs).await,
        }
    }
}

/// The wallet, its chain, and what of it is served.
pub struct Money {
    /// Keys, channels, vouchers.
    pub wallet: Wallet,
    /// The one client path to the chain.
    pub chain: Arc<dyn Chain>,
    /// What the daemon may do to the chain.
    pub steering: Steering,
    /// The embedded chain's door to other nodes, still to be served.
    pub served: Option<Served>,
}

impl Money {
    /// Opens what the settings name.
    ///
    /// # Errors
    /// Keys, chain or the wallet's rows cannot be used.
    pub async fn open(repo: &Repo, config: &Config, state: &State) -> Result<Self, MoneyError> {
        match &config.chain {
            ChainChoice::Local => Self::open_own(repo, config, state).await,
            ChainChoice::Url(url) => Self::open_other(repo, config, state, url).await,
        }
    }

    async fn open_own(repo: &Repo, config: &Config, state: &State) -> Result<Self, MoneyError> {
        let rows: Arc<dyn ChainStore> = Arc::new(Rows(state.clone()));
        let (genesis, keys) = match Genesis::stored(&*rows)? {
            Some(genesis) => {
                let id = ChainId::local(&genesis.hash());
                (genesis, Keystore::open(&repo.keystore(), id, protection()?)?)
            }
            None => found(repo)?,
        };
        let devnet = Arc::new(Devnet::open(rows, genesis, Clock::Wall { epoch: EPOCH })?);
        let url = "local".to_owned();
        let client = FilRpc::connect(InProcess::new(Arc::clone(&devnet)), Some(devnet.id())).await;
        let chain: Arc<dyn Chain> =
            Arc::new(client.map_err(|error| MoneyError::Chain { url, source: Box::new(error) })?);
        let served = match config.chain_listen {
            None => None,
            Some(address) => {
                let token = repo.token("chain.token")?;
                let token = Token::new(&token).ok_or_else(|| MoneyError::NoToken("chain.token".into()))?;
                let listener = TcpListener::bind(address).await;
                let listener = listener.map_err(|source| MoneyError::Listen { address, source })?;
                Some(Served { listener, router: Router::new(Arc::clone(&devnet), token, false) })
            }
        };
        let wallet = Wallet::open(state.clone(), keys, Arc::clone(&chain))?;
        Ok(Self { wallet, chain, steering: Steering::Own(devnet), served })
    }

    async fn open_other(repo: &Repo, config: &Config, state: &State, url: &str) -> Result<Self, MoneyError> {
        if config.chain_listen.is_some() {
            return Err(MoneyError::NotOurs(url.to_owned()));
        }
        let token = match &config.chain_token_file {
            None => None,
            Some(path) => Some(read_token(path)?),
        };
        let fail = |error| MoneyError::Chain { url: url.to_owned(), source: Box::new(error) };
        let transport = Http::new(&with_path(url), token);
        let transport = transport.map_err(|e| fail(ChainError::Unreachable(e.to_string())))?;
        let client = Arc::new(FilRpc::connect(transport, None).await.map_err(fail)?);
        let chain: Arc<dyn Chain> = client.clone();
        let keys = Keystore::open(&repo.keystore(), chain.id().clone(), protection()?)?;
        if keys.default_address()?.is_none() {
            keys.new_key()?;
        }
        let wallet = Wallet::open(state.clone(), keys, Arc::clone(&chain))?;
        Ok(Self { wallet, chain, steering: Steering::Other(client), served: None })
    }
}

/// Makes the operator's key and the genesis that gives it everything.
fn found(repo: &Repo) -> Result<(Genesis, Keystore), MoneyError> {
    let key = SecretKey::generate().map_err(KeystoreError::from)?;
    let genesis = Genesis::new(key.address()).map_err(KeystoreError::from)?;
    let id = ChainId::local(&genesis.hash());
    let keys = Keystore::open(&repo.keystore(), id, protection()?)?;
    let address = keys.keep(key)?;
    keys.set_default(&address)?;
    Ok((genesis, keys))
}

/// Reads the passphrase from the environment; without one, keys stay in plain private files.
fn protection() -> Result<Protection, MoneyError> {
    if let Ok(passphrase) = std::env::var("POP_WALLET_PASSPHRASE") {
        return Ok(Protection::Passphrase(Zeroizing::new(passphrase)));
    }
    match std::env::var("POP_WALLET_PASSPHRASE_FILE") {
        Ok(path) => {
            let text = std::fs::read_to_string(&path);
            let text = text.map_err(|source| MoneyError::Secret { path, source })?;
            Ok(Protection::Passphrase(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())))
        }
        Err(_) => {
            tracing::info!("wallet keys are kept in plain files that only their owner can read");
            Ok(Protection::Plain)
        }
    }
}

fn read_token(path: &Path) -> Result<Token, MoneyError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| MoneyError::Secret { path: shown.clone(), source })?;
    Token::new(&text).ok_or(MoneyError::NoToken(shown))
}

/// Completes a URL that names only a host.
fn with_path(url: &str) -> String {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    match url[after_scheme..].trim_end_matches('/').contains('/') {
        true => url.to_owned(),
        false => format!("{}{RPC_PATH}", url.trim_end_matches('/')),
    }
}

/// Returns the URL at which a served chain is reached.
pub fn url_of(address: SocketAddr) -> String {
    format!("http://{address}{RPC_PATH}")
}

/// The embedded chain's rows in the node's durable state.
struct Rows(State);

const TABLE: &str = "chain";

impl ChainStore for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(TABLE, key).map_err(|e| StoreError(Box::new(e)))
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        for (key, value) in changes {
            batch = match value {
                Some(value) => batch.put(TABLE, key, value),
                None => batch.delete(TABLE, key),
            };
        }
        self.0.apply(batch).map_err(|e| StoreError(Box::new(e)))
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<Row>, StoreError> {
        self.0.scan(TABLE, prefix).map_err(|e| StoreError(Box::new(e)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_get_the_path_they_lack() {
        assert_eq!(with_path("http://127.0.0.1:1234"), "http://127.0.0.1:1234/rpc/v1");
        assert_eq!(with_path("http://127.0.0.1:1234/"), "http://127.0.0.1:1234/rpc/v1");
        assert_eq!(with_path("https://node.example/rpc/v1"), "https://node.example/rpc/v1");
    }
}
