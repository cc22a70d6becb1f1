//! The assets that this deployment accepts, and what each chain asks of a payment.

use std::collections::BTreeMap;

use thiserror::Error;
use xthonpay_domain::asset::{Asset, AssetId, AssetKind};
use xthonpay_domain::text::{ChainName, Symbol};

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
        /// The accepted assets.
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

    /// Every accepted asset, by name.
    pub fn assets(&self) -> impl Iterator<Item = &Asset> {
        self.assets.values()
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

    /// The asset with this symbol on this chain, or on the only chain that has it.
    ///
    /// # Errors
    /// [`AssetLookupError`] when there is none, or more than one and no chain was named.
    pub fn find(&self, symbol: &Symbol, chain: Option<&ChainName>) -> Result<&Asset, AssetLookupError> {
        let named = |asset: &&Asset| asset.id.symbol == *symbol && chain.is_none_or(|chain| asset.id.chain == *chain);
        let mut found = self.assets.values().filter(named);
        match (found.next(), found.next()) {
            (Some(asset), None) => Ok(asset),
            (None, _) => Err(AssetLookupError::Unknown { known: join(self.assets.keys()) }),
            (Some(_), Some(_)) => Err(AssetLookupError::Ambiguous {
                symbol: symbol.clone(),
                chains: join(self.assets.values().filter(named).map(|asset| &asset.id.chain)),
            }),
        }
    }
}

fn join<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
