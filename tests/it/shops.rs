//! The two example shops, as processes of their own beside the real binary: orders that are paid once, whatever tells
//! of it and whenever the shop is killed.

mod between;
mod delivery;
mod process;

use core::time::Duration;
use std::collections::BTreeSet;
use std::process::Output;

use axum::http::StatusCode;
use futures::future::try_join_all;
use serde_json::{Value, json};
use tokio::process::Command;
use xthonpay_tests::BoxError;
use xthonpay_tests::client::now_s;
use xthonpay_tests::places::{Places, checkout};

use self::between::{Between, Hurdle};
use self::delivery::Delivery;
use self::process::{Account, BOTH, Language, Shop, copy_files, text};
use crate::world::{Done, World};

/// Often enough that the feed does not hold up a test.
const OFTEN: &str = "0.3";

/// Longer than any test: the feed is read at the start and then no more.
const AT_THE_START_ALONE: &str = "3600";

/// Further from the clock than a receiver tolerates.
const TOO_OLD_S: u64 = 301;

/// Above what a shop leaves to be said of an event that changes nothing.
const SETTLED: Duration = Duration::from_millis(900);

async fn for_both(test: impl AsyncFn(Language) -> Done) -> Done {
    try_join_all(BOTH.map(|language| test(language))).await.map(drop)
}

#[tokio::test]
async fn the_page_shows_amount_address_and_code_and_the_webhook_pays_once() -> Done {
    let world = World::shared().await?;
    for_both(async |language| {
        let account = Account::new(&world).await?;
        let mut shop = Shop::new(language, world.host.base_url(), &account)?;
        shop.start(AT_THE_START_ALONE).await?;
        let (order, other) = (shop.order("Teapot").await?, shop.order("Tea").await?);
        let data = shop.look(&order).await?;
        let invoice =
            account.client.get(&format!("/invoices/{}", text(&data, "/invoice/invoice_id")?)).await?.data()?;
        assert_eq!((&invoice["amount"], &invoice["external_id"]), (&json!("39"), &json!(order)), "{invoice}");
        let address = text(&invoice, "/deposit_address")?;
        let page = shop.get(&format!("/orders/{order}")).await?;
        assert!(page.contains(&address) && page.contains("39 USDT"), "{page}");
        assert_ne!(code_in(&page)?, code_in(&shop.get(&format!("/orders/{other}")).await?)?, "each has its own code");

        let id = text(&invoice, "/invoice_id")?;
        account.simulate(&id, "paid").await?;
        let paid = shop.wait_paid(&order).await?;
        assert_eq!(paid["paid"]["way"], "webhook", "{paid}");
        assert_eq!(paid["paid"]["event_id"], account.paid_event(&id).await?["id"]);
        assert!(shop.get(&format!("/orders/{order}")).await?.contains("Thank you"));
        assert!(shop.look(&other).await?["paid"].is_null(), "the other one is not");

        // The feed tells the same again after a start, and changes nothing.
        shop.start(OFTEN).await?;
        tokio::time::sleep(SETTLED).await;
        assert_eq!(shop.look(&order).await?["paid"], paid["paid"]);
        assert_eq!((shop.times_paid(&order)?, shop.times_paid(&other)?), (1, 0), "{}", shop.log()?);
        Ok(())
    })
    .await
}

/// The drawing of the QR code.
fn code_in(page: &str) -> Result<&str, BoxError> {
    let (_, rest) = page.split_once("<svg").ok_or_else(|| format!("no code: {page}"))?;
    let (svg, _) = rest.split_once("</svg>").ok_or("a code that does not end")?;
    let (_, drawing) = svg.rsplit_once(" d=\"").ok_or("a code without a drawing")?;
    Ok(drawing)
}

