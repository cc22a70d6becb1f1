//! How soon a payment is seen: from the moment that the node has its block, and from the moment that it was sent; with
//! announcements over WebSocket and without.
//!
//! Everything is seen from outside. A block exists from the moment that the node announces it to this program, which listens
//! on a WebSocket of its own. A deposit is committed when `GET /invoices/{id}` shows it: it is asked for on one connection,
//! one request after the other, from the announcement on, and shows nothing but committed records. So the figures hold the
//! time of one such request, and are a little above the truth.

mod heads;

use core::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_tests::BoxError;
use xthonpay_tests::chain::{Anvil, AnvilOptions, TestChain, anvil_binary};
use xthonpay_tests::client::{MerchantClient, Scheme};
use xthonpay_tests::host::{HostConfig, HostProcess, PluginEntry};
use xthonpay_tests::places::Places;
use xthonpay_tests::receiver::Receiver;
use xthonpay_tests::seeded::Seeded;

use self::heads::Heads;
use crate::figures::{Aim, Figure, Report, Thousandths};
use crate::parts::{self, FORMAT, RULES};
use crate::samples::Samples;
use crate::tell;

/// The time between two blocks of BNB Smart Chain, in milliseconds. Payments are sent at any moment of it.
const BLOCK_MS: u64 = 450;

/// A payment that is not seen after so long is lost, not slow.
const PATIENCE: Duration = Duration::from_secs(20);

/// Payments before the first that is measured.
const WARM_UP: usize = 5;

/// Blocks from that of a payment to the one that makes it final on this node.
const BLOCKS_TO_FINAL: u64 = 2;

const HOOK: &str = "/hooks/pay";
const SEED: u64 = 1;

const COMMITTED_P50: Aim = Aim::ValueAtMost(Thousandths::whole(30));
const COMMITTED_P99: Aim = Aim::ValueAtMost(Thousandths::whole(150));
const SEEN_P99: Aim = Aim::ValueAtMost(Thousandths::whole(600));
const SEEN_POLLING_P99: Aim = Aim::ValueAtMost(Thousandths::whole(900));
const CREDITED_P99: Aim = Aim::ValueAtMost(Thousandths::whole(1_000));

/// The size of the benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetectPlan {
    /// Payments of each run.
    pub(crate) payments: usize,
}

impl Default for DetectPlan {
    fn default() -> Self {
        Self { payments: 100 }
    }
}

/// How the host learns of new blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hints {
    Announced,
    PolledOnly,
}

/// What one payment took.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// From its sending until the node had its block: the chain's own part.
    sent_to_block: Duration,
    sent_to_seen: Duration,
    block_to_committed: Duration,
    /// From the block that made it final until it was credited.
    final_to_credited: Duration,
    /// From its block until the first webhook arrived.
    block_to_webhook: Duration,
}

/// Runs the benchmark.
pub(crate) async fn run(plan: &DetectPlan) -> Result<Report, BoxError> {
    let places = parts::places()?;
    let announced = measured(&places, plan, Hints::Announced).await?;
    let polled = measured(&places, plan, Hints::PolledOnly).await?;
    Ok(Report {
        bench: "detect",
        method: format!(
            "{} payments a run at random moments, a block every {BLOCK_MS} ms, plugins bound, default settings; from the \
             node's announcement of a block, or from the sending, until the API shows the payment",
            plan.payments
        ),
        figures: figures(&announced, &polled),
    })
}

async fn measured(places: &Places, plan: &DetectPlan, hints: Hints) -> Result<Vec<Times>, BoxError> {
    let mut scene = Scene::set(places, hints).await?;
    let mut times = Vec::with_capacity(plan.payments);
    for number in 0..plan.payments.saturating_add(WARM_UP) {
        let one = timeout(PATIENCE, scene.payment()).await.map_err(|_| "a payment was not seen")??;
        if number >= WARM_UP {
            times.push(one);
        }
    }
    let committed = percentile(&times, 50, |one| one.block_to_committed);
    tell(&format!("{hints:?}: {} payments, {committed} ms from block to committed (p50)", times.len()));
    scene.host.stop().await?;
    Ok(times)
}

/// A chain, a host, a shop and an ear on the chain.
struct Scene {
    host: HostProcess,
    chain: TestChain,
    usdt: Address,
    client: MerchantClient,
    receiver: Receiver,
    heads: Heads,
    random: Seeded,
    _anvil: Anvil,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn set(places: &Places, hints: Hints) -> Result<Self, BoxError> {
        // A block every 450 ms, as on the real chain.
        let anvil = Anvil::start(AnvilOptions::new(anvil_binary(&places.tools)?)).await?;
        let chain = TestChain::connect(anvil.url()).await?;
        let usdt = chain.deploy_usdt("Tether USD", "USDT", 18).await?;
        let websocket = anvil.url().replacen("http://", "ws://", 1);
        let plugin = |name: &str| PluginEntry::new(name, places.plugin(name));
        let mut config = HostConfig::new(anvil.url(), usdt).with_plugins(vec![plugin(RULES)], Some(plugin(FORMAT)));
        // What an operator gets who sets nothing.
        config.poll_interval = "\"250ms\"".to_owned();
        if hints == Hints::Announced {
            config.chain_more = format!("websockets = [\"{websocket}\"]");
        }
        let folder = parts::folder()?;
        let mut host = HostProcess::prepare_in(folder.path(), places, &config.to_toml())?;
        host.restart().await?;
        let merchant = host.create_merchant("Bench").await?;
        let key = host.create_key(&merchant, "read,write", Scheme::Request, &[]).await?;
        let client = MerchantClient::new(host.base_url(), key)?;
        let (receiver, heads) = (Receiver::start().await?, Heads::listen(&websocket).await?);
        let random = Seeded::new(SEED);
        Ok(Self { host, chain, usdt, client, receiver, heads, random, _anvil: anvil, _folder: folder })
    }

