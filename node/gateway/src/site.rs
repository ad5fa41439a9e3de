//! What all requests share.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::content::Content;
use crate::figures::Figures;
use crate::memory::Memory;
use crate::request::lists::Lists;
use crate::settings::Settings;
use crate::upload::Gate;

/// Blocking reads at once; above that, requests take turns.
const READS: usize = 64;

/// The gateway's parts, behind one `Arc`.
pub(crate) struct Site {
    pub(crate) settings: Settings,
    pub(crate) content: Arc<dyn Content>,
    /// Turns for blocking reads.
    pub(crate) reads: Arc<Semaphore>,
    /// Who uploads; `None` when nobody may.
    pub(crate) uploads: Option<Arc<Gate>>,
    /// What is never served, and what alone is.
    pub(crate) lists: Lists,
    pub(crate) memory: Memory,
    /// What is counted.
    pub(crate) figures: Figures,
}

impl Site {
    pub(crate) fn new(settings: Settings, content: Arc<dyn Content>) -> Self {
        let uploads = settings.uploads.as_ref().map(|uploads| Arc::new(Gate::new(uploads)));
        let lists = Lists::new(&settings.lists);
        let reads = Arc::new(Semaphore::new(READS));
        Self { settings, content, reads, uploads, lists, memory: Memory::new(), figures: Figures::new() }
    }
}
