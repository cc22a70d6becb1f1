//! How fast webhooks go out, and how soon: signed, shaped by a plugin, durable, to a receiver in this process.
//!
//! Everything is seen from outside. An invoice that is made is an event, and an endpoint of its merchant hears of it. The event is
//! committed before the answer to the call leaves the host, so the time from the arrival of that answer to the arrival of the
//! webhook is, but for the way of the answer through the loopback address, the time from commit to first byte.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use xthonpay_tests::BoxError;
use xthonpay_tests::client::{MerchantClient, Scheme, now_s};
use xthonpay_tests::places::Places;
use xthonpay_tests::receiver::{Delivery, Receiver};

use crate::figures::{Aim, Figure, Report, Thousandths};
use crate::parts::{self, Chain, FreshHost, Hooks};
use crate::samples::Samples;
use crate::tell;

/// Events a second of the run that measures how soon they arrive.
const PACE: u32 = 50;
/// Events before the first that is measured.
const WARM_UP: usize = 50;
/// Merchants of the run that measures how many arrive, and endpoints of each. Every event goes to all endpoints of its merchant.
const MERCHANTS: usize = 8;
const ENDPOINTS: usize = 4;
/// Calls under way for one merchant while events are made.
const CALLERS: usize = 8;
/// A webhook that has not come after so long is lost, not slow.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the receiver is asked how many have come.
const LOOK: Duration = Duration::from_millis(5);

const FIRST_BYTE_P99: Aim = Aim::ValueAtMost(Thousandths::whole(50));

/// The size of the benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebhooksPlan {
    /// How long events are made at a steady pace.
    pub(crate) measured: Duration,
    /// Events that are made as fast as possible; each goes to several endpoints.
    pub(crate) events: usize,
}

impl Default for WebhooksPlan {
    fn default() -> Self {
        Self { measured: Duration::from_secs(20), events: 4_000 }
    }
}

/// Runs the benchmark.
pub(crate) async fn run(plan: &WebhooksPlan) -> Result<Report, BoxError> {
    let places = parts::places()?;
    let chain = Chain::start(&places).await?;
    let soon = steady(&places, &chain, plan).await?;
    let fast = flood(&places, &chain, plan).await?;
    let percentile = |samples: &Samples, percent| Thousandths::millis(samples.percentile(percent));
    Ok(Report {
        bench: "webhooks",
        method: format!(
            "{PACE} events a second for {} s to one endpoint, from the answer to the call, or from the call, to the webhook; then {} \
             events of {MERCHANTS} merchants as fast as they can be made, each to {ENDPOINTS} endpoints; one receiver, plugins bound",
            plan.measured.as_secs(),
            plan.events
        ),
        figures: vec![
            Figure::new("committed_to_first_byte_p50", percentile(&soon.committed, 50), "ms"),
            Figure::new("committed_to_first_byte_p99", percentile(&soon.committed, 99), "ms").aiming(FIRST_BYTE_P99),
            Figure::new("called_to_first_byte_p50", percentile(&soon.called, 50), "ms"),
            Figure::new("called_to_first_byte_p99", percentile(&soon.called, 99), "ms"),
            Figure::new("delivered_rate", fast.delivered, "1/s"),
            Figure::new("events_made_rate", fast.made, "1/s"),
            Figure::new("delivered_when_all_were_made", fast.share, "%"),
        ],
    })
}

/// From two moments to the arrival of the webhook.
struct Soon {
    committed: Samples,
    called: Samples,
}

/// A call that made an invoice.
struct Call {
    invoice: String,
    began: Instant,
    answered: Instant,
}

