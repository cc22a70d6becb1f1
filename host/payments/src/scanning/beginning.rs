//! Where the scan of a chain begins, the first time.
//!
//! At the newest final block, as long as nobody can have paid before it. Invoices and merchants that were made while no node
//! answered can have been paid already: then the scan begins before the oldest of them. And not at all where the chain was
//! scanned before under another name. Only decides; the scanner stores the decision.

use core::time::Duration;
use std::collections::BTreeSet;

use xthonpay_domain::access::Mode;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::invoice::{EXPIRES_IN_MAX, Invoice};
use xthonpay_domain::text::ChainName;
use xthonpay_domain::time::Timestamp;

use crate::catalog::{Catalog, mode_of};
use crate::port::chain::{ChainError, ChainSource};
use crate::port::store::{READ_LIMIT_MAX, Store, StoreError};
use crate::scanning::changes::ScanError;

/// How far the host's clock, which dates invoices, may be ahead of the chain's. A clock that is off by more refuses every
/// signed request long before.
pub(crate) const CLOCK_MARGIN: Duration = Duration::from_secs(600);

/// The block after which the scan begins.
pub(super) async fn first_block(
    source: &dyn ChainSource,
    store: &dyn Store,
    chain: &ChainName,
    catalog: &Catalog,
) -> Result<BlockRef, ScanError> {
    refuse_another_name(source, store, chain, catalog).await?;
    // Asked first: what is paid to an invoice that is made after this answer lies in a later block.
    let finalized = source.finalized().await?;
    let end_of_time = Timestamp::from_millis(u64::MAX);
    // Before the first scan no invoice of the chain has left `pending`, so these are all, or the first to expire.
    let waiting = store.invoices_past_expiry(chain, end_of_time, None, READ_LIMIT_MAX).await?;
    let payable = [oldest(&waiting), oldest_merchant(store, catalog).await?];
    match payable.into_iter().flatten().min() {
        Some(made_at) => Ok(newest_before(source, finalized, earlier(made_at, CLOCK_MARGIN)).await?),
        None => Ok(finalized),
    }
}

/// Fails where the blocks of the chain were scanned under a name that the config no longer has: the ids of deposits are made
/// from the name of the chain, so that under a new name every payment would be credited again.
///
/// # Errors
/// [`ScanError::Frozen`] naming both; [`ChainError::Unavailable`] as long as the nodes cannot show whether it is so.
async fn refuse_another_name(
    source: &dyn ChainSource,
    store: &dyn Store,
    chain: &ChainName,
    catalog: &Catalog,
) -> Result<(), ScanError> {
    // The simulated chain has one name alone, and no chain was ever it.
    let could_be = |former: &ChainName| catalog.chain(former).is_none() && mode_of(former) == mode_of(chain);
    for former in credited_chains(store).await?.into_iter().filter(could_be) {
        let Some(known) = store.cursor(&former).await?.map(|cursor| cursor.finalized) else { continue };
        let Some(agreed) = source.final_block(known.number).await? else {
            let reason = format!(
                "whether {chain} is what the config called {former} before is seen by block {}, which too few nodes have",
                known.number
            );
            return Err(ChainError::Unavailable { reason }.into());
        };
        if agreed.hash == known.hash {
            let reason = format!(
                "{chain} is the chain that was called {former} before, and under another name its payments would be credited \
                 again: call it {former} in the config as before, and restart"
            );
            return Err(ScanError::Frozen { reason });
        }
    }
    Ok(())
}

/// The chains on which anything was ever credited.
async fn credited_chains(store: &dyn Store) -> Result<BTreeSet<ChainName>, StoreError> {
    let (mut chains, mut after) = (BTreeSet::new(), None);
    loop {
        let page = store.balances(after.as_ref(), READ_LIMIT_MAX).await?;
        let Some((merchant, asset, _)) = page.last() else { return Ok(chains) };
        after = Some((merchant.clone(), asset.clone()));
        chains.extend(page.into_iter().map(|(_, asset, _)| asset.chain));
    }
}

/// No invoice was made before this.
fn oldest(waiting: &[Invoice]) -> Option<Timestamp> {
    if waiting.len() < READ_LIMIT_MAX {
        return waiting.iter().map(|invoice| invoice.created_at).min();
    }
    // There are more than were read. All of those expire later than the first, and none lives longer than the longest expiry.
    waiting.first().map(|first| earlier(first.terms.expires_at, EXPIRES_IN_MAX))
}

/// When the oldest merchant was made, whose own address can have been paid since; `None` once any chain has been scanned: a
/// chain that is added to a running deployment was offered to nobody before. The simulated one, which never waits for a node,
/// says nothing about the others.
///
/// One page of addresses is looked at. Nobody makes a thousand merchants before the first block is scanned.
async fn oldest_merchant(store: &dyn Store, catalog: &Catalog) -> Result<Option<Timestamp>, StoreError> {
    for chain in catalog.chains().filter(|chain| mode_of(chain) == Mode::Live) {
        if store.cursor(chain).await?.is_some() {
            return Ok(None);
        }
    }
    let addresses = store.addresses(None, READ_LIMIT_MAX).await?;
    let mut oldest = None;
    for own in addresses.iter().filter(|own| own.invoice.is_none()) {
        let made_at = store.merchant(&own.merchant).await?.map(|merchant| merchant.created_at);
        oldest = [oldest, made_at].into_iter().flatten().min();
    }
    Ok(oldest)
}

pub(crate) fn earlier(time: Timestamp, by: Duration) -> Timestamp {
    let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(time.as_millis().saturating_sub(millis))
}

/// The newest block at or below `top` whose time is before `time`, or the genesis block.
pub(crate) async fn newest_before(
    source: &dyn ChainSource,
    top: BlockRef,
    time: Timestamp,
) -> Result<BlockRef, ChainError> {
    // Down from the top in growing strides, then by halves: about twice the logarithm of the distance.
    let (mut low, mut high) = (top, top.number);
    let mut stride = 1_u64;
    while low.time >= time && low.number.0 > 0 {
        high = low.number;
        low = block(source, BlockNumber(low.number.0.saturating_sub(stride))).await?;
        stride = stride.saturating_mul(2);
    }
    while high.0.saturating_sub(low.number.0) > 1 {
        let middle = block(source, BlockNumber(low.number.0.midpoint(high.0))).await?;
        if middle.time < time {
            low = middle;
        } else {
            high = middle.number;
        }
    }
    Ok(low)
}

async fn block(source: &dyn ChainSource, number: BlockNumber) -> Result<BlockRef, ChainError> {
    let missing = || ChainError::Unavailable {
        reason: format!("block {number} is needed to begin before the oldest invoice, and too few nodes have it"),
    };
    source.block(number).await?.ok_or_else(missing)
}
