//! What there is on the simulated chain: the two assets of BNB Smart Chain under the same symbols.

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Decimals;
use xthonpay_domain::asset::{Asset, AssetId, AssetKind};
use xthonpay_domain::text::Symbol;
use xthonpay_payments::catalog::simulated_chain;

/// The sender of every payment in tokens. Nobody has its key: it is no hash of one.
pub const PAYER: Address = Address::new([0x7e; 20]);

/// The contract of USDT. There is none at it on any chain.
const USDT_CONTRACT: Address = Address::new([0x75; 20]);

/// Digits behind the point, as on BNB Smart Chain.
const DECIMALS: u8 = 18;

/// The assets: `test:USDT` and the native `test:BNB`.
#[must_use]
pub fn assets() -> Vec<Asset> {
    let decimals = Decimals::new(DECIMALS).expect("18 is within the 77 that fit");
    let asset = |symbol: &str, kind| {
        let symbol: Symbol = symbol.parse().expect("capital letters are a symbol");
        Asset { id: AssetId { chain: simulated_chain(), symbol }, kind, decimals }
    };
    vec![asset("USDT", AssetKind::Token { contract: USDT_CONTRACT }), asset("BNB", AssetKind::Native)]
}

/// The native coin.
pub(crate) fn native() -> AssetId {
    let native = assets().into_iter().find(|asset| asset.kind == AssetKind::Native);
    native.expect("one of the two is native").id
}
