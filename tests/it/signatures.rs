//! The four signatures, checked by implementations that know nothing of each other: this repository's, Python's `hmac`, and
//! the public packages `standardwebhooks` of npm and PyPI. First on fixed vectors, then on webhooks that the running host has sent.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;
use xthonpay_domain::access::SignatureScheme;
use xthonpay_domain::id::EventId;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::access::signature::{RequestParts, hex_signature};
use xthonpay_payments::delivery::signing::{self, SigningSecrets};
use xthonpay_payments::port::vault::Secret;
use xthonpay_tests::places::{Places, checkout};
use xthonpay_tests::receiver::Delivery;
use xthonpay_tests::{BoxError, signatures};

use crate::world::{Done, HOOK, World};

#[derive(Deserialize)]
struct Vectors {
    requests: Vec<RequestVector>,
    webhooks: Vec<WebhookVector>,
}

#[derive(Deserialize)]
struct RequestVector {
    note: String,
    scheme: String,
    secret: String,
    timestamp: String,
    method: String,
    path: String,
    body: String,
    signature: String,
}

#[derive(Deserialize)]
struct WebhookVector {
    note: String,
    secret: String,
    id: String,
    timestamp: String,
    body: String,
    xthon_signature: String,
    webhook_signature: String,
}

fn folder() -> PathBuf {
    checkout().join("tests").join("vectors")
}

fn file() -> PathBuf {
    folder().join("signatures.json")
}

fn vectors() -> Result<Vectors, BoxError> {
    Ok(serde_json::from_str(&std::fs::read_to_string(file())?)?)
}

#[test]
fn request_vectors_hold_for_client_and_host() -> Done {
    for vector in vectors()?.requests {
        let RequestVector { note, scheme, secret, timestamp, method, path, body, signature } = vector;
        let client = match scheme.as_str() {
            "request" => signatures::request_scheme(&secret, &timestamp, &method, &path, body.as_bytes()),
            _ => signatures::timestamp_scheme(&secret, &timestamp),
        };
        assert_eq!(client, signature, "client: {note}");
        let scheme: SignatureScheme = scheme.parse()?;
        let parts = RequestParts { method: &method, path: &path, body: body.as_bytes() };
        let host = hex_signature(&Secret::new(secret.into_bytes()), scheme, &timestamp, &parts);
        assert_eq!(host, signature.as_bytes(), "host: {note}");
    }
    Ok(())
}

#[test]
fn webhook_vectors_hold_for_receiver_and_host() -> Done {
    let mut checked_with_the_host = 0;
    for vector in vectors()?.webhooks {
        let WebhookVector { note, secret, id, timestamp, body, xthon_signature, webhook_signature } = vector;
        assert_eq!(signatures::xthon_webhook(&secret, body.as_bytes()), xthon_signature, "receiver: {note}");
        let standard = signatures::standard_webhook(&secret, &id, &timestamp, body.as_bytes())?;
        assert_eq!(standard, webhook_signature, "receiver: {note}");
        // The example of the public package has an id that is none of ours.
        let Ok(id) = id.parse::<EventId>() else { continue };
        let at = Timestamp::from_secs(timestamp.parse()?);
        let secrets = SigningSecrets { current: Secret::new(secret.into_bytes()), retiring: None };
        let headers = signing::headers(&secrets, &id, at, body.as_bytes())?;
        let expected = [
            ("x-xthon-signature", xthon_signature),
            ("webhook-id", id.to_string()),
            ("webhook-timestamp", timestamp),
            ("webhook-signature", webhook_signature),
        ];
        assert_eq!(headers, expected, "host: {note}");
        checked_with_the_host += 1;
    }
    assert_eq!(checked_with_the_host, 5);
    Ok(())
}

/// Runs a script that prints how many signatures it checked, and fails when one does not hold.
async fn count_of(command: &mut Command) -> Result<usize, BoxError> {
    let Output { status, stdout, stderr } = command.kill_on_drop(true).output().await?;
    let (printed, said) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    if status.success() { Ok(printed.trim().parse()?) } else { Err(format!("{status}: {printed}{said}").into()) }
}

async fn check_with_python(file: &Path) -> Result<usize, BoxError> {
    count_of(Command::new("python3").arg("-B").arg(folder().join("check_signatures.py")).arg(file)).await
}

async fn check_with_the_public_package(file: &Path) -> Result<usize, BoxError> {
    let script = folder().join("check_standard_webhooks.mjs");
    count_of(Command::new("node").arg(script).arg(Places::find()?.tools).arg(file)).await
}

async fn check_with_the_public_package_of_python(file: &Path) -> Result<usize, BoxError> {
    let (python, script) = (Places::find()?.python(), folder().join("check_standard_webhooks.py"));
    count_of(Command::new(python).arg("-B").arg(script).arg(file)).await
}

#[tokio::test]
async fn vectors_hold_in_python() -> Done {
    let vectors = vectors()?;
    assert_eq!(check_with_python(&file()).await?, vectors.requests.len() + 2 * vectors.webhooks.len());
    Ok(())
}

#[tokio::test]
async fn vectors_hold_in_the_public_packages() -> Done {
    let webhooks = vectors()?.webhooks.len();
    assert_eq!(check_with_the_public_package(&file()).await?, webhooks);
    assert_eq!(check_with_the_public_package_of_python(&file()).await?, webhooks);
    Ok(())
}

#[tokio::test]
async fn webhooks_of_the_running_host_hold_everywhere() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let fields = json!({"amount": "10", "external_id": "order `1`; Zoë 🧾", "metadata": {"note": "a\"b\\c"}});
    let invoice = shop.invoice_with(fields).await?;
    shop.pay_usdt(invoice.address, "12").await?;
    shop.wait_webhook(&invoice, "invoice.overpaid").await?;

    let deliveries = shop.receiver.deliveries(HOOK);
    let webhooks = deliveries.iter().map(|delivery| captured(delivery, &shop.merchant.webhook_secret));
    let webhooks = webhooks.collect::<Result<Vec<Value>, BoxError>>()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("captured.json");
    std::fs::write(&file, json!({"requests": [], "webhooks": webhooks}).to_string())?;
    assert_eq!(webhooks.len(), 3);
    assert_eq!(check_with_python(&file).await?, 2 * webhooks.len());
    assert_eq!(check_with_the_public_package(&file).await?, webhooks.len());
    assert_eq!(check_with_the_public_package_of_python(&file).await?, webhooks.len());
    Ok(())
}

/// A delivery in the form of the vectors.
fn captured(delivery: &Delivery, secret: &str) -> Result<Value, BoxError> {
    Ok(json!({
        "secret": secret,
        "id": delivery.id(),
        "timestamp": delivery.header("webhook-timestamp"),
        "body": String::from_utf8(delivery.body.clone())?,
        "xthon_signature": delivery.header("x-xthon-signature"),
        "webhook_signature": delivery.header("webhook-signature"),
        "fresh": true,
    }))
}
