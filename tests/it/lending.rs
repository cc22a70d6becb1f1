//! What plugins are lent, with real parts: an upstream with credentials, values that outlive the process, rates, the chain, and
//! statements that anybody can verify.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use xthonpay_tests::chain::Mining;
use xthonpay_tests::host::{HostProcess, PluginEntry};
use xthonpay_tests::places::Places;
use xthonpay_tests::{BoxError, wait};

use crate::world::{BLOCK_TIME, Done, Ground, Shop, World};

/// What the upstream wants to see.
const SECRET: &str = "s3cret-token";

/// A source of rates that answers with a status of the test's choice, and to its customers only.
async fn upstream(status: Arc<AtomicU16>) -> Result<String, BoxError> {
    let price = async |State(status): State<Arc<AtomicU16>>, headers: HeaderMap, Query(pair): Query<Value>| {
        let customer = headers.get("authorization").is_some_and(|value| value == &format!("Bearer {SECRET}"));
        // `00-<trace>-<span>-<flags>`, as W3C Trace Context has it.
        let customer = customer && headers.get("traceparent").is_some_and(|value| value.len() == 55);
        let known = pair == json!({"base": "USDT", "counter": "EUR"});
        match (customer, known) {
            (false, _) => (StatusCode::UNAUTHORIZED, String::new()),
            (_, false) => (StatusCode::NOT_FOUND, pair.to_string()),
            _ => {
                let status = StatusCode::from_u16(status.load(Ordering::Relaxed)).unwrap_or_default();
                (status, json!({"price": "0.50"}).to_string())
            }
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/v1/price", get(price)).with_state(status);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(format!("http://{address}/v1/"))
}

/// The host's config with every kind of loan and a plugin that uses it.
fn config(ground: &Ground, places: &Places, upstream: &str) -> String {
    let rules = vec![
        PluginEntry::new("fiat-price", places.plugin("fiat-price")).with(
            "config = { fresh_s = 0 }
             limits = { wall_ms = 4000 }
             on_failure = { on-draft = 'closed' }
             grants = { storage = { rates = {} }, http = { rates = { methods = ['GET'], paths = ['price?'] } } }",
        ),
        PluginEntry::new("regulars", places.plugin("regulars")).with(
            "config = { visits = 1 }
             limits = { wall_ms = 4000 }
             grants = { storage = { customers = { quota_kib = 64 } } }",
        ),
    ];
    let format = PluginEntry::new("signed-receipts", places.plugin("signed-receipts"))
        .with("on_failure = { render = 'hold' }\ngrants = { signing = { receipts = { purposes = ['receipt'] } } }");
    let host = ground.config(places).with_plugins(rules, Some(format)).to_toml();
    let host = host.replace("[hooks]", "[hooks]\nwithdrawal-policy = ['chain-watch']\nbot-flow = 'desk-bot'");
    format!(
        "{host}
         [plugins.chain-watch]
         file = '{}'
         grants = {{ chain = ['bsc'] }}
         [plugins.desk-bot]
         file = '{}'
         grants = {{ chain = ['bsc'], rates = true }}
         [upstreams.rates]
         base = '{upstream}'
         headers = {{ authorization = 'Bearer {{secret}}' }}
         secret_file = 'upstream-secret'
         allow_networks = ['127.0.0.0/8']
         [rates.usdt-usd]
         base = 'bsc:USDT'
         counter = 'USD'
         fixed = '1'
         [signing]
         signers = ['receipts']",
        places.plugin("chain-watch").display(),
        places.plugin("desk-bot").display(),
    )
}

async fn start(status: Arc<AtomicU16>) -> Result<World, BoxError> {
    use std::os::unix::fs::PermissionsExt as _;
    let places = Places::find()?;
    let ground = Arc::new(Ground::new(&places, Mining::Interval(BLOCK_TIME)).await?);
    let mut host = HostProcess::prepare(&places, &config(&ground, &places, &upstream(status).await?))?;
    let secret = host.folder().join("upstream-secret");
    std::fs::write(&secret, SECRET)?;
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600))?;
    host.restart().await?;
    Ok(World { host, ground })
}

fn order(fiat: &str, customer: &str) -> Value {
    json!({"amount": "100", "asset": "USDT", "customer": customer, "metadata": {"fiat": fiat}})
}

/// The code of the refusal, or `OK`.
async fn ordered(shop: &Shop, fiat: &str) -> Result<String, BoxError> {
    let answer = shop.client.post("/invoices", &order(fiat, "anna")).await?;
    Ok(if answer.status < 300 { "OK".to_owned() } else { answer.code() })
}

