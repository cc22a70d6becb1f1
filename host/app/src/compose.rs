//! Where the adapters meet the use cases: the only place that names every adapter.
//!
//! [`Deployment`] is what both the host and the administrative commands stand on: the locked data folder, the vault, the
//! store. [`chains`], [`plugins`] and [`webhooks`] build the rest for the host.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::sync::Arc;

use thiserror::Error;
use tracing::info;
use xthonpay_chain_evm::{EvmChain, EvmChainConfig, EvmChainError};
use xthonpay_chain_simulated::{Beginning, SimulatedChain};
use xthonpay_domain::asset::{Asset, AssetKind};
use xthonpay_domain::text::ChainName;
use xthonpay_egress::{EgressConfig, EgressSetupError, WebhookClient};
use xthonpay_payments::audit::Audit;
use xthonpay_payments::catalog::{Catalog, ChainTerms, simulated_chain};
use xthonpay_payments::delivery::listeners::Listeners;
use xthonpay_payments::invoicing::address_indices::{AddressIndices, NextAddressError};
use xthonpay_payments::keys::Keys;
use xthonpay_payments::merchants::Merchants;
use xthonpay_payments::port::chain::{ChainError, ChainSource};
use xthonpay_payments::port::clock::Clock;
use xthonpay_payments::port::lending::Loans;
use xthonpay_payments::port::random::Random;
use xthonpay_payments::port::signer::{AddressSource as _, DeriveError};
use xthonpay_payments::port::store::{Store, StoreError};
use xthonpay_payments::port::vault::Secret;
use xthonpay_payments::scanning::changes::Books;
use xthonpay_payments::scanning::watch_set::WatchSet;
use xthonpay_payments::simulation::left_behind;
use xthonpay_plugin_runtime::{LoadError, PluginHost, RuntimeConfig};
use xthonpay_signer_local::{
    KdfParams, LocalSigner, Opened, OsRandom, PassphraseError, VaultOpenError, read_passphrase_file,
};
use xthonpay_store_surreal::{Credentials, OpenError, SurrealConfig, SurrealStore};
use zeroize::Zeroizing;

use crate::config::{Config, PASSPHRASE_VARIABLE, PassphraseSource, StoreConfig, VaultConfig};
use crate::data_dir::{DataDir, DataDirError};
use crate::kept_plugins::KeptPlugins;
use crate::loans::LoanError;
use crate::switches::SwitchesError;
use crate::system_clock::SystemClock;

