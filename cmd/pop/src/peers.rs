//! `off`, `ping`, `peers`: this node among others.

use std::time::Duration;

use clap::Subcommand;
use pop_rpc::{Error, NoParams, OffParams, PingParams, Pong};
use pop_units::Span;

use crate::cli::Context;
use crate::link;
use crate::output::{fields, table, url};

/// What a daemon gets for its own order on top of what running deals get.
const ORDER: Duration = Duration::from_secs(60);
/// What the daemon gives running deals when nobody says otherwise.
const DRAIN: Span = Span::new(Duration::from_secs(30));

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Stop the daemon in order; returns when it is gone
    Off {
        /// How long running paid deals may take to finish [default: 30s]
        #[arg(long, value_name = "TIME")]
        drain: Option<Span>,
    },
    /// Tell who this node is, or ask another one
    Ping {
        /// A peer id or a multiaddr
        #[arg(value_name = "PEER")]
        target: Option<String>,
    },
    /// List the connected nodes
    Peers,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Error> {
    let client = link::open(&context.repo).await?;
    match command {
        Command::Off { drain } => {
            let stopped = client.off(OffParams { drain }).await?;
            let limit = drain.unwrap_or(DRAIN).as_duration() + ORDER;
            link::released(&context.repo, limit).await?;
            context.output.show(&stopped, |_| "stopped".to_owned());
        }
        Command::Ping { target } => {
            let pong = client.ping(PingParams { target }).await?;
            context.output.show(&pong, pong_text);
        }
        Command::Peers => {
            let peers = client.peers(NoParams {}).await?;
            context.output.show(&peers, |peers| {
                let rows: Vec<_> = peers
                    .iter()
                    .map(|peer| {
                        let latency =
                            peer.latency_s.map(|s| format!("{:.1} ms", s * 1000.0)).unwrap_or_default();
                        let score = format!("{:.2}", peer.score);
                        vec![peer.peer_id.clone(), peer.regions.join(","), latency, score, peer.why.clone()]
                    })
                    .collect();
                table(&["peer", "regions", "latency", "score", "why"], &rows)
            });
        }
    }
    Ok(())
}

fn pong_text(pong: &Pong) -> String {
    match pong {
        Pong::Own { peer_id, addresses, peers, version, gateway, gateway_https } => {
            let mut rows = vec![
                ("peer id", peer_id.clone()),
                ("addresses", addresses.join("\n           ")),
                ("peers", peers.len().to_string()),
                ("version", version.clone()),
            ];
            rows.extend(gateway.iter().map(|address| ("gateway", url(address))));
            rows.extend(gateway_https.iter().map(|address| ("https", url(address))));
            fields(&rows)
        }
        Pong::Peer { peer_id, version, latency_s } => fields(&[
            ("peer id", peer_id.clone()),
            ("version", version.clone()),
            ("latency", format!("{:.1} ms", latency_s * 1000.0)),
        ]),
    }
}
