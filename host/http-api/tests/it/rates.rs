//! How often a key may ask and an address may fail, and what answers tell about it.

use std::num::NonZeroU32;

use xthonpay_domain::access::Scope;

use crate::world::{Ask, Reply, TestKey, World, rates};

const BOTH: [Scope; 2] = [Scope::Read, Scope::Write];

fn told(reply: &Reply) -> (&str, &str, &str) {
    (reply.header("ratelimit-limit"), reply.header("ratelimit-remaining"), reply.header("ratelimit-reset"))
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_when_to_come_back() {
    let world = World::with(|api| api.access.limits = rates(3, 1_000));
    let (key, other) = (world.key(&BOTH).await, world.key(&BOTH).await);
    for (remaining, reset) in [("2", "20"), ("1", "40"), ("0", "60")] {
        let reply = world.get(&key, "/v1/balance").await;
        assert_eq!((reply.status, told(&reply)), (200, ("3", remaining, reset)));
    }
    let refused = world.get(&key, "/v1/balance").await;
    assert_eq!(refused.outcome(), (429, "RATE_LIMITED", ""));
    assert_eq!((refused.header("retry-after"), told(&refused)), ("20", ("3", "0", "60")));
    assert_eq!(told(&world.get(&other, "/v1/balance").await), ("3", "2", "20"), "others are not concerned");
    world.advance_millis(19_999);
    let early = world.get(&key, "/v1/balance").await;
    assert_eq!((early.status, early.header("retry-after")), (429, "1"), "never told to come too early");
    world.advance_millis(1);
    assert_eq!(world.get(&key, "/v1/balance").await.status, 200);
    assert_eq!(world.get(&key, "/v1/balance").await.status, 429);
}

#[tokio::test]
async fn every_answer_to_a_known_key_tells_where_it_stands() {
    let world = World::with(|api| api.access.limits = rates(100, 1_000));
    let key = world.key(&BOTH).await;
    let poor = world.key(&[Scope::Webhooks]).await;
    let merchant = world.merchant().await;
    let fast = world.key_with(&merchant, &BOTH, |key| key.requests_per_minute = NonZeroU32::new(7)).await;
    let late = world.key_with(&merchant, &BOTH, |key| key.expires_at = Some(key.created_at)).await;
    let get = |key: &TestKey, target: &str| world.signed(key, "GET", target, "");
    let stale = Ask::new("GET", "/v1/balance", "").sign(&key, world.now_secs() - 301);
    for (name, ask, status, expected) in [
        ("good", get(&key, "/v1/balance"), 200, ("100", "99", "1")),
        ("bad input", world.signed(&key, "POST", "/v1/invoices", "{}"), 400, ("100", "98", "2")),
        ("not found", get(&key, "/v1/invoices/inv_x"), 404, ("100", "97", "2")),
        ("a query", world.signed(&key, "POST", "/v1/invoices?a=1", "{}"), 400, ("100", "96", "3")),
        ("a figure of its own", get(&fast, "/v1/balance"), 200, ("7", "6", "9")),
        // What is refused before the limit costs nothing.
        ("wrong scope", get(&poor, "/v1/balance"), 403, ("100", "100", "0")),
        ("stale", stale, 401, ("100", "96", "3")),
        ("expired", get(&late, "/v1/balance"), 401, ("100", "100", "0")),
        // Whose key it is was not shown.
        ("forged", get(&TestKey { secret: "xps_live_0".to_owned(), ..key.clone() }, "/v1/balance"), 401, ("", "", "")),
        ("no credentials", Ask::new("GET", "/v1/balance", ""), 401, ("", "", "")),
        ("no such path", get(&key, "/v1/nothing"), 404, ("", "", "")),
    ] {
        let reply = world.send(ask).await;
        assert_eq!((reply.status, told(&reply)), (status, expected), "{name}");
    }
}

/// Guessing keys, from one address and from one subscriber of IPv6.
#[tokio::test]
async fn an_address_that_guesses_is_turned_away_before_anything_is_looked_up() {
    let world = World::with(|api| api.access.limits = rates(1_000, 120));
    let key = world.key(&BOTH).await;
    let guess = |number: usize| {
        let id = format!("xpk_live_{number:024x}");
        let guessed = TestKey { id: id.parse().expect("a key id"), ..key.clone() };
        world.signed(&guessed, "GET", "/v1/balance", "")
    };
    for number in 0..120 {
        let peer = format!("2001:db8:0:1::{number:x}");
        assert_eq!(world.send(guess(number)).await.outcome(), (401, "UNAUTHORIZED", ""), "{number}");
        assert_eq!(world.send(guess(number).at_peer(&peer)).await.status, 401, "{number}");
    }
    let reads = world.store.faults.reads();
    for peer in ["198.51.100.7", "2001:db8:0:1:ffff::1", "::ffff:198.51.100.7"] {
        let refused = world.send(guess(1_000).at_peer(peer)).await;
        assert_eq!(refused.outcome(), (429, "RATE_LIMITED", ""), "{peer}");
        assert_eq!((refused.header("retry-after"), told(&refused)), ("1", ("", "", "")), "{peer}");
        let good = world.send(world.signed(&key, "GET", "/v1/balance", "").at_peer(peer)).await;
        assert_eq!(good.status, 429, "{peer}: nobody is looked at");
    }
    assert_eq!(world.store.faults.reads(), reads, "the store was not asked");
    for peer in ["198.51.100.8", "2001:db8:0:2::1"] {
        assert_eq!(world.send(world.signed(&key, "GET", "/v1/balance", "").at_peer(peer)).await.status, 200, "{peer}");
    }
    world.advance_millis(60_000);
    assert_eq!(world.get(&key, "/v1/balance").await.status, 200, "it passes");
}
