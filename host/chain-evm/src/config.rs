//! What the operator says about one EVM chain.
//!
//! Checks what can be checked without a node; whether the nodes agree with it is the source's self-check.

use core::fmt;
use core::time::Duration;

use thiserror::Error;
use url::Url;
use xthonpay_domain::asset::{Asset, AssetId, AssetKind};
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::hash::BlockHash;
use xthonpay_domain::text::ChainName;

/// The least depth that may stand for finality: two turns of one validator of BNB Smart Chain. Branches of a few blocks are
/// everyday, and a shallower depth would beat the nodes' own tag on every block.
pub const FALLBACK_DEPTH_MIN: u64 = 32;

/// How long the nodes' tag must have stood still before a depth takes its place: a pause between two final blocks is no
/// standstill, and a chain that has lost its finality for half a minute will not get it back at once.
pub const FALLBACK_AFTER: Duration = Duration::from_secs(30);

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
    /// How many nodes must agree on a block before it counts as final: from 1 to their number.
    pub quorum: usize,
    /// How many blocks below the head a block is final when the nodes' tag stands still; `None` for never. Only with
    /// [`Finality::Tag`], and at least [`FALLBACK_DEPTH_MIN`].
    pub fallback_depth: Option<u64>,
    /// How long the tag must have stood still before that depth counts; [`FALLBACK_AFTER`] outside of tests.
    pub fallback_after: Duration,
    /// How long runs of blocks are read.
    pub catch_up: CatchUp,
    /// A block that every node must have.
    pub checkpoint: Option<Checkpoint>,
    /// WebSocket addresses that announce new blocks, in the order of `nodes`; at most as many. They may carry credentials.
    pub websockets: Vec<Url>,
    /// How long one question to one node may take, from connecting to the last byte of the answer; above zero.
    pub request_timeout: Duration,
}

/// A block that tells the configured chain from its forks and from test networks with the same chain id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its height.
    pub number: BlockNumber,
    /// Its hash.
    pub hash: BlockHash,
}

