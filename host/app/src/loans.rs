//! What this deployment lends to plugins, built from the config: upstreams, signers, rates, chains and storage.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use xthonpay_domain::hash::TxHash;
use xthonpay_domain::id::{InvoiceId, MerchantId};
use xthonpay_domain::text::{ChainName, ItemKey, LoanLabel};
use xthonpay_domain::time::Timestamp;
use xthonpay_egress::{EgressConfig, UpstreamClient, UpstreamConfig, UpstreamSetupError};
use xthonpay_payments::attestation::RecordedSigner;
use xthonpay_payments::chain_reader::BookReader;
use xthonpay_payments::plugin_storage::StoredItems;
use xthonpay_payments::port::chain::ChainSource;
use xthonpay_payments::port::clock::Clock;
use xthonpay_payments::port::lending::Loans;
use xthonpay_payments::port::lending::attestation::{AttestError, Attestation, Attestor, Statement};
use xthonpay_payments::port::lending::chain_reader::{
    ChainReadError, ChainReader, ChainTip, Fee, InvoicePayments, MerchantTransaction,
};
use xthonpay_payments::port::lending::rates::Rates;
use xthonpay_payments::port::lending::storage::{Item, PluginStorage, Space};
use xthonpay_payments::port::lending::upstream::Upstream;
use xthonpay_payments::port::store::StoreError;
use xthonpay_payments::rates::{Origin, RateBoard, RateSource};
use xthonpay_signer_local::{PassphraseError, read_passphrase_file};

use crate::compose::{Deployment, catalog};
use crate::config::{Config, RateConfig, RateOrigin, UpstreamSettings};

/// Something that cannot be lent as configured.
#[derive(Debug, Error)]
pub enum LoanError {
    /// An upstream.
    #[error("upstreams.{name}: {error}")]
    Upstream {
        /// Which.
        name: LoanLabel,
        /// What is wrong.
        #[source]
        error: UpstreamSetupError,
    },
    /// The file with an upstream's secret.
    #[error("upstreams.{name}.secret_file: {error}")]
    Secret {
        /// Which.
        name: LoanLabel,
        /// What is wrong.
        #[source]
        error: PassphraseError,
    },
    /// A source of rates.
    #[error("rates.{name}: {reason}")]
    Rate {
        /// Which.
        name: LoanLabel,
        /// What is wrong.
        reason: String,
    },
}

