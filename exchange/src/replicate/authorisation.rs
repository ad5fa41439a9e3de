//! One-use permissions to pull a root free of charge.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p_identity::PeerId;
use pop_dag::Cid;
use pop_wire::Token;

/// Permissions that may be open at once: a few hundred roots to a dozen peers each.
const OPEN: usize = 4096;

/// Why a token gives nothing. The peer is told only that it does not, never which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenRefusal {
    /// Nobody gave it out, or it was used.
    #[error("token is unknown or used")]
    Unknown,
    /// It is another peer's.
    #[error("token is bound to another peer")]
    WrongPeer,
    /// It is for another root.
    #[error("token is bound to another root")]
    WrongRoot,
    /// It is too old.
    #[error("token expired")]
    Expired,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// What may be pulled.
    pub root: Cid,
    /// Who may pull it.
    pub peer: PeerId,
    /// Until when.
    pub expiry: Instant,
}

/// The tokens that this node gave out.
#[derive(Debug, Default)]
pub struct Authorisations {
    open: HashMap<Token, Bound>,
}

impl Authorisations {
    /// How long a token lives: as long as a dispatch may take.
    pub const LIFE: Duration = Duration::from_secs(3600);

    /// Makes `token` good for one pull. Returns false when too many are open.
    pub fn grant(&mut self, token: Token, bound: Bound, now: Instant) -> bool {
        if self.open.len() >= OPEN {
            self.open.retain(|_, bound| bound.expiry > now);
        }
        if self.open.len() >= OPEN {
            return false;
        }
        self.open.insert(token, bound);
        true
    }

    /// Uses a token up.
    ///
    /// # Errors
    /// It gives nothing. A token shown by the wrong peer or for the wrong root stays good for the right one:
    /// a thief must not be able to void it.
    pub fn redeem(
        &mut self,
        token: &Token,
        root: &Cid,
        peer: &PeerId,
        now: Instant,
    ) -> Result<(), TokenRefusal> {
        let bound = self.open.get(token).ok_or(TokenRefusal::Unknown)?;
        if bound.peer != *peer {
            return Err(TokenRefusal::WrongPeer);
        }
        if bound.root != *root {
            return Err(TokenRefusal::WrongRoot);
        }
        let is_expired = bound.expiry <= now;
        self.open.remove(token);
        if is_expired {
            return Err(TokenRefusal::Expired);
        }
        Ok(())
    }

    /// Takes a token back.
    pub fn revoke(&mut self, token: &Token) {
        self.open.remove(token);
    }
}
