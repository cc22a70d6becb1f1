//! A chain with a host on it, and merchants who use it.
//!
//! Most tests share one world: each brings its own merchant, so they cannot see each other. The shared world lives as long
//! as a test uses it and ends with the last one, so that no process outlives the run.

use core::ops::ControlFlow;
use core::time::Duration;
use std::sync::{Arc, Weak};

use serde_json::{Value, json};
use tokio::sync::Mutex;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::hash::TxHash;
use xthonpay_tests::BoxError;
use xthonpay_tests::chain::{Anvil, AnvilOptions, Mining, TestChain, Word, anvil_binary};
use xthonpay_tests::client::{MerchantClient, Scheme, now_s};
use xthonpay_tests::host::{HostConfig, HostProcess, Merchant, PluginEntry};
use xthonpay_tests::places::Places;
use xthonpay_tests::receiver::{Delivery, Receiver};
use xthonpay_tests::wait;

pub(crate) type Done = Result<(), BoxError>;

/// Faster than BNB Smart Chain, so that waiting for finality does not make up the whole run.
pub(crate) const BLOCK_TIME: Duration = Duration::from_millis(200);

/// Far above what any step takes; only a failure waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Where the receiver of every shop gets its webhooks.
pub(crate) const HOOK: &str = "/hooks/pay";

static SHARED: Mutex<Weak<World>> = Mutex::const_new(Weak::new());
static SHARED_GROUND: Mutex<Weak<Ground>> = Mutex::const_new(Weak::new());

/// A node with the contracts that payments need.
pub(crate) struct Ground {
    anvil: Anvil,
    pub(crate) usdt: Address,
    pub(crate) fake_usdt: Address,
    pub(crate) disperse: Address,
    /// The node gives two transactions that are sent at the same moment the same nonce, and drops one.
    sending: Mutex<()>,
}

impl Ground {
    /// The ground that worlds share which leave the chain as it is: a block every 200 ms.
    pub(crate) async fn shared() -> Result<Arc<Self>, BoxError> {
        let mut shared = SHARED_GROUND.lock().await;
        if let Some(ground) = shared.upgrade() {
            return Ok(ground);
        }
        let ground = Arc::new(Self::new(&Places::find()?, Mining::Interval(BLOCK_TIME)).await?);
        *shared = Arc::downgrade(&ground);
        Ok(ground)
    }

    pub(crate) async fn new(places: &Places, mining: Mining) -> Result<Self, BoxError> {
        let anvil = Anvil::start(AnvilOptions::new(anvil_binary(&places.tools)?).mining(mining)).await?;
        let chain = TestChain::connect(anvil.url()).await?;
        let usdt = chain.deploy_usdt("Tether USD", "USDT", 18).await?;
        let fake_usdt = chain.deploy_usdt("Tether USD", "USDT", 18).await?;
        let disperse = chain.deploy_disperse().await?;
        Ok(Self { anvil, usdt, fake_usdt, disperse, sending: Mutex::new(()) })
    }

    /// A config of a host on this chain with the shipped plugins.
    pub(crate) fn config(&self, places: &Places) -> HostConfig {
        let plugin = |name: &str| PluginEntry::new(name, places.plugin(name));
        self.bare_config().with_plugins(vec![plugin("default-rules")], Some(plugin("xthon-json")))
    }

    /// The same without plugins.
    pub(crate) fn bare_config(&self) -> HostConfig {
        HostConfig::new(self.anvil.url(), self.usdt)
    }

    /// The node's own address, past every proxy.
    pub(crate) fn node_url(&self) -> &str {
        self.anvil.url()
    }

    pub(crate) async fn chain(&self) -> Result<TestChain, BoxError> {
        TestChain::connect(self.anvil.url()).await
    }
}

/// A host on a chain.
pub(crate) struct World {
    pub(crate) ground: Arc<Ground>,
    pub(crate) host: HostProcess,
}

