//! What an earlier process left of the simulated chain. Its blocks are gone; its deposits are not.

use std::collections::BTreeMap;

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::BlockRef;
use xthonpay_domain::deposit::DepositState;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::time::Timestamp;

use crate::port::store::{READ_LIMIT_MAX, Store, StoreError};

/// The block that the scanner of the chain of `native` processed last, and what the addresses of open invoices in that coin
/// hold by their deposits. All others are left out: nobody looks at their balances.
///
/// # Errors
/// [`StoreError`].
pub async fn left_behind(
    store: &dyn Store,
    native: &AssetId,
) -> Result<(Option<BlockRef>, BTreeMap<Address, Amount>), StoreError> {
    let tip = store.cursor(&native.chain).await?.map(|cursor| cursor.tip);
    let (mut held, mut after) = (BTreeMap::new(), None);
    let end_of_time = Timestamp::from_millis(u64::MAX);
    loop {
        let page = store.invoices_past_expiry(&native.chain, end_of_time, after.as_ref(), READ_LIMIT_MAX).await?;
        let Some(last) = page.last() else { return Ok((tip, held)) };
        after = Some((last.terms.expires_at, last.id.clone()));
        for invoice in page.iter().filter(|invoice| invoice.terms.asset == *native && has_deposits(invoice)) {
            held.insert(invoice.address, deposited(store, invoice).await?);
        }
    }
}

fn has_deposits(invoice: &Invoice) -> bool {
    !invoice.assessment.received.is_zero() || !invoice.assessment.pending.is_zero()
}

async fn deposited(store: &dyn Store, invoice: &Invoice) -> Result<Amount, StoreError> {
    let deposits = store.deposits_of_invoice(&invoice.id).await?;
    let counts = deposits.iter().filter(|deposit| {
        deposit.state != DepositState::Orphaned && deposit.transfer.identity.asset == invoice.terms.asset
    });
    let sum = Amount::sum(counts.map(|deposit| deposit.transfer.amount));
    sum.map_err(|error| StoreError::Damaged { table: "deposit", reason: format!("those of {}: {error}", invoice.id) })
}
