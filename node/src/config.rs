//! What the owner may choose, in one table: name, type, default and what it is for.
//!
//! Layers: defaults, then `config.toml`, then `POP_*` of the environment, then flags. Every value is text with its
//! unit (`10GiB`, `30s`, `0.01 FIL/GiB`) and read by one parser wherever it comes from, so that a mistake has the same
//! message everywhere. Unknown keys of the file are errors: a misspelt price must not become the default.
//!
//! `POP_*` variables that name no setting are left alone; others of the house (`POP_REPO`, `POP_WALLET_PASSPHRASE`)
//! live there too.

mod check;
mod file;
mod layer;
mod network;
mod setting;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::{Path, PathBuf};

use multiaddr::Multiaddr;
use pop_evict::Choice;
use pop_units::{AttoFil, Bytes, PricePerByte, Span};

pub use check::Contradiction;
pub use file::{WriteError, set, write_default_commented};
pub use layer::{ConfigError, Entry, Origin};
pub use network::Network;
pub use setting::{
    AccessLogFormat, ChainChoice, FetchChoice, LogFormat, LogLevel, Percent, Rate, SellChoice, ServeChoice,
};

use layer::Layers;
use setting::Setting;

/// Declares the settings once; the struct, the list of keys, the defaults and the commented file follow.
macro_rules! settings {
    ($( $(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:literal; )*) => {
        /// Every choice of the owner, checked.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $( $(#[doc = $doc])+ pub $name: $type, )*
            origins: BTreeMap<&'static str, Origin>,
        }

        /// One row of the table.
        #[derive(Clone, Copy, Debug)]
        pub struct Row {
            /// The key of the file; the flag has dashes, the variable is in capitals behind `POP_`.
            pub key: &'static str,
            /// What it is for.
            pub doc: &'static str,
            /// What holds when nobody chooses, as text.
            pub default: &'static str,
            check: fn(&str) -> Result<(), String>,
            many: bool,
        }

        /// The table, in the order of the file.
        pub const ROWS: &[Row] = &[$( Row {
            key: stringify!($name),
            doc: concat!($($doc, "\n"),+),
            default: $default,
            check: |text| <$type as Setting>::read(text).map(drop),
            many: <$type as Setting>::MANY,
        }, )*];

        impl Config {
            fn of(layers: &Layers) -> Result<Self, ConfigError> {
                let mut origins = BTreeMap::new();
                Ok(Self {
                    $( $name: {
                        let (value, origin) = layers.read::<$type>(stringify!($name))?;
                        origins.insert(stringify!($name), origin);
                        value
                    }, )*
                    origins,
                })
            }

            /// Returns every value as text, with where it comes from.
            pub fn entries(&self) -> Vec<Entry> {
                vec![$( Entry {
                    key: stringify!($name),
                    value: self.$name.write(),
                    many: <$type as Setting>::MANY,
                    origin: self.origins.get(stringify!($name)).copied().unwrap_or(Origin::Default),
                }, )*]
            }
        }
    };
}

