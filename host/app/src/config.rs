//! What the operator decides, read completely and checked before anything is opened.
//!
//! Three layers, the later one wins: the defaults in the binary, the `--config` file, the environment. Unknown keys are refused
//! by name, and everything that is wrong with known keys is told at once. Holds no secret: only where secrets are.

mod problems;
mod shape;
mod show;
mod source;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use url::Url;
use xthonpay_chain_evm::EvmChainConfig;
use xthonpay_domain::text::{LoanLabel, PluginName};
use xthonpay_payments::catalog::ChainTerms;
use xthonpay_payments::delivery::schedule::Schedule;
use xthonpay_plugin_runtime::{HookBindings, PluginConfig};

pub use problems::{ConfigError, ConfigProblem};
pub use source::PASSPHRASE_VARIABLE;

/// The config of one host.
#[derive(Clone)]
pub struct Config {
    /// Where it stands; absolute.
    pub file: PathBuf,
    /// The folder of the deployment.
    pub data_dir: PathBuf,
    /// The REST server.
    pub server: ServerConfig,
    /// Whether keys of the scheme `timestamp` are accepted.
    pub allow_timestamp_scheme: bool,
    /// The store.
    pub store: StoreConfig,
    /// The vault.
    pub vault: VaultConfig,
    /// The chains; at least one.
    pub chains: Vec<ChainConfig>,
    /// Deliveries.
    pub webhooks: WebhooksConfig,
    /// Whether there are test keys, and a simulated chain for them.
    pub test_mode: bool,
    /// Upstreams that plugins may be granted.
    pub upstreams: BTreeMap<LoanLabel, UpstreamSettings>,
    /// Sources of exchange rates.
    pub rates: BTreeMap<LoanLabel, RateConfig>,
    /// Signers that plugins may be granted.
    pub signers: Vec<LoanLabel>,
    /// Which plugins decide.
    pub hooks: HookBindings,
    /// The plugins.
    pub plugins: BTreeMap<String, PluginConfig>,
    /// The log.
    pub log: LogConfig,
}

/// The REST server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// How merchants reach the host.
    pub public_url: Url,
    /// Proxies whose word about the client's address counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Networks whose callers may read `/metrics`.
    pub metrics_networks: Vec<IpNet>,
    /// Requests a minute that a key may make which has no number of its own.
    pub requests_per_minute: NonZeroU32,
    /// Requests a minute that may fail before a client's address is refused unheard.
    pub failed_requests_per_minute: NonZeroU32,
}

/// The store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// `surrealkv://` with an absolute path, `ws://` or `wss://`.
    pub endpoint: String,
    /// The namespace on the server.
    pub namespace: String,
    /// The database in the namespace.
    pub database: String,
    /// User and password file, for a server.
    pub login: Option<(String, PathBuf)>,
}

/// The vault.
#[derive(Clone, Debug)]
pub struct VaultConfig {
    /// The vault file.
    pub file: PathBuf,
    /// Where the passphrase is.
    pub passphrase: PassphraseSource,
}

/// Where the passphrase is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassphraseSource {
    /// In the environment variable [`PASSPHRASE_VARIABLE`].
    Variable,
    /// In a file.
    File(PathBuf),
}

/// One chain.
#[derive(Clone, Debug)]
pub struct ChainConfig {
    /// What the chain source needs.
    pub evm: EvmChainConfig,
    /// What payments need.
    pub terms: ChainTerms,
    /// The longest pause between two looks for a block that is due or cannot be predicted.
    pub poll_interval: Duration,
}

/// Deliveries.
#[derive(Clone, Debug)]
pub struct WebhooksConfig {
    /// When attempts are made.
    pub schedule: Schedule,
    /// Private networks that deliveries may reach.
    pub allow_networks: Vec<IpNet>,
    /// Whether plain http may be used to public addresses.
    pub allow_http: bool,
    /// For one attempt.
    pub timeout: Duration,
    /// How long an endpoint may fail without one success before it is switched off.
    pub disable_after: Duration,
    /// Plugins that endpoints may choose for their bodies, besides the bound one.
    pub formats: Vec<PluginName>,
}

/// An upstream that plugins may be granted. Its secret is in a file.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// What every path is joined to.
    pub base: String,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// Where the secret is that `{secret}` stands for.
    pub secret_file: Option<PathBuf>,
    /// Private networks that it may be in.
    pub allow_networks: Vec<IpNet>,
    /// Whether plain http may be used to public addresses.
    pub allow_http: bool,
    /// For one request.
    pub timeout: Duration,
}

/// A source of the rate of one pair.
#[derive(Clone, Debug)]
pub struct RateConfig {
    /// What is priced: an asset, or a currency of ISO 4217.
    pub base: String,
    /// What it is priced in.
    pub counter: String,
    /// Where the rate comes from.
    pub origin: RateOrigin,
}

/// Where a rate comes from.
#[derive(Clone, Debug)]
pub enum RateOrigin {
    /// It never changes.
    Fixed(String),
    /// An upstream states it.
    Fetched {
        /// Its name.
        upstream: LoanLabel,
        /// Path and query of the question.
        path: String,
        /// Where the number stands in the answer.
        pointer: String,
    },
}

/// The log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// For people or for machines.
    pub format: LogFormat,
    /// A level, or filters by target.
    pub filter: String,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads and checks the config at `file`.
    ///
    /// # Errors
    /// [`ConfigError`], with everything that is wrong.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let (shape, path) = source::read(file)?;
        values::check(shape, path).map_err(|problems| ConfigError::Values { path: file.to_owned(), problems })
    }

    /// The effective config as JSON, in the shape of the file. Holds no secret: credentials in nodes' addresses are left out.
    #[must_use]
    pub fn show(&self) -> serde_json::Value {
        show::to_json(self)
    }

    /// The socket of the administrative commands.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        self.data_dir.join("admin.sock")
    }

    /// The file that names the address on which REST is served.
    #[must_use]
    pub fn listen_file(&self) -> PathBuf {
        self.data_dir.join("listen.addr")
    }

    /// Names the plugins that are switched off.
    #[must_use]
    pub fn switches_file(&self) -> PathBuf {
        self.data_dir.join("plugins.off")
    }

    /// The folder of the plugins' versions that have served.
    #[must_use]
    pub fn kept_plugins(&self) -> PathBuf {
        self.data_dir.join("plugins")
    }

    /// The folder of compiled plugins.
    #[must_use]
    pub fn cache_dir(&self) -> PathBuf {
        self.data_dir.join("cache")
    }
}

#[cfg(test)]
mod tests;
