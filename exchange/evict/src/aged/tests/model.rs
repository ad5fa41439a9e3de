//! The rules as they are written, over plain vectors.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{id, size};
use crate::aged::weight::merit;
use crate::saved::{Change, Ghost, Head, Record, Resident, Saved, Segment};
use crate::{Admission, Aged, Id, Policy, Worth};

/// A ref of the model. `rank` is zero on probation.
#[derive(Clone, Debug)]
struct Entry {
    number: u64,
    is_main: bool,
    frequency: u8,
    worth: Worth,
    size: u64,
    rank: u64,
    order: u64,
}

#[derive(Clone, Debug, Default)]
struct Naive {
    capacity: u64,
    refs: Vec<Entry>,
    /// Number and frequency, the oldest first.
    ghosts: Vec<(u64, u8)>,
    recalled: Vec<(u64, u8)>,
    floor: u64,
    last: u64,
    last_probation: u64,
}

impl Naive {
    fn used(&self) -> u64 {
        self.refs.iter().map(|entry| entry.size).sum()
    }

    fn main_bytes(&self) -> u64 {
        self.refs.iter().filter(|entry| entry.is_main).map(|entry| entry.size).sum()
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.refs.iter().position(|entry| entry.number == number)
    }

    fn take_ghost(&mut self, number: u64) -> Option<u8> {
        for ghosts in [&mut self.recalled, &mut self.ghosts] {
            if let Some(place) = ghosts.iter().position(|ghost| ghost.0 == number) {
                return Some(ghosts.remove(place).1);
            }
        }
        None
    }

    fn remember(&mut self, number: u64, frequency: u8) {
        self.last += 1;
        self.ghosts.retain(|ghost| ghost.0 != number);
        self.ghosts.push((number, frequency));
        self.trim();
    }

    fn trim(&mut self) {
        while self.ghosts.len() > 2 * self.refs.len().max(16) {
            self.ghosts.remove(0);
        }
    }

    fn admit(&mut self, number: u64, size: u64) -> Admission {
        if size > self.capacity {
            Admission::Bypass
        } else if self.recalled.iter().any(|ghost| ghost.0 == number) {
            Admission::Store
        } else if let Some(frequency) = self.take_ghost(number) {
            self.recalled.push((number, frequency));
            Admission::Store
        } else if size > self.capacity / 2 {
            self.remember(number, 0);
            Admission::Ghost
        } else {
            Admission::Store
        }
    }

    fn enter_main(&mut self, mut entry: Entry) {
        self.last += 1;
        entry.is_main = true;
        entry.order = self.last;
        entry.rank = self.floor + merit(entry.frequency, entry.size, entry.worth);
        self.refs.push(entry);
    }

    fn insert(&mut self, number: u64, size: u64, worth: Worth) {
        if let Some(place) = self.place(number) {
            self.refs[place].size = size;
            return;
        }
        let entry = Entry { number, is_main: false, frequency: 0, worth, size, rank: 0, order: 0 };
        match self.take_ghost(number) {
            Some(frequency) => self.enter_main(Entry { frequency: frequency.saturating_add(1), ..entry }),
            None => {
                self.last_probation += 1;
                self.refs.push(Entry { order: self.last_probation, ..entry });
            }
        }
    }

    fn hit(&mut self, number: u64, worth: Worth) -> bool {
        let Some(place) = self.place(number) else { return false };
        let probation = self.refs.iter().filter(|entry| !entry.is_main).count();
        let entry = &mut self.refs[place];
        entry.worth = worth;
        if entry.is_main {
            self.last += 1;
            entry.frequency = entry.frequency.saturating_add(1);
            entry.order = self.last;
            entry.rank = entry.rank.max(self.floor + merit(entry.frequency, entry.size, worth));
        } else if self.last_probation - entry.order >= u64::try_from(probation / 8).unwrap() {
            entry.frequency = entry.frequency.saturating_add(1);
        }
        true
    }

