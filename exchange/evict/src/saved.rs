//! What a policy keeps over a restart, as rows that a store writes.
//!
//! A record fits a row of a few dozen bytes; its form is here so that it is the same wherever it is kept. Rows are
//! never trusted: a policy is restored from any of them, and what is resident decides.

use pop_units::Bytes;

use crate::{Id, Worth};

/// Where a ref stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// New, not used again yet.
    Probation,
    /// Used again, kept by rank.
    Main,
}

/// What is remembered of a resident ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub segment: Segment,
    /// How often it was used, up to 255.
    pub frequency: u8,
    /// What it earns.
    pub worth: Worth,
    /// Its size when the record was made.
    pub size: Bytes,
    /// Its rank: the lowest of the main segment goes first. Zero on probation.
    pub rank: u64,
    /// Its place among equals: the lowest goes first.
    pub order: u64,
}

/// What is remembered of a ref that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ghost {
    /// Stands for its id.
    pub fingerprint: u64,
    /// How often it was used, halved when it went.
    pub frequency: u8,
    /// The lowest is forgotten first.
    pub order: u64,
}

/// What is remembered once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The rank at which newcomers of the main segment start: that of its last victim.
    pub floor: u64,
    /// The last order given in the main segment and to ghosts.
    pub last: u64,
    /// The last order given on probation.
    pub last_probation: u64,
}

/// A row to write or to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Write a ref's record.
    Keep(Id, Record),
    /// Delete a ref's record.
    Drop(Id),
    /// Write a ghost, under its fingerprint.
    KeepGhost(Ghost),
    /// Delete the ghost of a fingerprint.
    DropGhost(u64),
    /// Write the head.
    Head(Head),
}

/// All rows of a policy, as they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// The head, unless it is lost.
    pub head: Option<Head>,
    /// Records by id, in any order.
    pub records: Vec<(Id, Record)>,
    /// Ghosts, in any order.
    pub ghosts: Vec<Ghost>,
}

/// A ref that is in the store and not pinned: the truth that rows are held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Its name.
    pub id: Id,
    /// Its size.
    pub size: Bytes,
    /// How often the store saw it used; decides only where no record does.
    pub frequency: u64,
    /// When the store saw it used last, in any unit; decides only where no record does.
    pub last_used: u64,
}

const VERSION: u8 = 1;

impl Record {
    /// How long a record's bytes are.
    pub const LEN: usize = 28;

    /// Returns the record as bytes: version, segment, frequency, worth, size, rank, order, big-endian.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let segment = match self.segment {
            Segment::Probation => 0,
            Segment::Main => 1,
        };
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&[VERSION, segment, self.frequency, self.worth.sixteenths()]);
        put(&mut bytes[4..], &[self.size.get(), self.rank, self.order]);
        bytes
    }

    /// Returns the record of `bytes`, or `None` where they are none of this version.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let segment = match (bytes[0], bytes[1]) {
            (VERSION, 0) => Segment::Probation,
            (VERSION, 1) => Segment::Main,
            _ => return None,
        };
        let [size, rank, order] = get(&bytes[4..])?;
        let worth = Worth::from_sixteenths(bytes[3]);
        Some(Self { segment, frequency: bytes[2], worth, size: Bytes::new(size), rank, order })
    }
}

impl Ghost {
    /// How long a ghost's bytes are.
    pub const LEN: usize = 10;

    /// Returns the ghost as bytes: version, frequency, order. The fingerprint is the row's key.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..2].copy_from_slice(&[VERSION, self.frequency]);
        put(&mut bytes[2..], &[self.order]);
        bytes
    }

    /// Returns the ghost of a fingerprint, or `None` where `bytes` are none of this version.
    pub fn from_bytes(fingerprint: u64, bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let [order] = get(&bytes[2..])?;
        (bytes[0] == VERSION).then_some(Self { fingerprint, frequency: bytes[1], order })
    }
}

impl Head {
    /// How long a head's bytes are.
    pub const LEN: usize = 25;

    /// Returns the head as bytes: version, floor, last, last on probation.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0] = VERSION;
        put(&mut bytes[1..], &[self.floor, self.last, self.last_probation]);
        bytes
    }

    /// Returns the head of `bytes`, or `None` where they are none of this version.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let [floor, last, last_probation] = get(&bytes[1..])?;
        (bytes[0] == VERSION).then_some(Self { floor, last, last_probation })
    }
}

fn put(bytes: &mut [u8], numbers: &[u64]) {
    for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_be_bytes());
    }
}

fn get<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    for (number, place) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
        *number = u64::from_be_bytes(place.try_into().ok()?);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_went() {
        let size = Bytes::new(1 << 40);
        let worth = Worth::FREE;
        let record = Record { segment: Segment::Main, frequency: 7, worth, size, rank: 1 << 50, order: 3 };
        assert_eq!(Record::from_bytes(&record.to_bytes()), Some(record));
        let ghost = Ghost { fingerprint: 9, frequency: 200, order: u64::MAX };
        assert_eq!(Ghost::from_bytes(9, &ghost.to_bytes()), Some(ghost));
        let head = Head { floor: 1, last: 2, last_probation: 3 };
        assert_eq!(Head::from_bytes(&head.to_bytes()), Some(head));
    }

    #[test]
    fn what_is_no_row_is_none() {
        assert_eq!(Record::from_bytes(&[]), None);
        assert_eq!(Record::from_bytes(&[9; Record::LEN]), None);
        assert_eq!(Record::from_bytes(&[VERSION; Record::LEN + 1]), None);
        assert_eq!(Ghost::from_bytes(1, &[0; Ghost::LEN]), None);
        assert_eq!(Head::from_bytes(&[0; Head::LEN]), None);
    }
}
