//! Movements of value as plugins are shown them.

use xthonpay_domain::amount::Decimals;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::transfer::Transfer;

use crate::bindings::base::xthonpay::host::types as wit;

/// Transfers of an invoice that a plugin is shown, the newest. Anybody can send any number of small ones to an address, and they
/// must not grow the input beyond its limit; the sums always count all of them.
pub(crate) const TRANSFERS_MAX: usize = 200;

/// The payments among the deposits of an address, oldest first. What came in another asset is no payment, and what left
/// the chain is none any more.
pub(crate) fn of_invoice(
    deposits: &[Deposit],
    asset: &AssetId,
    decimals: Decimals,
    tip: BlockNumber,
) -> Vec<wit::Transfer> {
    let counts =
        |deposit: &&Deposit| deposit.transfer.identity.asset == *asset && deposit.state != DepositState::Orphaned;
    let mut payments: Vec<_> = deposits.iter().filter(counts).collect();
    payments.sort_by_key(|deposit| (deposit.block.number, deposit.transfer.identity.origin));
    let skipped = payments.len().saturating_sub(TRANSFERS_MAX);
    let shown = |deposit: &Deposit| {
        let is_final = deposit.state == DepositState::Final;
        of_block(&deposit.transfer, decimals, deposit.block, is_final, tip)
    };
    payments.into_iter().skip(skipped).map(shown).collect()
}

/// A transfer in a block.
pub(crate) fn of_block(
    transfer: &Transfer,
    decimals: Decimals,
    block: BlockRef,
    is_final: bool,
    tip: BlockNumber,
) -> wit::Transfer {
    let identity = &transfer.identity;
    wit::Transfer {
        chain: identity.asset.chain.to_string(),
        tx: identity.origin.tx().map_or_else(String::new, |tx| tx.to_string()),
        asset: identity.asset.to_string(),
        to: Some(identity.to.to_string()),
        amount: transfer.amount.to_decimal(decimals),
        block: block.number.0,
        block_time: block.time.as_millis(),
        confirmations: u32::try_from(block.number.confirmations(tip)).unwrap_or(u32::MAX),
        is_final,
        attrs: Vec::new(),
    }
}
