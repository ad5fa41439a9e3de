//! Log lines: text for people, JSON for collectors, on stderr either way.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Starts logging by the settings; a second call in one process changes nothing.
///
/// The libraries below are held at `warn` unless the level asks for their trace; Kademlia warns of every
/// bootstrap without peers, which is how a first node starts.
pub fn start(config: &Config) {
    let level = config.log_level.as_str();
    let quiet = match level {
        "trace" => "debug",
        _ => "warn",
    };
    let filter = EnvFilter::new(format!(
        "{quiet},libp2p_kad=error,pop_node={level},pop_gateway={level},pop_exchange={level},pop_store={level},\
         pop_wallet={level},pop_chain={level}"
    ));
    let colour = std::io::stderr().is_terminal();
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    let started = match config.log_format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        tracing::trace!(%error, "logging was already started");
    }
}
