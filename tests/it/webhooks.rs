//! Deliveries to webhook endpoints under `kill -9`, and beside endpoints that hang.

use core::ops::ControlFlow;
use core::time::Duration;
use std::collections::BTreeMap;
use std::io::Write as _;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use xthonpay_tests::BoxError;
use xthonpay_tests::client::{MerchantClient, Scheme, now_s};
use xthonpay_tests::host::HostProcess;
use xthonpay_tests::places::Places;
use xthonpay_tests::receiver::{Delivery, Receiver, Reply};
use xthonpay_tests::seeded::Seeded;
use xthonpay_tests::{signatures, wait};

use crate::world::{Done, Ground, PATIENCE};

/// How many times the host is killed, unless this variable says otherwise. A kill and a start take one to two seconds.
const KILLS: usize = 20;
const KILLS_VARIABLE: &str = "XTHONPAY_TEST_WEBHOOK_KILLS";

/// Invoices of one round, all made at once.
const ORDERS: usize = 6;

/// The longest life of a host after the first request of a round, in milliseconds.
const LIFE_MS_MAX: u64 = 250;

/// How long the receiver keeps a delivery: a good part of a host's life, so that kills fall between sending and recording.
const HELD: Duration = Duration::from_millis(40);

/// Scopes of a key that makes invoices and endpoints.
const SCOPES: &str = "read,write,webhooks";

/// An endpoint as its owner knows it.
struct Endpoint {
    path: String,
    secret: String,
}

/// Makes an endpoint for all kinds of events on a path of the receiver.
async fn endpoint(client: &MerchantClient, receiver: &Receiver, path: &str) -> Result<Endpoint, BoxError> {
    let made = client.post("/webhook-endpoints", &json!({"url": receiver.url(path)})).await?.data()?;
    let secret = made["secret"].as_str().ok_or_else(|| format!("no secret in {made}"))?;
    Ok(Endpoint { path: path.to_owned(), secret: secret.to_owned() })
}

async fn client_of(host: &HostProcess, name: &str) -> Result<MerchantClient, BoxError> {
    let merchant = host.create_merchant(name).await?;
    let key = host.create_key(&merchant, SCOPES, Scheme::Request, &[]).await?;
    MerchantClient::new(host.base_url(), key)
}

