//! `list` and `store`: what is kept, and how well the store chooses what stays.

use pop_rpc::{HeldEntry, RefEntry, Shadow, StoreFigures};
use pop_store::{Figures, Ref, RefKey, ShadowFigures};

/// Returns a ref as the API shows it.
pub(crate) fn entry(found: Ref) -> RefEntry {
    let held = |key: &RefKey| HeldEntry {
        key: key.name.clone(),
        cid: key.cid.into(),
        size: key.size,
        held: key.here,
    };
    RefEntry {
        root: found.root.into(),
        size: found.size,
        keys: found.keys.iter().map(|key| key.name.clone()).collect(),
        entries: found.keys.iter().map(held).collect(),
        complete: found.complete,
        pinned: found.pinned,
        frequency: found.frequency,
        last_used_s: found.last_used,
        served: found.bytes_served,
        revenue_atto: found.revenue,
    }
}

/// Returns the figures of a store as the API shows them.
pub(crate) fn figures(found: Figures) -> StoreFigures {
    let ShadowFigures { one_in, real, others } = found.shadows;
    StoreFigures {
        used: found.used,
        live: found.live,
        reclaimable: found.reclaimable,
        reserved: found.reserved,
        capacity: found.capacity,
        low: found.low,
        pinned: found.pinned,
        refs: found.refs,
        pinned_refs: found.pinned_refs,
        blocks: found.blocks,
        policy: found.policy.to_string(),
        sampled_one_in: one_in,
        sampled: shadow(found.policy.to_string(), real),
        shadows: others.into_iter().map(|(choice, tally)| shadow(choice.to_string(), tally)).collect(),
    }
}

fn shadow(policy: String, tally: pop_evict::Tally) -> Shadow {
    let byte_hit_ratio = ratio(tally.hit_bytes.get(), tally.bytes.get());
    let hit_ratio = ratio(tally.hits, tally.requests);
    Shadow { policy, requests: tally.requests, hits: tally.hits, hit_ratio, byte_hit_ratio }
}

/// Returns a share to four digits; nothing of nothing is nothing.
fn ratio(part: u64, whole: u64) -> f64 {
    const DIGITS: u32 = 10_000;
    let scaled = u128::from(part) * u128::from(DIGITS) / u128::from(whole.max(1));
    f64::from(u32::try_from(scaled).unwrap_or(DIGITS)) / f64::from(DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_between_nothing_and_all() {
        assert_eq!(ratio(0, 0), 0.0);
        assert_eq!(ratio(1, 3), 0.3333);
        assert_eq!(ratio(u64::MAX, u64::MAX), 1.0);
    }
}
