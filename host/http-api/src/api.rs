//! What the API is made of.

use std::sync::Arc;

use xthonpay_domain::asset::Asset;
use xthonpay_domain::text::Symbol;
use xthonpay_payments::access::Access;
use xthonpay_payments::balances::Balances;
use xthonpay_payments::catalog::Catalog;
use xthonpay_payments::invoicing::Invoicing;
use xthonpay_payments::port::clock::Clock;
use xthonpay_payments::port::random::Random;
use xthonpay_payments::port::store::Store;
use xthonpay_payments::scanning::rescan::Rescan;
use xthonpay_payments::scanning::status::SharedStatus;

use crate::config::ApiConfig;

/// What a request means that names no asset, in the words of the product's guide.
const SYMBOL_DEFAULT: &str = "USDT";

/// The use cases that the API offers, and what it needs besides.
#[derive(Clone)]
pub struct Api {
    /// Decides who may call what.
    pub access: Access,
    /// Makes and reads invoices.
    pub invoicing: Invoicing,
    /// Reads balances.
    pub balances: Balances,
    /// Looks again at transactions.
    pub rescan: Rescan,
    /// Records that are read as they are, and the probe of readiness.
    pub store: Arc<dyn Store>,
    /// Accepted assets.
    pub catalog: Arc<Catalog>,
    /// What the scanners say about themselves.
    pub chains: Vec<SharedStatus>,
    /// What plugins and other parts say about themselves. Asked at most once a second; must not block.
    pub components: ComponentsProbe,
    /// Time of day, for `GET /time`.
    pub clock: Arc<dyn Clock>,
    /// Request ids.
    pub random: Arc<dyn Random>,
    /// Settings and limits.
    pub config: ApiConfig,
}

/// Tells how the parts of the host are that the API does not know itself.
pub type ComponentsProbe = Arc<dyn Fn() -> Vec<ComponentHealth> + Send + Sync>;

/// How a part of the host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentHealth {
    /// What it is, such as `plugin:default-rules`. Shown to anybody.
    pub name: String,
    /// Whether the deployment is not ready without it.
    pub required: bool,
    /// What is wrong, if something is. Logged, not shown.
    pub problem: Option<String>,
}

impl Api {
    /// What a request means that names no asset; `None` when the config names none and there is no single USDT.
    pub(crate) fn default_asset(&self) -> Option<&Asset> {
        if let Some(id) = &self.config.default_asset {
            return self.catalog.asset(id);
        }
        self.catalog.find(&self.default_symbol(), None).ok()
    }

    /// The symbol that is meant where none is given.
    pub(crate) fn default_symbol(&self) -> Symbol {
        let configured = self.config.default_asset.as_ref().map(|id| id.symbol.clone());
        configured.unwrap_or_else(|| SYMBOL_DEFAULT.parse().expect("four capital letters are a symbol"))
    }
}
