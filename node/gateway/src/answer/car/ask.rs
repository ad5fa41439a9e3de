//! What of a DAG a CAR was asked for.

use std::fmt;

use pop_dag::Scope;
use pop_dag::What;
use pop_dag::walk::{Budget, ByteRange, Selection};
use pop_units::Bytes;

use crate::asked::{CarForm, Query};
use crate::refusal::Refusal;

/// Most blocks of one archive: 1 TiB in blocks of 256 KiB.
const BLOCKS: u64 = 1 << 22;
/// Most blocks that a walk without repeats remembers: what a table of 2^20 places takes, 57 MiB.
const SEEN: usize = (1 << 20) / 8 * 7;
/// Most links that wait: 8 MiB. A directory that is not sharded has some five thousand.
const WAITING: usize = 1 << 16;
/// Most bytes of one archive: what a client cannot fetch in the time of an answer, and a few blocks that link
/// each other over and over can become.
const BYTES: Bytes = Bytes::GIB.saturating_mul(1 << 12);

/// The parameters of a CAR, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) what: What,
    pub(super) bytes: Option<ByteRange>,
    /// Whether blocks stand as often as they are linked.
    pub(super) repeats: bool,
}

impl Ask {
    /// Reads the parameters; what says nothing means the default.
    pub(super) fn read(query: &Query, form: &CarForm) -> Result<Self, Refusal> {
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        if let Some(version) = given(&form.version).filter(|version| version != "1") {
            return Err(Refusal::bad(format!(
                "there is no CAR of version {version:?} here, only of version 1"
            )));
        }
        // Depth first is an order like any other to those who asked for none.
        if let Some(order) = given(&form.order).filter(|order| order != "dfs" && order != "unk") {
            return Err(Refusal::bad(format!("blocks stand in no order {order:?}; there are dfs and unk")));
        }
        let repeats = match given(&form.dups).as_deref() {
            None | Some("n") => false,
            Some("y") => true,
            Some(other) => return Err(Refusal::bad(format!("dups is y or n, not {other:?}"))),
        };
        let what = match query.dag_scope.as_deref() {
            None | Some("all") => What::All,
            Some("entity") => What::Entity,
            Some("block") => What::Block,
            Some(other) => {
                return Err(Refusal::bad(format!("dag-scope is block, entity or all, not {other:?}")));
            }
        };
        let bytes = query.entity_bytes.as_deref().map(str::parse::<ByteRange>).transpose();
        let bytes = bytes.map_err(|error| Refusal::bad(format!("entity-bytes: {error}")))?;
        // Bytes are those of an entity, whatever the scope says.
        let what = if bytes.is_some() { What::Entity } else { what };
        Ok(Self { what, bytes, repeats })
    }

    /// Returns what is walked.
    pub(super) fn selection(&self, path: Vec<String>) -> Selection {
        Selection {
            scope: Scope { path, what: self.what },
            bytes: self.bytes,
            repeats: self.repeats,
            // Whoever is sent an archive can follow links that are not read here.
            unread_are_leaves: true,
            budget: Budget { blocks: BLOCKS, bytes: BYTES, seen: SEEN, waiting: WAITING, ..Budget::MAX },
        }
    }
}

/// One line for each parameter, equal only when all are.
impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::Block => "block",
            What::Entity => "entity",
            What::All => "all",
        };
        writeln!(f, "scope={what}\ndups={}", self.repeats)?;
        self.bytes.map_or(Ok(()), |bytes| writeln!(f, "bytes={bytes}"))
    }
}