#[tokio::test]
async fn plugins_are_active_and_a_rate_is_kept_over_a_kill() -> Done {
    let status = Arc::new(AtomicU16::new(200));
    let mut world = start(Arc::clone(&status)).await?;
    let plugins = world.host.command_json(&["plugins", "list"]).await?;
    let states: Vec<_> = plugins.as_array().into_iter().flatten().map(|plugin| &plugin["state"]).collect();
    assert_eq!(states, ["active"; 5], "{plugins}");

    let shop = world.shop().await?;
    assert_eq!(ordered(&shop, "50.00 EUR").await?, "OK");
    assert_eq!(ordered(&shop, "60.00 EUR").await?, "RULE_REJECTED");
    let http = reqwest::Client::builder().no_proxy().build()?;
    let metrics = http.get(format!("{}/metrics", world.host.base_url())).send().await?.text().await?;
    for part in [
        "plugin_host_calls_total{plugin=\"fiat-price\",function=\"on-draft\",interface=\"http\",outcome=\"done\"} ",
        "plugin_upstream_bytes_total{plugin=\"fiat-price\",function=\"on-draft\",direction=\"received\"} 3",
        "plugin_instantiation_seconds_count{plugin=\"fiat-price\",function=\"on-draft\"} 2",
        "plugin_guest_time_seconds_count{plugin=\"fiat-price\",function=\"on-draft\"} 2",
        "plugin_host_time_seconds_count{plugin=\"fiat-price\",function=\"on-draft\"} 2",
        "plugin_standing{plugin=\"regulars\",function=\"on-draft\",standing=\"serving\"} 1",
        "plugin_generation{plugin=\"fiat-price\",hook=\"invoice-rules\",digest=",
    ] {
        assert!(metrics.contains(part), "no `{part}` in {metrics}");
    }
    status.store(500, Ordering::Relaxed);
    world.host.kill()?;
    world.host.restart().await?;
    let shop = shop.at(&world);
    assert_eq!(ordered(&shop, "50.00 EUR").await?, "OK", "the rate that was kept before the kill");
    assert_eq!(ordered(&shop, "60.00 EUR").await?, "RULE_REJECTED");
    assert_eq!(
        ordered(&shop, "50.00 USD").await?,
        "COMPONENT_FAILED",
        "no rate at all, and the operator wants none made"
    );
    let log = world.host.log();
    assert!(!log.contains(SECRET), "the secret is in the log");
    Ok(())
}

#[tokio::test]
async fn a_customer_who_paid_is_a_regular_and_the_receipt_of_it_verifies() -> Done {
    let world = start(Arc::new(AtomicU16::new(200))).await?;
    let shop = world.shop().await?;
    let first = shop.invoice_with(order("50.00 EUR", "anna")).await?;
    shop.pay_usdt(first.address, "100").await?;
    let webhook = shop.wait_webhook(&first, "invoice.paid").await?;
    wait::until("a regular's terms", crate::world::PATIENCE, async || {
        let again = shop.invoice_with(order("50.00 EUR", "anna")).await?;
        let regular = again.data["amount_tolerated"] == "0.5";
        Ok(if regular {
            core::ops::ControlFlow::Break(())
        } else {
            core::ops::ControlFlow::Continue(again.data.to_string())
        })
    })
    .await?;
    let stranger = shop.invoice_with(order("50.00 EUR", "ben")).await?;
    assert_eq!(stranger.data["amount_tolerated"], "0");

    let signed = world.host.command_json(&["plugins", "signed"]).await?;
    let published = signed["signers"][0]["public_key"].as_str().ok_or("no public key")?;
    verify_receipt(&webhook.body, published)?;
    let digest = hex::encode(Sha256::digest(message(&webhook.body)?));
    let uses = signed["uses"].as_array().ok_or("no uses")?;
    let used = uses.iter().find(|used| used["digest"] == digest.as_str()).ok_or("the use is not on record")?;
    assert_eq!((&used["plugin"], &used["purpose"]), (&json!("signed-receipts"), &json!("receipt")));
    assert_eq!(used["merchant_id"], shop.merchant.id.as_str());
    Ok(())
}

/// What the receipt is about: id, kind and data of the body, the data byte for byte.
fn message(body: &[u8]) -> Result<String, BoxError> {
    let text = core::str::from_utf8(body)?;
    let parsed: Value = serde_json::from_str(text)?;
    let word = |member: &str| parsed[member].as_str().ok_or_else(|| format!("no {member}"));
    let (_, rest) = text.split_once(r#","data":"#).ok_or("no data")?;
    let (data, _) = rest.rsplit_once(r#","receipt":"#).ok_or("no receipt")?;
    Ok(format!("{}\n{}\n{data}", word("id")?, word("event")?))
}

/// Verifies as somebody would who has the page about receipts and the published key.
fn verify_receipt(body: &[u8], published: &str) -> Done {
    let parsed: Value = serde_json::from_slice(body)?;
    let receipt = &parsed["receipt"];
    let word = |member: &str| receipt[member].as_str().ok_or_else(|| format!("no {member} in {receipt}"));
    assert_eq!((word("scheme")?, word("public_key")?), ("ed25519", published));
    let digest = Sha256::digest(message(body)?);
    let parts: [&[u8]; 5] = [
        b"xthonpay-attest-v1",
        word("plugin")?.as_bytes(),
        word("merchant")?.as_bytes(),
        word("purpose")?.as_bytes(),
        &digest,
    ];
    let mut statement = Vec::new();
    for part in parts {
        statement.extend(u64::try_from(part.len())?.to_be_bytes());
        statement.extend(part);
    }
    let key = VerifyingKey::try_from(hex::decode(published)?.as_slice())?;
    let signature = Signature::try_from(hex::decode(word("signature")?)?.as_slice())?;
    key.verify(&statement, &signature)?;
    statement[30] ^= 1;
    assert!(key.verify(&statement, &signature).is_err());
    Ok(())
}
