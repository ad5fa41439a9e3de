//! The layers of the house as data, and the rule that holds every manifest to them.
//!
//! ARCHITECTURE.md draws the same table for people. It never looks at sources: what a crate may name is
//! decided by what its manifest lists.

use crate::finding::Finding;

/// One crate of the workspace: its layer and what else of ours it may use.
struct Room {
    name: &'static str,
    layer: u8,
    may_use: &'static [&'static str],
}

/// Lower layers never see higher ones; within what is lower, a row names exactly what it needs.
const ROOMS: &[Room] = &[
    Room { name: "pop-units", layer: 0, may_use: &[] },
    Room { name: "pop-dag", layer: 1, may_use: &["pop-units"] },
    Room { name: "pop-evict", layer: 1, may_use: &["pop-units"] },
    Room { name: "pop-keys", layer: 1, may_use: &["pop-units"] },
    Room { name: "pop-rpc", layer: 1, may_use: &["pop-units"] },
    Room { name: "pop-store", layer: 2, may_use: &["pop-units", "pop-dag", "pop-evict"] },
    Room { name: "pop-ledger", layer: 2, may_use: &["pop-units"] },
    // The one edge inside a layer: payments book every voucher in the ledger.
    Room { name: "pop-payments", layer: 2, may_use: &["pop-units", "pop-keys", "pop-ledger"] },
    Room { name: "pop-chain", layer: 3, may_use: &["pop-units", "pop-keys", "pop-payments"] },
    Room { name: "pop-wire", layer: 3, may_use: &["pop-units", "pop-dag", "pop-keys", "pop-payments"] },
    Room {
        name: "pop-exchange",
        layer: 4,
        may_use: &["pop-units", "pop-dag", "pop-keys", "pop-store", "pop-ledger", "pop-payments", "pop-wire"],
    },
    Room {
        name: "pop-wallet",
        layer: 4,
        may_use: &["pop-units", "pop-keys", "pop-ledger", "pop-payments", "pop-chain", "pop-store"],
    },
    Room { name: "pop-gateway", layer: 5, may_use: &["pop-units", "pop-dag", "pop-store"] },
    // The one edge inside this layer: the daemon furnishes the gateway with its content.
    Room {
        name: "pop-node",
        layer: 5,
        may_use: &[
            "pop-units",
            "pop-dag",
            "pop-evict",
            "pop-keys",
            "pop-rpc",
            "pop-store",
            "pop-ledger",
            "pop-payments",
            "pop-chain",
            "pop-wire",
            "pop-exchange",
            "pop-wallet",
            "pop-gateway",
        ],
    },
    Room { name: "pop", layer: 6, may_use: &["pop-units", "pop-rpc", "pop-node"] },
    Room { name: "xtask", layer: 6, may_use: &["pop-units", "pop-dag", "pop-store", "pop-evict"] },
];

/// An outside crate that only some manifests may list, and why.
struct Reserved {
    name: &'static str,
    only: &'static [&'static str],
    reason: &'static str,
}

const RESERVED: &[Reserved] = &[
    Reserved { name: "libp2p", only: &["pop-node"], reason: "the swarm lives in one loop" },
    Reserved {
        name: "libp2p-identity",
        only: &["pop-wire", "pop-exchange", "pop-node"],
        reason: "peer ids are types on the wire, not network access",
    },
    Reserved {
        name: "multiaddr",
        only: &["pop-wire", "pop-exchange", "pop-node"],
        reason: "addresses are types on the wire, not network access",
    },
    Reserved { name: "sled", only: &["pop-store"], reason: "durable state has one door" },
    Reserved { name: "axum", only: &["pop-gateway"], reason: "public HTTP is a room of its own" },
    Reserved { name: "clap", only: &["pop"], reason: "flags are read once, at the door" },
    Reserved { name: "anyhow", only: &["pop", "xtask"], reason: "libraries say exactly what failed" },
    Reserved { name: "reqwest", only: &["pop-chain", "pop-node"], reason: "HTTP out has two uses" },
    Reserved { name: "jsonrpsee", only: &["pop-rpc", "pop-node"], reason: "the contract and its server" },
    Reserved {
        name: "tokio",
        only: &["pop-rpc", "pop-chain", "pop-gateway", "pop-node", "pop"],
        reason: "rooms below the tasks are state machines without I/O",
    },
];

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Linked into what ships.
    Shipped,
    /// Only in tests.
    Test,
}

/// A manifest, reduced to what the rules ask about.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Manifest path relative to the workspace.
    pub(crate) manifest: String,
    pub(crate) uses: Vec<(String, Use)>,
}

/// Returns the layer of a crate of ours.
pub(crate) fn layer(name: &str) -> Option<u8> {
    room(name).map(|room| room.layer)
}

