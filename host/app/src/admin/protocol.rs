//! The questions and answers of the administrative commands, as JSON over HTTP on the socket and on standard output.

use serde::{Deserialize, Serialize};

/// The path of `audit`.
pub const AUDIT: &str = "/audit";
/// The path of `status`.
pub const STATUS: &str = "/status";

/// What to audit. The answer is the report of `xthonpay_payments::audit`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskAudit {
    /// Only this chain.
    pub chain: Option<String>,
    /// From which block on the chains are read; without it and `full`, the last ones.
    pub from: Option<u64>,
    /// From the first block that can hold a payment.
    pub full: bool,
    /// Freeze a chain on which money is missing, or more is credited than there is.
    pub freeze: bool,
}

/// How a host is doing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Whether it can do its work; the same as `/readyz`.
    pub ready: bool,
    /// Why not, one sentence each.
    pub reasons: Vec<String>,
    /// The version of the binary.
    pub version: String,
    /// Where REST is served.
    pub listen: String,
    /// Addresses that are watched for payments.
    pub addresses: usize,
    /// The chains.
    pub chains: Vec<ChainReport>,
    /// The plugins.
    pub plugins: Vec<PluginLine>,
}

/// How a chain is doing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChainReport {
    /// The chain.
    pub chain: String,
    /// `starting`, `running`, `failing` or `frozen`.
    pub health: String,
    /// Why it is failing or frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The newest block of the node.
    pub head: Option<u64>,
    /// The newest processed block.
    pub tip: Option<u64>,
    /// The newest processed block that is final.
    pub finalized: Option<u64>,
    /// Blocks that a node has and the scanner has not processed.
    pub lag_blocks: Option<u64>,
    /// How far the time of the newest processed block is behind the host's clock.
    pub lag_seconds: Option<u64>,
    /// How long no new block has come.
    pub seconds_since_block: Option<u64>,
    /// How long no block has become final.
    pub seconds_since_finality: Option<u64>,
    /// The average time between the newest blocks.
    pub block_interval_ms: Option<u64>,
    /// `no new block` or `no new finality`, when that lasts too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled: Option<String>,
    /// How far the scanner is with blocks that it missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUpLine>,
    /// How many nodes must agree before a block counts as final.
    pub quorum: usize,
    /// Whether blocks become final by their depth because the nodes' own finality stands still.
    pub finality_by_depth: bool,
    /// What the nodes contradict each other about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disagreement: Option<String>,
    /// The nodes in the order of the config.
    pub nodes: Vec<NodeLine>,
}

/// How far the scanner is with blocks that it missed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CatchUpLine {
    /// Blocks that are processed.
    pub done: u64,
    /// Blocks that there are to process.
    pub total: u64,
    /// Blocks processed in a second on average.
    pub blocks_per_second: u64,
    /// How long the rest takes if it goes on like this.
    pub seconds_left: Option<u64>,
}

/// How a node is doing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeLine {
    /// Position in the config and host, without credentials.
    pub node: String,
    /// Whether questions go to it first.
    pub primary: bool,
    /// Why it is not asked at the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// How its blocks are verified: `roots`, `receipts` or `logs`.
    pub verified_by: Option<String>,
    /// The newest block that it told of.
    pub head: Option<u64>,
    /// The newest final block that it told of.
    pub finalized: Option<u64>,
    /// Whether it announces new blocks; none when it was not asked to.
    pub announces: Option<bool>,
}

/// How a plugin is doing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PluginLine {
    /// Its name in the config.
    pub name: String,
    /// The hook that it is bound to.
    pub hook: Option<String>,
    /// `active`; `last-good` (a version that has served before, as the file of the config does not); `failed`, `left-alone` or `switched-off` (its hook uses the failure policy); `unbound` (no hook names it; not
    /// loaded).
    pub state: String,
    /// What it says its version is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The SHA-256 of its component: what `sha256` in its table pins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Why it failed, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why a command was refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// A sentence for the operator.
    pub error: String,
    /// Whether the same command may succeed later.
    pub transient: bool,
}
