//! What merchants decide about their invoices, and the payments that they see.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use xthonpay_domain::access::Scope;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::event::EventKind;
use xthonpay_domain::hash::{BlockHash, TxHash};
use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::assessment::{Advice, Ruling};
use xthonpay_domain::transfer::{Origin, Transfer, TransferIdentity};
use xthonpay_payments::delivery::listeners::Listeners;
use xthonpay_payments::port::store::{Changeset, Store as _, Write};
use xthonpay_payments::reassess::{NewFacts, reassess, record};
use xthonpay_payments::snapshot::DecimalsOf;

use crate::world::{Reply, TestKey, World};

const BOTH: [Scope; 2] = [Scope::Read, Scope::Write];
/// Who is promised money back.
const CUSTOMER: &str = "0x52908400098527886E0F7030069857D2E4169EE7";

struct Eighteen;

impl DecimalsOf for Eighteen {
    fn decimals(&self, _: &AssetId) -> Option<Decimals> {
        Decimals::new(18).ok()
    }
}

/// An invoice over 5 USDT.
async fn invoice(world: &World, key: &TestKey) -> InvoiceId {
    // A second of its own: the same request twice under one signature is a replay.
    world.advance_millis(1_000);
    let made = world.post(key, "/v1/invoices", r#"{"amount": "5"}"#).await;
    made.data("invoice_id").parse().expect("an id")
}

/// A final payment of so many whole units to an invoice, in the `nth` block, as the scanner stores it; the rules settle what is
/// enough.
async fn receive(world: &World, id: &InvoiceId, units: u64, nth: u8) -> Deposit {
    let invoice = world.store.invoice(id).await.expect("the store answers").expect("it was made");
    let one = u128::pow(10, 18);
    let transfer = Transfer {
        identity: TransferIdentity {
            asset: invoice.terms.asset.clone(),
            to: invoice.address,
            origin: Origin::Transaction { tx: TxHash::new([nth; 32]), nth: 0 },
        },
        from: Some(Address::new([1; 20])),
        amount: Amount::from_units(u128::from(units).checked_mul(one).expect("small")),
    };
    let block = BlockRef {
        number: BlockNumber(nth.into()),
        hash: BlockHash::new([nth; 32]),
        parent: BlockHash::new([nth; 32]),
        time: world.now(),
    };
    let seen = Deposit::seen(transfer, block, invoice.merchant.clone(), Some(id.clone()), 1);
    let deposit = seen.finalised().expect("was seen");
    let mut deposits = world.store.deposits_of_invoice(id).await.expect("the store answers");
    deposits.push(deposit.clone());
    let judged = Amount::sum(deposits.iter().map(|deposit| deposit.transfer.amount)).expect("small");
    let facts = NewFacts {
        deposits: &deposits,
        payment_events: &[(EventKind::PaymentConfirmed, deposit.clone())],
        ruling: Some(Ruling { advice: Advice::Settle, judged }),
        decision: None,
        finalized_time: block.time,
        at: world.now(),
    };
    let (next, events) = reassess(&invoice, facts, &Eighteen).expect("small").expect("a payment came");
    let mut changes = Changeset::new().with(Write::CreateDeposit(deposit.clone()));
    record(&mut changes, next, events, &Listeners::default());
    world.store.commit(changes).await.expect("the store takes it");
    deposit
}

async fn resolve(world: &World, key: &TestKey, id: &InvoiceId, body: &Value) -> Reply {
    world.post(key, &format!("/v1/invoices/{id}/resolve"), &body.to_string()).await
}

fn ids<'a>(reply: &'a Reply, name: &str) -> Vec<&'a str> {
    let entries = reply.body["data"].as_array().expect("a list");
    entries.iter().map(|entry| entry[name].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn an_invoice_is_cancelled_once_however_often_it_is_asked_for() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let id = invoice(&world, &key).await;
    let target = format!("/v1/invoices/{id}/cancel");
    let cancelled = world.post(&key, &target, "").await;
    assert_eq!((cancelled.status, cancelled.data("status")), (200, "cancelled"), "{cancelled:?}");
    world.advance_millis(1_000);
    let events = world.census().events;
    for body in ["", "{}"] {
        let again = world.post(&key, &target, body).await;
        assert_eq!((again.status, &again.body["data"]), (200, &cancelled.body["data"]));
        world.advance_millis(1_000);
    }
    assert_eq!(world.census().events, events);
    assert_eq!(world.get(&key, &format!("/v1/invoices/{id}")).await.body["data"], cancelled.body["data"]);
    let unknown = world.post(&key, &target, r#"{"reason": "sold out"}"#).await;
    assert_eq!(unknown.outcome(), (400, "INVALID_REQUEST", "reason"));
}

#[tokio::test]
async fn an_invoice_with_money_on_it_is_not_cancelled() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let id = invoice(&world, &key).await;
    receive(&world, &id, 2, 1).await;
    let refused = world.post(&key, &format!("/v1/invoices/{id}/cancel"), "").await;
    assert_eq!(refused.outcome(), (409, "INVALID_STATE", ""));
    assert!(refused.message().contains("partially_paid: resolve it"), "{refused:?}");
}