fn room(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

/// Returns every edge of `packages` that the table does not allow.
pub(crate) fn check(packages: &[Package]) -> Vec<Finding> {
    packages.iter().flat_map(check_package).collect()
}

fn check_package(package: &Package) -> Vec<Finding> {
    let Some(room) = room(&package.name) else {
        return vec![Finding::failure(
            &package.manifest,
            "layers",
            format!("crate {} has no row in the table of layers", package.name),
            "add it to ROOMS in cmd/xtask/src/layers.rs and to the code map of ARCHITECTURE.md",
        )];
    };
    package.uses.iter().filter_map(|(used, kind)| check_use(package, room, used, *kind)).collect()
}

fn check_use(package: &Package, room: &Room, used: &str, kind: Use) -> Option<Finding> {
    if let Some(other) = layer(used) {
        // A test may reach sideways for a fixture, never up: the inner test loop must stay small.
        let allowed = room.may_use.contains(&used)
            || used == room.name
            || (kind == Use::Test && other <= room.layer && other < 5);
        return (!allowed).then(|| {
            Finding::failure(
                &package.manifest,
                "layers",
                format!("{} (layer {}) uses {used} (layer {other})", room.name, room.layer),
                format!(
                    "it may use {}; move the code or hand the value in through a trait",
                    list(room.may_use)
                ),
            )
        });
    }
    let reserved = RESERVED.iter().find(|reserved| reserved.name == used)?;
    let allowed = reserved.only.contains(&room.name) || (kind == Use::Test && used == "tokio");
    (!allowed).then(|| {
        Finding::failure(
            &package.manifest,
            "reserved",
            format!("{} lists {used}", room.name),
            format!("only {} may: {}", list(reserved.only), reserved.reason),
        )
    })
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "nothing of ours".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, uses: &[(&str, Use)]) -> Package {
        Package {
            name: name.to_owned(),
            manifest: format!("{name}/Cargo.toml"),
            uses: uses.iter().map(|(used, kind)| ((*used).to_owned(), *kind)).collect(),
        }
    }

    fn facts(name: &str, uses: &[(&str, Use)]) -> Vec<String> {
        check(&[package(name, uses)]).into_iter().map(|finding| finding.fact).collect()
    }

    #[test]
    fn listed_edges_pass() {
        let uses = [("pop-keys", Use::Shipped), ("pop-ledger", Use::Shipped), ("serde", Use::Shipped)];
        assert!(facts("pop-payments", &uses).is_empty());
        assert!(facts("pop-wire", &[("pop-keys", Use::Shipped)]).is_empty());
    }

    #[test]
    fn upward_edge_is_refused() {
        assert_eq!(facts("pop-units", &[("pop-dag", Use::Shipped)]).len(), 1);
        assert_eq!(facts("pop-dag", &[("pop-node", Use::Test)]).len(), 1);
    }

    #[test]
    fn exchange_never_names_chain() {
        assert_eq!(facts("pop-exchange", &[("pop-chain", Use::Shipped)]).len(), 1);
    }

    #[test]
    fn rpc_never_enters_exchange_and_wire_never_enters_wallet() {
        assert_eq!(facts("pop-exchange", &[("pop-rpc", Use::Shipped)]).len(), 1);
        assert_eq!(facts("pop-wallet", &[("pop-wire", Use::Shipped)]).len(), 1);
    }

    #[test]
    fn reserved_crates_stay_in_their_room() {
        assert!(facts("pop-node", &[("libp2p", Use::Shipped)]).is_empty());
        assert_eq!(facts("pop-exchange", &[("libp2p", Use::Shipped)]).len(), 1);
        assert!(facts("pop-wire", &[("libp2p-identity", Use::Shipped)]).is_empty());
        assert_eq!(facts("pop-node", &[("sled", Use::Test)]).len(), 1);
        assert_eq!(facts("pop-rpc", &[("clap", Use::Shipped)]).len(), 1);
        assert_eq!(facts("pop-node", &[("axum", Use::Shipped)]).len(), 1);
    }

    #[test]
    fn tests_may_use_tokio_anywhere_but_code_may_not() {
        assert!(facts("pop-wallet", &[("tokio", Use::Test)]).is_empty());
        assert_eq!(facts("pop-wallet", &[("tokio", Use::Shipped)]).len(), 1);
    }

    #[test]
    fn crate_without_a_row_is_named() {
        assert!(facts("pop-misc", &[])[0].contains("pop-misc"));
    }

    #[test]
    fn table_only_points_down() {
        for room in ROOMS {
            for used in room.may_use {
                let below = layer(used).unwrap();
                let siblings = [("pop-payments", "pop-ledger"), ("pop-node", "pop-gateway")];
                let sibling = siblings.contains(&(room.name, *used));
                assert!(below < room.layer || sibling, "{} -> {used}", room.name);
            }
        }
    }
}
