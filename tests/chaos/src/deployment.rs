//! What outlives a process: the store, the chain with its nodes, the merchants' receivers, the time; and the witness of it all.

use std::collections::BTreeMap;
use std::sync::Arc;

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Decimals;
use xthonpay_domain::asset::{Asset, AssetId, AssetKind};
use xthonpay_domain::text::ChainName;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::catalog::{Catalog, ChainTerms};
use xthonpay_payments::port::store::Store;
use xthonpay_tests::manual_clock::ManualClock;
use xthonpay_tests::scripted_nodes::ScriptedNodes;
use xthonpay_tests::seeded::Seeded;
use xthonpay_tests::seeded_random::SeededRandom;

use crate::crash_plan::CrashPlan;
use crate::receivers::Receivers;
use crate::temper::Temper;
use crate::witness::Witness;

/// When every life begins, by the clock and by the chain.
pub(crate) const BEGINNING: Timestamp = Timestamp::from_secs(1_700_000_000);

pub(crate) fn chain_name() -> ChainName {
    "bsc".parse().expect("well formed")
}

pub(crate) fn usdt() -> AssetId {
    "bsc:USDT".parse().expect("well formed")
}

pub(crate) fn bnb() -> AssetId {
    "bsc:BNB".parse().expect("well formed")
}

/// One token and the native coin, without decimals: the numbers of a life are base units.
fn catalog(min_confirmations: u64) -> Catalog {
    let decimals = Decimals::new(0).expect("in range");
    let token = AssetKind::Token { contract: Address::new([0x55; 20]) };
    let assets = [(usdt(), token), (bnb(), AssetKind::Native)];
    let assets = assets.into_iter().map(|(id, kind)| Asset { id, kind, decimals }).collect();
    Catalog::new(BTreeMap::from([(chain_name(), ChainTerms { min_confirmations })]), assets)
}

/// What outlives a process.
pub(crate) struct Deployment {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) chain: Arc<ScriptedNodes>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) random: Arc<SeededRandom>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) receivers: Arc<Receivers>,
    pub(crate) witness: Arc<Witness>,
    pub(crate) plan: Arc<CrashPlan>,
}

impl Deployment {
    pub(crate) fn new(store: Arc<dyn Store>, temper: &Temper, random: &mut Seeded) -> Self {
        let chain = Arc::new(ScriptedNodes::new(chain_name(), bnb(), BEGINNING, temper.nodes));
        Self {
            store,
            clock: Arc::new(ManualClock::starting_at(BEGINNING)),
            random: Arc::new(SeededRandom::new(random.next_u64())),
            catalog: Arc::new(catalog(temper.min_confirmations)),
            receivers: Arc::new(Receivers::new(Seeded::new(random.next_u64()), temper.webhooks_refused)),
            witness: Arc::new(Witness::new(Arc::clone(&chain), temper.min_confirmations)),
            plan: Arc::new(CrashPlan::default()),
            chain,
        }
    }
}
