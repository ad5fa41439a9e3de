//! The blocks that one request may see: those that are here, and where the policy allows it those on their way.

use std::sync::Arc;

use http::StatusCode;
use pop_dag::{BlockSource, Cid};

use crate::content::Wanted;
use crate::refusal::Refusal;
use crate::site::Site;

/// The blocks of one request. Clones share the retrieval.
#[derive(Clone)]
pub(crate) struct View {
    site: Arc<Site>,
    wanted: Wanted,
    /// Whether what is missing may be looked for elsewhere.
    may_fetch: bool,
}

/// Why blocking work over blocks did not end.
#[derive(Debug)]
pub(crate) enum Gap {
    /// A block is not here. The work is done again when it has come.
    Missing(Cid),
    /// It will never end well.
    Failed(Refusal),
}

impl View {
    pub(crate) fn new(site: Arc<Site>, wanted: Wanted, may_fetch: bool) -> Self {
        Self { site, wanted, may_fetch }
    }

    /// Returns whether blocks were looked for elsewhere.
    pub(crate) fn has_fetched(&self) -> bool {
        false
    }

    /// Runs blocking work over the blocks, off the runtime's threads.
    ///
    /// When the work meets a missing block, the content is retrieved where the policy allows it, and the work is
    /// done again each time that more has come.
    ///
    /// # Errors
    /// What the work says, or why the missing block is not to be had.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnMut(&dyn BlockSource) -> Result<T, Gap> + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = Arc::clone(&self.site.reads).acquire_owned().await;
        let turn = turn.map_err(|_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the node is stopping"))?;
        let blocks = self.site.content.blocks();
        let mut work = work;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&*blocks)
        });
        match done.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Gap::Failed(refusal))) => Err(refusal),
            Ok(Err(Gap::Missing(cid))) => {
                Err(Refusal::new(StatusCode::NOT_FOUND, format!("block {cid} is not here")))
            }
            Err(_) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the work broke")),
        }
    }
}
