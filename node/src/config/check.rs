//! Settings that make no sense together: told by their names, before anything is opened.

use std::path::PathBuf;

use super::{Config, FetchChoice};

/// Two settings that contradict each other, or a file that is not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Contradiction {
    /// One means nothing without the other.
    #[error("{key} is given and {needs} is not")]
    Needs {
        /// What was given.
        key: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// Both at once mean nothing.
    #[error("{key} and {other} exclude each other")]
    Excludes {
        /// One.
        key: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A file that was named cannot be read.
    #[error("{key}: {}", path.display())]
    Unreadable {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A value alone is wrong.
    #[error("{key}: {why}")]
    Wrong {
        /// The setting.
        key: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl Config {
    /// Checks that the settings go together and that the files they name can be read.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<(), Contradiction> {
        self.check_needs()?;
        self.check_exclusions()?;
        self.check_names()?;
        self.check_files()
    }

    fn check_needs(&self) -> Result<(), Contradiction> {
        let gateway = self.gateway_listen.is_some();
        let tls = !self.domains.is_empty() || self.tls_cert_file.is_some();
        let fetches = self.gateway_fetch != FetchChoice::Off;
        let pays = self.gateway_fetch == FetchChoice::Paid;
        let rows = [
            (self.upload_token_file.is_some(), "upload_token_file", gateway, "gateway_listen"),
            (!self.domains.is_empty(), "domains", gateway, "gateway_listen"),
            (self.tls_cert_file.is_some(), "tls_cert_file", gateway, "gateway_listen"),
            (self.access_log.is_some(), "access_log", gateway, "gateway_listen"),
            (self.gateway_deny_file.is_some(), "gateway_deny_file", gateway, "gateway_listen"),
            (self.gateway_allow_file.is_some(), "gateway_allow_file", gateway, "gateway_listen"),
            (fetches, "gateway_fetch", gateway, "gateway_listen"),
            // Any page that the owner looks at can make the owner's browser ask.
            (pays, "gateway_fetch paid", self.max_spend_per_day.is_some(), "max_spend_per_day"),
            (fetches, "gateway_fetch", !self.gateway_fetch_for.is_empty(), "gateway_fetch_for"),
            (self.tls_cert_file.is_some(), "tls_cert_file", self.tls_key_file.is_some(), "tls_key_file"),
            (self.tls_key_file.is_some(), "tls_key_file", self.tls_cert_file.is_some(), "tls_cert_file"),
            (self.tls_listen.is_some(), "tls_listen", tls, "domains or tls_cert_file"),
            (self.https_redirect.is_some(), "https_redirect", tls, "domains or tls_cert_file"),
            (self.acme_contact.is_some(), "acme_contact", !self.domains.is_empty(), "domains"),
            (self.acme_roots_file.is_some(), "acme_roots_file", !self.domains.is_empty(), "domains"),
            (
                self.rpc_browser_listen.is_some(),
                "rpc_browser_listen",
                !self.rpc_origins.is_empty(),
                "rpc_origins",
            ),
            (
                !self.rpc_origins.is_empty(),
                "rpc_origins",
                self.rpc_browser_listen.is_some(),
                "rpc_browser_listen",
            ),
        ];
        match rows.into_iter().find(|(is_set, _, has, _)| *is_set && !*has) {
            Some((_, key, _, needs)) => Err(Contradiction::Needs { key, needs }),
            None => Ok(()),
        }
    }

    fn check_exclusions(&self) -> Result<(), Contradiction> {
        if !self.domains.is_empty() && self.tls_cert_file.is_some() {
            return Err(Contradiction::Excludes { key: "domains", other: "tls_cert_file" });
        }
        let listeners = [
            ("gateway_listen", self.gateway_listen),
            ("tls_listen", self.tls_listen),
            ("admin_listen", self.admin_listen),
            ("chain_listen", self.chain_listen),
            ("rpc_listen", self.rpc_listen),
            ("rpc_browser_listen", self.rpc_browser_listen),
        ];
        // Port 0 is another one each time.
        let taken = |(_, address): &(_, Option<std::net::SocketAddr>)| address.filter(|a| a.port() != 0);
        for (at, one) in listeners.iter().enumerate() {
            let same = |other: &&(&'static str, _)| taken(one).is_some() && taken(one) == taken(other);
            if let Some((other, _)) = listeners.iter().skip(at.saturating_add(1)).find(same) {
                return Err(Contradiction::Excludes { key: one.0, other });
            }
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), Contradiction> {
        for (key, names) in [("gateway_hosts", &self.gateway_hosts), ("domains", &self.domains)] {
            if let Some(name) = names.iter().find(|name| !is_host(name)) {
                let why = match key == "domains" && name.starts_with("*.") {
                    true => format!(
                        "{name:?}: wildcards need a proof by DNS; use certificate files (tls_cert_file, tls_key_file)"
                    ),
                    false => format!("{name:?} is no host name; write it without scheme and port"),
                };
                return Err(Contradiction::Wrong { key, why });
            }
        }
        if let Some(origin) = self.rpc_origins.iter().find(|origin| !is_origin(origin)) {
            let why = format!("{origin:?} is no origin; write it like https://console.example.org");
            return Err(Contradiction::Wrong { key: "rpc_origins", why });
        }
        Ok(())
    }

    fn check_files(&self) -> Result<(), Contradiction> {
        let files = [
            ("gateway_deny_file", &self.gateway_deny_file),
            ("gateway_allow_file", &self.gateway_allow_file),
            ("upload_token_file", &self.upload_token_file),
            ("acme_roots_file", &self.acme_roots_file),
            ("tls_cert_file", &self.tls_cert_file),
            ("tls_key_file", &self.tls_key_file),
        ];
        for (key, path) in files {
            let Some(path) = path else { continue };
            std::fs::File::open(path).map_err(|source| Contradiction::Unreadable {
                key,
                path: path.clone(),
                source,
            })?;
        }
        Ok(())
    }
}

fn is_host(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// An origin as browsers write it: scheme, host, a port that is not the scheme's own; nothing behind.
fn is_origin(origin: &str) -> bool {
    let rest = origin.split_once("://").filter(|(scheme, _)| {
        scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
    });
    rest.is_some_and(|(scheme, host)| {
        !scheme.is_empty()
            && !host.is_empty()
            && host.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:[]_".contains(c))
    })
}
