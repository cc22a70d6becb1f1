//! Who may rescan now: one call of a merchant at a time, and a few of all merchants together, since each of them asks the
//! nodes on which the scanner depends.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xthonpay_domain::id::MerchantId;

/// Merchants that rescan at the same time. Four questions on their way are no burden beside the scanner's own.
const AT_ONCE_MAX: usize = 4;

/// The merchants whose turn it is.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<Mutex<BTreeSet<MerchantId>>>);

/// A merchant's turn; it ends when this is dropped.
pub(super) struct Turn {
    turns: Turns,
    merchant: MerchantId,
}

impl Turns {
    /// A turn for the merchant, or `None` while it has one or all are taken.
    pub(super) fn take(&self, merchant: &MerchantId) -> Option<Turn> {
        let mut taken = self.lock();
        let is_free = taken.len() < AT_ONCE_MAX && taken.insert(merchant.clone());
        is_free.then(|| Turn { turns: self.clone(), merchant: merchant.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<MerchantId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.lock().remove(&self.merchant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merchant(number: u8) -> MerchantId {
        MerchantId::from_random([number; 16])
    }

    #[test]
    fn a_merchant_has_one_turn_and_all_together_have_few() {
        let turns = Turns::default();
        let first = turns.take(&merchant(0)).expect("nobody has a turn");
        assert!(turns.take(&merchant(0)).is_none());
        let others: Vec<_> = (1..4).map(|number| turns.take(&merchant(number)).expect("there is room")).collect();
        assert!(turns.take(&merchant(4)).is_none());
        drop(first);
        assert!(turns.take(&merchant(4)).is_some());
        drop(others);
        assert!(turns.lock().is_empty());
    }
}
