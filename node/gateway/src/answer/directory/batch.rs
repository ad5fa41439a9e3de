//! The entries of a directory, some at a time.
//!
//! Between two batches neither a thread nor a turn for reading is held, so that a client that takes its time costs
//! one batch of memory and nothing else.

use pop_dag::unixfs::{Entry, ExportError, Outline, Position};
use pop_dag::{BlockSource, Buf, Cid};
use pop_units::Bytes;

use crate::body::gap;
use crate::refusal::Refusal;
use crate::view::{Paced, View};
use crate::walks::Share;

/// Entries of a batch: enough that the way to a thread and back does not count.
const ENTRIES: usize = 256;

/// Bytes of names after which a batch ends: names may be as long as blocks.
const NAMES: usize = 256 << 10;

/// Entries that are passed in one go on the way to a page.
const PASSED: u64 = 8192;

/// Takes the entries of one turn.
struct Turn<'a> {
    position: &'a mut Position,
    blocks: Paced<'a>,
}

impl Turn<'_> {
    fn next(&mut self) -> Result<Option<Entry>, ExportError> {
        self.position.next(&self.blocks)
    }
}

/// A listing under way.
pub(super) struct Reader {
    view: View,
    /// Where it goes on; nothing when it is over.
    position: Option<Position>,
    /// Whether there is more to read than the first block.
    is_sharded: bool,
    /// Memory for what it holds between two batches.
    share: Share,
}

/// Entries that follow each other.
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    /// Whether they are the last ones.
    pub(super) is_last: bool,
}

impl Reader {
    /// Opens a directory.
    pub(super) async fn open(view: View, dir: Cid) -> Result<(Self, Outline), Refusal> {
        let first = view.read(move |blocks| Position::first(&dir, blocks).map_err(gap)).await?;
        let outline = first.outline();
        let is_sharded = outline.entries.is_none();
        let mut share = view.site().walks.listing();
        share.hold(first.held())?;
        Ok((Self { view, position: Some(first), is_sharded, share }, outline))
    }

    /// Makes text part of the body, which counts it until it was sent.
    pub(super) fn text(&self, text: String) -> Result<Buf, Refusal> {
        self.view.site().walks.text(text)
    }

    /// Passes entries; returns how many there were.
    pub(super) async fn pass(&mut self, count: u64) -> Result<u64, Refusal> {
        let mut passed = 0;
        while passed < count && self.position.is_some() {
            let most = PASSED.min(count - passed);
            let mut now = 0;
            passed += self
                .read(move |turn| {
                    while now < most && !turn.blocks.is_spent() {
                        if turn.next()?.is_none() {
                            return Ok((now, true));
                        }
                        now += 1;
                    }
                    Ok((now, false))
                })
                .await?;
        }
        Ok(passed)
    }

    /// Returns up to `most` entries.
    pub(super) async fn batch(&mut self, most: u64) -> Result<Batch, Refusal> {
        let most = usize::try_from(most).unwrap_or(ENTRIES).min(ENTRIES);
        let (mut entries, mut names) = (Vec::new(), 0);
        let entries = self
            .read(move |turn| {
                while entries.len() < most && names < NAMES && !turn.blocks.is_spent() {
                    let Some(entry) = turn.next()? else { return Ok((std::mem::take(&mut entries), true)) };
                    names += entry.name.len();
                    entries.push(entry);
                }
                Ok((std::mem::take(&mut entries), false))
            })
            .await?;
        Ok(Batch { entries, is_last: self.position.is_none() })
    }

    /// Runs work that takes entries, each at most once although it is begun anew at a missing block. The work tells
    /// whether the listing is over.
    async fn read<T: Default + Send + 'static>(
        &mut self,
        mut work: impl FnMut(&mut Turn<'_>) -> Result<(T, bool), ExportError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let mut held = self.position.take();
        let work = move |blocks: &dyn BlockSource| {
            let Some(position) = held.as_mut() else { return Ok(Default::default()) };
            let mut turn = Turn { position, blocks: Paced::new(blocks) };
            let (value, is_over) = work(&mut turn).map_err(gap)?;
            Ok((value, held.take().filter(|_| !is_over)))
        };
        let (value, position) = match self.is_sharded {
            true => self.view.read_long(work).await?,
            false => self.view.read(work).await?,
        };
        self.share.hold(position.as_ref().map_or(Bytes::ZERO, Position::held))?;
        self.position = position;
        Ok(value)
    }
}
