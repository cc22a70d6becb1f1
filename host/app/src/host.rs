//! A running host: its workers, its doors, and its orderly end.
//!
//! The workers (one scanner a chain, the simulated chain, settlement, routing, dispatch) share nothing but the store and
//! wake-ups. The REST server and the admin socket open last, when everything behind them works.

mod status;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use xthonpay_chain_evm::EvmChain;
use xthonpay_chain_simulated::SimulatedChain;
use xthonpay_http_api::{Api, ApiConfig, ServerLimits, router};
use xthonpay_payments::access::Access;
use xthonpay_payments::access::idempotency::Idempotency;
use xthonpay_payments::access::key_cache::KeyCache;
use xthonpay_payments::access::key_use::KeyUses;
use xthonpay_payments::access::rate_limit::RateLimits;
use xthonpay_payments::balances::Balances;
use xthonpay_payments::delivery::dispatch::{Courier, Dispatch, Tally};
use xthonpay_payments::delivery::replay::Replay;
use xthonpay_payments::delivery::routing::Routing;
use xthonpay_payments::delivery::shaping::Shaper;
use xthonpay_payments::endpoints::Endpoints;
use xthonpay_payments::feed::Feed;
use xthonpay_payments::invoicing::Invoicing;
use xthonpay_payments::port::chain::ChainSource;
use xthonpay_payments::port::vault::Vault;
use xthonpay_payments::scanning::rescan::{Rescan, RescannedChain};
use xthonpay_payments::scanning::scanner::Scanner;
use xthonpay_payments::scanning::status::SharedStatus;
use xthonpay_payments::settlement::Settlement;
use xthonpay_payments::simulation::{Simulation, Stage};
use xthonpay_payments::wake::Wakeups;
use xthonpay_plugin_runtime::PluginHost;
use xthonpay_store_surreal::SurrealStore;

use crate::admin::plugin::PluginDoor;
use crate::admin::server::{self, AdminDoor};
use crate::admin::signed::{SignedDoor, signer_lines};
use crate::compose::{self, Deployment, StartError};
use crate::config::Config;
use crate::data_dir::replace_file;
use crate::kept_plugins::KeptPlugins;
use crate::loans;
use crate::plugin_watch::PluginWatch;
use crate::switches::Switches;
use status::HostStatus;
pub(crate) use status::plugin_line as plugin_report;

/// How long the end may take: what the REST server grants its requests and some, within what service managers wait.
const DRAIN_MAX: Duration = Duration::from_secs(20);
/// How often the host looks whether its store needs a restart: it refuses everything by itself from that moment on.
const STORE_WATCH: Duration = Duration::from_secs(1);
/// How long the start waits for nodes to show whether they serve the configured chain. A node that is down does not hold up
/// the start; the scanner asks it again.
const SELF_CHECK_MAX: Duration = Duration::from_secs(5);

/// The longest pause between two looks at the simulated chain. It announces its blocks, and asking it costs nothing.
const SIMULATED_POLL: Duration = Duration::from_secs(1);

/// A host that ended by itself or did not end in order.
#[derive(Debug, Error)]
pub enum RunError {
    /// A worker that must not end did; going on without it would mislead.
    #[error("the {0} ended by itself; the log says why. Start the host again")]
    WorkerEnded(&'static str),
    /// Work was still under way after the longest wait. Nothing that was acknowledged is lost.
    #[error("the host did not stop in order within {} s", DRAIN_MAX.as_secs())]
    NotDrained,
}

impl RunError {
    /// Whether another start may go well.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::WorkerEnded(_) | Self::NotDrained => true,
        }
    }
}

/// A host that is built and not yet running.
pub struct Host {
    deployment: Deployment,
    scanners: Vec<Scanner>,
    simulation: Option<Simulation>,
    settlement: Settlement,
    routing: Routing,
    dispatch: Dispatch,
    plugin_watch: PluginWatch,
    key_uses: Arc<KeyUses>,
    rest: (TcpListener, axum::Router),
    admin: (UnixListener, AdminDoor<HostStatus>),
    listen_file: PathBuf,
}

