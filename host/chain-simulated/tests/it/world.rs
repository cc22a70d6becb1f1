//! The simulated chain under everything that the host puts on it: scanner and settlement run, records are in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use xthonpay_chain_simulated::{Beginning, SimulatedChain, assets};
use xthonpay_domain::access::{KeyId, Mode, Scope, SignatureScheme};
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::event::EventKind;
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::invoice::assessment::Advice;
use xthonpay_domain::invoice::url_text::CallbackUrl;
use xthonpay_domain::invoice::{Invoice, Proposal};
use xthonpay_domain::text::PluginName;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::access::Principal;
use xthonpay_payments::catalog::{Catalog, ChainTerms, simulated_chain};
use xthonpay_payments::delivery::listeners::Listeners;
use xthonpay_payments::invoicing::address_indices::AddressIndices;
use xthonpay_payments::invoicing::{Created, Invoicing, NewInvoice};
use xthonpay_payments::merchants::Merchants;
use xthonpay_payments::port::bot::BotFlow;
use xthonpay_payments::port::clock::Clock;
use xthonpay_payments::port::egress::{EgressError, WebhookAnswer, WebhookRequest, WebhookTransport};
use xthonpay_payments::port::hooks::{
    Draft, DraftRuling, HookFailure, Hooks, InvoiceRules, PaymentReview, WebhookFormat, WithdrawalPolicy,
};
use xthonpay_payments::port::lending::storage::Answered;
use xthonpay_payments::port::random::bytes;
use xthonpay_payments::port::store::{Key, Store as _};
use xthonpay_payments::port::vault::Sealed;
use xthonpay_payments::scanning::changes::Books;
use xthonpay_payments::scanning::scanner::Scanner;
use xthonpay_payments::scanning::status::SharedStatus;
use xthonpay_payments::scanning::watch_set::WatchSet;
use xthonpay_payments::settlement::Settlement;
use xthonpay_payments::simulation::{Case, Simulated, Simulation, SimulationError, Stage, Wish, left_behind};
use xthonpay_payments::wake::Wakeups;
use xthonpay_tests::manual_clock::ManualClock;
use xthonpay_tests::memory_store::MemoryStore;
use xthonpay_tests::path_addresses::PathAddresses;
use xthonpay_tests::plain_vault::PlainVault;
use xthonpay_tests::seeded_random::SeededRandom;

/// When every test begins. The clock stands still; the chain's time goes on by a millisecond with each block.
const BEGINNING: Timestamp = Timestamp::from_secs(1_700_000_000);

/// One process on records that may be older.
pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) chain: Arc<SimulatedChain>,
    pub(crate) simulation: Simulation,
    invoicing: Invoicing,
    merchants: Merchants,
    random: Arc<SeededRandom>,
    catalog: Arc<Catalog>,
    workers: JoinSet<()>,
}

impl World {
    /// A process that begins with nothing.
    pub(crate) async fn new() -> Self {
        Self::on(Arc::new(MemoryStore::default()), 1, 1).await
    }

    /// The same with rules that ask for so many confirmations.
    pub(crate) async fn with_confirmations(confirmations: u64) -> Self {
        Self::on(Arc::new(MemoryStore::default()), 1, confirmations).await
    }

    /// Ends the process and starts another one on its records.
    pub(crate) async fn restarted(mut self) -> Self {
        self.workers.abort_all();
        while self.workers.join_next().await.is_some() {}
        Self::on(self.store, 2, 1).await
    }

