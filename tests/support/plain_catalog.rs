//! One chain with one token and its native coin, both without decimals: the numbers of a test are base units.

use std::collections::BTreeMap;

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Decimals;
use xthonpay_domain::asset::{Asset, AssetId, AssetKind};
use xthonpay_domain::text::ChainName;
use xthonpay_payments::catalog::{Catalog, ChainTerms};

/// The chain.
#[must_use]
pub fn chain_name() -> ChainName {
    "bsc".parse().expect("well formed")
}

/// The token.
#[must_use]
pub fn usdt() -> AssetId {
    "bsc:USDT".parse().expect("well formed")
}

/// The native coin.
#[must_use]
pub fn bnb() -> AssetId {
    "bsc:BNB".parse().expect("well formed")
}

/// Both assets, on a chain that asks for this many confirmations.
#[must_use]
pub fn catalog(min_confirmations: u64) -> Catalog {
    let decimals = Decimals::new(0).expect("in range");
    let token = AssetKind::Token { contract: Address::new([0x55; 20]) };
    let assets = [(usdt(), token), (bnb(), AssetKind::Native)];
    let assets = assets.into_iter().map(|(id, kind)| Asset { id, kind, decimals }).collect();
    Catalog::new(BTreeMap::from([(chain_name(), ChainTerms { min_confirmations })]), assets)
}
