//! The parts of a run: the chain, the host that is killed, the shop and its customers, who go on all the time.

use core::ops::ControlFlow;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use xthonpay_domain::address::Address;
use xthonpay_domain::block::BlockNumber;
use xthonpay_tests::chain::{Anvil, AnvilOptions, TestChain, anvil_binary};
use xthonpay_tests::client::{MerchantClient, Scheme};
use xthonpay_tests::host::{HostConfig, HostProcess, Merchant, PluginEntry};
use xthonpay_tests::places::Places;
use xthonpay_tests::receiver::Receiver;
use xthonpay_tests::{BoxError, wait};

use crate::customers::{self, Customers};
use crate::shop::{self, Counter};
use crate::tell;

/// Blocks after which a payment that was handed to the node is in one: the next one takes it, and another one for a node that had
/// begun that already.
const BLOCKS_UNTIL_MINED: u64 = 2;

/// Far above what the last blocks take to become final, credited and told.
const SETTLING_MAX: Duration = Duration::from_secs(60);

/// Where the shop hears of its invoices.
pub(crate) const HOOK: &str = "/hooks/pay";

/// Everything that runs.
pub(crate) struct Stage {
    pub(crate) host: HostProcess,
    pub(crate) chain: TestChain,
    pub(crate) usdt: Address,
    pub(crate) merchant: Merchant,
    pub(crate) client: MerchantClient,
    pub(crate) receiver: Arc<Receiver>,
    pub(crate) counter: Arc<Counter>,
    /// The first block that may hold a payment.
    pub(crate) from: BlockNumber,
    base_url: watch::Sender<String>,
    closing: watch::Sender<bool>,
    shopkeeper: Option<JoinHandle<Result<(), BoxError>>>,
    customers: Option<JoinHandle<Result<(), BoxError>>>,
    /// Behind everything that uses it.
    _anvil: Anvil,
}

impl Stage {
    /// Starts everything; the seed is that of the customers.
    pub(crate) async fn set(seed: u64) -> Result<Self, BoxError> {
        let places = Places::find()?;
        let anvil = Anvil::start(AnvilOptions::new(anvil_binary(&places.tools)?)).await?;
        let chain = TestChain::connect(anvil.url()).await?;
        let usdt = chain.deploy_usdt("Tether USD", "USDT", 18).await?;
        let disperse = chain.deploy_disperse().await?;
        let from = chain.head().await?;

        let plugin = |name: &str| PluginEntry::new(name, places.plugin(name));
        let config =
            HostConfig::new(anvil.url(), usdt).with_plugins(vec![plugin("default-rules")], Some(plugin("xthon-json")));
        let host = HostProcess::start(&places, &config).await?;
        let merchant = host.create_merchant("shop").await?;
        let key = host.create_key(&merchant, "read,write", Scheme::Request, &[]).await?;

        let receiver = Arc::new(Receiver::start().await?);
        let counter = Arc::new(Counter::new(merchant.deposit_address.parse()?));
        let (base_url, hosts) = watch::channel(host.base_url().to_owned());
        let (closing, closed) = watch::channel(false);
        let shopkeeper = shop::run(
            Arc::clone(&counter),
            MerchantClient::new(host.base_url(), key.clone())?,
            receiver.url(HOOK),
            hosts,
            closed.clone(),
        );
        let customers =
            Customers { chain: TestChain::connect(anvil.url()).await?, usdt, disperse, counter: Arc::clone(&counter) };
        let client = MerchantClient::new(host.base_url(), key)?;
        Ok(Self {
            host,
            chain,
            usdt,
            merchant,
            client,
            receiver,
            counter,
            from,
            base_url,
            closing,
            shopkeeper: Some(tokio::spawn(shopkeeper)),
            customers: Some(tokio::spawn(customers::run(customers, seed, closed))),
            _anvil: anvil,
        })
    }

    /// Tells the shop where the host answers now.
    pub(crate) fn announce_host(&self) {
        // The shop has ended only when its task has, which is looked at elsewhere.
        let _ = self.base_url.send(self.host.base_url().to_owned());
    }

    /// How many payments were sent.
    pub(crate) fn sent(&self) -> usize {
        self.counter.sent()
    }

    /// The shop and the customers still work.
    pub(crate) async fn check_workers(&mut self) -> Result<(), BoxError> {
        for worker in [&mut self.shopkeeper, &mut self.customers] {
            if let Some(ended) = worker.take_if(|worker| worker.is_finished()) {
                ended.await??;
                return Err("a worker stopped too early".into());
            }
        }
        Ok(())
    }

    /// Ends the shop and the customers, and waits until the host has processed the last of their blocks and has credited what
    /// is in it.
    pub(crate) async fn settle(&mut self) -> Result<(), BoxError> {
        self.closing.send_replace(true);
        for worker in [&mut self.customers, &mut self.shopkeeper] {
            if let Some(worker) = worker.take() {
                worker.await??;
            }
        }
        // The last payments may be on their way into the next block still.
        let last = BlockNumber(self.chain.head().await?.0.saturating_add(BLOCKS_UNTIL_MINED));
        tell(&format!("crash: {} payments sent, waiting until block {last} is final for the host", self.sent()));
        wait::until(&format!("block {last} to be final for the host"), SETTLING_MAX, async || {
            let status = self.host.status().await?;
            let finalized = status["chains"][0]["finalized"].as_u64().unwrap_or(0);
            Ok(if finalized >= last.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(status.to_string()) })
        })
        .await
    }

    /// Every address that customers paid to or could have.
    pub(crate) fn addresses(&self) -> BTreeSet<Address> {
        self.counter.addresses()
    }
}