    fn evict(&mut self, held: &BTreeSet<u64>) -> Option<u64> {
        loop {
            let lowest = |is_main: bool, takes: &dyn Fn(&Entry) -> bool| {
                let fits = self.refs.iter().filter(|entry| entry.is_main == is_main && takes(entry));
                fits.min_by_key(|entry| (entry.rank, entry.order)).cloned()
            };
            let free = |entry: &Entry| !held.contains(&entry.number);
            let main = lowest(true, &free);
            let probation = lowest(false, &|entry| entry.frequency > 0 || free(entry));
            let is_full = self.main_bytes() > self.capacity - self.capacity / 8;
            match (main, probation) {
                (Some(victim), next) if is_full || next.is_none() => {
                    self.refs.retain(|entry| entry.number != victim.number);
                    self.floor = self.floor.max(victim.rank);
                    self.remember(victim.number, victim.frequency / 2);
                    return Some(victim.number);
                }
                (_, Some(next)) => {
                    self.refs.retain(|entry| entry.number != next.number);
                    if next.frequency == 0 {
                        self.remember(next.number, 0);
                        return Some(next.number);
                    }
                    self.enter_main(next);
                }
                (_, None) => return None,
            }
        }
    }
}

/// Rows as a store would keep them.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) head: Option<Head>,
    pub(super) records: BTreeMap<Id, Record>,
    pub(super) ghosts: BTreeMap<u64, Ghost>,
}

impl Disk {
    pub(super) fn write(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Keep(id, record) => self.records.extend([(id, record)]),
                Change::Drop(id) => self.records.retain(|found, _| *found != id),
                Change::KeepGhost(ghost) => self.ghosts.extend([(ghost.fingerprint, ghost)]),
                Change::DropGhost(fingerprint) => self.ghosts.retain(|found, _| *found != fingerprint),
                Change::Head(head) => self.head = Some(head),
            }
        }
    }

    pub(super) fn read(&self) -> Saved {
        Saved {
            head: self.head,
            records: self.records.clone().into_iter().collect(),
            ghosts: self.ghosts.values().copied().collect(),
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u64, u64, Worth),
    Request(u64, u64),
    Admit(u64, u64),
    Hit(u64, Worth),
    Evict,
    Hold(u64),
    Release(u64),
    Remove(u64),
    Resize(u64, u64),
    Capacity(u64),
    /// Everything is written, then the policy starts again.
    Restart,
    /// A write failed and is made up for by the next.
    Failed,
}

fn op() -> impl Strategy<Value = Op> {
    let number = || 0..120_u64;
    let bytes = || prop_oneof![8 => 1..60_u64, 1 => 1..1500_u64];
    let worth =
        || prop_oneof![Just(Worth::NEUTRAL), Just(Worth::FREE), (8..=32_u8).prop_map(Worth::from_sixteenths)];
    prop_oneof![
        4 => (number(), bytes(), worth()).prop_map(|(number, size, worth)| Op::Insert(number, size, worth)),
        20 => (number(), bytes()).prop_map(|(number, size)| Op::Request(number, size)),
        2 => (number(), bytes()).prop_map(|(number, size)| Op::Admit(number, size)),
        12 => (number(), worth()).prop_map(|(number, worth)| Op::Hit(number, worth)),
        8 => Just(Op::Evict),
        2 => number().prop_map(Op::Hold),
        2 => number().prop_map(Op::Release),
        1 => number().prop_map(Op::Remove),
        1 => (number(), bytes()).prop_map(|(number, size)| Op::Resize(number, size)),
        1 => (200..1500_u64).prop_map(Op::Capacity),
        1 => Just(Op::Restart),
        1 => Just(Op::Failed),
    ]
}

/// The policy, the model and what is on disk, moved together.
struct Pair {
    aged: Aged,
    naive: Naive,
    disk: Disk,
    held: BTreeSet<u64>,
}

impl Pair {
    fn new() -> Self {
        let aged = Aged::restore(size(1000), Saved::default(), []);
        let naive = Naive { capacity: 1000, ..Naive::default() };
        Self { aged, naive, disk: Disk::default(), held: BTreeSet::new() }
    }

    fn evict(&mut self) -> Option<u64> {
        let held: BTreeSet<Id> = self.held.iter().map(|number| id(*number)).collect();
        let ours = self.aged.evict(&|found| !held.contains(found));
        let expected = self.naive.evict(&self.held);
        assert_eq!(ours, expected.map(id));
        expected
    }