impl LoanError {
    /// Always `false`: the same config fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

/// Everything that a host lends.
///
/// # Errors
/// [`LoanError`].
pub fn of_host(config: &Config, deployment: &Deployment, sources: &[Arc<dyn ChainSource>]) -> Result<Loans, LoanError> {
    let catalog = Arc::new(catalog(config));
    let store = || Arc::clone(&deployment.store) as Arc<dyn xthonpay_payments::port::store::Store>;
    let chain = |source: &Arc<dyn ChainSource>| {
        let (source, catalog) = (Arc::clone(source), Arc::clone(&catalog));
        let reader = BookReader { store: store(), source, catalog };
        (reader.source.name().clone(), Arc::new(reader) as Arc<dyn ChainReader>)
    };
    let signer = |label: &LoanLabel| {
        let key = Arc::new(deployment.signer.attestation_key(label));
        let random = Arc::clone(&deployment.random);
        let signer = RecordedSigner { label: label.clone(), key, store: store(), random };
        (label.clone(), Arc::new(signer) as Arc<dyn Attestor>)
    };
    let upstreams = upstreams(config)?;
    Ok(Loans {
        storage: Some(Arc::new(StoredItems::new(store(), Arc::clone(&deployment.random)))),
        chains: sources.iter().map(chain).collect(),
        rates: rates(config, &upstreams, Arc::clone(&deployment.clock))?,
        attestors: config.signers.iter().map(signer).collect(),
        upstreams,
    })
}

/// The same without a deployment, to check whether plugins load: what takes a store or a vault is there and never answers.
///
/// # Errors
/// [`LoanError`].
pub fn of_check(config: &Config, clock: Arc<dyn Clock>) -> Result<Loans, LoanError> {
    let names = catalog(config).chains().cloned().collect::<Vec<ChainName>>();
    let upstreams = upstreams(config)?;
    Ok(Loans {
        storage: Some(Arc::new(Absent)),
        chains: names.into_iter().map(|name| (name, Arc::new(Absent) as Arc<dyn ChainReader>)).collect(),
        rates: rates(config, &upstreams, clock)?,
        attestors: config.signers.iter().map(|label| (label.clone(), Arc::new(Absent) as Arc<dyn Attestor>)).collect(),
        upstreams,
    })
}

fn upstreams(config: &Config) -> Result<BTreeMap<LoanLabel, Arc<dyn Upstream>>, LoanError> {
    let upstream = |(name, settings): (&LoanLabel, &UpstreamSettings)| {
        let secret = settings.secret_file.as_deref().map(read_passphrase_file).transpose();
        let secret = secret.map_err(|error| LoanError::Secret { name: name.clone(), error })?;
        let client = UpstreamClient::new(UpstreamConfig {
            base: settings.base.clone(),
            headers: settings.headers.clone(),
            secret,
            egress: EgressConfig {
                allow_networks: settings.allow_networks.clone(),
                allow_http: settings.allow_http,
                total_timeout: settings.timeout,
                ..EgressConfig::default()
            },
        });
        let client = client.map_err(|error| LoanError::Upstream { name: name.clone(), error })?;
        Ok((name.clone(), Arc::new(client) as Arc<dyn Upstream>))
    };
    config.upstreams.iter().map(upstream).collect()
}

fn rates(
    config: &Config,
    upstreams: &BTreeMap<LoanLabel, Arc<dyn Upstream>>,
    clock: Arc<dyn Clock>,
) -> Result<Option<Arc<dyn Rates>>, LoanError> {
    if config.rates.is_empty() {
        return Ok(None);
    }
    let source = |(name, rate): (&LoanLabel, &RateConfig)| {
        let wrong = |reason: String| LoanError::Rate { name: name.clone(), reason };
        let origin = match &rate.origin {
            RateOrigin::Fixed(rate) => Origin::Fixed(rate.clone()),
            RateOrigin::Fetched { upstream, path, pointer } => {
                let known = upstreams.get(upstream).cloned();
                let upstream = known.ok_or_else(|| wrong(format!("there is no table [upstreams.{upstream}]")))?;
                Origin::Fetched { upstream, path: path.clone(), pointer: pointer.clone() }
            }
        };
        RateSource::new(name.clone(), rate.base.clone(), rate.counter.clone(), origin).map_err(wrong)
    };
    let sources = config.rates.iter().map(source).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Arc::new(RateBoard::new(sources, clock))))
}

/// Stands where a store or a vault would be. Checking a plugin calls none of it.
struct Absent;

fn absent() -> StoreError {
    StoreError::Unavailable { reason: "a check has no store".to_owned() }
}

#[async_trait]
impl PluginStorage for Absent {
    async fn item(&self, _: &Space, _: &ItemKey) -> Result<Option<Item>, StoreError> {
        Err(absent())
    }

    async fn items(&self, _: &Space, _: &str, _: Option<&str>, _: usize) -> Result<Vec<(ItemKey, Item)>, StoreError> {
        Err(absent())
    }

    async fn used_bytes(&self, _: &Space, _: Timestamp) -> Result<u64, StoreError> {
        Err(absent())
    }

    fn note_growth(&self, _: &Space, _: i64) {}

    fn fresh_revision(&self) -> u64 {
        0
    }
}

#[async_trait]
impl ChainReader for Absent {
    async fn tip(&self) -> Result<ChainTip, ChainReadError> {
        Err(absent().into())
    }

    async fn payments(&self, _: &MerchantId, _: &InvoiceId) -> Result<InvoicePayments, ChainReadError> {
        Err(absent().into())
    }

    async fn transaction(&self, _: &MerchantId, _: TxHash) -> Result<MerchantTransaction, ChainReadError> {
        Err(absent().into())
    }

    async fn fee(&self) -> Result<Fee, ChainReadError> {
        Err(absent().into())
    }
}

#[async_trait]
impl Attestor for Absent {
    fn public_key(&self) -> Vec<u8> {
        Vec::new()
    }

    async fn attest(&self, _: Statement) -> Result<Attestation, AttestError> {
        Err(absent().into())
    }
}
