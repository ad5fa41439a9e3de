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
    let tls = tls(config, repo);
    // Whoever reaches one of the listeners gets what the gateway serves.
    let is_local = listen.ip().is_loopback() && tls.as_ref().is_none_or(|tls| tls.listen.ip().is_loopback());
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
        tls,
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
    let listen = config.tls_listen.unwrap_or_else(|| HTTPS.into());
    Some(Tls { listen, source, redirect: config.https_redirect })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serves(flags: &[(&'static str, String)]) -> (Serves, bool) {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::load(dir.path(), flags).unwrap();
        let settings = of(&config, dir.path()).unwrap();
        (settings.serves, settings.uploads.is_some())
    }

    #[test]
    fn what_is_reached_from_outside_by_either_listener_is_not_served_like_a_local_one() {
        let flag = |key, value: &str| (key, value.to_owned());
        let plain = flag("gateway_listen", "127.0.0.1:0");
        let domains = flag("domains", "pop.example");
        assert_eq!(serves(std::slice::from_ref(&plain)), (Serves::Everything, true));
        assert_eq!(serves(&[flag("gateway_listen", "0.0.0.0:0")]), (Serves::Trustless, false));
        assert_eq!(serves(&[plain.clone(), domains.clone()]), (Serves::Trustless, false), "0.0.0.0:443");
        let [inside, outside] = ["127.0.0.1:0", "192.0.2.1:443"].map(|at| flag("tls_listen", at));
        assert_eq!(serves(&[plain.clone(), domains.clone(), inside]), (Serves::Everything, true));
        let full = flag("gateway_serve", "full");
        assert_eq!(serves(&[plain, domains, outside, full]), (Serves::Everything, false));
    }
}