impl Host {
    /// Opens the deployment and builds everything, up to bound sockets. Nothing works yet.
    ///
    /// # Errors
    /// [`StartError`]: whatever is wrong is told before a port answers.
    pub async fn build(config: &Config) -> Result<Self, StartError> {
        let sources = compose::chains(config)?;
        let deployment = Deployment::open(config).await?;
        match Parts::build(config, &deployment, &sources).await {
            Ok(parts) => Ok(parts.join(config, deployment, sources)),
            Err(error) => {
                deployment.close().await;
                Err(error)
            }
        }
    }

    /// Works until `stop` is cancelled, then ends in order: doors first, work under way to its end, the store last.
    ///
    /// # Errors
    /// [`RunError`] when a worker ended by itself, or the end took too long. The store is closed in any case.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunError> {
        let Self {
            deployment,
            scanners,
            simulation,
            settlement,
            routing,
            dispatch,
            plugin_watch,
            key_uses,
            rest,
            admin,
            listen_file,
        } = self;
        let mut workers = JoinSet::new();
        for scanner in scanners {
            workers.spawn(named("scanner", scanner.run(stop.clone())));
        }
        if let Some(simulation) = simulation {
            workers.spawn(named("simulated chain", simulation.run(stop.clone())));
        }
        workers.spawn(named("settlement", settlement.run(stop.clone())));
        workers.spawn(named("routing", routing.run(stop.clone())));
        workers.spawn(named("dispatch", dispatch.run(stop.clone())));
        workers.spawn(named("plugin watch", plugin_watch.run(stop.clone())));
        workers.spawn(named("key uses", Arc::clone(&key_uses).run(stop.clone())));
        workers.spawn(named("store", until_restart_is_needed(Arc::clone(&deployment.store), stop.clone())));
        let (listener, router) = rest;
        let serving = xthonpay_http_api::serve(listener, router, ServerLimits::default(), stop.clone());
        workers.spawn(door("REST server", serving));
        let (listener, admin_door) = admin;
        workers.spawn(door("admin socket", server::serve(listener, admin_door, stop.clone())));
        info!("started");

        let mut outcome = Ok(());
        tokio::select! {
            () = stop.cancelled() => {}
            Some(ended) = workers.join_next() => {
                // Workers end because of `stop` too, and this branch may be the first to see it.
                if !stop.is_cancelled() {
                    outcome = Err(RunError::WorkerEnded(name_of(ended)));
                    stop.cancel();
                }
            }
        }
        let drained = timeout(DRAIN_MAX, async { while workers.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            workers.abort_all();
            outcome = outcome.and(Err(RunError::NotDrained));
        }
        // Now that no request is under way any more.
        key_uses.flush().await;
        // A leftover names an address that nobody listens on; whoever reads it finds that out.
        let _ = std::fs::remove_file(listen_file);
        deployment.close().await;
        outcome
    }
}

/// Ends when the store can be used no longer by this process. A supervisor's restart is what mends it.
async fn until_restart_is_needed(store: Arc<SurrealStore>, stop: CancellationToken) {
    while store.restart_reason().is_none() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(STORE_WATCH) => {}
        }
    }
}