#[tokio::test]
async fn a_part_is_accepted() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let id = invoice(&world, &key).await;
    receive(&world, &id, 2, 1).await;
    world.advance_millis(1_000);
    let accepted = resolve(&world, &key, &id, &json!({"action": "accept"})).await;
    assert_eq!((accepted.status, accepted.data("status")), (200, "paid"), "{accepted:?}");
    let data = &accepted.body["data"];
    assert_eq!(data["flags"], json!(["manual"]));
    let resolution = json!({
        "choice": "accept", "at": "2023-11-14T22:13:22.5Z", "amount": "2", "refund_to": null, "refund_amount": null,
    });
    assert_eq!(data["resolution"], resolution);
    world.advance_millis(1_000);
    let again = resolve(&world, &key, &id, &json!({"action": "accept"})).await;
    assert_eq!((again.status, &again.body["data"]), (200, data));
}

#[tokio::test]
async fn too_much_is_promised_back() {
    for (amount, shown) in [(json!("2"), "2"), (Value::Null, "7")] {
        let world = World::new();
        let key = world.key(&BOTH).await;
        let id = invoice(&world, &key).await;
        receive(&world, &id, 7, 1).await;
        let body = json!({"action": "refund", "to_address": CUSTOMER, "amount": amount});
        let refunded = resolve(&world, &key, &id, &body).await;
        assert_eq!((refunded.status, refunded.data("status")), (200, "paid"), "{refunded:?}");
        let resolution = &refunded.body["data"]["resolution"];
        assert_eq!((&resolution["refund_to"], &resolution["refund_amount"]), (&json!(CUSTOMER), &json!(shown)));
        assert_eq!(refunded.body["data"]["flags"], json!(["overpaid", "manual"]));
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_at_its_field() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let id = invoice(&world, &key).await;
    receive(&world, &id, 7, 1).await;
    let to = |to: &str| json!({"action": "refund", "to_address": to});
    let of = |amount: Value| json!({"action": "refund", "to_address": CUSTOMER, "amount": amount});
    let table = [
        (json!({}), "INVALID_REQUEST", "action"),
        (json!({"action": "Accept"}), "INVALID_REQUEST", "action"),
        (json!({"action": 1}), "INVALID_REQUEST", "action"),
        (json!({"action": "accept", "amount": "1"}), "INVALID_REQUEST", "amount"),
        (json!({"action": "ignore", "to_address": CUSTOMER}), "INVALID_REQUEST", "to_address"),
        (json!({"action": "refund"}), "INVALID_ADDRESS", "to_address"),
        (to("0x1"), "INVALID_ADDRESS", "to_address"),
        (to(&CUSTOMER.replace('E', "e")), "INVALID_ADDRESS", "to_address"),
        (to("0x0000000000000000000000000000000000000000"), "INVALID_ADDRESS", "to_address"),
        (of(json!(1)), "INVALID_AMOUNT", "amount"),
        (of(json!("1.5e1")), "INVALID_AMOUNT", "amount"),
        (of(json!("-1")), "INVALID_AMOUNT", "amount"),
        (of(json!("0")), "INVALID_AMOUNT", "amount"),
        (of(json!("7.000000000000000001")), "INVALID_AMOUNT", "amount"),
        (of(json!("1.0000000000000000001")), "INVALID_AMOUNT", "amount"),
        (json!({"action": "accept", "note": "x"}), "INVALID_REQUEST", "note"),
    ];
    let events = world.census().events;
    for (body, code, param) in table {
        let refused = resolve(&world, &key, &id, &body).await;
        assert_eq!(refused.outcome(), (400, code, param), "{body}");
    }
    assert_eq!(world.census().events, events);
    let pending = invoice(&world, &key).await;
    let refused = resolve(&world, &key, &pending, &json!({"action": "accept"})).await;
    assert_eq!(refused.outcome(), (409, "INVALID_STATE", ""));
    assert!(refused.message().contains("while it is pending"), "{refused:?}");
}

#[tokio::test]
async fn what_is_another_merchants_looks_like_nothing() {
    let world = World::new();
    let (mine, other) = (world.key(&BOTH).await, world.key(&BOTH).await);
    let id = invoice(&world, &mine).await;
    let deposit = receive(&world, &id, 2, 1).await;
    let missing = "inv_ffffffffffffffffffffffffffffffff";
    let accept = json!({"action": "accept"}).to_string();
    let refund = json!({"action": "refund", "to_address": CUSTOMER, "amount": "1"}).to_string();
    for (call, body) in [("cancel", ""), ("resolve", &accept), ("resolve", &refund)] {
        let foreign = world.post(&other, &format!("/v1/invoices/{id}/{call}"), body).await;
        let none = world.post(&other, &format!("/v1/invoices/{missing}/{call}"), body).await;
        let no_id = world.post(&other, &format!("/v1/invoices/1/{call}"), body).await;
        assert_eq!(foreign.outcome(), (404, "NOT_FOUND", ""), "{call}");
        assert_eq!(foreign.body_without_id(), none.body_without_id());
        assert_eq!(foreign.body_without_id(), no_id.body_without_id());
    }
    let target = format!("/v1/payments/{}", deposit.id);
    let foreign = world.get(&other, &target).await;
    assert_eq!(foreign.outcome(), (404, "NOT_FOUND", ""));
    let none = world.get(&other, "/v1/payments/dep_ffffffffffffffffffffffffffffffff").await;
    assert_eq!(foreign.body_without_id(), none.body_without_id());
    assert_eq!(world.get(&mine, &target).await.status, 200);
    let address = deposit.transfer.identity.to;
    for query in [format!("payments?invoice_id={id}"), "payments".to_owned(), format!("invoices?address={address}")] {
        let theirs = world.get(&other, &format!("/v1/{query}")).await;
        assert_eq!((theirs.status, theirs.body["data"].as_array().map(Vec::len)), (200, Some(0)), "{query}");
        let own = world.get(&mine, &format!("/v1/{query}")).await;
        assert_eq!((own.status, own.body["data"].as_array().map(Vec::len)), (200, Some(1)), "{query}");
    }
}

#[tokio::test]
async fn payments_are_listed_newest_first_without_gaps() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let (one, two) = (invoice(&world, &key).await, invoice(&world, &key).await);
    let mut made = Vec::new();
    for nth in 1..=6_u8 {
        let id = if nth.is_multiple_of(2) { &two } else { &one };
        made.push(receive(&world, id, 1, nth).await);
        world.advance_millis(u64::from(nth.is_multiple_of(3)));
    }
    made.sort_by_key(|deposit| std::cmp::Reverse((deposit.block.time, deposit.id.clone())));
    let mut walked = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = world.get(&key, &format!("/v1/payments?limit=2{cursor}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        walked.extend(ids(&page, "payment_id").into_iter().map(str::to_owned));
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(walked, made.iter().map(|deposit| deposit.id.to_string()).collect::<Vec<_>>());
    let of_two = world.get(&key, &format!("/v1/payments?invoice_id={two}")).await;
    let expected = made.iter().filter(|deposit| deposit.invoice.as_ref() == Some(&two));
    assert_eq!(ids(&of_two, "payment_id"), expected.map(|deposit| deposit.id.as_str()).collect::<Vec<_>>());
    assert_eq!(ids(&of_two, "invoice_id").into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([two.as_str()]));
    // Alone it looks as in the list.
    let alone = world.get(&key, &format!("/v1/payments/{}", ids(&of_two, "payment_id")[0])).await;
    assert_eq!(alone.body["data"], of_two.body["data"][0]);
    let invoices = world.get(&key, "/v1/invoices?limit=1").await;
    let foreign = invoices.body["next_cursor"].as_str().expect("a second page");
    for (query, param) in [
        (format!("cursor={foreign}"), "cursor"),
        ("cursor=x".to_owned(), "cursor"),
        ("invoice_id=1".to_owned(), "invoice_id"),
        ("limit=0".to_owned(), "limit"),
        ("status=final".to_owned(), "status"),
    ] {
        let refused = world.get(&key, &format!("/v1/payments?{query}")).await;
        assert_eq!(refused.outcome(), (400, "INVALID_REQUEST", param), "{query}");
    }
}

#[tokio::test]
async fn an_invoice_is_found_by_its_address() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let made = world.post(&key, "/v1/invoices", r#"{"amount": "5", "external_id": "a"}"#).await;
    invoice(&world, &key).await;
    let address = made.data("deposit_address");
    for (query, found) in [
        (format!("address={address}"), true),
        (format!("address={}", address.to_lowercase()), true),
        (format!("address={address}&status=pending&external_id=a"), true),
        (format!("address={address}&status=paid"), false),
        (format!("address={address}&external_id=b"), false),
        (format!("address={CUSTOMER}"), false),
    ] {
        let listed = world.get(&key, &format!("/v1/invoices?{query}")).await;
        let expected = if found { vec![made.data("invoice_id")] } else { Vec::new() };
        assert_eq!((listed.status, ids(&listed, "invoice_id")), (200, expected), "{query}");
        assert_eq!(listed.body["has_more"], false);
    }
    let wrong = world.get(&key, "/v1/invoices?address=0x1").await;
    assert_eq!(wrong.outcome(), (400, "INVALID_ADDRESS", "address"));
    let own = world.get(&key, "/v1/deposit-address").await;
    let listed = world.get(&key, &format!("/v1/invoices?address={}", own.data("address"))).await;
    assert_eq!((listed.status, ids(&listed, "invoice_id").len()), (200, 0), "the merchant's own address");
}

#[tokio::test]
async fn a_decision_under_a_name_is_answered_with_the_same_bytes() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let id = invoice(&world, &key).await;
    receive(&world, &id, 2, 1).await;
    let (target, body) = (format!("/v1/invoices/{id}/resolve"), r#"{"action": "accept"}"#);
    let named = |world: &World| world.signed(&key, "POST", &target, body).with("idempotency-key", "accept-1");
    let first = world.send(named(&world)).await;
    assert_eq!(first.status, 200, "{first:?}");
    let events = world.census().events;
    world.advance_millis(1_000);
    // More money makes the decision another one, and the answer under the name stays what it was.
    receive(&world, &id, 1, 2).await;
    let again = world.send(named(&world)).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, "true"));
    assert_eq!(again.bytes, first.bytes);
    let resolved = world.store.tables().events.iter().filter(|event| event.kind == EventKind::InvoiceResolved).count();
    assert_eq!((resolved, world.census().events > events), (1, true));
}
