//! The addresses that the scanners look for, in memory.
//!
//! An address is inserted before its record is written, so nobody can learn it, from whichever answer or list, and pay before
//! the set knows it. If the record is then refused, the address stays in the set and means nothing. What an address is for
//! stands in the store; here it is only a member or not.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use xthonpay_domain::address::Address;

use crate::port::store::{READ_LIMIT_MAX, Store, StoreError};

/// A set of addresses that many tasks read and invoice creation extends. Addresses never leave it: late payments are found too.
///
/// A million addresses lie in one table of 2^21 places of 21 bytes: 44 MB, and half of it more for the moment in which it
/// grows. A look-up costs what memory costs to reach: a faster hash than the standard one was measured to change nothing.
#[derive(Debug, Default)]
pub struct WatchSet {
    addresses: RwLock<HashSet<Address>>,
}

impl WatchSet {
    /// Adds an address; tells whether it was not watched before.
    pub fn insert(&self, address: Address) -> bool {
        self.addresses.write().unwrap_or_else(PoisonError::into_inner).insert(address)
    }

    /// Whether the address is ours.
    #[must_use]
    pub fn contains(&self, address: &Address) -> bool {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner).contains(address)
    }

    /// How many addresses there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds every address in the store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(&self, store: &dyn Store) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = store.address_list(after, READ_LIMIT_MAX).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(*last);
            let mut addresses = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
            addresses.extend(page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A control byte for each place, beside the address itself.
    const PLACE_BYTES: usize = size_of::<Address>() + 1;

    #[test]
    fn a_million_addresses_take_less_than_70_megabytes_even_while_the_table_grows() {
        let watch = WatchSet::default();
        let mut largest = 0;
        for number in 0..1_000_000_u32 {
            let mut bytes = [0; 20];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            watch.insert(Address::new(bytes));
            largest = largest.max(watch.addresses.read().expect("no panic before").capacity());
        }
        // Seven of eight places are used at most. The old table is there until the new one is filled.
        let table = (largest * 8).div_ceil(7).next_power_of_two() * PLACE_BYTES;
        assert!(watch.len() == 1_000_000 && watch.contains(&Address::new([0; 20])));
        assert!(table + table / 2 <= 70_000_000, "{table} bytes");
    }
}
