//! The shape of the config as it is written: which keys exist, nothing about what they mean.
//!
//! Every table refuses unknown keys. Defaults stand in `config/default.toml`, apart from those of tables that exist once per
//! chain, asset or plugin.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;
use xthonpay_plugin_runtime::PluginConfig;

/// The whole config.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shape {
    pub(super) data: Data,
    pub(super) server: Server,
    pub(super) auth: Auth,
    pub(super) store: Store,
    pub(super) vault: Vault,
    #[serde(default)]
    pub(super) chains: BTreeMap<String, Chain>,
    pub(super) webhooks: Webhooks,
    pub(super) test_mode: TestMode,
    #[serde(default)]
    pub(super) upstreams: BTreeMap<String, Upstream>,
    #[serde(default)]
    pub(super) rates: BTreeMap<String, Rate>,
    pub(super) signing: Signing,
    pub(super) hooks: Hooks,
    #[serde(default)]
    pub(super) plugins: BTreeMap<String, PluginConfig>,
    pub(super) telegram: Telegram,
    pub(super) log: Log,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    pub(super) dir: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) listen: String,
    pub(super) public_url: String,
    pub(super) trusted_proxies: Vec<String>,
    pub(super) metrics_networks: Vec<String>,
    pub(super) requests_per_minute: NonZeroU32,
    pub(super) failed_requests_per_minute: NonZeroU32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    pub(super) allow_timestamp_scheme: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) endpoint: Option<String>,
    pub(super) namespace: String,
    pub(super) database: String,
    pub(super) username: String,
    pub(super) password_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vault {
    pub(super) file: Option<PathBuf>,
    pub(super) passphrase_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chain {
    pub(super) chain_id: u64,
    pub(super) nodes: Vec<String>,
    #[serde(default = "finalized")]
    pub(super) finality: Finality,
    #[serde(default = "one")]
    pub(super) min_confirmations: u64,
    #[serde(default = "poll_interval")]
    pub(super) poll_interval: String,
    #[serde(default = "request_timeout")]
    pub(super) request_timeout: String,
    #[serde(default = "blocks")]
    pub(super) catch_up: String,
    pub(super) quorum: Option<usize>,
    pub(super) fallback_depth: Option<u64>,
    pub(super) checkpoint: Option<Checkpoint>,
    #[serde(default)]
    pub(super) websockets: Vec<String>,
    #[serde(default)]
    pub(super) assets: BTreeMap<String, Asset>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checkpoint {
    pub(super) number: u64,
    pub(super) hash: String,
}

/// A number of blocks, or the word `finalized`.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Finality {
    Depth(u64),
    Word(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asset {
    #[serde(default)]
    pub(super) native: bool,
    pub(super) contract: Option<String>,
    pub(super) decimals: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Webhooks {
    pub(super) schedule: Schedule,
    pub(super) allow_networks: Vec<String>,
    pub(super) allow_http: bool,
    pub(super) timeout: String,
    pub(super) disable_after: String,
    pub(super) formats: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestMode {
    pub(super) enabled: bool,
}

/// The name of a preset, or pauses.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Schedule {
    Preset(String),
    Pauses(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Hooks {
    pub(super) invoice_rules: Vec<String>,
    pub(super) webhook_format: String,
    pub(super) bot_flow: String,
    pub(super) withdrawal_policy: Vec<String>,
}

/// An upstream that plugins may be granted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    pub(super) base: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) secret_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) allow_networks: Vec<String>,
    #[serde(default)]
    pub(super) allow_http: bool,
    #[serde(default = "upstream_timeout")]
    pub(super) timeout: String,
}

/// A source of the rate of one pair.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rate {
    pub(super) base: String,
    pub(super) counter: String,
    pub(super) fixed: Option<String>,
    pub(super) upstream: Option<String>,
    pub(super) path: Option<String>,
    pub(super) pointer: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signing {
    pub(super) signers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Telegram {
    pub(super) enabled: bool,
    // The rest is read once the bot is served; until then only its shape is checked.
    #[serde(rename = "api_id")]
    _api_id: i64,
    #[serde(rename = "api_hash_file")]
    _api_hash_file: PathBuf,
    #[serde(rename = "bot_token_file")]
    _bot_token_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) format: String,
    pub(super) level: String,
}

fn finalized() -> Finality {
    Finality::Word("finalized".to_owned())
}

fn blocks() -> String {
    "blocks".to_owned()
}

fn one() -> u64 {
    1
}

/// A little more than half a block of BNB Smart Chain.
fn poll_interval() -> String {
    "250ms".to_owned()
}

/// A merchant may be waiting for the plugin that waits for it.
fn upstream_timeout() -> String {
    "3s".to_owned()
}

fn request_timeout() -> String {
    "10s".to_owned()
}
