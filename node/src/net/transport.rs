//! How bytes get to peers: TCP, websocket and QUIC, and which handshake secures a TCP connection.
//!
//! [`Security`] is the one place where the handshakes of stream transports are chosen and ordered.

use std::iter;
use std::pin::Pin;
use std::time::Duration;

use futures::future::Either;
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, Transport as _};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo, Version};
use libp2p::identity::Keypair;
use libp2p::{PeerId, dns, noise, quic, tcp, tls, websocket};

use super::error::StartError;
use super::muxer;

/// What every transport ends in.
type Connected = Boxed<(PeerId, StreamMuxerBox)>;

/// Returns all transports, names resolved, every attempt and handshake bounded by `timeout`.
pub(super) fn build(keypair: &Keypair, timeout: Duration) -> Result<Connected, StartError> {
    let resolving = match dns::tokio::Transport::system(plain(keypair, timeout)?) {
        Ok(resolving) => resolving.boxed(),
        Err(error) => {
            tracing::warn!(%error, "no resolver: addresses with names cannot be dialled");
            plain(keypair, timeout)?
        }
    };
    Ok(resolving)
}

fn plain(keypair: &Keypair, timeout: Duration) -> Result<Connected, StartError> {
    // Frames are written whole, so waiting for more to send only adds latency.
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    // The websocket transport comes first: plain TCP would take `/tcp/../ws` for its own.
    let streams = websocket::Config::new(tcp())
        .or_transport(tcp())
        .upgrade(Version::V1Lazy)
        .authenticate(Security::new(keypair)?)
        .multiplex(muxer::Config::default())
        .timeout(timeout)
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
    let datagrams = quic::tokio::Transport::new(quic_config(keypair, timeout))
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
    Ok(streams.or_transport(datagrams).map(|either, _| either.into_inner()).boxed())
}

fn quic_config(keypair: &Keypair, timeout: Duration) -> quic::Config {
    let mut config = quic::Config::new(keypair);
    config.handshake_timeout = timeout;
    // Longer than a scheduling hiccup of a busy home machine; a dead peer is noticed by ping as well.
    config.max_idle_timeout = 20_000;
    // 500 MiB/s over 30 ms on one stream, four such streams on a connection.
    config.max_stream_data = 16 * 1024 * 1024;
    config.max_connection_data = 64 * 1024 * 1024;
    config
}

/// The handshakes of stream transports, the preferred one first; whoever dials proposes in this order.
///
/// Noise leads because the TLS of libp2p lists ChaCha20 first too, where it has nothing over noise. A TLS with
/// AES first replaces `tls` here and takes the lead.
#[derive(Clone)]
struct Security {
    noise: noise::Config,
    tls: tls::Config,
}

impl Security {
    const NOISE: &'static str = "/noise";
    const TLS: &'static str = "/tls/1.0.0";

    fn new(keypair: &Keypair) -> Result<Self, StartError> {
        let refused = |lane, reason| StartError::Identity { lane, reason };
        Ok(Self {
            noise: noise::Config::new(keypair).map_err(|error| refused("noise", error.to_string()))?,
            tls: tls::Config::new(keypair).map_err(|error| refused("tls", error.to_string()))?,
        })
    }
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("noise handshake")]
    Noise(#[from] noise::Error),
    #[error("tls handshake")]
    Tls(#[from] tls::UpgradeError),
}

/// A secured socket, of whichever handshake was agreed on.
type Secured<C> = Either<noise::Output<C>, tls::TlsStream<C>>;
type Handshake<C> = Pin<Box<dyn Future<Output = Result<(PeerId, Secured<C>), HandshakeError>> + Send>>;

impl UpgradeInfo for Security {
    type Info = &'static str;
    type InfoIter = iter::Chain<iter::Once<Self::Info>, iter::Once<Self::Info>>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once(Self::NOISE).chain(iter::once(Self::TLS))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> InboundConnectionUpgrade<C> for Security {
    type Output = (PeerId, Secured<C>);
    type Error = HandshakeError;
    type Future = Handshake<C>;

    fn upgrade_inbound(self, socket: C, agreed: Self::Info) -> Self::Future {
        Box::pin(async move {
            if agreed == Self::TLS {
                let (peer, secured) = self.tls.upgrade_inbound(socket, agreed).await?;
                return Ok((peer, Either::Right(secured)));
            }
            let (peer, secured) = self.noise.upgrade_inbound(socket, agreed).await?;
            Ok((peer, Either::Left(secured)))
        })
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> OutboundConnectionUpgrade<C> for Security {
    type Output = (PeerId, Secured<C>);
    type Error = HandshakeError;
    type Future = Handshake<C>;

    fn upgrade_outbound(self, socket: C, agreed: Self::Info) -> Self::Future {
        Box::pin(async move {
            if agreed == Self::TLS {
                let (peer, secured) = self.tls.upgrade_outbound(socket, agreed).await?;
                return Ok((peer, Either::Right(secured)));
            }
            let (peer, secured) = self.noise.upgrade_outbound(socket, agreed).await?;
            Ok((peer, Either::Left(secured)))
        })
    }
}
