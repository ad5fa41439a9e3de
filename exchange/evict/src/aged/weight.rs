//! How much one use counts, by size.
//!
//! Between counting objects (small ones win) and counting bytes (size is ignored) lies the exponent 1/8: measured
//! to lose almost nothing in bytes and to gain most of the objects.

use crate::Worth;

/// Uses beyond this don't raise a rank further: what was once popular must be able to go.
const ENOUGH: u8 = 16;

/// No ref's uses add more than this: the most uses of the smallest size at the highest worth.
pub(super) const MOST_MERIT: u64 = 16 * 60_096 * 2;

/// Returns 2^15.875 · size^(−1/8), rounded down at each of three roots.
pub(super) fn weight(size: u64) -> u64 {
    let root = ((1_u128 << 127) / u128::from(size.max(1))).isqrt().isqrt().isqrt();
    u64::try_from(root).unwrap_or(u64::MAX)
}

/// Returns what a ref's uses add to the floor.
pub(super) fn merit(frequency: u8, size: u64, worth: Worth) -> u64 {
    // At most 16 · 2^15.9 · 32: no overflow.
    u64::from(frequency.min(ENOUGH)) * weight(size) * u64::from(worth.sixteenths()) / 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_exact() {
        let table = [(1, 60_096), (4096, 21_247), (1 << 20, 10_623), (1 << 30, 4466), (1 << 40, 1878)];
        for (size, expected) in table {
            assert_eq!(weight(size), expected, "{size}");
        }
        assert_eq!(weight(0), weight(1));
        assert!(weight(u64::MAX) > 0);
    }

    #[test]
    fn neutral_worth_changes_nothing_and_uses_count_up_to_sixteen() {
        assert_eq!(merit(3, 4096, Worth::NEUTRAL), 3 * 21_247);
        assert_eq!(merit(200, 4096, Worth::NEUTRAL), 16 * 21_247);
        assert_eq!(merit(2, 4096, Worth::FREE), 21_247);
        assert_eq!(merit(255, 0, Worth::from_sixteenths(255)), MOST_MERIT);
    }
}
