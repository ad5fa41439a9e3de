//! What all requests share.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::content::Content;
use crate::settings::Settings;

/// Blocking reads at once; above that, requests take turns.
const READS: usize = 64;

/// The gateway's parts, behind one `Arc`.
pub(crate) struct Site {
    pub(crate) settings: Settings,
    pub(crate) content: Arc<dyn Content>,
    /// Turns for blocking reads.
    pub(crate) reads: Arc<Semaphore>,
}

impl Site {
    pub(crate) fn new(settings: Settings, content: Arc<dyn Content>) -> Self {
        Self { settings, content, reads: Arc::new(Semaphore::new(READS)) }
    }
}