settings! {
    /// Multiaddrs to listen on.
    listen: Vec<Multiaddr> = "/ip4/0.0.0.0/tcp/41504 /ip4/0.0.0.0/udp/41504/quic-v1 /ip4/0.0.0.0/tcp/41505/ws";
    /// Multiaddrs to tell others, where they differ from what is listened on.
    announce: Vec<Multiaddr> = "";
    /// Nodes to connect to at start: multiaddrs that end in /p2p/PEER.
    bootstrap: Vec<Multiaddr> = "";
    /// Regions whose queries are answered.
    regions: Vec<String> = "Global";
    /// The most that blocks may take on disk.
    capacity: Bytes = "10GiB";
    /// Who chooses what goes when room is needed: aged, lru, s3-fifo or sieve.
    eviction: Choice = "aged";
    /// How full the store is after it made room, in percent of what is not pinned, from 50 to 100.
    low_watermark: Percent = "95%";
    /// What this node asks for what it sends.
    price: PricePerByte = "0 FIL/GiB";
    /// The most this node pays when a get says nothing else.
    max_price: PricePerByte = "0.01 FIL/GiB";
    /// The most this node spends in 24 hours; no bound when empty.
    max_spend_per_day: Option<AttoFil> = "";
    /// How often the indexes of peers are looked through for content worth keeping; 0s is never.
    replicate_interval: Span = "0s";
    /// The chain that money lives on: local, or the URL of a Filecoin JSON-RPC API.
    chain: ChainChoice = "local";
    /// Where the embedded chain is served to the owner's other nodes; not at all when empty.
    chain_listen: Option<SocketAddr> = "";
    /// The file that holds the token of the chain's API.
    chain_token_file: Option<PathBuf> = "";
    /// Where the HTTP gateway is served; not at all when empty.
    gateway_listen: Option<SocketAddr> = "";
    /// What the gateway answers: full, trustless (blocks and CARs alone), or auto: full on loopback, trustless elsewhere.
    gateway_serve: ServeChoice = "auto";
    /// Host names below which every content has a web origin of its own, like CID.ipfs.localhost.
    gateway_hosts: Vec<String> = "localhost";
    /// Networks of proxies whose X-Forwarded headers are believed.
    gateway_proxies: Vec<Network> = "127.0.0.0/8 ::1/128";
    /// What the gateway does about content that is not here: off, free (fetched if it costs nothing) or paid.
    gateway_fetch: FetchChoice = "off";
    /// Networks for whose requests content is fetched.
    gateway_fetch_for: Vec<Network> = "127.0.0.0/8 ::1/128";
    /// The most that one fetch for the gateway may cost this node.
    gateway_fetch_spend: AttoFil = "0.1 FIL";
    /// How long each step of a fetch for the gateway may take; an answer begins within four of them.
    gateway_timeout: Span = "30s";
    /// What content costs over HTTP: free, or node for the price of this node, which HTTP clients are told and cannot pay.
    gateway_sell: SellChoice = "free";
    /// The file that lists CIDs and paths which the gateway never serves.
    gateway_deny_file: Option<PathBuf> = "";
    /// The file that lists the roots which the gateway serves alone; all when empty.
    gateway_allow_file: Option<PathBuf> = "";
    /// Connections to the gateway at once.
    gateway_connections: NonZeroUsize = "4096";
    /// Requests that the gateway answers at once.
    gateway_requests: NonZeroUsize = "2048";
    /// Requests of one address that the gateway answers at once.
    gateway_requests_per_address: NonZeroUsize = "512";
    /// Requests that one address may begin each second; no bound when 0.
    gateway_rate: u32 = "0";
    /// The file that holds the tokens for uploads, one in a line; when empty only a gateway on loopback takes uploads.
    upload_token_file: Option<PathBuf> = "";
    /// The largest upload.
    upload_limit: Bytes = "10GiB";
    /// What may be uploaded with one token in 24 hours; no bound when empty.
    upload_quota: Option<Bytes> = "";
    /// The file where requests to the gateway are logged, or - for standard output; not at all when empty.
    access_log: Option<PathBuf> = "";
    /// What a line of the access log looks like: combined or json.
    access_log_format: AccessLogFormat = "combined";
    /// Names of this node for which it gets certificates by itself.
    domains: Vec<String> = "";
    /// The certificate authority's ACME directory.
    acme_directory: String = "https://acme-v02.api.letsencrypt.org/directory";
    /// Whom the certificate authority may write to, like mailto:me@example.org.
    acme_contact: Option<String> = "";
    /// The file of roots that the certificate authority is checked against; the system's when empty.
    acme_roots_file: Option<PathBuf> = "";
    /// Where HTTPS is served; 0.0.0.0:443 when empty and there are domains or a certificate.
    tls_listen: Option<SocketAddr> = "";
    /// The port where clients find HTTPS, which plain HTTP for a name of the certificate leads to; nowhere when empty.
    https_redirect: Option<NonZeroU16> = "";
    /// The file with a certificate chain of one's own.
    tls_cert_file: Option<PathBuf> = "";
    /// The file with its key.
    tls_key_file: Option<PathBuf> = "";
    /// Where /livez, /readyz and /metrics are served, for the owner's network alone; not at all when empty.
    admin_listen: Option<SocketAddr> = "";
    /// A loopback address where the control API is served too, with the token in rpc.token.
    rpc_listen: Option<SocketAddr> = "";
    /// Where browsers reach the control API over WebSocket, with the token in rpc.token; not at all when empty.
    rpc_browser_listen: Option<SocketAddr> = "";
    /// Origins of pages that may use it, like https://console.example.org.
    rpc_origins: Vec<String> = "";
    /// What is logged: error, warn, info, debug or trace.
    log_level: LogLevel = "info";
    /// How it is logged: text or json.
    log_format: LogFormat = "text";
    /// The most that is sent each second, like 10MiB; no bound when empty.
    up_limit: Option<Rate> = "";
    /// The most that is received each second, like 10MiB; no bound when empty.
    down_limit: Option<Rate> = "";
}

impl Row {
    /// Checks a text for this row.
    ///
    /// # Errors
    /// What the parser says.
    pub fn check(&self, text: &str) -> Result<(), String> {
        (self.check)(text)
    }

    /// Returns whether the value is a list.
    pub const fn many(&self) -> bool {
        self.many
    }
}

impl Default for Config {
    fn default() -> Self {
        Layers::new(None, &[], &[])
            .and_then(|layers| Self::of(&layers))
            .expect("the defaults of the table parse")
    }
}

impl Config {
    /// Reads the settings of `repo`: its file where there is one, this process's environment, and `flags`.
    ///
    /// A relative path in the file means the repo; flags arrive absolute.
    ///
    /// # Errors
    /// The file cannot be read, or a layer has an unknown key or a value that does not parse.
    pub fn load(repo: &Path, flags: &[(&str, String)]) -> Result<Self, ConfigError> {
        let path = repo.join("config.toml");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(ConfigError::Unreadable { path, source }),
        };
        let environment: Vec<_> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let layers = Layers::new(text.as_deref(), &environment, flags)?;
        let mut config = Self::of(&layers)?;
        for path in config.paths() {
            *path = repo.join(&path);
        }
        Ok(config)
    }

    /// Returns the paths that were chosen. A dash is none: it stands for standard output.
    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let files = [
            &mut self.chain_token_file,
            &mut self.gateway_deny_file,
            &mut self.gateway_allow_file,
            &mut self.upload_token_file,
            &mut self.access_log,
            &mut self.acme_roots_file,
            &mut self.tls_cert_file,
            &mut self.tls_key_file,
        ];
        files.into_iter().flatten().filter(|path| path.as_os_str() != "-")
    }

    /// Returns every value as the control API shows it.
    pub fn show(&self) -> pop_rpc::ConfigShow {
        let values = self.entries().into_iter().map(|entry| {
            let origin = entry.origin.to_string();
            (entry.key.to_owned(), pop_rpc::ConfigValue { value: entry.json(), origin })
        });
        pop_rpc::ConfigShow(values.collect())
    }
}

#[cfg(test)]
mod tests;
