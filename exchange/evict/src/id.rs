//! The name of a ref, as a policy sees it.
//!
//! The whole name is kept for what is resident, because two refs taken for one would evict the wrong content;
//! what is gone is remembered by eight bytes only. Nothing here knows how a name is made.

use std::sync::Arc;

/// The name of a ref: the bytes of its root, whole. A clone shares them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Arc<[u8]>);

impl Id {
    /// Returns the name made of `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Returns the bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns eight bytes that stand for the name where a mix-up costs nothing but a wrong guess.
    ///
    /// The function is fixed, because fingerprints are kept over a restart: FNV-1a, then the finaliser of
    /// splitmix64, which spreads the few bits in which similar names differ.
    pub fn fingerprint(&self) -> u64 {
        let hash = self.0.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        mix(hash)
    }
}

/// Spreads the bits of a number.
pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl std::fmt::Debug for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Id(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

impl From<&[u8]> for Id {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_do_not_change_between_versions() {
        assert_eq!(Id::new(b"").fingerprint(), 0xf52a_15e9_a9b5_e89b);
        assert_eq!(Id::new(b"a root").fingerprint(), 18_035_313_114_351_798_373);
    }

    #[test]
    fn names_that_differ_in_one_byte_have_far_fingerprints() {
        let (a, b) =
            (Id::new(&[0; 36]).fingerprint(), Id::new(&[[0; 35].as_slice(), &[1]].concat()).fingerprint());
        assert!((a ^ b).count_ones() > 10);
    }
}