    /// Makes an invoice, pays it at a random moment, and follows it until it is paid.
    async fn payment(&mut self) -> Result<Times, BoxError> {
        let order = json!({"asset": "USDT", "amount": "10", "callback_url": self.receiver.url(HOOK)});
        let made = self.client.post("/invoices", &order).await?.data()?;
        let text = |member: &str| made[member].as_str().ok_or_else(|| format!("no {member} in {made}"));
        let (id, address): (String, Address) = (text("invoice_id")?.to_owned(), text("deposit_address")?.parse()?);
        sleep(self.random.millis(0..=BLOCK_MS)).await;

        let sent = Instant::now();
        self.chain.transfer_token(self.usdt, address, Amount::parse("10", Decimals::new(18)?)?).await?;
        // A block that came while the payment was sent may hold it already: then it is seen at the first look.
        self.heads.next_after(sent).await?;
        let (seen, at) = self.look_until(&id, |data| data["payments_total"] == 1).await?;
        let number = at["payments"][0]["block_number"].as_u64().ok_or_else(|| format!("no block in {at}"))?;
        let block = self.heads.arrival(number).await?;
        let made_final = self.heads.arrival(number.saturating_add(BLOCKS_TO_FINAL)).await?;
        let (credited, _) = self.look_until(&id, |data| data["status"] == "paid").await?;
        let told = self.receiver.wait_for(HOOK, "invoice.confirming", PATIENCE).await;
        let told = self.first_told(&id).or(told.ok().map(|delivery| delivery.at)).unwrap_or(credited);
        Ok(Times {
            sent_to_block: block.saturating_duration_since(sent),
            sent_to_seen: seen.saturating_duration_since(sent),
            block_to_committed: seen.saturating_duration_since(block),
            final_to_credited: credited.saturating_duration_since(made_final),
            block_to_webhook: told.saturating_duration_since(block),
        })
    }

    /// Asks for the invoice again and again until it is as wanted.
    async fn look_until(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Result<(Instant, Value), BoxError> {
        let path = format!("/invoices/{id}");
        loop {
            let data = self.client.get(&path).await?.data()?;
            if wanted(&data) {
                return Ok((Instant::now(), data));
            }
        }
    }

    /// When the first webhook of the invoice had arrived.
    fn first_told(&self, id: &str) -> Option<Instant> {
        let deliveries = self.receiver.deliveries(HOOK);
        deliveries.iter().find(|delivery| delivery.data()["invoice_id"] == id).map(|delivery| delivery.at)
    }
}

fn percentile(times: &[Times], percent: usize, of: impl Fn(&Times) -> Duration) -> Thousandths {
    Thousandths::millis(Samples::new(times.iter().map(of).collect()).percentile(percent))
}

fn figures(announced: &[Times], polled: &[Times]) -> Vec<Figure> {
    let committed = |times: &[Times], percent| percentile(times, percent, |one| one.block_to_committed);
    let seen = |times: &[Times], percent| percentile(times, percent, |one| one.sent_to_seen);
    let included = |times: &[Times], percent| percentile(times, percent, |one| one.sent_to_block);
    let credited = |percent| percentile(announced, percent, |one| one.final_to_credited);
    let told = |percent| percentile(announced, percent, |one| one.block_to_webhook);
    let figure = |name: &str, value| Figure::new(name, value, "ms");
    vec![
        figure("block_to_committed_p50", committed(announced, 50)).aiming(COMMITTED_P50),
        figure("block_to_committed_p99", committed(announced, 99)).aiming(COMMITTED_P99),
        figure("sent_to_seen_p50", seen(announced, 50)).beside(included(announced, 50)),
        figure("sent_to_seen_p99", seen(announced, 99)).beside(included(announced, 99)).aiming(SEEN_P99),
        figure("final_to_credited_p50", credited(50)),
        figure("final_to_credited_p99", credited(99)).aiming(CREDITED_P99),
        figure("block_to_webhook_p50", told(50)),
        figure("block_to_webhook_p99", told(99)),
        figure("polling_block_to_committed_p50", committed(polled, 50)),
        figure("polling_block_to_committed_p99", committed(polled, 99)),
        figure("polling_sent_to_seen_p50", seen(polled, 50)).beside(included(polled, 50)),
        figure("polling_sent_to_seen_p99", seen(polled, 99)).beside(included(polled, 99)).aiming(SEEN_POLLING_P99),
    ]
}
