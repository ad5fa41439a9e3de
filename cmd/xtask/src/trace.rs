//! Recorded requests as `bench evict` replays them: unpacked from `testdata/eviction`, with sizes where they have none.
//!
//! Sizes that are made up depend on the key alone, in integers, so that a table can be made again anywhere.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result};
use lzma_rust2::XzReader;
use pop_evict::Id;
use pop_units::Bytes;

/// What objects of a trace without sizes weigh.
pub(crate) enum Sizes {
    /// Every object is 1.
    Unit,
    /// Lognormal by a hash of the key: median 256 KiB, σ(ln) 2, from 4 KiB to 64 MiB.
    Lognormal {
        /// Gives other sizes to the same keys.
        salt: u64,
    },
}

/// Requests in order, with what they touch in total.
pub(crate) struct Trace {
    /// How the trace is called in tables.
    pub(crate) name: &'static str,
    requests: Vec<(Id, Bytes)>,
    footprint: u64,
    bytes: u64,
}

impl Trace {
    /// Reads CDN-like requests with their own sizes; an object is a key and a size.
    pub(crate) fn adapt(folder: &Path) -> Result<Self> {
        let text = String::from_utf8(unpack(&folder.join("adapt_size.trace.xz"))?)?;
        let request = |line: &str| -> Result<(Id, Bytes)> {
            let words: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
            let [_, key, size] = words[..] else { anyhow::bail!("{line:?} is no request") };
            Ok((Id::new(&[key.to_be_bytes(), size.to_be_bytes()].concat()), Bytes::new(size)))
        };
        Ok(Self::new("adapt", text.lines().map(request).collect::<Result<_>>()?))
    }

    /// Reads web requests, which have no sizes.
    pub(crate) fn web07(folder: &Path, sizes: &Sizes) -> Result<Self> {
        let bytes = unpack(&folder.join("web07.trace.xz"))?;
        let (keys, _) = bytes.as_chunks::<4>();
        let (name, size): (_, Box<dyn Fn(u32) -> u64>) = match sizes {
            Sizes::Unit => ("web07/unit", Box::new(|_| 1)),
            Sizes::Lognormal { salt } => ("web07", Box::new(|key| lognormal(u64::from(key), *salt))),
        };
        let request = |key: &[u8; 4]| (Id::new(key), Bytes::new(size(u32::from_be_bytes(*key))));
        Ok(Self::new(name, keys.iter().map(request).collect()))
    }

    fn new(name: &'static str, requests: Vec<(Id, Bytes)>) -> Self {
        let mut seen = HashSet::new();
        let first = requests.iter().filter(|(id, _)| seen.insert(id));
        let footprint = first.map(|(_, size)| size.get()).sum();
        let bytes = requests.iter().map(|(_, size)| size.get()).sum();
        Self { name, requests, footprint, bytes }
    }

    /// Returns all requests.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (&Id, Bytes)> {
        self.requests.iter().map(|(id, size)| (id, *size))
    }

    /// Returns the size of all different objects together.
    pub(crate) fn footprint(&self) -> u64 {
        self.footprint
    }

    /// Returns the number of requests.
    pub(crate) fn count(&self) -> u64 {
        u64::try_from(self.requests.len()).unwrap_or(u64::MAX)
    }

    /// Returns the bytes of all requests.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns whether objects and bytes are the same thing.
    pub(crate) fn is_unit(&self) -> bool {
        self.count() == self.bytes
    }
}

fn unpack(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut bytes = Vec::new();
    let mut reader = XzReader::new(BufReader::new(file), false);
    reader.read_to_end(&mut bytes).with_context(|| format!("unpack {}", path.display()))?;
    Ok(bytes)
}

/// One in the fixed point of [`lognormal`].
const ONE: u128 = 1 << 60;

/// Returns 2^(18 + 2·z/ln 2), clamped, where z is nearly normal: the sum of twelve uniform numbers less six.
fn lognormal(key: u64, salt: u64) -> u64 {
    let mut state = key ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let uniform = |state: &mut u64| {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(*state) >> 48
    };
    // z in 1/65536, from 0 to 12 instead of −6 to 6.
    let z: u64 = (0..12).map(|_| uniform(&mut state)).sum();
    // 2/ln 2 = 2.885390 = 189_096/65536; the exponent stays above zero: 18 − 6 · 2.89 > 0.
    let exponent = ((18 << 16) + ((z * 189_096) >> 16)).saturating_sub(6 * 189_096);
    let (whole, fraction) = (exponent >> 16, exponent & 0xffff);
    let mut size = ONE;
    let mut root = 2 * ONE;
    for bit in (0..16).rev() {
        root = (root * ONE).isqrt();
        if fraction >> bit & 1 == 1 {
            size = size * root / ONE;
        }
    }
    let size = (size << whole.min(60)) / ONE;
    u64::try_from(size).unwrap_or(u64::MAX).clamp(4 << 10, 64 << 20)
}

/// The finaliser of splitmix64.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_sizes_are_lognormal() {
        let mut sizes: Vec<u64> = (0..20_000).map(|key| lognormal(key, 0)).collect();
        sizes.sort_unstable();
        let within = |place: usize, expected: u64| {
            let found = sizes[place];
            assert!(
                found * 100 > expected * 93 && found * 100 < expected * 107,
                "{place}: {found} {expected}"
            );
        };
        // The median, and one σ to either side: 256 KiB · e^±2.
        within(10_000, 256 << 10);
        within(16_827, 1_936_987);
        within(3173, 35_477);
        assert_eq!((sizes[0], sizes[19_999]), (4 << 10, 64 << 20));
    }

    #[test]
    fn other_salts_give_other_sizes() {
        assert_ne!(lognormal(1, 0), lognormal(1, 1));
        assert_eq!(lognormal(1, 5), lognormal(1, 5));
    }
}