/// How long runs of blocks are read, after the host was down or when old blocks are looked at again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatchUp {
    /// Whole blocks, verified like new ones. Costs two questions and some 300 KB for a full block.
    #[default]
    Blocks,
    /// The logs of the configured tokens alone, as a quorum of at least two nodes shows them without a difference: a single
    /// node can leave out logs without a trace. Costs a hundredth. Not for a chain with a native asset, whose movements
    /// leave no logs.
    Logs,
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
    /// One node under two numbers, whose word would count twice.
    #[error(
        "chains.{chain}.nodes: entries {first} and {second} are the same address, which would count as two nodes: \
         remove one of them"
    )]
    SameNode {
        /// The chain.
        chain: ChainName,
        /// The entry named first, from 1.
        first: usize,
        /// The other.
        second: usize,
    },
    /// More agreement than there are nodes, or none.
    #[error("chains.{chain}.quorum is {quorum}: write a number from 1 to {nodes}, the number of nodes")]
    Quorum {
        /// The chain.
        chain: ChainName,
        /// As configured.
        quorum: usize,
        /// How many nodes there are.
        nodes: usize,
    },
    /// A depth for when the tag stands still, without a tag, or one that branches of the chain reach.
    #[error(
        "chains.{chain}.fallback_depth: write at least {FALLBACK_DEPTH_MIN}, since a block that is less deep may still be \
         replaced, and only where finality is \"finalized\""
    )]
    FallbackDepth {
        /// The chain.
        chain: ChainName,
    },
    /// More WebSocket addresses than nodes.
    #[error(
        "chains.{chain}.websockets has {websockets} entries for {nodes} nodes: name at most one for each, in their order"
    )]
    TooManyWebsockets {
        /// The chain.
        chain: ChainName,
        /// How many there are.
        websockets: usize,
        /// How many nodes there are.
        nodes: usize,
    },
    /// An address that is no WebSocket.
    #[error("chains.{chain}.websockets: entry {position} must start with ws:// or wss://")]
    NotWebsocket {
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
    /// Movements of coins are not in the logs, and without tokens there are no logs to look for.
    #[error(
        "chains.{chain}.catch_up = \"logs\" finds tokens alone: write \"blocks\", or remove the native asset and name a token"
    )]
    CatchUpByLogs {
        /// The chain.
        chain: ChainName,
    },
    /// A node that leaves out logs is found out by another one alone.
    #[error(
        "chains.{chain}.catch_up = \"logs\" takes quorum = 2 or more: a single node can leave out payments unnoticed; name \
         a second node, or write \"blocks\""
    )]
    CatchUpByLogsOfOne {
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
            | Self::SameNode { .. }
            | Self::Quorum { .. }
            | Self::FallbackDepth { .. }
            | Self::TooManyWebsockets { .. }
            | Self::NotWebsocket { .. }
            | Self::NoTime { .. }
            | Self::CatchUpByLogs { .. }
            | Self::CatchUpByLogsOfOne { .. }
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
        if let Some((first, second)) = Self::same_nodes(&self.nodes) {
            return Err(EvmChainError::SameNode { chain: chain(), first, second });
        }
        let nodes = self.nodes.len();
        if !(1..=nodes).contains(&self.quorum) {
            return Err(EvmChainError::Quorum { chain: chain(), quorum: self.quorum, nodes });
        }
        if self.fallback_depth.is_some_and(|depth| depth < FALLBACK_DEPTH_MIN || self.finality != Finality::Tag) {
            return Err(EvmChainError::FallbackDepth { chain: chain() });
        }
        if self.catch_up == CatchUp::Logs && self.quorum < 2 {
            return Err(EvmChainError::CatchUpByLogsOfOne { chain: chain() });
        }
        if self.websockets.len() > nodes {
            return Err(EvmChainError::TooManyWebsockets { chain: chain(), websockets: self.websockets.len(), nodes });
        }
        if let Some(index) = self.websockets.iter().position(|url| !matches!(url.scheme(), "ws" | "wss")) {
            return Err(EvmChainError::NotWebsocket { chain: chain(), position: index.saturating_add(1) });
        }
        if self.request_timeout.is_zero() {
            return Err(EvmChainError::NoTime { chain: chain() });
        }
        self.validate_assets()
    }

    /// Everything about assets.
    fn validate_assets(&self) -> Result<(), EvmChainError> {
        let chain = || self.name.clone();
        let is_native = |asset: &Asset| asset.kind == AssetKind::Native;
        if self.catch_up == CatchUp::Logs && (self.assets.iter().any(is_native) || self.tokens().next().is_none()) {
            return Err(EvmChainError::CatchUpByLogs { chain: chain() });
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

    /// The quorum for so many nodes when the operator asks for none: two nodes, where there are as many. More would let every
    /// single node of a larger pool hold up what is final.
    #[must_use]
    pub fn default_quorum(nodes: usize) -> usize {
        nodes.clamp(1, 2)
    }

    /// The first two entries, from 1, that lead to the same node: equal in scheme, host, port, path and query. Who asks does
    /// not change who answers, so that user and password make no difference.
    #[must_use]
    pub fn same_nodes(nodes: &[Url]) -> Option<(usize, usize)> {
        let address = |url: &Url| {
            (url.scheme().to_owned(), authority(url), url.path().to_owned(), url.query().map(ToOwned::to_owned))
        };
        first_pair(nodes, |one, other| address(one) == address(other))
    }

    /// The first two entries of `nodes`, from 1, that share host and port although several nodes must agree: whoever runs
    /// that server speaks for both.
    #[must_use]
    pub fn shared_server(&self) -> Option<(usize, usize)> {
        first_pair(&self.nodes, |one, other| authority(one) == authority(other)).filter(|_| self.quorum > 1)
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = &Asset> {
        self.assets.iter().filter(|asset| matches!(asset.kind, AssetKind::Token { .. }))
    }
}

/// Host and port, the port of the scheme where none is written.
fn authority(url: &Url) -> (Option<String>, Option<u16>) {
    (url.host_str().map(ToOwned::to_owned), url.port_or_known_default())
}

/// The places, from 1, of the first two nodes that are alike.
fn first_pair(nodes: &[Url], alike: impl Fn(&Url, &Url) -> bool) -> Option<(usize, usize)> {
    nodes.iter().zip(1..).find_map(|(second, place)| {
        let first = nodes.iter().zip(1..place).find(|(first, _)| alike(first, second));
        first.map(|(_, first)| (first, place))
    })
}

/// Shows hosts instead of addresses: user, password, path and query of a node's URL may be credentials.
impl fmt::Debug for EvmChainConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts =
            |urls: &[Url]| urls.iter().map(|url| url.host_str().unwrap_or_default().to_owned()).collect::<Vec<_>>();
        f.debug_struct("EvmChainConfig")
            .field("name", &self.name)
            .field("chain_id", &self.chain_id)
            .field("nodes", &hosts(&self.nodes))
            .field("assets", &self.assets)
            .field("finality", &self.finality)
            .field("quorum", &self.quorum)
            .field("catch_up", &self.catch_up)
            .field("fallback_depth", &self.fallback_depth)
            .field("fallback_after", &self.fallback_after)
            .field("checkpoint", &self.checkpoint)
            .field("websockets", &hosts(&self.websockets))
            .field("request_timeout", &self.request_timeout)
            .finish()
    }
}
