//! A deployment on doubles: one chain with two assets, a merchant with a key, and every use case wired as the host does it.

use std::sync::Arc;
use std::time::Duration;

use xthonpay_domain::access::{Scope, SignatureScheme};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::event::{EventFilter, EventKind};
use xthonpay_domain::id::{InvoiceId, MerchantId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::ledger::Balance;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::access::Principal;
use xthonpay_payments::catalog::Catalog;
use xthonpay_payments::delivery::dispatch::{Courier, Tally};
use xthonpay_payments::delivery::listeners::Listeners;
use xthonpay_payments::delivery::replay::Replay;
use xthonpay_payments::delivery::routing::Routing;
use xthonpay_payments::delivery::schedule::Schedule;
use xthonpay_payments::delivery::shaping::Shaper;
use xthonpay_payments::endpoints::{Endpoints, NewEndpoint};
use xthonpay_payments::feed::Feed;
use xthonpay_payments::invoicing::address_indices::AddressIndices;
use xthonpay_payments::invoicing::{Created, Invoicing, InvoicingError, NewInvoice};
use xthonpay_payments::keys::{KeyRequest, Keys, NewKey};
use xthonpay_payments::merchants::{Merchants, NewMerchant};
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::store::{AnswerBytes, Endpoint, Store as _};
use xthonpay_payments::scanning::changes::{Books, ScanError};
use xthonpay_payments::scanning::rescan::{Rescan, RescannedChain};
use xthonpay_payments::scanning::scanner::{Memory, Progress, Scanner};
use xthonpay_payments::scanning::status::{ChainStatus, SharedStatus};
use xthonpay_payments::scanning::watch_set::WatchSet;
use xthonpay_payments::settlement::{Questions, Settlement};
use xthonpay_payments::wake::Wakeups;
use xthonpay_tests::manual_clock::ManualClock;
use xthonpay_tests::memory_store::MemoryStore;
use xthonpay_tests::plain_catalog::catalog;
use xthonpay_tests::scripted_chain::ScriptedChain;
use xthonpay_tests::seeded_random::SeededRandom;

pub(crate) use xthonpay_tests::plain_catalog::{bnb, chain_name, usdt};

use crate::doubles::{PathAddresses, PlainVault, ScriptedHooks, ScriptedReceivers};

/// When every test begins, by the clock and by the chain.
pub(crate) const BEGINNING: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Steps of a scanner that are made before a test gives up on its coming to rest.
const STEPS_MAX: usize = 10_000;

/// How long an endpoint may fail without one success: the default of the config.
pub(crate) const DISABLE_AFTER: Duration = Duration::from_secs(5 * 86_400);

/// Nobody's address.
pub(crate) const STRANGER: Address = Address::new([0x77; 20]);

/// An answer that no door gives.
pub(crate) fn unseen<T>(_: &T) -> AnswerBytes {
    AnswerBytes { status: 200, location: None, body: Vec::new() }
}

pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) chain: Arc<ScriptedChain>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) watch: Arc<WatchSet>,
    pub(crate) listeners: Arc<Listeners>,
    pub(crate) hooks: Arc<ScriptedHooks>,
    pub(crate) receivers: Arc<ScriptedReceivers>,
    pub(crate) random: Arc<SeededRandom>,
    pub(crate) wakeups: Wakeups,
    pub(crate) tally: Arc<Tally>,
    pub(crate) merchants: Merchants,
    pub(crate) invoicing: Invoicing,
    pub(crate) scanner: Scanner,
    pub(crate) settlement: Settlement,
    pub(crate) questions: Questions,
    pub(crate) memory: Memory,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let chain = Arc::new(ScriptedChain::new(chain_name(), BEGINNING));
        let clock = Arc::new(ManualClock::starting_at(BEGINNING));
        Self::on(Arc::new(MemoryStore::default()), chain, clock, seed)
    }

    /// A second process on the same store and chain, which knows nothing of what the first has in memory.
    pub(crate) async fn reopened(&self, seed: u64) -> Self {
        let world = Self::on(self.store.clone(), self.chain.clone(), self.clock.clone(), seed);
        world.watch.load(world.store.as_ref()).await.expect("the store answers");
        world.listeners.load(world.store.as_ref()).await.expect("the store answers");
        world.invoicing.indices.watch_ahead().await.expect("paths have keys");
        world
    }

    fn on(store: Arc<MemoryStore>, chain: Arc<ScriptedChain>, clock: Arc<ManualClock>, seed: u64) -> Self {
        let catalog = Arc::new(catalog(1));
        let watch = Arc::new(WatchSet::default());
        let listeners = Arc::new(Listeners::default());
        let hooks = Arc::new(ScriptedHooks::default());
        let receivers = Arc::new(ScriptedReceivers::default());
        let random = Arc::new(SeededRandom::new(seed));
        let wakeups = Wakeups::default();
        let status = SharedStatus::new(chain_name());
        let addresses = Arc::new(PathAddresses);
        let indices = Arc::new(AddressIndices::new(store.clone(), addresses.clone(), watch.clone()));
        let merchants = Merchants {
            store: store.clone(),
            vault: Arc::new(PlainVault),
            addresses,
            watch: watch.clone(),
            clock: clock.clone(),
            random: random.clone(),
        };
        let invoicing = Invoicing {
            contended: Arc::default(),
            store: store.clone(),
            catalog: catalog.clone(),
            hooks: hooks.clone(),
            transport: receivers.clone(),
            indices: indices.clone(),
            watch: watch.clone(),
            listeners: listeners.clone(),
            clock: clock.clone(),
            random: random.clone(),
            wakeups: wakeups.clone(),
        };
        let books = Books {
            chain: chain_name(),
            store: store.clone(),
            catalog: catalog.clone(),
            watch: watch.clone(),
            indices,
            listeners: listeners.clone(),
            clock: clock.clone(),
        };
        let scanner = Scanner {
            source: chain.clone(),
            books,
            status: status.clone(),
            wakeups: wakeups.clone(),
            poll_interval: Duration::from_millis(5),
        };
        let settlement = Settlement {
            store: store.clone(),
            catalog: catalog.clone(),
            hooks: hooks.clone(),
            clock: clock.clone(),
            listeners: listeners.clone(),
            chains: vec![status],
            wakeups: wakeups.clone(),
        };
        Self {
            store,
            chain,
            clock,
            catalog,
            watch,
            listeners,
            hooks,
            receivers,
            random,
            wakeups,
            tally: Arc::default(),
            merchants,
            invoicing,
            scanner,
            settlement,
            questions: Questions::default(),
            memory: Memory::default(),
        }
    }

    /// A world whose scanner has begun, and a merchant in it.
    pub(crate) async fn started() -> (Self, Principal) {
        let mut world = Self::new(1);
        world.scan().await;
        let principal = world.principal(SignatureScheme::Request).await;
        (world, principal)
    }

    pub(crate) async fn merchant(&self) -> NewMerchant {
        self.merchants.create("shop".parse().expect("a label")).await.expect("the store takes it")
    }

    pub(crate) async fn key(&self, merchant: &MerchantId, scheme: SignatureScheme) -> NewKey {
        let label = "till".parse().expect("a label");
        let request = KeyRequest::live(merchant.clone(), label, vec![Scope::Read, Scope::Write], scheme);
        self.keys().create(request).await.expect("the store takes it")
    }

    /// The use case about keys, in a deployment that allows everything.
    pub(crate) fn keys(&self) -> Keys {
        Keys {
            merchants: self.merchants.clone(),
            catalog: self.catalog.clone(),
            test_mode: true,
            allow_timestamp_scheme: true,
        }
    }

    /// A caller of a new merchant.
    pub(crate) async fn principal(&self, scheme: SignatureScheme) -> Principal {
        let merchant = self.merchant().await.merchant.id;
        let key = self.key(&merchant, scheme).await.key;
        Principal { key: Arc::new(key), used_signature: None, claim: None }
    }

    pub(crate) fn new_invoice(&self, units: u128) -> NewInvoice {
        NewInvoice {
            asset: self.catalog.asset(&usdt()).expect("accepted").clone(),
            due: Amount::from_units(units),
            external_id: None,
            customer: None,
            metadata: Vec::new(),
            callback_url: Some("https://shop.example/hook".parse().expect("a URL")),
            expires_in_s: None,
        }
    }

    /// A new invoice over `units` of USDT, payable for an hour.
    pub(crate) async fn invoice(&self, caller: &Principal, units: u128) -> Invoice {
        self.make(caller, self.new_invoice(units)).await.expect("the store takes it")
    }

    /// A new invoice over `units` of BNB, payable for an hour.
    pub(crate) async fn bnb_invoice(&self, caller: &Principal, units: u128) -> Invoice {
        let asset = self.catalog.asset(&bnb()).expect("accepted").clone();
        let new = NewInvoice { asset, ..self.new_invoice(units) };
        self.make(caller, new).await.expect("the store takes it")
    }

    pub(crate) async fn make(&self, caller: &Principal, new: NewInvoice) -> Result<Invoice, InvoicingError> {
        self.invoicing
            .create(caller, new, &unseen)
            .await
            .map(|(Created::New(invoice) | Created::Existing(invoice))| invoice)
    }

    /// Mines a block in which `units` of USDT are paid to each address.
    pub(crate) fn pay(&self, payments: &[(Address, u128)]) {
        let transfers: Vec<_> = payments.iter().map(|(to, units)| self.chain.payment(&usdt(), *to, *units)).collect();
        self.chain.mine(&transfers);
    }

    /// Lets the scanner work until it has nothing to do.
    pub(crate) async fn scan(&mut self) {
        self.try_scan().await.expect("nothing goes wrong");
    }

    /// The same until a step fails.
    pub(crate) async fn try_scan(&mut self) -> Result<(), ScanError> {
        for _ in 0..STEPS_MAX {
            if self.scanner.step(&mut self.memory).await? == Progress::Idle {
                return Ok(());
            }
        }
        unreachable!("the scanner does not come to rest");
    }

    /// Forgets what the scanner has in memory, as a restart does.
    pub(crate) fn restart(&mut self) {
        self.memory = Memory::default();
        self.questions = Questions::default();
    }

    /// Makes everything final and lets the scanner notice. A restart stands in for the second that it waits otherwise.
    pub(crate) async fn finalise(&mut self) {
        self.chain.finalise();
        self.restart();
        self.scan().await;
    }

    /// Rules and expires once.
    pub(crate) async fn settle(&self) {
        self.settlement.rule_all(&self.questions).await.expect("the store answers");
        self.settlement.expire_all().await.expect("the store answers");
    }

    pub(crate) fn rescan(&self) -> Rescan {
        let chain = RescannedChain { source: self.chain.clone(), books: self.scanner.books.clone() };
        Rescan::new([chain], self.wakeups.clone())
    }

    pub(crate) fn routing(&self) -> Routing {
        Routing { store: self.store.clone(), shaper: self.shaper(), wakeups: self.wakeups.clone() }
    }

    pub(crate) fn shaper(&self) -> Shaper {
        Shaper { hooks: self.hooks.clone(), schedule: Schedule::standard(), clock: self.clock.clone() }
    }

    pub(crate) fn endpoints(&self) -> Endpoints {
        Endpoints {
            store: self.store.clone(),
            vault: Arc::new(PlainVault),
            transport: self.receivers.clone(),
            shaper: self.shaper(),
            listeners: self.listeners.clone(),
            clock: self.clock.clone(),
            random: self.random.clone(),
            wakeups: self.wakeups.clone(),
            making: Arc::default(),
        }
    }

    pub(crate) fn replay(&self) -> Replay {
        Replay {
            store: self.store.clone(),
            shaper: self.shaper(),
            clock: self.clock.clone(),
            wakeups: self.wakeups.clone(),
        }
    }

    pub(crate) fn feed(&self) -> Feed {
        Feed { store: self.store.clone() }
    }

    /// An endpoint of the caller's that hears of these kinds.
    pub(crate) async fn endpoint(&self, caller: &Principal, events: EventFilter) -> Endpoint {
        let new = NewEndpoint {
            url: "https://shop.example/endpoint".parse().expect("a URL"),
            events,
            label: None,
            format: None,
        };
        self.endpoints().create(caller, new, &unseen).await.expect("the store takes it").endpoint
    }

    pub(crate) fn courier(&self) -> Courier {
        Courier {
            store: self.store.clone(),
            vault: Arc::new(PlainVault),
            transport: self.receivers.clone(),
            schedule: Schedule::standard(),
            disable_after: DISABLE_AFTER,
            clock: self.clock.clone(),
            random: self.random.clone(),
            tally: self.tally.clone(),
        }
    }

    pub(crate) fn status(&self) -> ChainStatus {
        self.scanner.status.get()
    }

    pub(crate) async fn stored(&self, invoice: &Invoice) -> Invoice {
        self.store.invoice(&invoice.id).await.expect("the store answers").expect("it was made")
    }

    pub(crate) async fn deposits(&self, invoice: &Invoice) -> Vec<Deposit> {
        self.store.deposits_of_invoice(&invoice.id).await.expect("the store answers")
    }

    pub(crate) async fn balance(&self, merchant: &MerchantId, asset: &AssetId) -> Balance {
        self.store.balance(merchant, asset).await.expect("the store answers").0
    }

    /// What a merchant can spend, in USDT.
    pub(crate) async fn available(&self, merchant: &MerchantId) -> Amount {
        self.balance(merchant, &usdt()).await.available
    }

    /// The kinds of an invoice's events, in the order of their sequence.
    pub(crate) fn events_of(&self, id: &InvoiceId) -> Vec<EventKind> {
        let mut events: Vec<_> =
            self.store.tables().events.into_iter().filter(|event| event.invoice.as_ref() == Some(id)).collect();
        events.sort_by_key(|event| event.sequence);
        events.into_iter().map(|event| event.kind).collect()
    }

    /// Lets time pass by the clock and, with the next block, on the chain.
    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.chain.wait_until(self.clock.now());
    }
}
