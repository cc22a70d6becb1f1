//! One process of the host: the use cases, wired as the host wires them, on the ports of a deployment. It forgets everything
//! when it ends, and it can end at any crash point.

use std::sync::Arc;
use std::time::Duration;

use xthonpay_domain::access::{Scope, SignatureScheme};
use xthonpay_domain::address::Address;
use xthonpay_domain::block::{BlockNumber, BlockRange};
use xthonpay_domain::event::EventFilter;
use xthonpay_domain::id::{EndpointId, InvoiceId, MerchantId};
use xthonpay_domain::invoice::resolution::Wish;
use xthonpay_domain::text::PluginName;
use xthonpay_payments::access::Principal;
use xthonpay_payments::delivery::dispatch::Courier;
use xthonpay_payments::delivery::listeners::Listeners;
use xthonpay_payments::delivery::routing::Routing;
use xthonpay_payments::delivery::schedule::Schedule;
use xthonpay_payments::delivery::shaping::Shaper;
use xthonpay_payments::invoicing::address_indices::AddressIndices;
use xthonpay_payments::invoicing::{Invoicing, NewInvoice};
use xthonpay_payments::keys::{KeyRequest, Keys};
use xthonpay_payments::merchants::Merchants;
use xthonpay_payments::port::bot::BotFlow;
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::hooks::{Hooks, InvoiceRules, WebhookFormat, WithdrawalPolicy};
use xthonpay_payments::port::store::{AnswerBytes, Endpoint, EndpointState, READ_LIMIT_MAX, Store};
use xthonpay_payments::port::vault::Sealed;
use xthonpay_payments::scanning::changes::{Books, ScanError};
use xthonpay_payments::scanning::freeze::{ChainControl, FreezeError};
use xthonpay_payments::scanning::rescan::{Rescan, RescannedChain};
use xthonpay_payments::scanning::scanner::{Memory, Progress, Scanner};
use xthonpay_payments::scanning::status::SharedStatus;
use xthonpay_payments::scanning::watch_set::WatchSet;
use xthonpay_payments::settlement::{Questions, Settlement};
use xthonpay_payments::wake::Wakeups;
use xthonpay_tests::gated_store::GatedStore;
use xthonpay_tests::path_addresses::PathAddresses;
use xthonpay_tests::plain_catalog::chain_name;
use xthonpay_tests::plain_vault::PlainVault;
use xthonpay_tests::seeded::Seeded;

use crate::deployment::{BEGINNING, Deployment};
use crate::findings::Kind;
use crate::gate::{ProcessGate, StoreTrouble};
use crate::receivers::Outbound;

/// How long an endpoint may fail without one success: the default of the config.
const DISABLE_AFTER: Duration = Duration::from_secs(5 * 86_400);

/// No plugin is bound: rules and formats decide nothing about money.
struct NoPlugins;

impl Hooks for NoPlugins {
    fn invoice_rules(&self) -> Vec<Arc<dyn InvoiceRules>> {
        Vec::new()
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

    fn webhook_format_named(&self, _name: &PluginName) -> Option<Arc<dyn WebhookFormat>> {
        None
    }
}

/// What a scanner did in a run of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// It has nothing to do.
    Idle,
    /// There is more to do, or the last step failed and is to be tried again.
    Busy,
    /// Nothing may be credited until an operator resumes the chain.
    Frozen,
}

/// One process.
pub(crate) struct Process {
    gate: Arc<ProcessGate>,
    store: Arc<dyn Store>,
    watch: Arc<WatchSet>,
    listeners: Arc<Listeners>,
    scanner: Scanner,
    memory: Memory,
    settlement: Settlement,
    questions: Questions,
    routing: Routing,
    courier: Courier,
    merchants: Merchants,
    invoicing: Invoicing,
    control: ChainControl,
    rescan: Rescan,
}

impl Process {
    /// Starts a process, or gives `None` when it dies while it starts. Reads that fail are done again, as a supervisor would.
    pub(crate) async fn start(
        deployment: &Deployment,
        trouble: StoreTrouble,
        random: Seeded,
        watch: Option<Arc<WatchSet>>,
    ) -> Option<Self> {
        // A second scanner dies with the first.
        let plan = watch.is_none().then(|| Arc::clone(&deployment.plan));
        let gate = Arc::new(ProcessGate::new(Arc::clone(&deployment.witness), plan, trouble, random));
        let watch = watch.unwrap_or_default();
        let process = Self::wire(deployment, Arc::clone(&gate), watch);
        let indices = Arc::clone(&process.invoicing.indices);
        let load = async {
            while process.watch.load(process.store.as_ref()).await.is_err() {}
            while indices.watch_ahead().await.is_err() {}
        };
        gate.survive(load).await?;
        Some(process)
    }

