//! What all requests share.

use std::sync::Arc;

use crate::body::Budget;
use crate::content::Content;
use crate::figures::Figures;
use crate::memory::Memory;
use crate::readers::Readers;
use crate::request::lists::Lists;
use crate::request::to_tls::ToTls;
use crate::settings::Settings;
use crate::upload::Gate;
use crate::walks::Walks;

/// The gateway's parts, behind one `Arc`.
pub(crate) struct Site {
    pub(crate) settings: Settings,
    pub(crate) content: Arc<dyn Content>,
    /// Who is sent to TLS; `None` when nobody is.
    pub(crate) to_tls: Option<ToTls>,
    /// Who reads blocks.
    pub(crate) readers: Readers,
    /// What archives and listings remember.
    pub(crate) walks: Walks,
    /// Who uploads; `None` when nobody may.
    pub(crate) uploads: Option<Arc<Gate>>,
    /// What is never served, and what alone is.
    pub(crate) lists: Lists,
    /// What was found out lately.
    pub(crate) memory: Memory,
    /// What is counted.
    pub(crate) figures: Figures,
    /// Memory for what clients have not taken yet.
    pub(crate) budget: Budget,
}

impl Site {
    pub(crate) fn new(settings: Settings, content: Arc<dyn Content>) -> Self {
        Self {
            readers: Readers::start(),
            walks: Walks::new(),
            uploads: settings.uploads.as_ref().map(|uploads| Arc::new(Gate::new(uploads))),
            lists: Lists::new(&settings.lists),
            memory: Memory::new(),
            budget: Budget::new(settings.limits.in_flight),
            to_tls: None,
            figures: Figures::new(),
            settings,
            content,
        }
    }

    /// Returns a number that grows when what was remembered may no longer be served: a block has left the node, or
    /// the lists are others.
    pub(crate) fn changes(&self) -> u64 {
        self.content.removals().wrapping_add(self.lists.changes())
    }
}
