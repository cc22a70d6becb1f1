//! Fresh addresses for invoices: which index of a merchant's derivation path comes next.
//!
//! Indices are taken from the store in short runs, so that most invoices cost no extra transaction. What a crash leaves of a
//! run is skipped, never given twice. Nothing here decides what an address is for.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;
use tokio::sync::Mutex as AsyncMutex;
use tracing::warn;
use xthonpay_domain::address::Address;
use xthonpay_domain::id::MerchantId;

use crate::port::signer::{AddressSource, DeriveError};
use crate::port::store::{Counter, Store, StoreError};

/// Indices taken at once: the gap limit of BIP-44, so that a restart alone never opens a gap at which a wallet that searches
/// the path would stop.
const RUN: u32 = 20;
/// Merchants whose run is remembered, about 200 bytes each. Beyond it the runs are dropped and taken anew.
const MERCHANTS_MAX: usize = 10_000;
/// Paths without a key that are skipped in a row. One such path has the odds of 1 in 2^127; two mean a broken source.
const UNUSABLE_MAX: u32 = 2;

/// An address that could not be had.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NextAddressError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No address could be derived.
    #[error(transparent)]
    Derive(#[from] DeriveError),
}

impl NextAddressError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Derive(error) => error.is_transient(),
        }
    }
}

/// A merchant's account and the indices that are taken and not yet used.
struct Run {
    account: u32,
    free: Range<u32>,
}

/// Hands out addresses that nobody has had.
pub struct AddressIndices {
    store: Arc<dyn Store>,
    source: Arc<dyn AddressSource>,
    runs: Mutex<HashMap<MerchantId, Arc<AsyncMutex<Option<Run>>>>>,
}

impl AddressIndices {
    /// No index taken yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, source: Arc<dyn AddressSource>) -> Self {
        Self { store, source, runs: Mutex::new(HashMap::new()) }
    }

    /// The merchant's next address and its index below the merchant's account.
    ///
    /// # Errors
    /// [`NextAddressError`]; [`StoreError::Damaged`] for a merchant without a record.
    pub async fn next(&self, merchant: &MerchantId) -> Result<(Address, u32), NextAddressError> {
        let mut unusable = 0_u32;
        loop {
            let (account, index) = self.next_index(merchant).await?;
            match self.source.derive(account, index) {
                Ok(address) => return Ok((address, index)),
                Err(DeriveError::Unusable { .. }) if unusable < UNUSABLE_MAX => {
                    warn!(account, index, "this path has no key; skipped");
                    unusable = unusable.saturating_add(1);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn next_index(&self, merchant: &MerchantId) -> Result<(u32, u32), StoreError> {
        let slot = self.slot(merchant);
        let mut slot = slot.lock().await;
        if let Some(run) = slot.as_mut()
            && let Some(index) = run.free.next()
        {
            return Ok((run.account, index));
        }
        let account = match slot.as_ref() {
            Some(run) => run.account,
            None => self.account(merchant).await?,
        };
        let first = self.store.take_numbers(&Counter::AddressIndex(merchant.clone()), RUN).await?;
        let mut free = first..first.saturating_add(RUN);
        // A run is never empty, so the first index is always there.
        let index = free.next().unwrap_or(first);
        *slot = Some(Run { account, free });
        Ok((account, index))
    }

    async fn account(&self, merchant: &MerchantId) -> Result<u32, StoreError> {
        let record = self.store.merchant(merchant).await?;
        record.map(|merchant| merchant.account).ok_or_else(|| StoreError::Damaged {
            table: "merchant",
            reason: format!("{merchant} has a key but no record"),
        })
    }

    fn slot(&self, merchant: &MerchantId) -> Arc<AsyncMutex<Option<Run>>> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.len() >= MERCHANTS_MAX && !runs.contains_key(merchant) {
            runs.clear();
        }
        Arc::clone(runs.entry(merchant.clone()).or_default())
    }
}
