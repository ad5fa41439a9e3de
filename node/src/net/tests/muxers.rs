//! The muxer by itself: against libp2p's own, and on a pipe that is always full.

use std::task::Poll;

use futures::io::{AsyncRead, AsyncWrite};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerExt};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use tokio::task::JoinSet;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::{pattern, within};
use crate::net::muxer;

type Pipe = Compat<tokio::io::DuplexStream>;

fn pipe(size: usize) -> (Pipe, Pipe) {
    let (left, right) = tokio::io::duplex(size);
    (left.compat(), right.compat())
}

/// Drives a muxer: opens `count` streams and accepts as many, every stream both sending and receiving.
///
/// The streams hold data before the connection is driven for the first time. So each end's first frame, yamux's
/// ping, meets an end that is in the middle of writing.
async fn busy<M>(mut muxer: M, count: usize, length: usize)
where
    M: StreamMuxer + Unpin + Send + 'static,
    M::Substream: Unpin + Send + 'static,
    M::Error: Send,
{
    let mut work = JoinSet::new();
    for _ in 0..count {
        let stream = std::future::poll_fn(|context| muxer.poll_outbound_unpin(context)).await.unwrap();
        work.spawn(converse(stream, length));
    }
    tokio::task::yield_now().await;
    let (mut accepted, mut over) = (0, false);
    std::future::poll_fn(|context| {
        loop {
            // The far end may have had everything and hung up; what is buffered here is still to be read.
            over |= muxer.poll_unpin(context).is_ready();
            if !over && let Poll::Ready(Ok(stream)) = muxer.poll_inbound_unpin(context) {
                work.spawn(converse(stream, length));
                accepted += 1;
                continue;
            }
            match work.poll_join_next(context) {
                Poll::Ready(Some(done)) => done.unwrap(),
                Poll::Ready(None) if accepted == count => return Poll::Ready(()),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    let _ = muxer.close().await;
}

async fn converse(stream: impl AsyncRead + AsyncWrite, length: usize) {
    let (mut reader, mut writer) = stream.split();
    let sent = pattern(0, length);
    let write = async {
        writer.write_all(&sent).await.unwrap();
        writer.close().await.unwrap();
    };
    let mut received = Vec::new();
    let (_, read) = tokio::join!(write, reader.read_to_end(&mut received));
    read.unwrap();
    assert!(received == sent, "bytes arrive whole and in order");
}

async fn client(socket: Pipe) -> impl StreamMuxer<Substream: Unpin + Send, Error: Send> + Unpin + Send {
    muxer::Config::default().upgrade_outbound(socket, "/yamux/1.0.0").await.unwrap()
}

async fn server(socket: Pipe) -> impl StreamMuxer<Substream: Unpin + Send, Error: Send> + Unpin + Send {
    muxer::Config::default().upgrade_inbound(socket, "/yamux/1.0.0").await.unwrap()
}

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn ours_serves_the_stock_muxer() {
    let (left, right) = pipe(64 * 1024);
    let stock = libp2p::yamux::Config::default().upgrade_outbound(left, "/yamux/1.0.0").await.unwrap();
    within(async { tokio::join!(busy(stock, 8, MIB), busy(server(right).await, 8, MIB)) }).await;
}

#[tokio::test]
async fn the_stock_muxer_serves_ours() {
    let (left, right) = pipe(64 * 1024);
    let stock = libp2p::yamux::Config::default().upgrade_inbound(right, "/yamux/1.0.0").await.unwrap();
    within(async { tokio::join!(busy(client(left).await, 8, MIB), busy(stock, 8, MIB)) }).await;
}

#[tokio::test]
async fn two_busy_ends_of_a_full_pipe_never_wait_for_each_other() {
    let (left, right) = pipe(1024);
    within(async { tokio::join!(busy(client(left).await, 8, MIB), busy(server(right).await, 8, MIB)) }).await;
}

/// Shows that the test above tests something: this is the hang that `ReadAhead` is for.
#[tokio::test]
async fn two_stock_ends_of_a_full_pipe_do_wait_for_each_other() {
    let (left, right) = pipe(1024);
    let left = libp2p::yamux::Config::default().upgrade_outbound(left, "/yamux/1.0.0").await.unwrap();
    let right = libp2p::yamux::Config::default().upgrade_inbound(right, "/yamux/1.0.0").await.unwrap();
    let both = async { tokio::join!(busy(left, 8, MIB), busy(right, 8, MIB)) };
    assert!(tokio::time::timeout(std::time::Duration::from_secs(2), both).await.is_err());
}

#[tokio::test]
async fn opening_waits_at_the_limit_and_goes_on_when_a_stream_ends() {
    let (left, right) = pipe(64 * 1024);
    let (mut ours, _theirs) = (client(left).await, server(right).await);
    let mut held = Vec::new();
    std::future::poll_fn(|context| {
        while let Poll::Ready(stream) = ours.poll_outbound_unpin(context) {
            held.push(stream.unwrap());
        }
        Poll::Ready(())
    })
    .await;
    assert_eq!(held.len(), muxer::MAX_OUTBOUND);
    let opening = tokio::spawn(async move {
        std::future::poll_fn(|context| ours.poll_outbound_unpin(context)).await.map(drop).map_err(drop)
    });
    tokio::task::yield_now().await;
    assert!(!opening.is_finished());
    held.pop();
    assert_eq!(within(opening).await.unwrap(), Ok(()));
}