/// Makes an invoice under the merchant's own name for it, which sets its request apart from all others: so each is signed with the
/// time of day, and not with a later one as equal requests are.
async fn order(client: &MerchantClient, name: &str, note: &str) -> Result<String, BoxError> {
    let body = format!(r#"{{"asset":"USDT","amount":"10","external_id":"{name}"}}{note}"#);
    let request = client.sign_at(&now_s().to_string(), "POST", "/invoices", body.as_bytes());
    text(&client.send(request).await?.data()?, "invoice_id")
}

fn text(object: &Value, member: &str) -> Result<String, BoxError> {
    Ok(object[member].as_str().ok_or_else(|| format!("no {member} in {object}"))?.to_owned())
}

fn invoice_of(delivery: &Delivery) -> String {
    delivery.data()["invoice_id"].as_str().unwrap_or_default().to_owned()
}

/// Verifies as of the moment at which the delivery says that it was sent: a long run outlives the tolerance.
fn verify(delivery: &Delivery, secret: &str) -> Done {
    delivery.verify(secret, delivery.header("webhook-timestamp").parse()?)
}

fn kills() -> Result<usize, BoxError> {
    match std::env::var(KILLS_VARIABLE) {
        Ok(number) => Ok(number.parse().map_err(|error| format!("{KILLS_VARIABLE}={number}: {error}"))?),
        Err(_) => Ok(KILLS),
    }
}

#[tokio::test]
async fn killed_while_deliveries_flow() -> Done {
    let kills = kills()?;
    let mut random = Seeded::announced("killed_while_deliveries_flow")?;
    let ground = Ground::shared().await?;
    let places = Places::find()?;
    let mut host = HostProcess::start(&places, &ground.config(&places)).await?;
    let mut client = client_of(&host, "shop").await?;
    let receiver = Receiver::start().await?;
    let endpoint = endpoint(&client, &receiver, "/hooks/all").await?;
    receiver.usually(&endpoint.path, Reply::slow(HELD));

    let mut invoices = Vec::new();
    for round in 0..kills {
        let names: Vec<String> = (0..ORDERS).map(|number| format!("order-{round}-{number}")).collect();
        let life = random.millis(0..=LIFE_MS_MAX);
        let made = join_all(names.iter().map(|name| order(&client, name, "")));
        let killed = async {
            sleep(life).await;
            host.kill()
        };
        // The calls that the kill cuts off fail, whether their invoices were stored or not.
        let (_, killed) = tokio::join!(made, killed);
        killed?;
        host.restart().await?;
        client = client.at(host.base_url());
        // The same orders again, in requests that are not those of before: one invoice for each, whoever made it.
        for made in join_all(names.iter().map(|name| order(&client, name, " "))).await {
            invoices.push(made?);
        }
    }
    let all_told = || {
        let told: Vec<String> = receiver.deliveries(&endpoint.path).iter().map(invoice_of).collect();
        invoices.iter().filter(|invoice| !told.contains(invoice)).count()
    };
    wait::until("every invoice to be told of", PATIENCE, async || {
        Ok(match all_told() {
            0 => ControlFlow::Break(()),
            missing => ControlFlow::Continue(format!("{missing} of {} are missing", invoices.len())),
        })
    })
    .await?;

    let came = receiver.deliveries(&endpoint.path);
    let mut told: BTreeMap<&str, (String, &[u8])> = BTreeMap::new();
    for delivery in &came {
        verify(delivery, &endpoint.secret)?;
        assert_eq!(delivery.kind(), "invoice.created");
        let first = told.entry(delivery.id()).or_insert_with(|| (invoice_of(delivery), &delivery.body));
        assert_eq!(first.1, delivery.body, "{} has one body", delivery.id());
    }
    // One event for each invoice, under one id.
    assert_eq!(told.len(), invoices.len());
    let repeated = came.len().saturating_sub(told.len());
    writeln!(
        std::io::stderr(),
        "killed_while_deliveries_flow: {kills} kills, {} events, {repeated} deliveries came again",
        told.len()
    )?;
    Ok(())
}

/// Merchants with endpoints that hang, each with as many as a merchant may have beside a healthy one.
const HANGING_MERCHANTS: usize = 4;
const HANGING_EACH: usize = 13;
/// Events that each hanging endpoint is owed before the first that is measured.
const OWED_EACH: usize = 12;
/// Events that are measured.
const MEASURED: usize = 100;
const LATEST_P99: Duration = Duration::from_secs(2);

#[tokio::test]
async fn fifty_hanging_endpoints_delay_no_healthy_one() -> Done {
    let ground = Ground::shared().await?;
    let places = Places::find()?;
    let host = HostProcess::start(&places, &ground.config(&places)).await?;
    let receiver = Receiver::start().await?;
    let mut sufferers = Vec::new();
    for merchant in 0..HANGING_MERCHANTS {
        let client = client_of(&host, "slow shop").await?;
        for number in 0..HANGING_EACH {
            let path = format!("/hangs/{merchant}/{number}");
            receiver.usually(&path, Reply::hanging());
            endpoint(&client, &receiver, &path).await?;
        }
        sufferers.push(client);
    }
    for client in &sufferers {
        let names: Vec<String> = (0..OWED_EACH).map(|number| format!("owed-{number}")).collect();
        for made in join_all(names.iter().map(|name| order(client, name, ""))).await {
            made?;
        }
    }
    let hanging = |merchant: usize, number: usize| receiver.deliveries(&format!("/hangs/{merchant}/{number}")).len();
    wait::until("all of them to hang", PATIENCE, async || {
        let pairs = (0..HANGING_MERCHANTS).flat_map(|merchant| (0..HANGING_EACH).map(move |number| (merchant, number)));
        let silent = pairs.filter(|(merchant, number)| hanging(*merchant, *number) == 0).count();
        Ok(if silent == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(format!("{silent} wait")) })
    })
    .await?;

    // One healthy endpoint of a merchant whose others hang, and one of somebody else.
    let other = client_of(&host, "shop").await?;
    let first = sufferers.first().ok_or("there are merchants")?;
    let healthy = [
        (first, endpoint(first, &receiver, "/healthy/0").await?),
        (&other, endpoint(&other, &receiver, "/healthy/1").await?),
    ];
    let mut took = Vec::with_capacity(MEASURED);
    for (number, (client, endpoint)) in healthy.iter().cycle().take(MEASURED).enumerate() {
        let began = Instant::now();
        let invoice = order(client, &format!("measured-{number}"), "").await?;
        let delivery = wait::until("the healthy endpoint to hear", PATIENCE, async || {
            let came = receiver.deliveries(&endpoint.path);
            let found = came.into_iter().find(|delivery| invoice_of(delivery) == invoice);
            Ok(found.map_or_else(|| ControlFlow::Continue("nothing".to_owned()), ControlFlow::Break))
        })
        .await?;
        verify(&delivery, &endpoint.secret)?;
        took.push(delivery.at.saturating_duration_since(began));
    }
    took.sort_unstable();
    let p99 = took.get(MEASURED * 99 / 100 - 1).copied().unwrap_or(Duration::MAX);
    writeln!(std::io::stderr(), "fifty_hanging_endpoints_delay_no_healthy_one: p99 {p99:?} of {MEASURED} events")?;
    assert!(p99 < LATEST_P99, "{took:?}");
    Ok(())
}