    fn wire(deployment: &Deployment, gate: Arc<ProcessGate>, watch: Arc<WatchSet>) -> Self {
        let store: Arc<dyn Store> = Arc::new(GatedStore::new(Arc::clone(&deployment.store), Arc::clone(&gate) as _));
        let (catalog, clock, random) = (&deployment.catalog, &deployment.clock, &deployment.random);
        let wakeups = Wakeups::default();
        let listeners = Arc::new(Listeners::default());
        let status = SharedStatus::new(chain_name());
        let addresses = Arc::new(PathAddresses);
        let transport = Arc::new(Outbound { receivers: Arc::clone(&deployment.receivers), gate: Arc::clone(&gate) });
        let indices = Arc::new(AddressIndices::new(Arc::clone(&store), addresses.clone(), Arc::clone(&watch)));
        let books = Books {
            chain: chain_name(),
            store: Arc::clone(&store),
            catalog: Arc::clone(catalog),
            watch: Arc::clone(&watch),
            indices: Arc::clone(&indices),
            listeners: Arc::clone(&listeners),
            clock: clock.clone(),
        };
        let rescanned = RescannedChain { source: deployment.chain.clone(), books: books.clone() };
        Self {
            control: ChainControl { books: books.clone(), source: deployment.chain.clone() },
            rescan: Rescan::new([rescanned], wakeups.clone()),
            scanner: Scanner {
                source: deployment.chain.clone(),
                books,
                status: status.clone(),
                wakeups: wakeups.clone(),
                poll_interval: Duration::ZERO,
            },
            memory: Memory::default(),
            settlement: Settlement {
                store: Arc::clone(&store),
                catalog: Arc::clone(catalog),
                hooks: Arc::new(NoPlugins),
                clock: clock.clone(),
                listeners: Arc::clone(&listeners),
                chains: vec![status],
                wakeups: wakeups.clone(),
            },
            questions: Questions::default(),
            routing: Routing {
                store: Arc::clone(&store),
                shaper: Shaper { hooks: Arc::new(NoPlugins), schedule: Schedule::standard(), clock: clock.clone() },
                wakeups: wakeups.clone(),
            },
            courier: Courier {
                store: Arc::clone(&store),
                vault: Arc::new(PlainVault),
                transport: transport.clone(),
                schedule: Schedule::standard(),
                disable_after: DISABLE_AFTER,
                clock: clock.clone(),
                random: random.clone(),
                tally: Arc::default(),
            },
            merchants: Merchants {
                store: Arc::clone(&store),
                vault: Arc::new(PlainVault),
                addresses,
                watch: Arc::clone(&watch),
                clock: clock.clone(),
                random: random.clone(),
            },
            invoicing: Invoicing {
                contended: Arc::default(),
                store: Arc::clone(&store),
                catalog: Arc::clone(catalog),
                hooks: Arc::new(NoPlugins),
                transport,
                indices,
                watch: Arc::clone(&watch),
                listeners: Arc::clone(&listeners),
                clock: clock.clone(),
                random: random.clone(),
                wakeups,
            },
            watch,
            listeners,
            store,
            gate,
        }
    }

    /// The addresses that this process looks for.
    pub(crate) fn watch(&self) -> Arc<WatchSet> {
        Arc::clone(&self.watch)
    }

    /// Makes steps of the scanner, at most so many, and stops when there is nothing to do. `None` when the process dies.
    pub(crate) async fn scan(&mut self, steps: u64, deployment: &Deployment) -> Option<Scanned> {
        let gate = Arc::clone(&self.gate);
        for _ in 0..steps {
            match gate.survive(self.scanner.step(&mut self.memory)).await? {
                Ok(Progress::Advanced) => {}
                Ok(Progress::Idle) => return Some(Scanned::Idle),
                Err(ScanError::Frozen { .. }) => return Some(Scanned::Frozen),
                Err(failure) if failure.is_transient() => {}
                Err(failure) => {
                    deployment.witness.record().findings.add(Kind::Wrong, format!("the scanner stands: {failure}"));
                    return Some(Scanned::Busy);
                }
            }
        }
        Some(Scanned::Busy)
    }

    /// Asks for rulings and lets invoices expire, once. What fails is tried again by a later call.
    pub(crate) async fn settle(&mut self) -> Option<()> {
        let work = async {
            let _ = self.settlement.rule_all(&self.questions).await;
            let _ = self.settlement.expire_all().await;
        };
        self.gate.survive(work).await?;
        // The pause before rules are asked again is real time.
        self.questions = Questions::default();
        Some(())
    }

