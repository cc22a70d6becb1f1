//! Fresh addresses for invoices: which index of a merchant's derivation path comes next, and the addresses behind it.
//!
//! Indices are taken from the store in short runs, so that most invoices cost no extra transaction, and ahead of their use, so
//! that most wait for none. What a crash leaves of a run is skipped, never given twice.
//!
//! Addresses are derived and watched ahead of the invoices that will have them. A store that was restored from an older
//! backup does not know the addresses that were given out after it; payments to them are seen all the same, as long as they
//! lie within the gap. Nothing here decides what an address is for.

mod ahead;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use thiserror::Error;
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::{JoinHandle, yield_now};
use tracing::{info, warn};
use xthonpay_domain::address::Address;
use xthonpay_domain::id::MerchantId;

use crate::port::signer::{AddressSource, DeriveError};
use crate::port::store::{Counter, Merchant, READ_LIMIT_MAX, Store, StoreError};
use crate::scanning::watch_set::WatchSet;
use ahead::{Ahead, Place};

/// Indices that are taken and not given out, at most: the gap limit of BIP-44, so that a restart alone never opens a gap at
/// which a wallet that searches the path would stop.
const RUN: u32 = 20;
/// Free indices at which as many are taken as are missing to a run. More than half of a run: a transaction later, a busy
/// merchant has used some more.
const LOW: u32 = 12;
/// Addresses that are watched beyond the newest one that was given out: the gap limit of BIP-44.
const GAP: u32 = 20;
/// Merchants whose run is remembered, about a kilobyte each. Beyond it the runs are dropped and taken anew.
const MERCHANTS_MAX: usize = 10_000;
/// Paths without a key that are skipped in a row. One such path has the odds of 1 in 2^127; two mean a broken source.
const UNUSABLE_MAX: u32 = 2;
/// Merchants whose counters are read at the same time when a host starts.
const READS_AT_ONCE: usize = 16;

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

/// An address that is derived ahead.
#[derive(Clone, Copy)]
struct Derived {
    index: u32,
    address: Address,
    /// Whether it was watched before it was derived here: then it may have a record already.
    was_watched: bool,
}

/// A merchant's account, the indices that are taken and not yet used, and the addresses that are derived ahead.
struct Run {
    account: u32,
    free: Range<u32>,
    /// What is being taken to follow `free`.
    coming: Option<JoinHandle<Result<Range<u32>, StoreError>>>,
    /// What was taken and does not follow `free` without a gap; used after it.
    later: Option<Range<u32>>,
    /// Addresses from the next one to give out to the end of the gap, in the order of their indices.
    derived: VecDeque<Derived>,
    /// The lowest index that is not derived yet.
    frontier: u32,
    /// Paths without a key that were met in a row.
    unusable: u32,
}

impl Run {
    /// Nothing taken; `frontier` is derived next.
    fn new(account: u32, frontier: u32) -> Self {
        let derived = VecDeque::new();
        Self { account, free: 0..0, coming: None, later: None, derived, frontier, unusable: 0 }
    }

    /// Adds indices that were taken.
    fn add(&mut self, taken: Range<u32>) {
        if self.free.is_empty() {
            // What lies between two runs was taken by somebody else or is claimed.
            self.frontier = self.frontier.max(taken.start);
            self.free = taken;
        } else if self.free.end == taken.start {
            self.free.end = taken.end;
        } else {
            self.later = Some(taken);
        }
    }

    /// Leaves out every index up to a claimed one.
    fn skip(&mut self, claimed: u32) {
        for range in [Some(&mut self.free), self.later.as_mut()].into_iter().flatten() {
            range.start = range.start.max(claimed.saturating_add(1)).min(range.end.max(range.start));
        }
    }

    /// The address at `index`, which is then gone from here with all below it.
    fn take(&mut self, index: u32) -> Option<Address> {
        while let Some(next) = self.derived.front().copied() {
            if next.index > index {
                return None;
            }
            self.derived.pop_front();
            if next.index == index {
                return Some(next.address);
            }
        }
        None
    }
}

/// Takes indices from the store.
async fn take(store: &dyn Store, merchant: &MerchantId, count: u32) -> Result<Range<u32>, StoreError> {
    let first = store.take_numbers(&Counter::AddressIndex(merchant.clone()), count).await?;
    Ok(first..first.saturating_add(count))
}

/// Hands out addresses that nobody has had.
pub struct AddressIndices {
    store: Arc<dyn Store>,
    source: Arc<dyn AddressSource>,
    watch: Arc<WatchSet>,
    ahead: Mutex<Ahead>,
    runs: Mutex<HashMap<MerchantId, Arc<AsyncMutex<Option<Run>>>>>,
}