#[tokio::test]
async fn what_is_paid_while_the_shop_is_down_comes_by_the_feed() -> Done {
    let world = World::shared().await?;
    for_both(async |language| {
        let account = Account::new(&world).await?;
        let mut shop = Shop::new(language, world.host.base_url(), &account)?;
        shop.start(AT_THE_START_ALONE).await?;
        let order = shop.order("Tea").await?;
        let invoice = shop.invoice_of(&order).await?;
        shop.kill().await?;
        account.simulate(&invoice, "paid").await?;
        // Its webhooks go to a port that is no longer its own.
        shop.start(AT_THE_START_ALONE).await?;
        let paid = shop.wait_paid(&order).await?;
        assert_eq!(paid["paid"]["way"], "feed", "{paid}");

        // The webhook comes after all, late and twice; and the shop starts again.
        let event = account.paid_event(&invoice).await?;
        let late = Delivery::of(&event, &text(&event, "/id")?, &account.webhook_secret, now_s())?;
        assert_eq!((shop.deliver(&late).await?, shop.deliver(&late).await?), (204, 204));
        shop.start(OFTEN).await?;
        tokio::time::sleep(SETTLED).await;
        assert_eq!(shop.look(&order).await?, paid);
        assert_eq!(shop.times_paid(&order)?, 1, "{}", shop.log()?);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn webhook_and_feed_pay_once_at_whichever_moment_the_shop_is_killed() -> Done {
    let world = World::shared().await?;
    for_both(async |language| {
        let account = Account::new(&world).await?;
        let mut shop = Shop::new(language, world.host.base_url(), &account)?;
        shop.start(OFTEN).await?;
        let address = shop.url.strip_prefix("http://").ok_or("no address")?.to_owned();
        let mut orders = Vec::new();
        for millis in [0_u64, 20, 60, 150, 300] {
            let order = shop.order("Tea").await?;
            let invoice = shop.invoice_of(&order).await?;
            let killed = async {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                shop.kill().await
            };
            tokio::try_join!(account.simulate(&invoice, "multi"), killed)?;
            // On the same port: webhooks that failed come again, and the feed has them too.
            shop.start_at(&address, OFTEN).await?;
            orders.push(order);
        }
        for order in &orders {
            shop.wait_paid(order).await?;
        }
        tokio::time::sleep(SETTLED).await;
        for order in &orders {
            // A kill between the fact and its line of the log costs the line.
            assert!(shop.times_paid(order)? <= 1, "{}", shop.log()?);
            let status = shop.wait(order, "the feed to tell all", |data| data["invoice"]["status"] == "paid").await?;
            assert_eq!(status["refused"], false);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn forged_and_stale_webhooks_are_refused_and_replays_change_nothing() -> Done {
    let world = World::shared().await?;
    for_both(async |language| {
        let account = Account::new(&world).await?;
        let mut shop = Shop::new(language, world.host.base_url(), &account)?;
        shop.start(AT_THE_START_ALONE).await?;
        let (order, victim) = (shop.order("Tea").await?, shop.order("Tea").await?);
        let (invoice, unpaid) = (shop.invoice_of(&order).await?, shop.invoice_of(&victim).await?);
        account.simulate(&invoice, "paid").await?;
        let paid = shop.wait_paid(&order).await?;
        let event = account.paid_event(&invoice).await?;
        let id = text(&event, "/id")?;
        // The same event about an order that nobody paid.
        let mut wanted = event.clone();
        wanted["data"]["external_id"] = json!(victim);
        wanted["data"]["invoice_id"] = json!(unpaid);

        let (secret, now) = (account.webhook_secret.as_str(), now_s());
        let other_secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        let sound = Delivery::of(&wanted, "evt_1", secret, now)?;
        let mut other_body = sound.clone();
        other_body.body.push(' ');
        for (what, delivery) in [
            ("another secret", Delivery::of(&wanted, "evt_1", other_secret, now)?),
            ("another body", other_body),
            ("another id", sound.clone().with("webhook-id", "evt_2")),
            ("another time", sound.clone().with("webhook-timestamp", &(now - 1).to_string())),
            ("too old", Delivery::of(&wanted, "evt_1", secret, now - TOO_OLD_S)?),
            ("too new", Delivery::of(&wanted, "evt_1", secret, now + TOO_OLD_S + 60)?),
            ("no time", sound.clone().without("webhook-timestamp")),
            ("no id", sound.clone().without("webhook-id")),
            ("no signature", sound.clone().without("webhook-signature")),
            ("an empty signature", sound.clone().with("webhook-signature", "")),
            ("another version", sound.clone().with("webhook-signature", "v1a,AAAA")),
            ("no X-Xthon-Signature", sound.clone().without("x-xthon-signature")),
            ("another X-Xthon-Signature", sound.clone().with("x-xthon-signature", "00")),
            ("nothing", Delivery { headers: Vec::new(), body: String::new() }),
        ] {
            assert_eq!(shop.deliver(&delivery).await?, 401, "{language:?}: {what}");
        }
        // Genuine, and of another invoice than that of the order: nothing to pay with.
        let mut foreign = wanted.clone();
        foreign["data"]["invoice_id"] = json!(invoice);
        assert_eq!(shop.deliver(&Delivery::of(&foreign, "evt_3", secret, now)?).await?, 204);
        // Genuine, and about another amount.
        let mut less = wanted.clone();
        less["data"]["amount"] = json!("0.01");
        assert_eq!(shop.deliver(&Delivery::of(&less, "evt_4", secret, now)?).await?, 204);
        // Genuine, and unknown.
        let unknown = json!({"type": "moon.full", "data": {"external_id": victim}});
        assert_eq!(shop.deliver(&Delivery::of(&unknown, "evt_5", secret, now)?).await?, 204);
        let after = shop.look(&victim).await?;
        assert!(after["paid"].is_null() && after["invoice"]["status"] == "pending", "{after}");

        // A replay, and the same fact under another id.
        for id in [id.as_str(), "evt_6"] {
            let again = Delivery::of(&event, id, secret, now_s())?;
            // While a secret is exchanged there is more than one signature.
            let both = format!("v1,b2xkIGtleQ== {}", again.headers[0].1);
            assert_eq!(shop.deliver(&again.with("webhook-signature", &both)).await?, 204);
        }
        assert_eq!(shop.look(&order).await?, paid);
        assert_eq!((shop.times_paid(&order)?, shop.times_paid(&victim)?), (1, 0), "{}", shop.log()?);

        let mut large = Delivery { headers: Vec::new(), body: "x".repeat(2 * 1024 * 1024) };
        // It may hang up before all of it has come.
        let refused = shop.deliver(&large).await.unwrap_or(413);
        assert_eq!(refused, 413, "{language:?}");
        large.body.clear();
        assert_eq!(shop.deliver(&large).await?, 401, "{language:?} goes on");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_order_gets_its_one_invoice_whatever_stands_between() -> Done {
    let world = World::shared().await?;
    for_both(async |language| {
        let account = Account::new(&world).await?;
        let hurdles = vec![
            Hurdle::RetryAfter(StatusCode::TOO_MANY_REQUESTS),
            Hurdle::RetryAfter(StatusCode::SERVICE_UNAVAILABLE),
            Hurdle::Nonsense,
            Hurdle::Redirects,
            Hurdle::LosesAnswer,
        ];
        let number = hurdles.len();
        let (between, url, task) = Between::start(world.host.base_url(), hurdles).await?;
        let mut shop = Shop::new(language, &url, &account)?;
        shop.start(OFTEN).await?;
        let order = shop.order("Tea").await?;
        shop.wait(&order, "an invoice", |data| !data["invoice"].is_null()).await?;
        let calls = between.calls.lock().await.clone();
        assert!(calls.len() >= number, "{language:?}: {calls:?}");
        assert!(calls.iter().all(|(key, _)| key == &order), "{language:?}: one name for all tries: {calls:?}");
        let signatures: BTreeSet<&str> = calls.iter().map(|(_, signature)| signature.as_str()).collect();
        assert!(signatures.len() > 2, "{language:?}: tries of another second are signed anew: {calls:?}");
        let made = account.client.get("/invoices").await?.data()?;
        assert_eq!(made.as_array().map(Vec::len), Some(1), "{made}");

        account.simulate(&shop.invoice_of(&order).await?, "paid").await?;
        shop.wait_paid(&order).await?;
        assert_eq!(shop.times_paid(&order)?, 1);
        task.abort();
        Ok(())
    })
    .await
}

/// The invoice is made and the shop does not hear of it: it asks again under the same name, and gets the same answer.
#[tokio::test]
async fn an_answer_that_got_lost_is_asked_for_again() -> Done {
    let world = World::shared().await?;
    for_both(async |language| {
        let account = Account::new(&world).await?;
        let (between, url, task) = Between::start(world.host.base_url(), vec![Hurdle::LosesAnswer]).await?;
        let mut shop = Shop::new(language, &url, &account)?;
        shop.start(AT_THE_START_ALONE).await?;
        let order = shop.order("Tea").await?;
        let made = account.client.get("/invoices").await?.data()?;
        assert_eq!(made.as_array().map(Vec::len), Some(1), "{made}");
        let data = shop.wait(&order, "an invoice", |data| !data["invoice"].is_null()).await?;
        assert_eq!(data["invoice"]["invoice_id"], made[0]["invoice_id"]);
        assert_eq!(between.calls.lock().await.len(), 2, "{language:?}");
        task.abort();
        Ok(())
    })
    .await
}

/// The platform cannot be reached when somebody orders, and the shop is killed before it can.
#[tokio::test]
async fn an_order_outlives_an_outage_of_the_platform() -> Done {
    let world = World::shared().await?;
    for_both(async |language| {
        let account = Account::new(&world).await?;
        let mut shop = Shop::new(language, "http://127.0.0.1:1", &account)?;
        shop.start(OFTEN).await?;
        let order = shop.order("Tea").await?;
        assert!(shop.get(&format!("/orders/{order}")).await?.contains("One moment"));
        shop = shop.with_platform_at(world.host.base_url());
        shop.start(OFTEN).await?;
        shop.wait(&order, "an invoice", |data| !data["invoice"].is_null()).await?;
        account.simulate(&shop.invoice_of(&order).await?, "paid").await?;
        shop.wait_paid(&order).await?;
        Ok(())
    })
    .await
}

/// A line that a power cut left half written is no fact, and everything before it is.
#[tokio::test]
async fn half_a_line_in_the_journal_of_node_does_no_harm() -> Done {
    let world = World::shared().await?;
    let account = Account::new(&world).await?;
    let mut shop = Shop::new(Language::Node, world.host.base_url(), &account)?;
    shop.start(OFTEN).await?;
    let order = shop.order("Tea").await?;
    let before = shop.look(&order).await?;
    for cut in [r#"{"orders":[{"id":"0"#, "\0\0\0\0", "{\"orders\":[{\0\0\0}]}\n"] {
        shop.kill().await?;
        let journal = shop.journal();
        let mut whole = std::fs::read_to_string(&journal)?;
        whole.push_str(cut);
        std::fs::write(&journal, whole)?;
        shop.start(OFTEN).await?;
        assert_eq!(shop.look(&order).await?, before, "{cut:?}");
    }
    Ok(())
}

/// What both libraries say about the vectors, with their own checks of time.
#[tokio::test]
async fn the_libraries_of_the_shops_sign_and_verify_as_the_vectors_say() -> Done {
    let vectors = std::fs::read_to_string(checkout().join("tests/vectors/signatures.json"))?;
    let vectors: Value = serde_json::from_str(&vectors)?;
    let list = |name: &str| vectors[name].as_array().cloned().ok_or("no vectors");
    let requests = list("requests")?.into_iter().filter(|vector| vector["scheme"] == "request").count();
    let expected = format!("{} signed, {} verified\n", requests, list("webhooks")?.len());
    let places = Places::find()?;
    for (language, name) in [(Language::Python, "check_library.py"), (Language::Node, "check_library.mjs")] {
        let folder = tempfile::tempdir()?;
        let program = folder.path().join("program");
        copy_files(&language.folder(), &program)?;
        std::fs::copy(checkout().join("tests/it/shops").join(name), program.join(name))?;
        std::fs::write(program.join("vectors.json"), vectors.to_string())?;
        let mut command = Command::new(language.interpreter(&places));
        let Output { status, stdout, stderr } =
            command.arg(name).current_dir(&program).kill_on_drop(true).output().await?;
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!((status.success(), String::from_utf8(stdout)?), (true, expected.clone()), "{language:?}: {said}");
    }
    Ok(())
}