async fn named(name: &'static str, work: impl Future<Output = ()>) -> &'static str {
    work.await;
    name
}

async fn door(name: &'static str, serving: impl Future<Output = io::Result<()>>) -> &'static str {
    if let Err(failure) = serving.await {
        error!(%failure, door = name, "cannot go on");
    }
    name
}

fn name_of(ended: Result<&'static str, tokio::task::JoinError>) -> &'static str {
    ended.unwrap_or_else(|failure| {
        error!(%failure, "a worker broke off");
        "worker"
    })
}

/// What is built before the host is joined: everything that can fail.
struct Parts {
    plugins: Arc<PluginHost>,
    transport: Arc<xthonpay_egress::WebhookClient>,
    switches: Arc<Mutex<Switches>>,
    simulated: Option<Arc<SimulatedChain>>,
    rest: TcpListener,
    admin: UnixListener,
}

impl Parts {
    async fn build(config: &Config, deployment: &Deployment, sources: &[Arc<EvmChain>]) -> Result<Self, StartError> {
        let simulated = compose::simulated(config, deployment).await?;
        let mut readable: Vec<Arc<dyn ChainSource>> = sources.iter().map(|source| Arc::clone(source) as _).collect();
        readable.extend(simulated.iter().map(|source| Arc::clone(source) as Arc<dyn ChainSource>));
        let loans = loans::of_host(config, deployment, &readable)?;
        let switches = Switches::read(config.switches_file())?;
        let plugins = compose::plugins(config, switches.off(), Arc::clone(&deployment.clock), loans).await?;
        let transport = compose::webhooks(config)?;
        for source in sources {
            check_nodes(source).await?;
        }
        deployment.watch.load(deployment.store.as_ref()).await?;
        deployment.indices.watch_ahead().await?;
        let admin_socket = config.admin_socket();
        let admin = server::bind(&admin_socket).map_err(file(admin_socket))?;
        let address = config.server.listen;
        let listen = |source| StartError::Listen { address, source };
        let rest = TcpListener::bind(address).await.map_err(listen)?;
        let bound = rest.local_addr().map_err(listen)?;
        let listen_file = config.listen_file();
        replace_file(&listen_file, bound.to_string()).map_err(file(listen_file))?;
        info!(listen = %bound, addresses = deployment.watch.len(), "REST server bound");
        let (plugins, switches) = (Arc::new(plugins), Arc::new(Mutex::new(switches)));
        Ok(Self { plugins, transport: Arc::new(transport), switches, simulated, rest, admin })
    }

    fn join(self, config: &Config, deployment: Deployment, sources: Vec<Arc<EvmChain>>) -> Host {
        let catalog = Arc::new(compose::catalog(config));
        let wakeups = Wakeups::default();
        let simulated = self.simulated.iter().map(|source| source.name());
        let names = sources.iter().map(|source| source.name()).chain(simulated);
        let chains: Vec<SharedStatus> = names.map(|name| SharedStatus::new(name.clone())).collect();
        let key_uses = Arc::new(KeyUses::new(Arc::clone(&deployment.store) as _));
        let joints = Joints {
            config,
            deployment: &deployment,
            parts: &self,
            catalog,
            wakeups,
            key_uses: Arc::clone(&key_uses),
            tally: Arc::default(),
            chains,
        };
        // The simulated chain is none of them: it forgets its blocks, so there is nothing to hold the books against.
        let audited = sources.iter().map(|source| Arc::clone(source) as _).collect();
        let audit = deployment.audit(config, audited);
        let scanners = joints.scanners(sources);
        let rescan = joints.rescan(&scanners);
        let chains = scanners.iter().map(Scanner::control).collect();
        let settlement = joints.settlement();
        let routing = joints.routing();
        let dispatch = joints.dispatch();
        let simulation = joints.simulation();
        let router = router(joints.api(rescan.clone(), simulation.clone()));
        let status = HostStatus::new(&joints, router.clone());
        let plugins = PluginDoor {
            plugins: Arc::clone(&joints.parts.plugins),
            config_file: config.file.clone(),
            switches: Arc::clone(&joints.parts.switches),
            kept: KeptPlugins::new(config.kept_plugins()),
            exchanges: Arc::default(),
        };
        let plugin_watch = PluginWatch::new(plugins.clone(), &config.plugins);
        let door = AdminDoor {
            keys: deployment.keys(config, Arc::clone(&joints.catalog)),
            status,
            audit,
            chains,
            rescan,
            plugins,
            signed: SignedDoor { store: joints.store(), signers: signer_lines(&deployment.signer, &config.signers) },
            store: joints.store(),
            catalog: Arc::clone(&joints.catalog),
        };
        Host {
            scanners,
            simulation,
            settlement,
            routing,
            dispatch,
            plugin_watch,
            key_uses,
            rest: (self.rest, router),
            admin: (self.admin, door),
            listen_file: config.listen_file(),
            deployment,
        }
    }
}

/// Everything that the workers share, while they are put together.
struct Joints<'a> {
    config: &'a Config,
    deployment: &'a Deployment,
    parts: &'a Parts,
    catalog: Arc<xthonpay_payments::catalog::Catalog>,
    wakeups: Wakeups,
    key_uses: Arc<KeyUses>,
    tally: Arc<Tally>,
    chains: Vec<SharedStatus>,
}

impl Joints<'_> {
    fn store(&self) -> Arc<dyn xthonpay_payments::port::store::Store> {
        Arc::clone(&self.deployment.store) as _
    }

    fn scanners(&self, sources: Vec<Arc<EvmChain>>) -> Vec<Scanner> {
        let intervals = self.config.chains.iter().map(|settings| settings.poll_interval);
        let real = sources.into_iter().map(|source| source as Arc<dyn ChainSource>).zip(intervals);
        let simulated =
            self.parts.simulated.iter().map(|source| (Arc::clone(source) as Arc<dyn ChainSource>, SIMULATED_POLL));
        let scanner = |((source, poll_interval), status): ((Arc<dyn ChainSource>, Duration), &SharedStatus)| Scanner {
            books: self.deployment.books(source.name(), &self.catalog),
            source,
            status: status.clone(),
            wakeups: self.wakeups.clone(),
            poll_interval,
        };
        real.chain(simulated).zip(&self.chains).map(scanner).collect()
    }

    fn simulation(&self) -> Option<Simulation> {
        let blocks = self.parts.simulated.as_ref()?;
        let status = self.chains.iter().find(|status| status.chain() == *blocks.name())?;
        Some(Simulation {
            store: self.store(),
            blocks: Arc::clone(blocks) as _,
            status: status.clone(),
            catalog: Arc::clone(&self.catalog),
            random: Arc::clone(&self.deployment.random),
            stage: Stage::default(),
        })
    }

    fn rescan(&self, scanners: &[Scanner]) -> Rescan {
        let chains = scanners
            .iter()
            .map(|scanner| RescannedChain { source: Arc::clone(&scanner.source), books: scanner.books.clone() });
        Rescan::new(chains, self.wakeups.clone())
    }

    fn settlement(&self) -> Settlement {
        Settlement {
            store: self.store(),
            catalog: Arc::clone(&self.catalog),
            hooks: Arc::clone(&self.parts.plugins) as _,
            clock: Arc::clone(&self.deployment.clock),
            listeners: Arc::clone(&self.deployment.listeners),
            chains: self.chains.clone(),
            wakeups: self.wakeups.clone(),
        }
    }

    fn routing(&self) -> Routing {
        Routing { store: self.store(), shaper: self.shaper(), wakeups: self.wakeups.clone() }
    }

    fn shaper(&self) -> Shaper {
        Shaper {
            hooks: Arc::clone(&self.parts.plugins) as _,
            schedule: self.config.webhooks.schedule.clone(),
            clock: Arc::clone(&self.deployment.clock),
        }
    }

    fn dispatch(&self) -> Dispatch {
        let courier = Courier {
            store: self.store(),
            vault: Arc::clone(&self.deployment.signer) as _,
            transport: Arc::clone(&self.parts.transport) as _,
            schedule: self.config.webhooks.schedule.clone(),
            disable_after: self.config.webhooks.disable_after,
            clock: Arc::clone(&self.deployment.clock),
            random: Arc::clone(&self.deployment.random),
            tally: Arc::clone(&self.tally),
        };
        Dispatch { courier: Arc::new(courier), wakeups: self.wakeups.clone() }
    }

    fn access(&self) -> Access {
        let vault: Arc<dyn Vault> = Arc::clone(&self.deployment.signer) as _;
        let server = &self.config.server;
        let limits = RateLimits::new(server.requests_per_minute, server.failed_requests_per_minute);
        Access {
            keys: Arc::new(KeyCache::new(self.store(), Arc::clone(&vault))),
            limits: Arc::new(limits),
            uses: Arc::clone(&self.key_uses),
            idempotency: Arc::new(Idempotency::new(self.store(), vault)),
            clock: Arc::clone(&self.deployment.clock),
            allow_timestamp_scheme: self.config.allow_timestamp_scheme,
            test_mode: self.config.test_mode,
        }
    }

    fn api(&self, rescan: Rescan, simulation: Option<Simulation>) -> Api {
        let (plugins, bound) = (Arc::clone(&self.parts.plugins), Arc::clone(&self.parts.plugins));
        let required = self.config.plugins.iter().filter(|(_, plugin)| plugin.required);
        let required = required.map(|(name, _)| name.clone()).collect();
        Api {
            access: self.access(),
            invoicing: Invoicing {
                contended: Arc::default(),
                store: self.store(),
                catalog: Arc::clone(&self.catalog),
                hooks: Arc::clone(&self.parts.plugins) as _,
                transport: Arc::clone(&self.parts.transport) as _,
                indices: Arc::clone(&self.deployment.indices),
                watch: Arc::clone(&self.deployment.watch),
                listeners: Arc::clone(&self.deployment.listeners),
                clock: Arc::clone(&self.deployment.clock),
                random: Arc::clone(&self.deployment.random),
                wakeups: self.wakeups.clone(),
            },
            balances: Balances { store: self.store(), catalog: Arc::clone(&self.catalog) },
            rescan,
            tally: Arc::clone(&self.tally),
            hook_tally: self.parts.plugins.tally(),
            plugins: Arc::new(move || bound.standings()),
            simulation,
            endpoints: Endpoints {
                store: self.store(),
                vault: Arc::clone(&self.deployment.signer) as _,
                transport: Arc::clone(&self.parts.transport) as _,
                shaper: self.shaper(),
                listeners: Arc::clone(&self.deployment.listeners),
                clock: Arc::clone(&self.deployment.clock),
                random: Arc::clone(&self.deployment.random),
                wakeups: self.wakeups.clone(),
                making: Arc::default(),
            },
            feed: Feed { store: self.store() },
            replay: Replay {
                store: self.store(),
                shaper: self.shaper(),
                clock: Arc::clone(&self.deployment.clock),
                wakeups: self.wakeups.clone(),
            },
            store: self.store(),
            catalog: Arc::clone(&self.catalog),
            chains: self.chains.clone(),
            components: Arc::new(move || status::plugin_health(&plugins, &required)),
            clock: Arc::clone(&self.deployment.clock),
            random: Arc::clone(&self.deployment.random),
            config: ApiConfig {
                trusted_proxies: self.config.server.trusted_proxies.clone(),
                metrics_networks: self.config.server.metrics_networks.clone(),
                ..ApiConfig::new(self.config.server.public_url.clone())
            },
        }
    }
}

/// Refuses the start when the nodes serve another chain than configured. A node that does not answer is no reason.
async fn check_nodes(source: &EvmChain) -> Result<(), StartError> {
    match timeout(SELF_CHECK_MAX, source.self_check()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if error.is_transient() => {
            warn!(chain = %source.name(), %error, "starting without an answer of the nodes");
            Ok(())
        }
        Ok(Err(error)) => Err(StartError::ChainMismatch { chain: source.name().to_string(), error }),
        Err(_) => {
            warn!(chain = %source.name(), "starting without an answer of the nodes: they are slow");
            Ok(())
        }
    }
}

fn file(path: PathBuf) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::File { path, source }
}
