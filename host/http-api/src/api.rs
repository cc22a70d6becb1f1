//! What the API is made of.

use std::sync::Arc;

use xthonpay_domain::access::Mode;
use xthonpay_domain::asset::Asset;
use xthonpay_domain::text::Symbol;
use xthonpay_payments::access::Access;
use xthonpay_payments::balances::Balances;
use xthonpay_payments::catalog::Catalog;
use xthonpay_payments::delivery::dispatch::Tally;
use xthonpay_payments::delivery::replay::Replay;
use xthonpay_payments::endpoints::Endpoints;
use xthonpay_payments::feed::Feed;
use xthonpay_payments::hook_tally::HookTally;
use xthonpay_payments::invoicing::Invoicing;
use xthonpay_payments::plugin_standing::PluginsProbe;
use xthonpay_payments::port::clock::Clock;
use xthonpay_payments::port::random::Random;
use xthonpay_payments::port::store::Store;
use xthonpay_payments::scanning::rescan::Rescan;
use xthonpay_payments::scanning::status::SharedStatus;
use xthonpay_payments::simulation::Simulation;

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
    /// Makes payments on the simulated chain; `None` where there is none.
    pub simulation: Option<Simulation>,
    /// Makes and changes webhook endpoints.
    pub endpoints: Endpoints,
    /// Reads events.
    pub feed: Feed,
    /// Sends deliveries again.
    pub replay: Replay,
    /// Records that are read as they are, and the probe of readiness.
    pub store: Arc<dyn Store>,
    /// Accepted assets.
    pub catalog: Arc<Catalog>,
    /// What the scanners say about themselves.
    pub chains: Vec<SharedStatus>,
    /// What the dispatcher of webhooks counts.
    pub tally: Arc<Tally>,
    /// What is counted about calls of plugins.
    pub hook_tally: Arc<HookTally>,
    /// How the plugins do.
    pub plugins: PluginsProbe,
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
    /// Where what stands at `path` below the API can be read.
    pub(crate) fn location(&self, path: &str) -> String {
        format!("{}/api/v1/{path}", self.config.public_url.as_str().trim_end_matches('/'))
    }

    /// What a request means that names no asset; `None` when the config names none, and there is neither a single USDT nor a single
    /// asset at all.
    pub(crate) fn default_asset(&self, mode: Mode) -> Option<&Asset> {
        match (&self.config.default_asset, mode) {
            (Some(id), Mode::Live) => self.catalog.asset(id),
            _ => self.catalog.find(&self.default_symbol(mode), None, mode).ok(),
        }
    }

    /// The symbol that is meant where none is given. What the config names need not exist on the simulated chain.
    pub(crate) fn default_symbol(&self, mode: Mode) -> Symbol {
        let configured = self.config.default_asset.as_ref().filter(|_| mode == Mode::Live).map(|id| id.symbol.clone());
        let only = || {
            let mut assets = self.catalog.assets_in(mode);
            assets.next().filter(|_| assets.next().is_none()).map(|asset| asset.id.symbol.clone())
        };
        configured.or_else(only).unwrap_or_else(|| SYMBOL_DEFAULT.parse().expect("four capital letters are a symbol"))
    }
}