impl AddressIndices {
    /// No index taken yet and nothing watched ahead.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, source: Arc<dyn AddressSource>, watch: Arc<WatchSet>) -> Self {
        Self { store, source, watch, ahead: Mutex::default(), runs: Mutex::default() }
    }

    /// The merchant's next address and its index below the merchant's account. The address is watched.
    ///
    /// # Errors
    /// [`NextAddressError`]; [`StoreError::Damaged`] for a merchant without a record.
    pub async fn next(&self, merchant: &MerchantId) -> Result<(Address, u32), NextAddressError> {
        let slot = self.slot(merchant);
        let mut slot = slot.lock().await;
        loop {
            let run = self.filled(&mut slot, merchant).await?;
            // The run was filled just now.
            let Some(index) = run.free.next() else { continue };
            self.derive_until(run, merchant, index.saturating_add(1))?;
            self.derive_gap(run, merchant, index);
            // Without an address: a path without a key. Not handed out: somebody was given it before a backup was restored.
            if let Some(address) = run.take(index)
                && self.ahead().hand_out(&address, Place { account: run.account, index })
            {
                return Ok((address, index));
            }
        }
    }

    /// Watches the gap of every merchant, before the first block is looked at and after the addresses in the store are
    /// watched; returns how many addresses were derived.
    ///
    /// From a run below the counter on: of the newest run some indices can have been given out after the backup from which
    /// the store was restored. An address that has a record already, at or above the counter, was claimed: the gap begins
    /// beyond it, and the counter is moved there. Costs some 50 µs an address, 2 ms a merchant.
    ///
    /// # Errors
    /// [`NextAddressError`].
    pub async fn watch_ahead(&self) -> Result<usize, NextAddressError> {
        let (mut after, mut merchants, mut addresses) = (None, 0_usize, 0_usize);
        loop {
            let page = self.store.merchants(after.as_ref(), READ_LIMIT_MAX).await?;
            let Some(last) = page.last() else { return Ok(addresses) };
            after = Some(last.id.clone());
            let counters = stream::iter(&page).map(|merchant| async move {
                let counter = Counter::AddressIndex(merchant.id.clone());
                let next = self.store.next_number(&counter).await?;
                Ok::<_, StoreError>((merchant, counter, next))
            });
            let mut counted = counters.buffered(READS_AT_ONCE);
            while let Some((merchant, counter, next)) = counted.try_next().await? {
                let (derived, unused) = self.watch_gap(merchant, next).await?;
                if let Some(claimed) = unused.checked_sub(next).filter(|claimed| *claimed > 0) {
                    self.store.take_numbers(&counter, claimed).await?;
                }
                addresses = addresses.saturating_add(derived);
                // Other tasks of the thread get their turn between two merchants.
                yield_now().await;
            }
            merchants = merchants.saturating_add(page.len());
            if page.len() == READ_LIMIT_MAX {
                info!(merchants, addresses, "watching the gaps of merchants");
            }
        }
    }

    /// The place of a watched address that was given out by nobody, to whom a payment has come: from now on neither it nor
    /// any address below it is handed out. The gap moves on beyond it. May be asked again for the same address.
    ///
    /// In memory alone, as the address gets its record with the deposit: a claim that was never stored leaves nothing behind,
    /// and one that was is found from the record when a host starts. Numbers that were taken here would move the counter, and
    /// with it the gap of the next start, past addresses whose deposits a crash has kept from being stored.
    ///
    /// `None` for an address that is not watched ahead.
    pub async fn claim(&self, address: &Address) -> Option<(MerchantId, u32)> {
        let (merchant, place) = self.ahead().claim(address)?;
        let slot = self.slot(&merchant);
        let mut slot = slot.lock().await;
        let run = slot.get_or_insert_with(|| Run::new(place.account, place.index.saturating_add(1)));
        self.derive_gap(run, &merchant, place.index);
        Some((merchant, place.index))
    }

    /// Whether the address is watched ahead of being given out.
    pub(crate) fn is_ahead(&self, address: &Address) -> bool {
        self.ahead().holds(address)
    }

    /// Derives and watches from a run below the counter to the end of the gap. Returns how many addresses that are, and the
    /// lowest index from the counter on that was not claimed.
    async fn watch_gap(&self, merchant: &Merchant, next: u32) -> Result<(usize, u32), NextAddressError> {
        let mut run = Run::new(merchant.account, next.saturating_sub(RUN));
        self.derive_until(&mut run, &merchant.id, next)?;
        let mut unused = next;
        while let Some(newest) = unused.checked_sub(1) {
            self.derive_gap(&mut run, &merchant.id, newest);
            let Some(claimed) = self.newest_recorded(&run, unused).await? else { break };
            unused = claimed.saturating_add(1);
        }
        Ok((run.derived.len(), unused))
    }

    /// The highest index from `first` on that is derived and whose address has a record.
    async fn newest_recorded(&self, run: &Run, first: u32) -> Result<Option<u32>, StoreError> {
        let candidates = run.derived.iter().rev().take_while(|derived| derived.index >= first);
        for derived in candidates.filter(|derived| derived.was_watched) {
            // Watched is not recorded: another one that looks after the same set may watch ahead too.
            if self.store.address(&derived.address).await?.is_some() {
                return Ok(Some(derived.index));
            }
        }
        Ok(None)
    }

    /// The merchant's run with at least one free index.
    async fn filled<'a>(&self, slot: &'a mut Option<Run>, merchant: &MerchantId) -> Result<&'a mut Run, StoreError> {
        let account = match slot.as_ref() {
            Some(run) => run.account,
            None => self.account(merchant).await?,
        };
        let run = slot.get_or_insert_with(|| Run::new(account, 0));
        self.receive(run).await;
        let claimed = self.ahead().claimed(account);
        claimed.into_iter().for_each(|claimed| run.skip(claimed));
        if run.free.is_empty() {
            match run.later.take().filter(|later| !later.is_empty()) {
                Some(later) => run.add(later),
                None => run.add(take(self.store.as_ref(), merchant, RUN).await?),
            }
        }
        let free = run.free.end.saturating_sub(run.free.start);
        if free <= LOW && run.coming.is_none() && run.later.is_none() {
            let (store, merchant) = (Arc::clone(&self.store), merchant.clone());
            let missing = RUN.saturating_sub(free);
            run.coming = Some(tokio::spawn(async move { take(store.as_ref(), &merchant, missing).await }));
        }
        Ok(run)
    }

    /// Adds what is being taken, if it is there or nothing else is left.
    async fn receive(&self, run: &mut Run) {
        let Some(coming) = run.coming.as_mut().filter(|coming| coming.is_finished() || run.free.is_empty()) else {
            return;
        };
        let taken = coming.await;
        run.coming = None;
        match taken {
            Ok(Ok(taken)) => run.add(taken),
            Ok(Err(error)) => warn!(%error, "no indices were taken ahead; trying again"),
            Err(error) => warn!(%error, "taking indices ahead ended in a defect; trying again"),
        }
    }

    /// Derives and watches the gap above `index`. What cannot be derived now is missed only by who restores a backup.
    fn derive_gap(&self, run: &mut Run, merchant: &MerchantId, index: u32) {
        if let Err(error) = self.derive_until(run, merchant, index.saturating_add(1).saturating_add(GAP)) {
            warn!(%merchant, %error, "the gap is not watched in full");
        }
    }

    /// Derives and watches every index below `end` that is not derived yet.
    fn derive_until(&self, run: &mut Run, merchant: &MerchantId, end: u32) -> Result<(), DeriveError> {
        while run.frontier < end {
            let index = run.frontier;
            match self.source.derive(run.account, index) {
                Ok(address) => {
                    run.unusable = 0;
                    self.ahead().insert(address, merchant, Place { account: run.account, index });
                    let was_watched = !self.watch.insert(address);
                    run.derived.push_back(Derived { index, address, was_watched });
                }
                Err(DeriveError::Unusable { account, index }) if run.unusable < UNUSABLE_MAX => {
                    warn!(account, index, "this path has no key; skipped");
                    run.unusable = run.unusable.saturating_add(1);
                }
                Err(error) => return Err(error),
            }
            run.frontier = index.saturating_add(1);
        }
        Ok(())
    }

    async fn account(&self, merchant: &MerchantId) -> Result<u32, StoreError> {
        let record = self.store.merchant(merchant).await?;
        record.map(|merchant| merchant.account).ok_or_else(|| StoreError::Damaged {
            table: "merchant",
            reason: format!("{merchant} has a key but no record"),
        })
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, merchant: &MerchantId) -> Arc<AsyncMutex<Option<Run>>> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.len() >= MERCHANTS_MAX && !runs.contains_key(merchant) {
            runs.clear();
        }
        Arc::clone(runs.entry(merchant.clone()).or_default())
    }
}