async fn steady(places: &Places, chain: &Chain, plan: &WebhooksPlan) -> Result<Soon, BoxError> {
    let host = FreshHost::start(places, chain, Hooks::Bound).await?;
    let receiver = Receiver::start().await?;
    let client = Arc::new(shop(&host, &receiver, &["/steady".to_owned()]).await?);
    let events =
        WARM_UP.saturating_add(usize::try_from(plan.measured.as_secs())?.saturating_mul(usize::try_from(PACE)?));
    let mut ticks = interval(Duration::from_secs(1) / PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way: JoinSet<Result<Call, BoxError>> = JoinSet::new();
    for number in 0..events {
        ticks.tick().await;
        let client = Arc::clone(&client);
        under_way.spawn(async move { order(&client, number).await });
    }
    let calls = under_way.join_all().await.into_iter().collect::<Result<Vec<Call>, BoxError>>()?;
    arrived(&receiver, events).await?;
    let mut arrivals: HashMap<String, Instant> = HashMap::new();
    for delivery in receiver.deliveries("/steady") {
        arrivals.entry(invoice_of(&delivery)).or_insert(delivery.at);
    }
    let mut calls: Vec<(Call, Instant)> = calls
        .into_iter()
        .map(|call| {
            let at = arrivals.get(&call.invoice).copied();
            let at = at.ok_or_else(|| format!("no webhook tells of {}", call.invoice))?;
            Ok((call, at))
        })
        .collect::<Result<_, BoxError>>()?;
    calls.sort_by_key(|(call, _)| call.began);
    let since = |from: fn(&Call) -> Instant| {
        let measured = calls.iter().skip(WARM_UP);
        Samples::new(measured.map(|(call, at)| at.saturating_duration_since(from(call))).collect())
    };
    let soon = Soon { committed: since(|call| call.answered), called: since(|call| call.began) };
    tell(&format!("{} events at {PACE} a second arrived", soon.called.len()));
    Ok(soon)
}

/// How many went out.
struct Fast {
    delivered: Thousandths,
    made: Thousandths,
    /// Of all deliveries, those that had arrived when the last event was made, in per cent.
    share: Thousandths,
}

async fn flood(places: &Places, chain: &Chain, plan: &WebhooksPlan) -> Result<Fast, BoxError> {
    let host = FreshHost::start(places, chain, Hooks::Bound).await?;
    let receiver = Receiver::start().await?;
    let mut callers: JoinSet<Result<(), BoxError>> = JoinSet::new();
    let each = plan.events.div_ceil(MERCHANTS * CALLERS);
    let expected = each.saturating_mul(MERCHANTS * CALLERS).saturating_mul(ENDPOINTS);
    let mut clients = Vec::with_capacity(MERCHANTS);
    for merchant in 0..MERCHANTS {
        let paths: Vec<String> = (0..ENDPOINTS).map(|number| format!("/flood/{merchant}/{number}")).collect();
        clients.push(Arc::new(shop(&host, &receiver, &paths).await?));
    }
    let began = Instant::now();
    for client in &clients {
        for caller in 0..CALLERS {
            let client = Arc::clone(client);
            callers.spawn(async move {
                for number in 0..each {
                    order(&client, caller.saturating_mul(each).saturating_add(number)).await?;
                }
                Ok(())
            });
        }
    }
    callers.join_all().await.into_iter().collect::<Result<(), BoxError>>()?;
    let made_in = began.elapsed();
    let by_then = receiver.count();
    arrived(&receiver, expected).await?;
    let took = began.elapsed();
    // Nothing came twice: no attempt failed.
    sleep(Duration::from_secs(1)).await;
    if receiver.count() != expected {
        return Err(format!("{} webhooks came where {expected} were expected", receiver.count()).into());
    }
    let fast = Fast {
        delivered: Thousandths::per_second(expected, took),
        made: Thousandths::per_second(expected / ENDPOINTS, made_in),
        share: Thousandths::whole(u64::try_from(by_then.saturating_mul(100) / expected)?),
    };
    tell(&format!("{expected} webhooks, {} a second", fast.delivered));
    Ok(fast)
}

/// A merchant with an endpoint on each of these paths.
async fn shop(host: &FreshHost, receiver: &Receiver, paths: &[String]) -> Result<MerchantClient, BoxError> {
    let merchant = host.process.create_merchant("Bench").await?;
    let key = host.process.create_key(&merchant, "read,write,webhooks", Scheme::Request, &[]).await?;
    let client = MerchantClient::new(host.process.base_url(), key)?;
    for path in paths {
        client.post("/webhook-endpoints", &json!({"url": receiver.url(path)})).await?.data()?;
    }
    Ok(client)
}

/// Makes an invoice. Each has a name of its own, so no two requests have one signature.
async fn order(client: &MerchantClient, number: usize) -> Result<Call, BoxError> {
    let body = json!({"asset": "USDT", "amount": "50.00", "external_id": format!("order-{number}")}).to_string();
    let request = client.sign_at(&now_s().to_string(), "POST", "/invoices", body.as_bytes());
    let began = Instant::now();
    let answer = client.send(request).await?;
    let answered = Instant::now();
    let data = answer.data()?;
    let invoice = data["invoice_id"].as_str().ok_or_else(|| format!("no invoice_id in {data}"))?;
    Ok(Call { invoice: invoice.to_owned(), began, answered })
}

fn invoice_of(delivery: &Delivery) -> String {
    delivery.data()["invoice_id"].as_str().unwrap_or_default().to_owned()
}

/// Waits until so many webhooks have come.
async fn arrived(receiver: &Receiver, count: usize) -> Result<(), BoxError> {
    let all = async {
        while receiver.count() < count {
            sleep(LOOK).await;
        }
    };
    let came = timeout(PATIENCE, all).await;
    Ok(came.map_err(|_| format!("{} of {count} webhooks came", receiver.count()))?)
}