impl World {
    /// The world that tests share: a block every 200 ms and the shipped plugins.
    pub(crate) async fn shared() -> Result<Arc<Self>, BoxError> {
        let mut shared = SHARED.lock().await;
        if let Some(world) = shared.upgrade() {
            return Ok(world);
        }
        let places = Places::find()?;
        let ground = Ground::shared().await?;
        let host = HostProcess::start(&places, &ground.config(&places)).await?;
        let world = Arc::new(Self { ground, host });
        *shared = Arc::downgrade(&world);
        Ok(world)
    }

    /// A world of one's own, with the shipped plugins.
    pub(crate) async fn new(mining: Mining) -> Result<Self, BoxError> {
        let places = Places::find()?;
        let ground = Arc::new(Ground::new(&places, mining).await?);
        let host = HostProcess::start(&places, &ground.config(&places)).await?;
        Ok(Self { ground, host })
    }

    /// A shop whose key signs whole requests and may read and write.
    pub(crate) async fn shop(&self) -> Result<Shop, BoxError> {
        self.shop_with(Scheme::Request, Receiver::start().await?).await
    }

    pub(crate) async fn shop_with(&self, scheme: Scheme, receiver: Receiver) -> Result<Shop, BoxError> {
        let merchant = self.host.create_merchant("shop").await?;
        let key = self.host.create_key(&merchant, "read,write", scheme, &[]).await?;
        let client = MerchantClient::new(self.host.base_url(), key)?;
        let chain = self.ground.chain().await?;
        Ok(Shop { ground: Arc::clone(&self.ground), chain, client, receiver, merchant })
    }

    /// Waits until the host has processed the transaction's block and takes it for final.
    pub(crate) async fn wait_processed(&self, chain: &TestChain, tx: TxHash) -> Done {
        let block = chain.wait_receipt(tx).await?.number.0;
        wait::until(&format!("block {block} to be final for the host"), PATIENCE, async || {
            let status = self.host.status().await?;
            let finalized = status["chains"][0]["finalized"].as_u64().unwrap_or(0);
            Ok(if finalized >= block { ControlFlow::Break(()) } else { ControlFlow::Continue(status.to_string()) })
        })
        .await
    }
}

/// An invoice as its maker knows it.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) id: String,
    pub(crate) address: Address,
    /// The whole answer.
    pub(crate) data: Value,
}

/// A merchant with a key, a webhook receiver and customers who pay.
pub(crate) struct Shop {
    ground: Arc<Ground>,
    pub(crate) chain: TestChain,
    pub(crate) client: MerchantClient,
    pub(crate) receiver: Receiver,
    pub(crate) merchant: Merchant,
}

impl Shop {
    /// The same shop after the host got another port by starting again.
    pub(crate) fn at(self, world: &World) -> Self {
        Self { client: self.client.at(world.host.base_url()), ..self }
    }

    /// Makes an invoice with a callback to this shop's receiver.
    pub(crate) async fn invoice(&self, asset: &str, amount: &str) -> Result<Issued, BoxError> {
        self.invoice_with(json!({"asset": asset, "amount": amount})).await
    }

    /// Makes an invoice with these fields and a callback to this shop's receiver.
    pub(crate) async fn invoice_with(&self, mut fields: Value) -> Result<Issued, BoxError> {
        fields["callback_url"] = json!(self.receiver.url(HOOK));
        let data = self.client.post("/invoices", &fields).await?.data()?;
        let text = |member: &str| data[member].as_str().ok_or_else(|| format!("no {member} in {data}"));
        Ok(Issued { id: text("invoice_id")?.to_owned(), address: text("deposit_address")?.parse()?, data })
    }

    /// The invoice as the API shows it now.
    pub(crate) async fn look(&self, invoice: &Issued) -> Result<Value, BoxError> {
        self.client.get(&format!("/invoices/{}", invoice.id)).await?.data()
    }

    /// Waits until the invoice has this status, and returns it.
    pub(crate) async fn wait_status(&self, invoice: &Issued, status: &str) -> Result<Value, BoxError> {
        self.wait_until(invoice, status, |data| data["status"] == status).await
    }