    fn request(&mut self, number: u64, bytes: u64) {
        let is_hit = self.aged.hit(&id(number), Worth::NEUTRAL);
        assert_eq!(is_hit, self.naive.hit(number, Worth::NEUTRAL));
        if is_hit {
            return;
        }
        let admission = self.aged.admit(&id(number), size(bytes));
        assert_eq!(admission, self.naive.admit(number, bytes));
        if admission != Admission::Store {
            return;
        }
        while self.naive.used() + bytes > self.naive.capacity {
            if self.evict().is_none() {
                break;
            }
        }
        self.aged.insert(&id(number), size(bytes), Worth::NEUTRAL);
        self.naive.insert(number, bytes, Worth::NEUTRAL);
    }

    fn restart(&mut self) {
        let changes = self.aged.take_changes();
        self.disk.write(changes);
        // Every row is what it was, through its bytes.
        for record in self.disk.records.values() {
            assert_eq!(Record::from_bytes(&record.to_bytes()), Some(*record));
        }
        let resident = self.naive.refs.iter().map(|entry| Resident {
            id: id(entry.number),
            size: size(entry.size),
            frequency: 0,
            last_used: 0,
        });
        self.aged = Aged::restore(size(self.naive.capacity), self.disk.read(), resident);
        assert!(self.aged.take_changes().is_empty(), "rows that were whole needed no healing");
        self.naive.recalled.clear();
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Insert(number, bytes, worth) => {
                self.aged.insert(&id(number), size(bytes), worth);
                self.naive.insert(number, bytes, worth);
            }
            Op::Request(number, bytes) => self.request(number, bytes),
            Op::Admit(number, bytes) => {
                let is_here = self.naive.place(number).is_some();
                if !is_here {
                    let expected = self.naive.admit(number, bytes);
                    assert_eq!(self.aged.admit(&id(number), size(bytes)), expected);
                }
            }
            Op::Hit(number, worth) => {
                assert_eq!(self.aged.hit(&id(number), worth), self.naive.hit(number, worth));
            }
            Op::Evict => {
                self.evict();
            }
            Op::Hold(number) => self.held.extend([number]),
            Op::Release(number) => self.held.retain(|held| *held != number),
            Op::Remove(number) => {
                self.aged.remove(&id(number));
                self.naive.refs.retain(|entry| entry.number != number);
                self.naive.trim();
            }
            Op::Resize(number, bytes) => {
                self.aged.resize(&id(number), size(bytes));
                if let Some(place) = self.naive.place(number) {
                    self.naive.refs[place].size = bytes;
                }
            }
            Op::Capacity(bytes) => {
                self.aged.set_capacity(size(bytes));
                self.naive.capacity = bytes;
            }
            Op::Restart => self.restart(),
            Op::Failed => {
                let changes = self.aged.take_changes();
                self.aged.put_back(&changes);
            }
        }
    }

    fn check(&self) {
        let usage = self.aged.usage();
        assert_eq!(usage.used, size(self.naive.used()));
        assert_eq!(self.aged.main_bytes, self.naive.main_bytes());
        assert_eq!(usage.refs, u64::try_from(self.naive.refs.len()).unwrap());
        assert_eq!(usage.ghosts, u64::try_from(self.naive.ghosts.len()).unwrap());
        assert!(usage.ghosts <= 2 * usage.refs.max(16));
        assert_eq!(self.aged.seats.len(), self.aged.main.len() + self.aged.probation.len());
        let head = Head {
            floor: self.naive.floor,
            last: self.naive.last,
            last_probation: self.naive.last_probation,
        };
        assert_eq!(self.aged.head, head);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_same_refs_go_as_by_the_rules(ops in prop::collection::vec(op(), 1..400)) {
        let mut pair = Pair::new();
        for op in ops {
            pair.step(op);
            pair.check();
        }
        pair.held.clear();
        while pair.evict().is_some() {
            pair.check();
        }
        prop_assert!(pair.aged.usage().used.is_zero());
        prop_assert!(pair.naive.ghosts.len() <= 32);
    }
}

#[test]
fn the_model_tells_segments_apart() {
    let mut pair = Pair::new();
    (0..200).for_each(|turn| pair.request(turn % 37, 40));
    let mains = pair.naive.refs.iter().filter(|entry| entry.is_main).count();
    assert!(mains > 0 && mains < pair.naive.refs.len(), "{mains}");
    let changes = pair.aged.take_changes();
    pair.disk.write(changes);
    let written = pair.disk.records.values().filter(|record| record.segment == Segment::Main).count();
    assert_eq!(written, mains);
}
