//! Merchants in Python: one that follows the hosted product's guide, and this repository's own example with both schemes.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use xthonpay_tests::BoxError;
use xthonpay_tests::client::{API, Scheme};
use xthonpay_tests::places::checkout;
use xthonpay_tests::receiver::Receiver;

use crate::world::{Done, PATIENCE, Shop, World};

/// The next line of a script, as JSON.
async fn next_json<R: AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>) -> Result<Value, BoxError> {
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.map_err(|_| "the script says nothing")??;
    Ok(serde_json::from_str(&line.ok_or("the script ended early")?)?)
}

#[tokio::test]
async fn a_client_written_from_the_guide_runs_unchanged() -> Done {
    let world = World::shared().await?;
    let shop = world.shop_with(Scheme::Timestamp, Receiver::down()?).await?;
    let mut script = Command::new("python3")
        .arg("-B")
        .arg(checkout().join("tests/guide/merchant.py"))
        .env("BASE", format!("{}{API}", world.host.base_url()))
        .env("API_KEY", &shop.client.key().id)
        .env("SECRET", &shop.client.key().secret)
        .env("WEBHOOK_SECRET", &shop.merchant.webhook_secret)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut steps = BufReader::new(script.stdout.take().ok_or("no output")?).lines();

    let created = next_json(&mut steps).await?;
    let address = created["deposit_address"].as_str().ok_or("no address")?.parse()?;
    shop.pay_usdt(address, "50").await?;
    let paid = next_json(&mut steps).await?;
    assert_eq!(paid, serde_json::json!({"paid": true, "orders": ["order_12345"]}));
    assert_eq!(next_json(&mut steps).await?["balance"], "50");
    assert!(script.wait().await?.success());
    Ok(())
}

/// A program of `examples/merchant-python` with the shop's key in its environment.
fn example(world: &World, shop: &Shop, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command
        .arg("-B")
        .arg(checkout().join("examples/merchant-python").join(program))
        .args(arguments)
        .env("XTHONPAY_BASE", format!("{}{API}", world.host.base_url()))
        .env("XTHONPAY_KEY", &shop.client.key().id)
        .env("XTHONPAY_SECRET", &shop.client.key().secret)
        .env("XTHONPAY_SCHEME", shop.client.key().scheme.name())
        .env("XTHONPAY_WEBHOOK_SECRET", &shop.merchant.webhook_secret)
        .kill_on_drop(true);
    command
}

async fn printed(mut command: Command) -> Result<Value, BoxError> {
    let output = tokio::time::timeout(PATIENCE, command.output()).await??;
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(format!("{}: {printed}{said}", output.status).into());
    }
    Ok(serde_json::from_str(&printed).map_err(|error| format!("{error}: {printed}"))?)
}

/// A running `command.py receive` and where it listens. Somebody has to listen to its complaints while it runs.
struct Receiving {
    process: Child,
    url: String,
    _complaints: Lines<BufReader<ChildStderr>>,
}

async fn start_receiving(world: &World, shop: &Shop) -> Result<Receiving, BoxError> {
    let mut receiving = example(world, shop, "command.py", &["receive"]);
    let mut process = receiving.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut complaints = BufReader::new(process.stderr.take().ok_or("no output")?).lines();
    let line = tokio::time::timeout(PATIENCE, complaints.next_line()).await??.ok_or("it ended early")?;
    let url = line.strip_prefix("receiving on ").ok_or("no address")?.to_owned();
    Ok(Receiving { process, url, _complaints: complaints })
}

async fn the_example_works_with(scheme: Scheme) -> Done {
    let world = World::shared().await?;
    let shop = world.shop_with(scheme, Receiver::down()?).await?;
    let mut receiving = start_receiving(&world, &shop).await?;
    let mut events = BufReader::new(receiving.process.stdout.take().ok_or("no output")?).lines();

    let create = ["create", "12.50", "--external-id", "order/1 ü", "--callback-url", &receiving.url];
    let invoice = printed(example(&world, &shop, "command.py", &create)).await?;
    shop.pay_usdt(invoice["deposit_address"].as_str().ok_or("no address")?.parse()?, "12.5").await?;
    assert_eq!(next_json(&mut events).await?["event"], "invoice.confirming");
    let paid = next_json(&mut events).await?;
    assert_eq!(
        (paid["event"].as_str(), paid["data"]["external_id"].as_str()),
        (Some("invoice.paid"), Some("order/1 ü"))
    );

    let id = invoice["invoice_id"].as_str().ok_or("no id")?;
    let shown = printed(example(&world, &shop, "command.py", &["show", id])).await?;
    assert_eq!(shown["status"], "paid");
    assert_eq!(printed(example(&world, &shop, "command.py", &["balance"])).await?["balance"], "12.5");
    let listed = printed(example(&world, &shop, "signed_curl.py", &["GET", "/invoices?limit=5"])).await?;
    assert_eq!(listed["data"][0]["invoice_id"], id);
    let made = printed(example(&world, &shop, "signed_curl.py", &["POST", "/invoices", r#"{"amount":"1"}"#])).await?;
    assert_eq!(made["data"]["amount"], "1");

    let refused = example(&world, &shop, "command.py", &["create", "-1"]).output().await?;
    assert!(!refused.status.success());
    let refused = example(&world, &shop, "command.py", &["show", "inv_0"]).output().await?;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("NOT_FOUND"), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn the_python_example_works_with_the_request_scheme() -> Done {
    the_example_works_with(Scheme::Request).await
}

#[tokio::test]
async fn the_python_example_works_with_the_timestamp_scheme() -> Done {
    the_example_works_with(Scheme::Timestamp).await
}

#[tokio::test]
async fn the_python_example_refuses_a_forged_webhook() -> Done {
    let world = World::shared().await?;
    let shop = world.shop_with(Scheme::Request, Receiver::down()?).await?;
    let receiving = start_receiving(&world, &shop).await?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let forged = http.post(&receiving.url).header("x-xthon-signature", "00").body("{}").send().await?;
    assert_eq!(forged.status(), 401);
    Ok(())
}
