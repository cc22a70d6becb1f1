//! What a merchant has.

use std::sync::Arc;

use xthonpay_domain::access::Mode;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::ledger::Balance;

use crate::catalog::{Catalog, mode_of};
use crate::port::store::{Store, StoreError};

/// Reads balances.
#[derive(Clone)]
pub struct Balances {
    /// Records.
    pub store: Arc<dyn Store>,
    /// Accepted assets.
    pub catalog: Arc<Catalog>,
}

/// A balance with what is needed to show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssetBalance {
    /// Of what.
    pub asset: AssetId,
    /// Digits behind the point.
    pub decimals: Decimals,
    /// How much.
    pub balance: Balance,
}

impl Balances {
    /// The merchant's balance in every accepted asset of its mode, in the order of the assets' names. Assets of the other mode
    /// are among them where there is something: real money that was sent to a test address is not hidden.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of(&self, merchant: &MerchantId, mode: Mode) -> Result<Vec<AssetBalance>, StoreError> {
        let mut balances = Vec::new();
        for asset in self.catalog.assets() {
            let (balance, _) = self.store.balance(merchant, &asset.id).await?;
            let is_there = [balance.available, balance.held].into_iter().any(|amount| amount > Amount::ZERO);
            if mode_of(&asset.id.chain) != mode && !is_there {
                continue;
            }
            balances.push(AssetBalance { asset: asset.id.clone(), decimals: asset.decimals, balance });
        }
        Ok(balances)
    }
}
