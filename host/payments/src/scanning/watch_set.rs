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
#[derive(Debug, Default)]
pub struct WatchSet {
    addresses: RwLock<HashSet<Address>>,
}

impl WatchSet {
    /// Adds an address.
    pub fn insert(&self, address: Address) {
        self.addresses.write().unwrap_or_else(PoisonError::into_inner).insert(address);
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
            let page = store.addresses(after, READ_LIMIT_MAX).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.address);
            let mut addresses = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
            addresses.extend(page.iter().map(|own| own.address));
        }
    }
}