    async fn on(store: Arc<MemoryStore>, seed: u64, confirmations: u64) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::starting_at(BEGINNING));
        let (tip, coins) = left_behind(store.as_ref(), &asset("BNB")).await.expect("the store answers");
        let chain = Arc::new(SimulatedChain::new(Beginning { tip, coins }, clock.clone()));
        let terms = BTreeMap::from([(simulated_chain(), ChainTerms { min_confirmations: 1 })]);
        let catalog = Arc::new(Catalog::new(terms, assets()));
        let (watch, listeners) = (Arc::new(WatchSet::default()), Arc::new(Listeners::default()));
        let (random, wakeups) = (Arc::new(SeededRandom::new(seed)), Wakeups::default());
        let hooks: Arc<dyn Hooks> = Arc::new(Rules { confirmations });
        watch.load(store.as_ref()).await.expect("the store answers");
        let indices = Arc::new(AddressIndices::new(store.clone(), Arc::new(PathAddresses), watch.clone()));
        let status = SharedStatus::new(simulated_chain());
        let merchants = Merchants {
            store: store.clone(),
            vault: Arc::new(PlainVault),
            addresses: Arc::new(PathAddresses),
            watch: watch.clone(),
            clock: clock.clone(),
            random: random.clone(),
        };
        let invoicing = Invoicing {
            contended: Arc::default(),
            store: store.clone(),
            catalog: catalog.clone(),
            hooks: hooks.clone(),
            transport: Arc::new(Nowhere),
            indices: indices.clone(),
            watch: watch.clone(),
            listeners: listeners.clone(),
            clock: clock.clone(),
            random: random.clone(),
            wakeups: wakeups.clone(),
        };
        let books = Books {
            chain: simulated_chain(),
            store: store.clone(),
            catalog: catalog.clone(),
            watch,
            indices,
            listeners: listeners.clone(),
            clock: clock.clone(),
        };
        let scanner = Scanner {
            source: chain.clone(),
            books,
            status: status.clone(),
            wakeups: wakeups.clone(),
            poll_interval: Duration::from_secs(1),
        };
        let settlement = Settlement {
            store: store.clone(),
            catalog: catalog.clone(),
            hooks,
            clock,
            listeners,
            chains: vec![status.clone()],
            wakeups,
        };
        let simulation = Simulation {
            store: store.clone(),
            blocks: chain.clone(),
            status,
            catalog: catalog.clone(),
            random: random.clone(),
            stage: Stage::default(),
        };
        let (stop, mut workers) = (CancellationToken::new(), JoinSet::new());
        workers.spawn(scanner.run(stop.clone()));
        workers.spawn(settlement.run(stop.clone()));
        workers.spawn(simulation.clone().run(stop.clone()));
        Self { store, chain, simulation, invoicing, merchants, random, catalog, workers }
    }

    /// A caller with a test key of a merchant of its own.
    pub(crate) async fn caller(&self) -> Principal {
        let made = self.merchants.create("shop".parse().expect("a label")).await;
        let merchant = made.expect("the store takes it").merchant.id;
        let key = Key {
            id: KeyId::from_random(Mode::Test, bytes(self.random.as_ref())),
            merchant,
            label: "till".parse().expect("a label"),
            scopes: vec![Scope::Read, Scope::Write],
            scheme: SignatureScheme::Request,
            ip_list: Vec::new(),
            secret: Sealed(Vec::new()),
            requests_per_minute: None,
            daily_withdraw_caps: Vec::new(),
            withdraw_addresses: Vec::new(),
            created_at: BEGINNING,
            expires_at: None,
            revoked_at: None,
            replaced_by: None,
            revision: 1,
        };
        Principal { key: Arc::new(key), used_signature: None, claim: None }
    }

    /// An invoice over 90 base units, payable for an hour.
    pub(crate) async fn invoice(&self, caller: &Principal, symbol: &str) -> Invoice {
        let new = NewInvoice {
            asset: self.catalog.asset(&asset(symbol)).expect("accepted").clone(),
            due: Amount::from_units(90),
            external_id: None,
            customer: None,
            metadata: Vec::new(),
            callback_url: Some("https://shop.example/hook".parse().expect("a URL")),
            expires_in_s: None,
        };
        let answer =
            |_: &Invoice| xthonpay_payments::port::store::AnswerBytes { status: 201, location: None, body: Vec::new() };
        let created = self.invoicing.create(caller, new, &answer).await.expect("the store takes it");
        let (Created::New(invoice) | Created::Existing(invoice)) = created;
        invoice
    }

    /// Lets a case happen.
    pub(crate) async fn simulate(
        &self,
        caller: &Principal,
        invoice: &Invoice,
        case: Case,
    ) -> Result<Simulated, SimulationError> {
        self.simulation.simulate(caller, &invoice.id, Wish { case, amount: None }).await
    }

    /// What a merchant can spend, in base units.
    pub(crate) async fn available(&self, merchant: &MerchantId, symbol: &str) -> Amount {
        self.store.balance(merchant, &asset(symbol)).await.expect("the store answers").0.available
    }

    /// The kinds of an invoice's events, in the order of their sequence; those of its deposits come first.
    pub(crate) fn events(&self, invoice: &Invoice) -> Vec<EventKind> {
        let events = self.store.tables().events.into_iter();
        let mut events: Vec<_> = events.filter(|event| event.invoice.as_ref() == Some(&invoice.id)).collect();
        events.sort_by_key(|event| event.sequence);
        events.into_iter().map(|event| event.kind).collect()
    }
}

pub(crate) fn asset(symbol: &str) -> AssetId {
    format!("test:{symbol}").parse().expect("well formed")
}

/// Rules that ask for confirmations, and else do what the built-in ones do.
#[derive(Clone)]
struct Rules {
    confirmations: u64,
}

impl Hooks for Rules {
    fn invoice_rules(&self) -> Vec<Arc<dyn InvoiceRules>> {
        vec![Arc::new(self.clone())]
    }

    fn withdrawal_policies(&self) -> Vec<Arc<dyn WithdrawalPolicy>> {
        Vec::new()
    }

    fn bot_flow(&self) -> Option<Arc<dyn BotFlow>> {
        None
    }

    fn webhook_format(&self) -> Option<Arc<dyn WebhookFormat>> {
        None
    }

    fn webhook_format_named(&self, _: &PluginName) -> Option<Arc<dyn WebhookFormat>> {
        None
    }
}

#[async_trait]
impl InvoiceRules for Rules {
    async fn on_draft(&self, draft: &Draft) -> Result<Answered<DraftRuling>, HookFailure> {
        Ok(Answered::plain(DraftRuling::Accept(Proposal { confirmations: self.confirmations, ..draft.proposed })))
    }

    async fn on_payment(&self, review: &PaymentReview) -> Result<Answered<Advice>, HookFailure> {
        Ok(Answered::plain(if review.invoice.is_reached_in_time() { Advice::Settle } else { Advice::Review }))
    }
}

/// Takes every address and sends nothing.
struct Nowhere;

#[async_trait]
impl WebhookTransport for Nowhere {
    fn check(&self, _: &CallbackUrl) -> Result<(), EgressError> {
        Ok(())
    }

    async fn post(&self, _: WebhookRequest) -> Result<WebhookAnswer, EgressError> {
        Err(EgressError::Unreachable { reason: "nothing is sent here".to_owned() })
    }
}
