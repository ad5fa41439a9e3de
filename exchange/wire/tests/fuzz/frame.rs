//! What must hold when a stream is cut into frames and messages, whatever its bytes.

use std::fmt::Debug;

use pop_wire::query::Query;
use pop_wire::{Decoder, Frame, WireError, decode, dispatch, encode, offer, transfer};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Cuts a stream into frames and reads each as every message that it could be.
///
/// # Panics
/// Frames depend on how the stream arrives, or a message changes when it is written and read again.
pub(crate) fn check(bytes: &[u8]) {
    let at_once = frames(bytes, bytes.len().max(1));
    assert_eq!(at_once, frames(bytes, 1), "frames depend on how they arrive");
    assert_eq!(at_once, frames(bytes, 7), "frames depend on how they arrive");
    for frame in at_once.0 {
        match frame {
            Frame::Control(body) => check_message(&body),
            Frame::Block(header, payload) => {
                let read = pop_wire::BlockHeader::decode(&header.encode());
                assert_eq!(read.as_ref(), Ok(&header));
                assert_eq!(usize::try_from(header.len), Ok(payload.len()));
            }
        }
    }
    if let Ok(query) = Query::from_gossip(bytes) {
        // Other encodings of a query are read; its own may come out longer, and over the limit.
        if let Ok(gossip) = query.to_gossip() {
            assert_eq!(Query::from_gossip(&gossip), Ok(query));
        }
    }
}

fn check_message(body: &[u8]) {
    if let Some(up) = again::<transfer::Up>(body) {
        let _ = up.check();
        if let transfer::Up::Open(open) = up
            && let transfer::Grant::Offer(signed) = open.grant
        {
            let _ = signed.verify();
        }
    }
    again::<transfer::Down>(body);
    again::<offer::Talk>(body);
    again::<dispatch::Talk>(body);
}

fn again<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8]) -> Option<T> {
    let message: T = decode(body).ok()?;
    let mut out = Vec::new();
    if encode(&message, &mut out).is_ok() {
        let (frames, error) = frames(&out, out.len());
        assert_eq!(error, None);
        let [Frame::Control(body)] = frames.as_slice() else { panic!("a message is one frame") };
        assert_eq!(decode::<T>(body).as_ref(), Ok(&message));
    }
    Some(message)
}

/// Returns the frames of a stream that arrives in pieces of `step` bytes, and what was wrong with the next.
fn frames(bytes: &[u8], step: usize) -> (Vec<Frame>, Option<WireError>) {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for mut piece in bytes.chunks(step) {
        while !piece.is_empty() {
            match decoder.feed(&mut piece) {
                Ok(found) => frames.extend(found),
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}