/// A deployment that cannot be opened or started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data folder.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// What is switched off.
    #[error(transparent)]
    Switches(#[from] SwitchesError),
    /// The store.
    #[error("store: {0}")]
    OpenStore(#[from] OpenError),
    /// The store, once it was open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The passphrase of the vault.
    #[error("vault.passphrase_file: {0}")]
    Passphrase(#[from] PassphraseError),
    /// The password of the store.
    #[error("store.password_file: {0}")]
    StorePassword(PassphraseError),
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultOpenError),
    /// The vault is another one than the store's addresses come from.
    #[error(
        "the vault {} is not the one that this store's addresses come from: \
         deposits to them could not be spent. Restore the vault file that belongs to the store",
        path.display()
    )]
    ForeignVault {
        /// The vault file.
        path: std::path::PathBuf,
    },
    /// No address could be derived to compare.
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// Addresses could not be watched ahead.
    #[error(transparent)]
    Addresses(#[from] NextAddressError),
    /// A chain's config contradicts itself.
    #[error(transparent)]
    Chain(#[from] EvmChainError),
    /// A chain's nodes serve something else than the config says.
    #[error("chain {chain}: {error}")]
    ChainMismatch {
        /// The chain.
        chain: String,
        /// What differs.
        #[source]
        error: ChainError,
    },
    /// A required plugin, or the plugin runtime.
    #[error(transparent)]
    Plugins(#[from] LoadError),
    /// Something that plugins are lent.
    #[error(transparent)]
    Loans(#[from] LoanError),
    /// The webhook client.
    #[error(transparent)]
    Webhooks(#[from] EgressSetupError),
    /// The address of the REST server.
    #[error("server.listen {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// A file in the data folder.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// A step on a thread of its own broke off.
    #[error("a step of the start broke off: {0}")]
    BrokeOff(#[from] tokio::task::JoinError),
}

impl StartError {
    /// Whether the same start may succeed later without a change.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::DataDir(error) => error.is_transient(),
            Self::OpenStore(error) => error.is_transient(),
            Self::Switches(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
            Self::Vault(error) => error.is_transient(),
            Self::Addresses(error) => error.is_transient(),
            Self::Passphrase(_)
            | Self::StorePassword(_)
            | Self::ForeignVault { .. }
            | Self::Derive(_)
            | Self::Chain(_)
            | Self::ChainMismatch { .. }
            | Self::Plugins(_)
            | Self::Loans(_)
            | Self::Webhooks(_)
            | Self::Listen { .. }
            | Self::File { .. }
            | Self::BrokeOff(_) => false,
        }
    }
}

/// An opened deployment: nobody else works on its data folder while this exists.
pub struct Deployment {
    /// Records.
    pub store: Arc<SurrealStore>,
    /// Keys and addresses.
    pub signer: Arc<LocalSigner>,
    /// Addresses that are watched.
    pub watch: Arc<WatchSet>,
    /// Who hears of events.
    pub listeners: Arc<Listeners>,
    /// Addresses that are given out.
    pub indices: Arc<AddressIndices>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bytes.
    pub random: Arc<dyn Random>,
    _data_dir: DataDir,
}

impl Deployment {
    /// Reads the passphrase, locks the data folder, opens the store, then the vault. The first start creates both.
    ///
    /// # Errors
    /// [`StartError`]; a store with addresses and a missing or foreign vault is refused rather than given a new seed.
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        // First: without the passphrase nothing is made.
        let passphrase = read_passphrase(&config.vault)?;
        let data_dir = DataDir::lock(&config.data_dir)?;
        let store = Arc::new(SurrealStore::open(store_config(&config.store)?).await?);
        let random: Arc<dyn Random> = Arc::new(OsRandom);
        let signer = open_vault(&config.vault, passphrase, store.as_ref(), &random).await;
        let signer = match signer {
            Ok(signer) => Arc::new(signer),
            Err(error) => {
                store.close().await;
                return Err(error);
            }
        };
        let watch = Arc::new(WatchSet::default());
        let indices = AddressIndices::new(Arc::clone(&store) as _, Arc::clone(&signer) as _, Arc::clone(&watch));
        let (indices, clock) = (Arc::new(indices), Arc::new(SystemClock));
        let listeners = Arc::new(Listeners::default());
        // Before anything can record an event, also one that an administrative command makes.
        if let Err(error) = listeners.load(store.as_ref()).await {
            store.close().await;
            return Err(error.into());
        }
        Ok(Self { store, signer, watch, listeners, indices, clock, random, _data_dir: data_dir })
    }

    /// The use cases about merchants and keys.
    #[must_use]
    pub fn keys(&self, config: &Config, catalog: Arc<Catalog>) -> Keys {
        let merchants = Merchants {
            store: Arc::clone(&self.store) as _,
            vault: Arc::clone(&self.signer) as _,
            addresses: Arc::clone(&self.signer) as _,
            watch: Arc::clone(&self.watch),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
        };
        Keys { merchants, catalog, test_mode: config.test_mode, allow_timestamp_scheme: config.allow_timestamp_scheme }
    }

    /// What the scanner of a chain works with.
    #[must_use]
    pub fn books(&self, chain: &ChainName, catalog: &Arc<Catalog>) -> Books {
        Books {
            chain: chain.clone(),
            store: Arc::clone(&self.store) as _,
            catalog: Arc::clone(catalog),
            watch: Arc::clone(&self.watch),
            indices: Arc::clone(&self.indices),
            listeners: Arc::clone(&self.listeners),
            clock: Arc::clone(&self.clock),
        }
    }

    /// The use case that audits the books against these chains.
    #[must_use]
    pub fn audit(&self, config: &Config, sources: Vec<Arc<dyn ChainSource>>) -> Audit {
        Audit {
            store: Arc::clone(&self.store) as _,
            sources,
            catalog: Arc::new(catalog(config)),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Closes the store; every acknowledged write is on disk already.
    pub async fn close(&self) {
        self.store.close().await;
    }
}

fn read_passphrase(config: &VaultConfig) -> Result<Secret, PassphraseError> {
    match &config.passphrase {
        PassphraseSource::File(file) => read_passphrase_file(file),
        // Checked to be there when the config was read; an empty one is refused by the vault.
        PassphraseSource::Variable => Ok(Secret::new(
            env::var_os(PASSPHRASE_VARIABLE).map(std::os::unix::ffi::OsStringExt::into_vec).unwrap_or_default(),
        )),
    }
}

fn store_config(config: &StoreConfig) -> Result<SurrealConfig, StartError> {
    let credentials = match &config.login {
        Some((username, file)) => {
            let password = read_passphrase_file(file).map_err(StartError::StorePassword)?;
            // A passphrase file is UTF-8, so nothing is replaced.
            let password = Zeroizing::new(String::from_utf8_lossy(password.expose()).into_owned());
            Some(Credentials { username: username.clone(), password })
        }
        None => None,
    };
    Ok(SurrealConfig {
        endpoint: config.endpoint.clone(),
        namespace: config.namespace.clone(),
        database: config.database.clone(),
        credentials,
        // A store that forgets is for tests; the config refuses it before this.
        allow_volatile: false,
    })
}

/// Opens the vault and holds it against an address in the store. A new seed is drawn only for a store without addresses.
async fn open_vault(
    config: &VaultConfig,
    passphrase: Secret,
    store: &dyn Store,
    random: &Arc<dyn Random>,
) -> Result<LocalSigner, StartError> {
    let known = store.addresses(None, 1).await?.into_iter().next();
    let (path, random, may_create) = (config.file.clone(), Arc::clone(random), known.is_none());
    // Deriving the key takes a good part of a second of pure computation.
    let opened = tokio::task::spawn_blocking(move || {
        let kdf = KdfParams::production();
        if may_create {
            LocalSigner::open_or_create(&path, passphrase, kdf, random)
        } else {
            LocalSigner::open(&path, passphrase, kdf, random).map(|signer| (signer, Opened::Existing))
        }
    });
    let (signer, opened) = opened.await??;
    if opened == Opened::Created {
        info!(vault = %config.file.display(), "a new seed was drawn; back up this file and its passphrase, apart from each other");
    }
    if let Some(own) = known {
        let merchant = store.merchant(&own.merchant).await?.ok_or_else(|| StoreError::Damaged {
            table: "merchant",
            reason: format!("{} has an address but no record", own.merchant),
        })?;
        if signer.derive(merchant.account, own.index)? != own.address {
            return Err(StartError::ForeignVault { path: config.file.clone() });
        }
    }
    Ok(signer)
}

/// The accepted assets and what each chain asks of a payment, the simulated chain among them.
#[must_use]
pub fn catalog(config: &Config) -> Catalog {
    let mut terms: BTreeMap<ChainName, ChainTerms> =
        config.chains.iter().map(|chain| (chain.evm.name.clone(), chain.terms)).collect();
    let mut assets: Vec<Asset> = config.chains.iter().flat_map(|chain| chain.evm.assets.clone()).collect();
    if config.test_mode {
        terms.insert(simulated_chain(), ChainTerms { min_confirmations: 1 });
        assets.extend(xthonpay_chain_simulated::assets());
    }
    Catalog::new(terms, assets)
}

/// The simulated chain as it goes on from the last process; `None` when the config has no test mode.
///
/// # Errors
/// [`StoreError`] when what is left of it cannot be read.
pub async fn simulated(config: &Config, deployment: &Deployment) -> Result<Option<Arc<SimulatedChain>>, StoreError> {
    let native = xthonpay_chain_simulated::assets().into_iter().find(|asset| asset.kind == AssetKind::Native);
    let Some(native) = native.filter(|_| config.test_mode) else { return Ok(None) };
    let (tip, coins) = left_behind(deployment.store.as_ref(), &native.id).await?;
    let chain = SimulatedChain::new(Beginning { tip, coins }, Arc::clone(&deployment.clock));
    Ok(Some(Arc::new(chain)))
}

/// One source for each chain, in the order of the config. No node is asked yet.
///
/// # Errors
/// [`EvmChainError`] when a chain's config contradicts itself.
pub fn chains(config: &Config) -> Result<Vec<Arc<EvmChain>>, EvmChainError> {
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock), Arc::new(OsRandom));
    let source = |evm: EvmChainConfig| EvmChain::new(evm, Arc::clone(&clock), &random).map(Arc::new);
    config.chains.iter().map(|chain| source(chain.evm.clone())).collect()
}

/// The plugins, loaded and bound, with compiled code and versions that have served kept in the data folder; `off` are switched off.
///
/// # Errors
/// [`LoadError`] for a required plugin, for bindings that make no sense, or when the runtime cannot be set up.
pub async fn plugins(
    config: &Config,
    off: &BTreeSet<String>,
    clock: Arc<dyn Clock>,
    loans: Loans,
) -> Result<PluginHost, LoadError> {
    let kept = KeptPlugins::new(config.kept_plugins());
    let last_good = config.plugins.keys().map(|name| (name.clone(), kept.last_good(name))).collect();
    let runtime =
        RuntimeConfig { switched_off: off.clone(), last_good, ..runtime_config(config, Some(config.cache_dir())) };
    let plugins = PluginHost::load(runtime, clock, loans).await?;
    kept.keep_serving(&plugins, &config.plugins);
    Ok(plugins)
}

/// The same, compiled anew and kept nowhere.
///
/// # Errors
/// As [`plugins`].
pub async fn plugins_without_cache(
    config: &Config,
    clock: Arc<dyn Clock>,
    loans: Loans,
) -> Result<PluginHost, LoadError> {
    PluginHost::load(runtime_config(config, None), clock, loans).await
}

fn runtime_config(config: &Config, cache_dir: Option<std::path::PathBuf>) -> RuntimeConfig {
    RuntimeConfig {
        plugins: config.plugins.clone(),
        bindings: config.hooks.clone(),
        formats: config.webhooks.formats.clone(),
        cache_dir,
        switched_off: BTreeSet::new(),
        last_good: BTreeMap::new(),
    }
}

/// The client that delivers webhooks.
///
/// # Errors
/// [`EgressSetupError`].
pub fn webhooks(config: &Config) -> Result<WebhookClient, EgressSetupError> {
    WebhookClient::new(EgressConfig {
        allow_networks: config.webhooks.allow_networks.clone(),
        allow_http: config.webhooks.allow_http,
        total_timeout: config.webhooks.timeout,
        ..EgressConfig::default()
    })
}