    /// Routes what one look at the store finds.
    pub(crate) async fn route(&self) -> Option<()> {
        self.gate.survive(self.routing.route_all()).await.map(drop)
    }

    /// Attempts every delivery that is due, one after the other; returns how many there were.
    pub(crate) async fn deliver(&self, deployment: &Deployment) -> Option<usize> {
        let work = async {
            let now = deployment.clock.now();
            let due = self.store.due_deliveries(now, None, READ_LIMIT_MAX).await.unwrap_or_default();
            for delivery in &due {
                let _ = self.courier.attempt(delivery).await;
            }
            due.len()
        };
        self.gate.survive(work).await
    }

    /// Freezes the chain, as an operator does. What seems to fail may be stored nevertheless.
    pub(crate) async fn freeze(&self) -> Option<()> {
        self.gate.survive(self.control.freeze("drill")).await.map(drop)
    }

    /// Lets a frozen chain go on, as an operator does who knows the newest block that both chains had.
    pub(crate) async fn resume(&self, common: Option<BlockNumber>) -> Option<Result<(), FreezeError>> {
        let work = async {
            match self.control.resume(None).await {
                Err(FreezeError::NoCommonBlock { oldest }) => {
                    let named = oldest.previous().into_iter().chain(common).min();
                    self.control.resume(named).await
                }
                outcome => outcome,
            }
        };
        self.gate.survive(work).await.map(|outcome| outcome.map(drop))
    }

    /// Looks at blocks again. What cannot be looked at now is refused, and nothing is made of it.
    pub(crate) async fn rescan(&self, range: BlockRange) -> Option<()> {
        self.gate.survive(self.rescan.range(None, range)).await.map(drop)
    }

    /// Reads the balance of an invoice's address.
    pub(crate) async fn look_at_balance(&self, address: Address) -> Option<()> {
        self.gate.survive(self.rescan.address(None, address)).await.map(drop)
    }

    /// Makes an invoice; one that seems to fail may exist nevertheless.
    pub(crate) async fn make_invoice(&self, caller: &Principal, new: NewInvoice) -> Option<()> {
        self.gate.survive(self.invoicing.create(caller, new, &unseen)).await.map(drop)
    }

    /// Cancels an invoice, or resolves it where there is a wish; what seems to fail may be decided nevertheless.
    pub(crate) async fn decide(&self, caller: &Principal, id: &InvoiceId, wish: Option<&Wish>) -> Option<()> {
        match wish {
            None => self.gate.survive(self.invoicing.cancel(caller, id, &unseen)).await.map(drop),
            Some(wish) => self.gate.survive(self.invoicing.resolve(caller, id, wish, &unseen)).await.map(drop),
        }
    }

    /// Makes a merchant with a key; what seems to fail may exist nevertheless. As long as this process lives, it knows of an
    /// endpoint that was never stored: its caller went away before that.
    pub(crate) async fn make_merchant(&self) -> Option<Option<Principal>> {
        let work = async {
            let merchant = self.merchants.create("shop".parse().ok()?).await.ok()?.merchant.id;
            self.listeners.expect(&never_stored(&merchant));
            let key = self.keys().create(key_request(&merchant)).await.ok()?.key;
            Some(Principal { key: Arc::new(key), used_signature: None, claim: None })
        };
        self.gate.survive(work).await
    }

    fn keys(&self) -> Keys {
        Keys {
            merchants: self.merchants.clone(),
            catalog: Arc::clone(&self.invoicing.catalog),
            test_mode: false,
            allow_timestamp_scheme: true,
        }
    }
}

/// An endpoint of which a process knows and the store does not: events are left to routing for it, which finds nobody.
fn never_stored(merchant: &MerchantId) -> Endpoint {
    Endpoint {
        id: EndpointId::from_fact(&[merchant.as_str()]),
        merchant: merchant.clone(),
        url: "https://shop.example/endpoint".parse().expect("a URL"),
        events: EventFilter::All,
        label: None,
        format: None,
        secret: Sealed(Vec::new()),
        retiring_secret: None,
        state: EndpointState::Enabled,
        failing_since: None,
        created_at: BEGINNING,
        revision: 1,
    }
}

/// An answer that no door gives.
fn unseen<T>(_: &T) -> AnswerBytes {
    AnswerBytes { status: 200, location: None, body: Vec::new() }
}

fn key_request(merchant: &MerchantId) -> KeyRequest {
    let label = "till".parse().expect("a label");
    KeyRequest::live(merchant.clone(), label, vec![Scope::Read, Scope::Write], SignatureScheme::Request)
}
