//! What the tests of routing and dispatch share: a merchant with invoices that have events, and a way to see what went out.

use std::collections::BTreeMap;
use std::time::Duration;

use xthonpay_domain::event::EventFilter;
use xthonpay_domain::id::{EndpointId, InvoiceId, MerchantId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_payments::access::Principal;
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::egress::WebhookRequest;
use xthonpay_payments::port::store::{Changeset, Delivery, Endpoint, EndpointState, Store as _, Write};
use xthonpay_payments::port::vault::{Purpose, Sealed, Vault as _};

use crate::doubles::PlainVault;
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

/// The plain secrets of an endpoint of a test: the one that counts, and the one before it.
pub(crate) const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
pub(crate) const RETIRING_SECRET: &str = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";

/// An endpoint's secret as the vault of the tests keeps it.
pub(crate) fn sealed(id: &EndpointId, secret: &str) -> Sealed {
    PlainVault.seal(Purpose::WebhookSecret, id.as_str(), secret.as_bytes())
}

/// An endpoint that hears of everything; stored.
pub(crate) async fn endpoint(world: &World, merchant: &MerchantId, number: u8, url: &str) -> Endpoint {
    let id = EndpointId::from_random([number; 16]);
    let endpoint = Endpoint {
        merchant: merchant.clone(),
        url: url.parse().expect("a URL"),
        events: EventFilter::All,
        label: None,
        format: None,
        secret: sealed(&id, SECRET),
        retiring_secret: None,
        state: EndpointState::Enabled,
        failing_since: None,
        created_at: world.clock.now(),
        revision: 1,
        id,
    };
    let changes = Changeset::new().with(Write::CreateEndpoint(Box::new(endpoint.clone())));
    world.store.commit(changes).await.expect("the store takes it");
    endpoint
}

/// A world in which the only delivery goes to an endpoint, at `https://shop.example/hook`.
pub(crate) async fn with_endpoint() -> (World, Endpoint) {
    let (world, _) = with_deliveries().await;
    let delivery = first_delivery(&world);
    let endpoint = endpoint(&world, &delivery.merchant, 1, "https://shop.example/hook").await;
    world.store.tamper(|tables| {
        let delivery = Delivery { endpoint: Some(endpoint.id.clone()), ..delivery };
        tables.deliveries = BTreeMap::from([(delivery.id.clone(), delivery)]);
    });
    (world, endpoint)
}

/// The endpoint as it is stored.
pub(crate) fn stored(world: &World, endpoint: &Endpoint) -> Endpoint {
    world.store.tables().endpoints[&endpoint.id].clone()
}

/// Makes one attempt, whether it is due or not, and returns the delivery as it is stored after it.
pub(crate) async fn attempt(world: &World, delivery: &Delivery) -> Delivery {
    world.courier().attempt(delivery).await.expect("the store answers");
    world.store.tables().deliveries[&delivery.id].clone()
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
