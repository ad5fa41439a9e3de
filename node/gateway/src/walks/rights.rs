//! Archives under way: so many in all, and never all of them for one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::server;

/// Archives at once.
pub(crate) const ARCHIVES: usize = 256;

/// Of one address, which could keep all others out by taking its archives slowly.
pub(crate) const EACH: usize = ARCHIVES / 8 * 7;

/// The archives that are under way.
#[derive(Default)]
pub(super) struct Rights(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    all: usize,
    /// Of addresses that have any.
    each: HashMap<u128, usize>,
}

/// The right to make one archive. Dropping it makes room.
pub(super) struct Right {
    rights: Arc<Rights>,
    of: u128,
}

/// Why there is no right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// There are as many archives as there may be.
    All,
    /// The address has its part of them.
    Address,
}

impl Rights {
    /// Returns the right of an address to one more archive.
    ///
    /// # Errors
    /// There is no room.
    pub(super) fn take(self: &Arc<Self>, from: IpAddr) -> Result<Right, Denied> {
        let of = server::guest_of(from);
        let mut taken = self.taken();
        let each = taken.each.get(&of).copied().unwrap_or_default();
        if taken.all >= ARCHIVES {
            return Err(Denied::All);
        }
        if each >= EACH {
            return Err(Denied::Address);
        }
        taken.all = taken.all.saturating_add(1);
        taken.each.insert(of, each.saturating_add(1));
        Ok(Right { rights: Arc::clone(self), of })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Nothing is done under the lock that could leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Right {
    fn drop(&mut self) {
        let mut taken = self.rights.taken();
        taken.all = taken.all.saturating_sub(1);
        let Some(each) = taken.each.get_mut(&self.of) else { return };
        *each = each.saturating_sub(1);
        if *each == 0 {
            taken.each.remove(&self.of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_room_for_others_and_all_is_given_back() {
        let rights = Arc::<Rights>::default();
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let mut taken: Vec<_> = (0..EACH).map(|_| rights.take(address(1)).ok().unwrap()).collect();
        assert_eq!(rights.take(address(1)).err(), Some(Denied::Address));
        taken.extend((EACH..ARCHIVES).map(|_| rights.take(address(2)).ok().unwrap()));
        assert_eq!(rights.take(address(2)).err(), Some(Denied::All));
        drop(taken.swap_remove(0));
        assert!(rights.take(address(2)).is_ok());
        drop(taken);
        let taken = rights.taken();
        assert_eq!((taken.all, taken.each.len()), (0, 0));
    }
}
