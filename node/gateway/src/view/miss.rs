//! What a miss is as an answer.

use std::time::Duration;

use http::StatusCode;

use crate::content::Miss;
use crate::figures::Fetched;
use crate::refusal::{Keep, Refusal};

/// Seconds after which it is worth asking again for what depends on others.
pub(super) const SOON: u64 = 10;
/// The same for what needs somebody to make room.
const LATER: u64 = 60;
/// What a verified DAG does not have, it will never have.
const ABSENT: Duration = Duration::from_secs(86_400);

/// Returns what a miss is counted as.
pub(super) fn counted(miss: &Miss) -> Fetched {
    match miss {
        // A DAG whose blocks tell that a path is absent was found.
        Miss::NoPath { .. } => Fetched::Found,
        Miss::Local | Miss::NotFound { .. } => Fetched::NotFound,
        Miss::TimedOut { .. } => Fetched::TimedOut,
        Miss::Priced(_) => Fetched::Priced,
        Miss::Refused { .. } => Fetched::Refused,
        Miss::Full { .. } | Miss::Busy | Miss::Stopped => Fetched::Failed,
    }
}

/// Returns whether less may be had where more failed so.
pub(super) fn is_of_more(miss: &Miss) -> bool {
    match miss {
        Miss::NotFound { .. }
        | Miss::TimedOut { .. }
        | Miss::Priced(_)
        | Miss::Refused { .. }
        | Miss::Full { .. } => true,
        Miss::Local | Miss::Busy | Miss::NoPath { .. } | Miss::Stopped => false,
    }
}

impl From<Miss> for Refusal {
    fn from(miss: Miss) -> Self {
        let said = miss.to_string();
        match miss {
            Miss::Local | Miss::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, said),
            Miss::TimedOut { .. } => Self::new(StatusCode::GATEWAY_TIMEOUT, said).retry_after(SOON),
            Miss::Priced(offer) => {
                let mut refusal = Self::new(StatusCode::PAYMENT_REQUIRED, said)
                    .hint("The offer is the body of this answer; nodes buy at the addresses in it.");
                refusal.json = serde_json::to_value(&*offer).ok();
                refusal
            }
            Miss::Refused { .. } => Self::new(StatusCode::BAD_GATEWAY, said).retry_after(SOON),
            Miss::Full { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, said).retry_after(LATER),
            Miss::Busy | Miss::Stopped => Self::new(StatusCode::SERVICE_UNAVAILABLE, said).retry_after(SOON),
            Miss::NoPath { .. } => Self::new(StatusCode::NOT_FOUND, said).keep(Keep::For(ABSENT)),
        }
    }
}
