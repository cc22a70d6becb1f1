//! What outlives a process: the store, the chain with its nodes, the merchants' receivers, the time; and the witness of it all.

use std::sync::Arc;

use xthonpay_domain::time::Timestamp;
use xthonpay_payments::catalog::Catalog;
use xthonpay_payments::port::store::Store;
use xthonpay_tests::manual_clock::ManualClock;
use xthonpay_tests::plain_catalog::{bnb, catalog, chain_name};
use xthonpay_tests::scripted_nodes::ScriptedNodes;
use xthonpay_tests::seeded::Seeded;
use xthonpay_tests::seeded_random::SeededRandom;

use crate::crash_plan::CrashPlan;
use crate::receivers::Receivers;
use crate::temper::Temper;
use crate::witness::Witness;

/// When every life begins, by the clock and by the chain.
pub(crate) const BEGINNING: Timestamp = Timestamp::from_secs(1_700_000_000);

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
