//! The questions and answers of the administrative commands, as JSON over HTTP on the socket and on standard output.

use serde::{Deserialize, Serialize};

/// The path of `merchant create`.
pub const MERCHANTS: &str = "/merchants";
/// The path of `key create`.
pub const KEYS: &str = "/keys";
/// The path of `status`.
pub const STATUS: &str = "/status";

/// A merchant to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateMerchant {
    /// The operator's name for it.
    pub name: String,
}

/// A merchant that was made. Holds its webhook secret: shown once, never logged.
#[derive(Serialize, Deserialize)]
pub struct MerchantCreated {
    /// Public id.
    pub merchant_id: String,
    /// The operator's name for it.
    pub name: String,
    /// The address for deposits without an invoice.
    pub deposit_address: String,
    /// Signs webhooks.
    pub webhook_secret: String,
    /// RFC 3339.
    pub created_at: String,
}

/// A key to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// The owner.
    pub merchant: String,
    /// The owner's name for it.
    pub label: String,
    /// What it may do: words of the API.
    pub scopes: Vec<String>,
    /// How its requests are signed: a word of the API.
    pub signature: String,
    /// Networks from which it may be used, as CIDR; empty means any.
    pub ip: Vec<String>,
}

/// A key that was made. Holds its secret: shown once, never logged.
#[derive(Serialize, Deserialize)]
pub struct KeyCreated {
    /// Public id, for `X-API-Key`.
    pub key_id: String,
    /// Signs requests.
    pub secret: String,
    /// The owner.
    pub merchant_id: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// How its requests are signed.
    pub signature: String,
    /// Networks from which it may be used.
    pub ip: Vec<String>,
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
    /// Blocks that the node has and the scanner has not processed.
    pub lag_blocks: Option<u64>,
}

/// How a plugin is doing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PluginLine {
    /// Its name in the config.
    pub name: String,
    /// The hook that it is bound to.
    pub hook: Option<String>,
    /// `active`, `failed` (its hook uses the failure policy) or `unbound` (no hook names it; not loaded).
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