    /// Waits until the invoice is as `wanted` says.
    pub(crate) async fn wait_until(
        &self,
        invoice: &Issued,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, BoxError> {
        wait::until(what, PATIENCE, async || {
            let data = self.look(invoice).await?;
            Ok(if wanted(&data) { ControlFlow::Break(data) } else { ControlFlow::Continue(data.to_string()) })
        })
        .await
    }

    /// Waits for a webhook of this kind about the invoice, and checks its signatures.
    pub(crate) async fn wait_webhook(&self, invoice: &Issued, kind: &str) -> Result<Delivery, BoxError> {
        let delivery = wait::until(&format!("the webhook {kind} of {}", invoice.id), PATIENCE, async || {
            let came = self.webhooks(invoice);
            Ok(match came.iter().find(|delivery| delivery.kind() == kind) {
                Some(found) => ControlFlow::Break(found.clone()),
                None => ControlFlow::Continue(format!("{:?}", came.iter().map(Delivery::kind).collect::<Vec<_>>())),
            })
        })
        .await?;
        delivery.verify(&self.merchant.webhook_secret, now_s())?;
        Ok(delivery)
    }

    /// Every delivery about the invoice so far.
    pub(crate) fn webhooks(&self, invoice: &Issued) -> Vec<Delivery> {
        let about = |delivery: &Delivery| {
            let data = delivery.data();
            data["invoice_id"] == invoice.id.as_str()
                || data["deposit"]["to_address"] == invoice.data["deposit_address"]
        };
        self.receiver.deliveries(HOOK).into_iter().filter(about).collect()
    }

    /// The merchant's balance in an asset, as the API shows it.
    pub(crate) async fn balance(&self, asset: &str) -> Result<String, BoxError> {
        let data = self.client.get("/balance").await?.data()?;
        let balances = data["balances"].as_array().ok_or_else(|| format!("no balances in {data}"))?;
        let found = balances.iter().find(|balance| balance["asset"] == asset);
        let available = found.and_then(|balance| balance["available"].as_str());
        Ok(available.ok_or_else(|| format!("no {asset} in {data}"))?.to_owned())
    }

    /// A customer pays in USDT.
    pub(crate) async fn pay_usdt(&self, to: Address, amount: &str) -> Result<TxHash, BoxError> {
        self.pay_token(self.ground.usdt, to, amount).await
    }

    /// A customer pays in some token.
    pub(crate) async fn pay_token(&self, token: Address, to: Address, amount: &str) -> Result<TxHash, BoxError> {
        let _one_at_a_time = self.ground.sending.lock().await;
        self.chain.transfer_token(token, to, units(amount)?).await
    }

    /// A customer pays in BNB.
    pub(crate) async fn pay_bnb(&self, to: Address, amount: &str) -> Result<TxHash, BoxError> {
        let _one_at_a_time = self.ground.sending.lock().await;
        self.chain.transfer_native(to, units(amount)?).await
    }

    /// A contract passes on BNB with one transaction, as exchanges pay many customers at once.
    pub(crate) async fn pass_on_bnb(&self, payments: &[(Address, &str)]) -> Result<TxHash, BoxError> {
        let words: Result<Vec<(Address, Word)>, BoxError> =
            payments.iter().map(|(to, amount)| Ok((*to, Word::from(units(amount)?)))).collect();
        let _one_at_a_time = self.ground.sending.lock().await;
        self.chain.disperse_native(self.ground.disperse, &words?).await
    }

    /// A customer makes several payments in USDT with one transaction.
    pub(crate) async fn pay_usdt_together(&self, payments: &[(Address, &str)]) -> Result<TxHash, BoxError> {
        let words: Result<Vec<(Address, Word)>, BoxError> =
            payments.iter().map(|(to, amount)| Ok((*to, Word::from(units(amount)?)))).collect();
        let _one_at_a_time = self.ground.sending.lock().await;
        self.chain.disperse_token(self.ground.disperse, self.ground.usdt, &words?).await
    }
}

/// Base units of an amount; every asset here has 18 decimals.
pub(crate) fn units(amount: &str) -> Result<Amount, BoxError> {
    Ok(Amount::parse(amount, Decimals::new(18)?)?)
}
