//! From the settings of the node to those of its gateway.

use std::path::Path;

use pop_gateway::Settings;
use pop_gateway::settings::{AccessLog, Certificates, Limits, Lists, LogForm, Serves, Tls, Uploads};

use crate::config::{AccessLogFormat, Config, FetchChoice, Network, ServeChoice};

/// Where HTTPS is served when nobody says it: everywhere, where browsers look for it.
const HTTPS: ([u8; 4], u16) = ([0, 0, 0, 0], 443);

/// Returns the gateway's settings; `None` when there is to be none. The settings were checked.
pub(super) fn of(config: &Config, repo: &Path) -> Option<Settings> {
    let listen = config.gateway_listen?;
    let is_local = listen.ip().is_loopback();
    let serves = match (config.gateway_serve, is_local) {
        (ServeChoice::Full, _) | (ServeChoice::Auto, true) => Serves::Everything,
        (ServeChoice::Trustless, _) | (ServeChoice::Auto, false) => Serves::Trustless,
    };
    let fetch_for = match config.gateway_fetch {
        FetchChoice::Off => Vec::new(),
        FetchChoice::Free | FetchChoice::Paid => networks(&config.gateway_fetch_for),
    };
    Some(Settings {
        listen,
        serves,
        hosts: config.gateway_hosts.iter().map(|name| name.to_ascii_lowercase()).collect(),
        proxies: networks(&config.gateway_proxies),
        fetch_for,
        fetch_timeout: config.gateway_timeout.as_duration(),
        lists: Lists { deny: config.gateway_deny_file.clone(), allow: config.gateway_allow_file.clone() },
        limits: limits(config),
        uploads: uploads(config, is_local),
        access_log: access_log(config),
        tls: tls(config, repo),
    })
}

fn networks(list: &[Network]) -> Vec<ipnet::IpNet> {
    list.iter().map(|network| network.0).collect()
}

fn limits(config: &Config) -> Limits {
    let defaults = Limits::default();
    let connections = config.gateway_connections.get();
    Limits {
        connections,
        connections_per_address: defaults.connections_per_address.min(connections),
        requests: config.gateway_requests.get(),
        requests_per_address: config.gateway_requests_per_address.get(),
        rate_per_address: config.gateway_rate,
        ..defaults
    }
}

/// Without tokens only a gateway that nobody else reaches takes uploads.
fn uploads(config: &Config, is_local: bool) -> Option<Uploads> {
    let may = is_local || config.upload_token_file.is_some();
    may.then(|| Uploads {
        tokens: config.upload_token_file.clone(),
        body: config.upload_limit,
        quota: config.upload_quota,
    })
}

fn access_log(config: &Config) -> Option<AccessLog> {
    let to = config.access_log.clone()?;
    let format = match config.access_log_format {
        AccessLogFormat::Combined => LogForm::Combined,
        AccessLogFormat::Json => LogForm::Json,
    };
    Some(AccessLog { to: (to.as_os_str() != "-").then_some(to), format })
}

fn tls(config: &Config, repo: &Path) -> Option<Tls> {
    let source = match (&config.tls_cert_file, &config.tls_key_file) {
        (Some(chain), Some(key)) => Certificates::Files { chain: chain.clone(), key: key.clone() },
        (None, _) | (_, None) if config.domains.is_empty() => return None,
        (None, _) | (_, None) => Certificates::Acme {
            domains: config.domains.clone(),
            directory: config.acme_directory.clone(),
            contact: config.acme_contact.clone(),
            roots: config.acme_roots_file.clone(),
            cache: repo.join("acme"),
        },
    };
    Some(Tls { listen: config.tls_listen.unwrap_or_else(|| HTTPS.into()), source })
}
