//! The content-defined chunker: a cut falls where a hash of the last bytes ends in zeros.
//!
//! The hash is a cyclic polynomial ("buzhash") over a window that rolls over the content: turned by one bit
//! for each byte, with the table's word of the byte that comes in and of the one that leaves. A cut thus
//! depends on the bytes right before it, and after an insertion the old cuts are found again. Pieces are
//! [`MIN`] to [`MAX`] long; between them a cut falls on one of 2^13 places, which makes 16 KiB on average.
//! All of it is fixed for good: any change gives other CIDs.

/// Shortest piece, but for the last one. Nothing is hashed up to here, which halves the work.
pub(super) const MIN: usize = 8 << 10;
/// Longest piece. About one in a thousand of random content gets there, and runs of one byte do.
pub(super) const MAX: usize = 64 << 10;
/// Thirteen zeros: 8 KiB on average after the first 8 KiB.
const MASK: u64 = (1 << 13) - 1;
/// As long as a word has bits, so that a byte's word is back where it was when the byte leaves.
const WINDOW: usize = 64;
/// The table is the first 256 numbers that SplitMix64 gives from here; in ASCII it is "pop chnk".
const SEED: u64 = 0x706f_7020_6368_6e6b;
const TABLE: [u64; 256] = table();

/// Each word has an odd number of ones. A run of one byte then hashes to all ones wherever one looks and is
/// cut as seldom as possible; an even number would hash to zero and cut at every chance.
const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut state = SEED;
    let mut at = 0;
    while at < table.len() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        table[at] = if word.count_ones().is_multiple_of(2) { word ^ 1 } else { word };
        at += 1;
    }
    table
}

/// Returns where the piece ends that starts with `content`.
///
/// Content shorter than [`MAX`] is taken to be the file's last.
pub(super) fn cut(content: &[u8]) -> usize {
    let content = &content[..content.len().min(MAX)];
    if content.len() <= MIN {
        return content.len();
    }
    let word = |byte: u8| TABLE[usize::from(byte)];
    let mut hash =
        content[MIN - WINDOW..MIN].iter().fold(0u64, |hash, byte| hash.rotate_left(1) ^ word(*byte));
    let rolling = content[MIN..].iter().zip(&content[MIN - WINDOW..]);
    for (at, (new, old)) in (MIN..).zip(rolling) {
        if hash & MASK == 0 {
            return at;
        }
        hash = hash.rotate_left(1) ^ word(*old) ^ word(*new);
    }
    content.len()
}
