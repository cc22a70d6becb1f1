//! The assets that this deployment accepts, and what each chain asks of a payment.
//!
//! One chain is simulated: it bears the name [`SIMULATED_CHAIN`], which the config refuses for any other. Test keys see its
//! assets alone and live keys all others, so that an asset of play money is never taken for money.

use std::collections::BTreeMap;

use thiserror::Error;
use xthonpay_domain::access::Mode;
use xthonpay_domain::asset::{Asset, AssetId, AssetKind};
use xthonpay_domain::text::{ChainName, Symbol};

/// The name of the simulated chain.
pub const SIMULATED_CHAIN: &str = "test";

/// The name of the simulated chain, as a name.
#[must_use]
pub fn simulated_chain() -> ChainName {
    SIMULATED_CHAIN.parse().expect("four small letters are a name")
}

/// Whether there is real money on a chain of this name, in the config or not.
#[must_use]
pub fn mode_of(chain: &ChainName) -> Mode {
    if chain.as_str() == SIMULATED_CHAIN { Mode::Test } else { Mode::Live }
}

/// What a chain asks of every payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainTerms {
    /// Confirmations besides finality, at least 1.
    pub min_confirmations: u64,
}

/// Chains and assets by name. Fixed for the life of the host.
#[derive(Clone, Debug)]
pub struct Catalog {
    chains: BTreeMap<ChainName, ChainTerms>,
    assets: BTreeMap<AssetId, Asset>,
}

/// An asset that cannot be told from the words given.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AssetLookupError {
    /// No such asset.
    #[error("unknown asset; this deployment accepts: {known}")]
    Unknown {
        /// The accepted assets of the caller's mode.
        known: String,
    },
    /// Several chains have an asset of that symbol.
    #[error("{symbol} exists on several chains; name one of: {chains}")]
    Ambiguous {
        /// The symbol.
        symbol: Symbol,
        /// The chains that have it.
        chains: String,
    },
}

impl AssetLookupError {
    /// Always `false`: the same words fail the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

impl Catalog {
    /// A catalog of chains and their assets.
    #[must_use]
    pub fn new(chains: BTreeMap<ChainName, ChainTerms>, assets: Vec<Asset>) -> Self {
        Self { chains, assets: assets.into_iter().map(|asset| (asset.id.clone(), asset)).collect() }
    }

    /// Whether an asset is the native coin of its chain, as far as it is accepted.
    #[must_use]
    pub fn is_native(&self, asset: &AssetId) -> bool {
        self.assets.get(asset).is_some_and(|asset| matches!(asset.kind, AssetKind::Native))
    }

    /// The native coin of a chain, as far as it is accepted.
    #[must_use]
    pub fn native(&self, chain: &ChainName) -> Option<&Asset> {
        self.assets().find(|asset| asset.id.chain == *chain && matches!(asset.kind, AssetKind::Native))
    }

    /// Every accepted asset, by name.
    pub fn assets(&self) -> impl Iterator<Item = &Asset> {
        self.assets.values()
    }

    /// The accepted assets of real money, or those of the simulation, by name.
    pub fn assets_in(&self, mode: Mode) -> impl Iterator<Item = &Asset> {
        self.assets().filter(move |asset| mode_of(&asset.id.chain) == mode)
    }

    /// The chains' names.
    pub fn chains(&self) -> impl Iterator<Item = &ChainName> {
        self.chains.keys()
    }

    /// An asset by its full name.
    #[must_use]
    pub fn asset(&self, id: &AssetId) -> Option<&Asset> {
        self.assets.get(id)
    }

    /// What a chain asks of every payment.
    #[must_use]
    pub fn chain(&self, name: &ChainName) -> Option<ChainTerms> {
        self.chains.get(name).copied()
    }

    /// The asset with this symbol on this chain, or on the only chain that has it, among those of the mode.
    ///
    /// # Errors
    /// [`AssetLookupError`] when there is none, or more than one and no chain was named.
    pub fn find(&self, symbol: &Symbol, chain: Option<&ChainName>, mode: Mode) -> Result<&Asset, AssetLookupError> {
        let named = |asset: &&Asset| asset.id.symbol == *symbol && chain.is_none_or(|chain| asset.id.chain == *chain);
        let mut found = self.assets_in(mode).filter(named);
        match (found.next(), found.next()) {
            (Some(asset), None) => Ok(asset),
            (None, _) => Err(AssetLookupError::Unknown { known: join(self.assets_in(mode).map(|asset| &asset.id)) }),
            (Some(_), Some(_)) => Err(AssetLookupError::Ambiguous {
                symbol: symbol.clone(),
                chains: join(self.assets_in(mode).filter(named).map(|asset| &asset.id.chain)),
            }),
        }
    }
}

fn join<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use xthonpay_domain::amount::Decimals;

    use super::*;

    fn catalog(ids: &[&str]) -> Catalog {
        let asset = |id: &&str| Asset {
            id: id.parse().expect("well formed"),
            kind: AssetKind::Native,
            decimals: Decimals::new(18).expect("in range"),
        };
        Catalog::new(BTreeMap::new(), ids.iter().map(asset).collect())
    }

    #[test]
    fn each_mode_knows_its_own_assets_alone() {
        let catalog = catalog(&["bsc:USDT", "bsc:BNB", "test:USDT", "test:BNB"]);
        let usdt: Symbol = "USDT".parse().expect("a symbol");
        for (mode, chain, found) in [
            (Mode::Live, None, Some("bsc:USDT")),
            (Mode::Test, None, Some("test:USDT")),
            (Mode::Live, Some("test"), None),
            (Mode::Test, Some("bsc"), None),
            (Mode::Test, Some("test"), Some("test:USDT")),
        ] {
            let chain: Option<ChainName> = chain.map(|name| name.parse().expect("a name"));
            let asset = catalog.find(&usdt, chain.as_ref(), mode).ok().map(|asset| asset.id.to_string());
            assert_eq!(asset.as_deref(), found, "{mode:?} {chain:?}");
        }
        let unknown = catalog.find(&"DAI".parse().expect("a symbol"), None, Mode::Test);
        assert_eq!(unknown, Err(AssetLookupError::Unknown { known: "test:BNB, test:USDT".to_owned() }));
        assert_eq!(simulated_chain().as_str(), SIMULATED_CHAIN);
    }
}