/// Both secrets verify while they overlap, and only the new one afterwards.
#[tokio::test]
async fn two_secrets_verify_during_a_rotation() -> Done {
    let ground = Ground::shared().await?;
    let places = Places::find()?;
    let host = HostProcess::start(&places, &ground.config(&places)).await?;
    let client = client_of(&host, "shop").await?;
    let receiver = Receiver::start().await?;
    let made = client.post("/webhook-endpoints", &json!({"url": receiver.url("/hooks/all")})).await?.data()?;
    let (id, old) = (text(&made, "endpoint_id")?, text(&made, "secret")?);
    let rotated =
        client.post(&format!("/webhook-endpoints/{id}/rotate-secret"), &json!({"overlap_s": 8})).await?.data()?;
    let new = text(&rotated, "secret")?;
    assert_ne!(old, new);

    let valid = async |number: usize| -> Result<(bool, bool), BoxError> {
        client.post(&format!("/webhook-endpoints/{id}/test"), &json!({})).await?.data()?;
        let delivery = wait::until("the ping", PATIENCE, async || {
            let came = receiver.deliveries("/hooks/all");
            Ok(came.get(number).cloned().map_or_else(|| ControlFlow::Continue(String::new()), ControlFlow::Break))
        })
        .await?;
        verify(&delivery, &new)?;
        let signed = |secret: &str| {
            let stamp = delivery.header("webhook-timestamp");
            signatures::standard_webhook(secret, delivery.id(), stamp, &delivery.body)
        };
        let (by_old, by_new) = (signed(&old)?, signed(&new)?);
        let mut listed = delivery.header("webhook-signature").split(' ');
        Ok((listed.clone().any(|one| one == by_old), listed.any(|one| one == by_new)))
    };
    assert_eq!(valid(0).await?, (true, true), "during the overlap");
    sleep(Duration::from_secs(9)).await;
    assert_eq!(valid(1).await?, (false, true), "after it");
    Ok(())
}
