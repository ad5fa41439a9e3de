//! The place of one upload, and what it holds of its owner's quota.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use pop_units::Bytes;
use tokio_util::task::TaskTracker;

use super::ledger::{Denied, Ledger};
use super::owner::{Owner, Tokens};
use crate::refusal::Refusal;
use crate::settings;

/// When to ask again for a place: most uploads take less.
const PLACE_AFTER: u64 = 5;

/// Where uploads come in.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) tokens: Option<Arc<Tokens>>,
    /// The largest body.
    pub(crate) body: Bytes,
    ledger: Mutex<Ledger>,
    /// Bodies that are read to no purpose after a refusal; each ends by itself within seconds.
    pub(crate) lingering: TaskTracker,
}

impl Gate {
    pub(crate) fn new(settings: &settings::Uploads) -> Self {
        let tokens = settings.tokens.as_deref().map(|path| Arc::new(Tokens::new(path)));
        if let Some(tokens) = &tokens {
            // At the start, so that what is wrong with the file is in the log before anybody asks.
            tracing::info!(tokens = tokens.owners().len(), "uploads need a token");
        }
        let ledger = Mutex::new(Ledger::new(settings.quota));
        Self { tokens, body: settings.body, ledger, lingering: TaskTracker::new() }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an upload of at least `size` a place.
    pub(crate) fn admit(
        self: &Arc<Self>,
        owner: Owner,
        size: Bytes,
        now: Instant,
    ) -> Result<Ticket, Refusal> {
        self.ledger().begin(&owner, size, now).map_err(refuse)?;
        Ok(Ticket { gate: Arc::clone(self), owner, held: size, taken: Bytes::ZERO, is_kept: false })
    }
}

/// The place of an upload. Dropped, it gives back the place, and what it holds unless the upload was kept.
#[derive(Debug)]
pub(crate) struct Ticket {
    gate: Arc<Gate>,
    owner: Owner,
    /// Of the quota.
    held: Bytes,
    /// Of the body.
    taken: Bytes,
    is_kept: bool,
}

impl Ticket {
    /// Counts bytes that came; what was not held from the start is held now.
    pub(crate) fn take(&mut self, size: Bytes, now: Instant) -> Result<(), Refusal> {
        let taken = self.taken.saturating_add(size);
        let more = taken.saturating_sub(self.held);
        if !more.is_zero() {
            self.gate.ledger().grow(&self.owner, self.held, more, now).map_err(refuse)?;
            self.held = taken;
        }
        self.taken = taken;
        Ok(())
    }

    /// Says whether the upload counts. While it is being made permanent it does: nobody may learn how that ended.
    pub(crate) fn set_kept(&mut self, is_kept: bool) {
        self.is_kept = is_kept;
    }

    /// Returns whose it is, for the log.
    pub(crate) fn owner(&self) -> &str {
        self.owner.name()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.gate.ledger().end(&self.owner, self.held, self.is_kept, Instant::now());
    }
}

fn refuse(denied: Denied) -> Refusal {
    let too_many = |message| Refusal::new(StatusCode::TOO_MANY_REQUESTS, message);
    match denied {
        Denied::Busy => too_many("too many uploads are under way").retry_after(PLACE_AFTER),
        Denied::BusyOwner => {
            too_many("too many uploads with this token are under way").retry_after(PLACE_AFTER)
        }
        Denied::Never => {
            let message = "it is more than may be uploaded in 24 hours";
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
        }
        Denied::Later(wait) => {
            let refusal = too_many("what may be uploaded in 24 hours is used up");
            refusal.retry_after(seconds(wait))
        }
    }
}

/// Returns whole seconds that are not shorter.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}
