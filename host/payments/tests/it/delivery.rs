//! What the tests of routing and dispatch share: a merchant with invoices that have events, and a way to see what went out.

use std::collections::BTreeMap;
use std::time::Duration;

use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::Invoice;
use xthonpay_payments::access::Principal;
use xthonpay_payments::port::egress::WebhookRequest;
use xthonpay_payments::port::store::Delivery;

use crate::world::World;

/// How long a loop may take for what it should do at once; only ever waited for in full when a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A paid invoice, whose events are stored and not routed: created, detected, confirming, confirmed, paid.
pub(crate) async fn paid_invoice(world: &mut World, caller: &Principal) -> Invoice {
    let invoice = world.invoice(caller, 100).await;
    world.pay(&[(invoice.address, 100)]);
    world.finalise().await;
    world.settle().await;
    invoice
}

/// A world with a paid invoice whose two deliveries (confirming, paid) are due.
pub(crate) async fn with_deliveries() -> (World, Invoice) {
    let (mut world, caller) = World::started().await;
    let invoice = paid_invoice(&mut world, &caller).await;
    world.routing().route_all().await.expect("the store answers");
    (world, invoice)
}

/// The deliveries of the store in the order of their events.
pub(crate) fn deliveries(world: &World) -> Vec<Delivery> {
    let mut deliveries: Vec<Delivery> = world.store.tables().deliveries.into_values().collect();
    deliveries.sort_by_key(|delivery| (delivery.invoice.clone(), delivery.sequence));
    deliveries
}

/// The first of them.
pub(crate) fn first_delivery(world: &World) -> Delivery {
    deliveries(world).into_iter().next().expect("there is a delivery")
}

/// Copies of a delivery with other ids, for another invoice each, all due at the same time.
pub(crate) fn copies(
    of: &Delivery,
    count: usize,
    url: impl Fn(usize) -> String,
) -> BTreeMap<xthonpay_domain::id::DeliveryId, Delivery> {
    (0..count)
        .map(|number| {
            let invoice: InvoiceId = format!("inv_{number:032x}").parse().expect("well formed");
            let id: xthonpay_domain::id::DeliveryId = format!("dlv_{number:032x}").parse().expect("well formed");
            let url = url(number).parse().expect("a URL");
            (id.clone(), Delivery { id, invoice: Some(invoice), url, ..of.clone() })
        })
        .collect()
}

/// The word of the event that a webhook in the built-in form tells.
pub(crate) fn told(request: &WebhookRequest) -> String {
    let body: serde_json::Value = serde_json::from_slice(&request.body).expect("the built-in form is JSON");
    body["event"].as_str().expect("a word").to_owned()
}

pub(crate) fn header<'a>(request: &'a WebhookRequest, name: &str) -> Vec<&'a str> {
    request.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
}

/// Waits until `done` holds.
pub(crate) async fn until(what: &str, done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{what}");
}
