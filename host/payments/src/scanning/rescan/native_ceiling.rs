//! How much of the native coin may still be recorded for an address: what it holds above all that is known.
//!
//! A payment that was passed over has raised the balance of its address, so it may already be recorded as coins that a
//! contract passed on. Found again by its transaction, it must not count a second time.

use std::collections::BTreeMap;

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, AmountError};
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::transfer::{Origin, Transfer};

use super::{RescanError, RescannedChain};
use crate::port::chain::ChainError;
use crate::scanning::changes::ScanError;
use crate::scanning::internal::{Holder, received};

/// Balances at one final block, and what was admitted against them.
#[derive(Clone)]
pub(super) struct Ceiling {
    native: Option<AssetId>,
    /// The block of the balances; the genesis block when there are none.
    block: BlockNumber,
    balances: BTreeMap<Address, Amount>,
    admitted: BTreeMap<Address, Amount>,
}

/// Whose transfer is refused, and why.
type Refusal = (MerchantId, String);

impl Ceiling {
    /// Reads the balances of the addresses whose native transfers may be missing.
    pub(super) async fn read(chain: &RescannedChain, transfers: &[(Transfer, BlockRef)]) -> Result<Self, RescanError> {
        let native = chain.books.native();
        let mut addresses = Vec::new();
        for (transfer, block) in transfers {
            let identity = &transfer.identity;
            let is_native = Some(&identity.asset) == native.as_ref();
            if is_native && !addresses.contains(&identity.to) && chain.known(transfer, *block).await?.is_none() {
                addresses.push(identity.to);
            }
        }
        let none = Self { native, block: BlockNumber(0), balances: BTreeMap::new(), admitted: BTreeMap::new() };
        if addresses.is_empty() {
            return Ok(none);
        }
        let block = chain.cursor().await?.finalized;
        let balances = chain.source.native_balances(block, &addresses).await?;
        if balances.len() != addresses.len() {
            let reason = format!("{} balances for {} addresses", balances.len(), addresses.len());
            return Err(ChainError::Inconsistent { reason }.into());
        }
        Ok(Self { block: block.number, balances: addresses.into_iter().zip(balances).collect(), ..none })
    }

    /// Counts a missing transfer against the ceiling of its address, or says why it does not fit below.
    pub(super) async fn admit(
        &mut self,
        chain: &RescannedChain,
        transfer: &Transfer,
    ) -> Result<Result<(), Refusal>, RescanError> {
        let to = transfer.identity.to;
        let Some(native) = self.native.as_ref().filter(|native| **native == transfer.identity.asset) else {
            return Ok(Ok(()));
        };
        let Some(own) = chain.books.store.address(&to).await? else { return Ok(Ok(())) };
        let deposits = chain.books.deposits_of(&Holder::from(&own)).await?;
        let known = received(&deposits, native, self.block).map_err(ScanError::from)?;
        let balance = self.balances.get(&to).copied().unwrap_or_default();
        let admitted = self.admitted.entry(to).or_default();
        let with_this = add(*admitted, transfer.amount)?;
        if add(known, with_this)? <= balance {
            *admitted = with_this;
            return Ok(Ok(()));
        }
        Ok(Err((own.merchant, refusal(&to, self.block, native, &deposits))))
    }
}

fn add(one: Amount, other: Amount) -> Result<Amount, RescanError> {
    one.checked_add(other).map_err(|error: AmountError| RescanError::Scan(error.into()))
}

fn refusal(address: &Address, block: BlockNumber, native: &AssetId, deposits: &[Deposit]) -> String {
    let internal = deposits.iter().filter(|deposit| {
        let identity = &deposit.transfer.identity;
        identity.asset == *native && matches!(identity.origin, Origin::Balance { .. })
    });
    let named: Vec<String> =
        internal.map(|deposit| format!("{} of block {}", deposit.id, deposit.block.number)).collect();
    let holders = match named.as_slice() {
        [] => "its deposits".to_owned(),
        named => format!("its deposits, among them the internal {}", named.join(", ")),
    };
    format!("the balance of {address} at block {block} is explained by {holders}; these coins are credited already")
}
