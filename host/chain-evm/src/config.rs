//! What the operator says about one EVM chain.
//!
//! Checks what can be checked without a node; whether the nodes agree with it is the source's self-check.

use core::fmt;
use core::time::Duration;

use thiserror::Error;
use url::Url;
use xthonpay_domain::asset::{Asset, AssetId, AssetKind};
use xthonpay_domain::text::ChainName;

/// One EVM chain of a deployment.
#[derive(Clone)]
pub struct EvmChainConfig {
    /// The operator's name of the chain: `bsc` in `[chains.bsc]`.
    pub name: ChainName,
    /// The number that the chain's nodes answer to `eth_chainId`: 56 for BNB Smart Chain.
    pub chain_id: u64,
    /// HTTP addresses of JSON-RPC nodes, the preferred one first. They may carry credentials: never print one.
    pub nodes: Vec<Url>,
    /// The accepted assets; all of this chain, at most one of them native.
    pub assets: Vec<Asset>,
    /// When a block counts as irreversible.
    pub finality: Finality,
    /// How long one question to one node may take, from connecting to the last byte of the answer; above zero.
    pub request_timeout: Duration,
}

/// When a block counts as irreversible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finality {
    /// When the nodes' `finalized` tag has reached it.
    Tag,
    /// When this many blocks lie above it, for chains whose nodes know no such tag.
    Depth(u64),
}

/// A chain that cannot be set up as configured.
#[derive(Debug, Error)]
pub enum EvmChainError {
    /// There is nobody to ask.
    #[error("chains.{chain}.nodes is empty: name at least one JSON-RPC node")]
    NoNodes {
        /// The chain.
        chain: ChainName,
    },
    /// An address that is not HTTP.
    #[error("chains.{chain}.nodes: entry {position} must start with http:// or https://")]
    NotHttp {
        /// The chain.
        chain: ChainName,
        /// Which entry, from 1.
        position: usize,
    },
    /// A time limit of zero would fail every question.
    #[error("chains.{chain}: the request time limit must be above zero")]
    NoTime {
        /// The chain.
        chain: ChainName,
    },
    /// An asset of another chain.
    #[error("asset {asset} does not belong to chain {chain}")]
    ForeignAsset {
        /// The chain.
        chain: ChainName,
        /// The asset.
        asset: AssetId,
    },
    /// Two assets that no transfer could be told apart by.
    #[error("assets {first} and {second} move the same way: remove one of them or correct its contract")]
    SameAsset {
        /// The one named first.
        first: AssetId,
        /// The other.
        second: AssetId,
    },
    /// The HTTP client could not be set up.
    #[error("the HTTP client for nodes could not be set up")]
    HttpClient(#[source] reqwest::Error),
}

impl EvmChainError {
    /// Always `false`: the same config on the same machine fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoNodes { .. }
            | Self::NotHttp { .. }
            | Self::NoTime { .. }
            | Self::ForeignAsset { .. }
            | Self::SameAsset { .. }
            | Self::HttpClient(_) => false,
        }
    }
}

impl EvmChainConfig {
    pub(crate) fn validate(&self) -> Result<(), EvmChainError> {
        let chain = || self.name.clone();
        if self.nodes.is_empty() {
            return Err(EvmChainError::NoNodes { chain: chain() });
        }
        if let Some(index) = self.nodes.iter().position(|url| !matches!(url.scheme(), "http" | "https")) {
            return Err(EvmChainError::NotHttp { chain: chain(), position: index.saturating_add(1) });
        }
        if self.request_timeout.is_zero() {
            return Err(EvmChainError::NoTime { chain: chain() });
        }
        let mut earlier: Vec<&Asset> = Vec::with_capacity(self.assets.len());
        for asset in &self.assets {
            if asset.id.chain != self.name {
                return Err(EvmChainError::ForeignAsset { chain: chain(), asset: asset.id.clone() });
            }
            if let Some(first) = earlier.iter().find(|known| known.kind == asset.kind || known.id == asset.id) {
                return Err(EvmChainError::SameAsset { first: first.id.clone(), second: asset.id.clone() });
            }
            earlier.push(asset);
        }
        Ok(())
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = &Asset> {
        self.assets.iter().filter(|asset| matches!(asset.kind, AssetKind::Token { .. }))
    }
}

/// Shows hosts instead of addresses: user, password, path and query of a node's URL may be credentials.
impl fmt::Debug for EvmChainConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<&str> = self.nodes.iter().map(|url| url.host_str().unwrap_or_default()).collect();
        f.debug_struct("EvmChainConfig")
            .field("name", &self.name)
            .field("chain_id", &self.chain_id)
            .field("nodes", &hosts)
            .field("assets", &self.assets)
            .field("finality", &self.finality)
            .field("request_timeout", &self.request_timeout)
            .finish()
    }
}
