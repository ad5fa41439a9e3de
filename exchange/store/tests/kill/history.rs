//! What a writer said before it was stopped, and what must therefore be true of its store.

use std::collections::{BTreeMap, BTreeSet};

use pop_dag::Block;
use pop_store::Store;

/// Which commit: the round, the writing thread and the number within it.
pub(crate) type Id = (u64, u64, u64);

/// The lines of all rounds so far.
#[derive(Default)]
pub(crate) struct History {
    /// Begun, so that they may be there.
    begun: BTreeSet<Id>,
    /// Reported.
    pub(crate) kept: BTreeSet<Id>,
    /// Being removed, so that they may be gone.
    going: BTreeSet<Id>,
    /// Reported as removed.
    pub(crate) removed: BTreeSet<Id>,
    /// Once found gone after a round: nothing may bring them back.
    gone: BTreeSet<Id>,
    /// Cached commits that were reported and are gone.
    pub(crate) evicted: usize,
}

impl History {
    /// Takes in a line of the child; what it printed in part is no report.
    pub(crate) fn hear(&mut self, round: u64, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, thread, number, "."] = *words.as_slice() else { return };
        let (Ok(thread), Ok(number)) = (thread.parse(), number.parse()) else { return };
        let set = match what {
            "put" => &mut self.begun,
            "kept" => &mut self.kept,
            "remove" => &mut self.going,
            "removed" => &mut self.removed,
            _ => return,
        };
        set.insert((round, thread, number));
    }

    /// Takes in a line that may have been printed after the moment that counts: what it reports as done may
    /// be done or not.
    pub(crate) fn hear_late(&mut self, round: u64, line: &str) {
        let line = match line.split_once(' ') {
            Some(("put" | "kept", rest)) => format!("put {rest}"),
            Some(("remove" | "removed", rest)) => format!("remove {rest}"),
            _ => return,
        };
        self.hear(round, &line);
    }

    /// Compares a store, opened after an unclean stop, with what was said.
    pub(crate) fn verify(&mut self, store: &Store) {
        let report = store.report();
        assert!(report.broken.is_empty(), "{report:?}");
        // Commits that were cut short; the node drops them at its start, too.
        for name in store.stagings() {
            store.stage(&name).unwrap().discard().unwrap();
        }
        let mut blocks = BTreeSet::new();
        let mut live = BTreeMap::new();
        for id in &self.begun {
            let dag = crate::writer::dag(*id);
            let root = *dag[0].cid();
            let is_there = store.ref_of(&root).unwrap().is_some();
            if is_there {
                assert!(!self.removed.contains(id), "{id:?} was removed and is back");
                assert!(!self.gone.contains(id), "{id:?} was gone and is back");
                blocks.extend(dag.iter().map(|block| block.cid().hash().to_bytes()));
                live.insert(root, *id);
                check_whole(store, *id, &dag);
            } else {
                let may_go = self.going.contains(id) || crate::writer::is_cached(*id);
                assert!(may_go || !self.kept.contains(id), "{id:?} was reported and is lost");
                self.evicted += usize::from(crate::writer::is_cached(*id) && self.kept.contains(id));
                self.gone.insert(*id);
            }
        }
        self.check_hidden(store, &blocks);
        let refs: Vec<_> = store.refs().unwrap().into_iter().map(|found| found.root).collect();
        assert!(refs.iter().all(|root| live.contains_key(root)), "a ref that nobody committed");
        assert_eq!(refs.len(), live.len());
        assert_eq!(store.figures().blocks, u64::try_from(blocks.len()).unwrap(), "{report:?}");
        assert!(store.used() <= store.capacity());
        let scrubbed = store.verify(&mut |_| true).unwrap();
        assert!(scrubbed.finished && scrubbed.damaged.is_empty(), "{scrubbed:?}");
        self.begun.retain(|id| !self.gone.contains(id));
        self.kept.retain(|id| !self.gone.contains(id));
    }

    /// Removes what earlier rounds have pinned, so that rounds do not add up to a full store.
    pub(crate) fn clear(&mut self, store: &Store, round: u64) {
        let old = |id: &&Id| id.0 + 1 < round && !crate::writer::is_cached(**id);
        let old: Vec<Id> = self.begun.iter().filter(old).copied().collect();
        for id in old {
            store.remove(crate::writer::dag(id)[0].cid()).unwrap();
            self.going.insert(id);
            self.removed.insert(id);
        }
    }

    fn check_hidden(&self, store: &Store, blocks: &BTreeSet<Vec<u8>>) {
        for id in &self.gone {
            for block in crate::writer::dag(*id) {
                let is_shared = blocks.contains(&block.cid().hash().to_bytes());
                assert!(is_shared || store.get(block.cid()).unwrap().is_none(), "{id:?} is seen in part");
            }
        }
    }

    /// Checks the durable rows that the writer wrote before it reported each commit.
    pub(crate) fn verify_rows(&self, store: &Store, round: u64) {
        for thread in 0..crate::writer::THREADS {
            let last = self.kept.range((round, thread, 0)..=(round, thread, u64::MAX)).next_back();
            let Some((_, _, last)) = last else { continue };
            let row = store.state().get("acks", &crate::writer::row(round, thread)).unwrap().unwrap();
            assert!(u64::from_be_bytes(row.try_into().unwrap()) >= *last);
        }
    }
}

fn check_whole(store: &Store, id: Id, dag: &[Block]) {
    for block in dag {
        assert_eq!(store.get(block.cid()).unwrap().as_ref(), Some(block.data()), "{id:?}: {}", block.cid());
    }
}
