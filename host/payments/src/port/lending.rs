//! What the host lends to plugins: storage, upstreams, signers, chains and rates, each by the operator's own name.
//!
//! Who may borrow what is decided by the operator's grants, which the plugins' runtime keeps; here stands what there is to
//! lend.

pub mod attestation;
pub mod chain_reader;
pub mod rates;
pub mod storage;
pub mod upstream;

use std::collections::BTreeMap;
use std::sync::Arc;

use xthonpay_domain::text::{ChainName, LoanLabel};

use attestation::Attestor;
use chain_reader::ChainReader;
use rates::Rates;
use storage::PluginStorage;
use upstream::Upstream;

/// Everything that a deployment has to lend.
#[derive(Clone, Default)]
pub struct Loans {
    /// The values that plugins keep; `None` where nothing can be kept, and then no plugin that wants to is loaded.
    pub storage: Option<Arc<dyn PluginStorage>>,
    /// The chains, by their names in the config.
    pub chains: BTreeMap<ChainName, Arc<dyn ChainReader>>,
    /// Exchange rates; `None` where no source is configured.
    pub rates: Option<Arc<dyn Rates>>,
    /// The upstreams, by their names in the config.
    pub upstreams: BTreeMap<LoanLabel, Arc<dyn Upstream>>,
    /// The signers, by their names in the config.
    pub attestors: BTreeMap<LoanLabel, Arc<dyn Attestor>>,
}
