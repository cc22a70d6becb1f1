//! Endpoints: made, changed, rotated, pinged, removed; by their owner alone.

use std::time::Duration;

use xthonpay_domain::access::SignatureScheme;
use xthonpay_domain::event::{EventFilter, EventKind};
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::access::Principal;
use xthonpay_payments::endpoints::{
    ENDPOINTS_MAX, EndpointChange, EndpointError, NewEndpoint, OVERLAP_DEFAULT, OVERLAP_MAX,
};
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::hooks::{OnFailure, Rendered};
use xthonpay_payments::port::store::{CommitError, DeliveryState, Endpoint, EndpointState, Store as _, UsedSignature};
use xthonpay_payments::port::vault::{Purpose, Sealed, Vault as _};
use xthonpay_tests::memory_store::Fault;

use crate::doubles::{PlainVault, failure};
use crate::world::{World, unseen};

fn new(url: &str) -> NewEndpoint {
    NewEndpoint { url: url.parse().expect("a URL"), events: EventFilter::All, label: None, format: None }
}

fn plain(endpoint: &Endpoint, sealed: &Sealed) -> String {
    let secret = PlainVault.open(Purpose::WebhookSecret, endpoint.id.as_str(), sealed).expect("sealed for its row");
    String::from_utf8(secret.expose().to_vec()).expect("text")
}

fn stored(world: &World, endpoint: &Endpoint) -> Endpoint {
    world.store.tables().endpoints[&endpoint.id].clone()
}

/// The caller with a signature that works once.
fn once(caller: &Principal, world: &World) -> Principal {
    let used = UsedSignature { key: caller.key.id.clone(), signature: "00".repeat(32), expires_at: world.clock.now() };
    Principal { used_signature: Some(used), ..caller.clone() }
}

#[tokio::test]
async fn a_new_endpoint_has_a_secret_of_its_own_that_only_its_row_opens() {
    let (world, caller) = World::started().await;
    let endpoints = world.endpoints();
    let one = endpoints.create(&caller, new("https://shop.example/a"), &unseen).await.expect("made");
    let other = endpoints.create(&caller, new("https://shop.example/b"), &unseen).await.expect("made");
    assert_eq!(one.secret.as_str(), plain(&one.endpoint, &one.endpoint.secret));
    assert!(one.secret.starts_with("whsec_") && one.secret.len() == 50, "32 bytes in base64");
    assert_ne!(one.secret.as_str(), other.secret.as_str());
    assert!(PlainVault.open(Purpose::WebhookSecret, other.endpoint.id.as_str(), &one.endpoint.secret).is_err());
    let listed = endpoints.list(caller.merchant()).await.expect("the store answers");
    assert_eq!(listed.len(), 2);
    assert_eq!(stored(&world, &one.endpoint), one.endpoint);
}

#[tokio::test]
async fn what_cannot_be_an_endpoint_is_refused_and_leaves_nothing() {
    let (world, caller) = World::started().await;
    let endpoints = world.endpoints();
    let refused = endpoints.create(&caller, new("https://refused.example/"), &unseen).await;
    assert!(matches!(refused, Err(EndpointError::Url(_))));
    let format = Some("slim".parse().expect("a name"));
    let refused = endpoints.create(&caller, NewEndpoint { format, ..new("https://shop.example/") }, &unseen).await;
    assert!(matches!(refused, Err(EndpointError::UnknownFormat(_))));
    world.store.faults.next([Some(Fault::Refused)]);
    let refused = endpoints.create(&caller, new("https://shop.example/"), &unseen).await;
    assert_eq!(refused.err(), Some(EndpointError::Commit(CommitError::Refused)));
    assert!(world.store.tables().endpoints.is_empty() && world.listeners.is_empty());
    for _ in 0..ENDPOINTS_MAX {
        world.endpoint(&caller, EventFilter::All).await;
    }
    let refused = endpoints.create(&caller, new("https://shop.example/"), &unseen).await;
    assert_eq!(refused.err(), Some(EndpointError::TooMany));
    let first = endpoints.list(caller.merchant()).await.expect("the store answers").remove(0);
    endpoints.remove(&caller, &first.id, &unseen).await.expect("removed");
    endpoints.create(&caller, new("https://shop.example/"), &unseen).await.expect("there is room again");
}

#[tokio::test]
async fn a_change_touches_what_it_names() {
    let (world, caller) = World::started().await;
    world.hooks.offer_format("slim", |_, _| Ok(None));
    let before = world.endpoint(&caller, EventFilter::All).await;
    let none = EndpointChange::default;
    let paid = EventFilter::Only([EventKind::InvoicePaid].into());
    let (label, slim) = ("till".parse().expect("a label"), "slim".parse().expect("a name"));
    type Apply<'a> = &'a dyn Fn(&mut Endpoint);
    let table: [(EndpointChange, Apply<'_>); 7] = [
        (none(), &|_| {}),
        (EndpointChange { url: Some("https://shop.example/new".parse().expect("a URL")), ..none() }, &|endpoint| {
            endpoint.url = "https://shop.example/new".parse().expect("a URL");
        }),
        (EndpointChange { events: Some(paid.clone()), ..none() }, &|endpoint| endpoint.events = paid.clone()),
        (EndpointChange { label: Some(Some(label)), ..none() }, &|endpoint| endpoint.label = "till".parse().ok()),
        (EndpointChange { label: Some(None), ..none() }, &|endpoint| endpoint.label = None),
        (EndpointChange { format: Some(Some(slim)), ..none() }, &|endpoint| endpoint.format = "slim".parse().ok()),
        (EndpointChange { format: Some(None), ..none() }, &|endpoint| endpoint.format = None),
    ];
    let mut expected = before.clone();
    for (change, apply) in table {
        apply(&mut expected);
        expected.revision += 1;
        let changed = world.endpoints().update(&caller, &before.id, change.clone(), &unseen).await.expect("changed");
        assert_eq!(changed, expected, "{change:?}");
        assert_eq!(stored(&world, &before), expected, "{change:?}");
    }
    let elsewhere = EndpointChange { url: Some("https://refused.example/".parse().expect("a URL")), ..none() };
    let refused = world.endpoints().update(&caller, &before.id, elsewhere, &unseen).await;
    assert!(matches!(refused, Err(EndpointError::Url(_))));
    assert_eq!(stored(&world, &before), expected);
}

#[tokio::test]
async fn enabling_makes_it_like_new_and_pausing_leaves_what_the_host_said() {
    let disabled = || EndpointState::Disabled { reason: "it answered 410".to_owned(), at: Timestamp::from_secs(5) };
    let table = [
        (EndpointState::Enabled, true, EndpointState::Enabled, true),
        (EndpointState::Enabled, false, EndpointState::Paused, false),
        (EndpointState::Paused, true, EndpointState::Enabled, false),
        (EndpointState::Paused, false, EndpointState::Paused, true),
        (disabled(), true, EndpointState::Enabled, false),
        (disabled(), false, disabled(), true),
    ];
    for (before, enabled, after, still_failing) in table {
        let (world, caller) = World::started().await;
        let endpoint = world.endpoint(&caller, EventFilter::All).await;
        world.store.tamper(|tables| {
            let endpoint = tables.endpoints.get_mut(&endpoint.id).expect("made");
            (endpoint.state, endpoint.failing_since) = (before.clone(), Some(Timestamp::from_secs(1)));
        });
        let change = EndpointChange { enabled: Some(enabled), ..EndpointChange::default() };
        let changed = world.endpoints().update(&caller, &endpoint.id, change, &unseen).await.expect("changed");
        assert_eq!((&changed.state, changed.failing_since.is_some()), (&after, still_failing), "{before:?}, {enabled}");
        let hears = world.listeners.hear(caller.merchant(), EventKind::InvoicePaid);
        assert_eq!(hears, after == EndpointState::Enabled, "{before:?}, {enabled}");
    }
}

#[tokio::test]
async fn a_rotation_keeps_the_secret_before_it_for_as_long_as_it_is_asked_to() {
    let (world, caller) = World::started().await;
    let endpoints = world.endpoints();
    let first = endpoints.create(&caller, new("https://shop.example/"), &unseen).await.expect("made");
    let id = &first.endpoint.id;
    let second = endpoints.rotate_secret(&caller, id, OVERLAP_DEFAULT, &unseen).await.expect("rotated");
    assert_eq!(second.secret.as_str(), plain(&second.endpoint, &second.endpoint.secret));
    assert_ne!(second.secret.as_str(), first.secret.as_str());
    let retiring = second.endpoint.retiring_secret.clone().expect("signs for a while");
    assert_eq!(plain(&second.endpoint, &retiring.secret), first.secret.as_str());
    assert_eq!(retiring.until, world.clock.now().after(OVERLAP_DEFAULT));
    // A third secret would end the first before its time.
    let again = endpoints.rotate_secret(&caller, id, OVERLAP_DEFAULT, &unseen).await;
    assert_eq!(again.err(), Some(EndpointError::RotationUnderWay(OVERLAP_DEFAULT)));
    let long = endpoints.rotate_secret(&caller, id, OVERLAP_MAX.saturating_add(Duration::from_secs(1)), &unseen).await;
    assert_eq!(long.err(), Some(EndpointError::OverlapTooLong));
    assert_eq!(stored(&world, &first.endpoint), second.endpoint);
    // Asked for outright, both older ones end at once.
    let third = endpoints.rotate_secret(&caller, id, Duration::ZERO, &unseen).await.expect("rotated");
    assert_eq!(third.endpoint.retiring_secret, None);
    let fourth = endpoints.rotate_secret(&caller, id, OVERLAP_DEFAULT, &unseen).await.expect("rotated");
    world.clock.advance(OVERLAP_DEFAULT);
    let fifth = endpoints.rotate_secret(&caller, id, OVERLAP_DEFAULT, &unseen).await.expect("the overlap is over");
    let retiring = fifth.endpoint.retiring_secret.clone().expect("signs for a while");
    assert_eq!(plain(&fifth.endpoint, &retiring.secret), fourth.secret.as_str());
}

#[tokio::test]
async fn a_ping_goes_to_its_endpoint_alone_whatever_that_wants() {
    let (world, caller) = World::started().await;
    let endpoint = world.endpoint(&caller, EventFilter::Only([EventKind::InvoicePaid].into())).await;
    world.endpoint(&caller, EventFilter::All).await;
    let delivery = world.endpoints().ping(&caller, &endpoint.id, &unseen).await.expect("made");
    world.routing().route_all().await.expect("the store answers");
    let tables = world.store.tables();
    assert_eq!(tables.deliveries.values().collect::<Vec<_>>(), [&delivery]);
    assert_eq!((delivery.endpoint.as_ref(), delivery.state), (Some(&endpoint.id), DeliveryState::Pending));
    let [event] = &tables.events[..] else { unreachable!("one event") };
    assert_eq!((event.kind, &event.id), (EventKind::Ping, &delivery.event));
    assert!(tables.routed.contains(&event.id));
    let body: serde_json::Value = serde_json::from_slice(&delivery.body).expect("JSON");
    assert_eq!(
        (&body["event"], &body["data"]["endpoint"]["endpoint_id"]),
        (&"ping".into(), &endpoint.id.as_str().into())
    );
    assert!(!String::from_utf8_lossy(&delivery.body).contains("whsec_"));
    world.courier().attempt(&delivery).await.expect("the store answers");
    assert_eq!(world.store.tables().deliveries[&delivery.id].state, DeliveryState::Delivered);
    // What the formatter would leave out arrives all the same, and what it holds back is told to the caller.
    world.hooks.bind_format(|_| Ok(None));
    assert!(world.endpoints().ping(&caller, &endpoint.id, &unseen).await.is_ok());
    world.hooks.bind_format(|_| Err::<Option<Rendered>, _>(failure(OnFailure::Hold)));
    let held = world.endpoints().ping(&caller, &endpoint.id, &unseen).await;
    assert!(matches!(held, Err(EndpointError::Format(_))));
    let off = EndpointChange { enabled: Some(false), ..EndpointChange::default() };
    world.endpoints().update(&caller, &endpoint.id, off, &unseen).await.expect("changed");
    assert_eq!(world.endpoints().ping(&caller, &endpoint.id, &unseen).await.err(), Some(EndpointError::NotEnabled));
    assert_eq!(world.store.tables().deliveries.len(), 2);
}

#[tokio::test]
async fn what_is_anothers_or_removed_is_not_there() {
    let (world, caller) = World::started().await;
    let stranger = world.principal(SignatureScheme::Request).await;
    let (endpoint, removed) =
        (world.endpoint(&caller, EventFilter::All).await, world.endpoint(&caller, EventFilter::All).await);
    world.endpoints().remove(&caller, &removed.id, &unseen).await.expect("removed");
    let before = world.store.tables().endpoints;
    for (caller, id) in [(&stranger, &endpoint.id), (&caller, &removed.id)] {
        let endpoints = world.endpoints();
        assert_eq!(endpoints.get(caller.merchant(), id).await, Ok(None));
        let gone = Some(EndpointError::NotFound);
        assert_eq!(endpoints.update(caller, id, EndpointChange::default(), &unseen).await.err(), gone);
        assert_eq!(endpoints.rotate_secret(caller, id, Duration::ZERO, &unseen).await.err(), gone);
        assert_eq!(endpoints.ping(caller, id, &unseen).await.err(), gone);
        assert_eq!(endpoints.remove(caller, id, &unseen).await.err(), gone);
    }
    assert_eq!(world.store.tables().endpoints, before);
    assert_eq!(world.endpoints().list(stranger.merchant()).await, Ok(Vec::new()));
    assert_eq!(world.endpoints().list(caller.merchant()).await, Ok(vec![endpoint]));
}

#[tokio::test]
async fn a_signature_works_once_whatever_it_is_used_for() {
    let (world, caller) = World::started().await;
    let endpoint = world.endpoint(&caller, EventFilter::All).await;
    let caller = once(&caller, &world);
    world.endpoints().rotate_secret(&caller, &endpoint.id, Duration::ZERO, &unseen).await.expect("the first use");
    let before = world.store.tables();
    let endpoints = world.endpoints();
    let replayed = Some(EndpointError::SignatureReplayed);
    for _ in 0..3 {
        assert_eq!(endpoints.rotate_secret(&caller, &endpoint.id, Duration::ZERO, &unseen).await.err(), replayed);
        assert_eq!(endpoints.create(&caller, new("https://shop.example/"), &unseen).await.err(), replayed);
        assert_eq!(endpoints.update(&caller, &endpoint.id, EndpointChange::default(), &unseen).await.err(), replayed);
        assert_eq!(endpoints.ping(&caller, &endpoint.id, &unseen).await.err(), replayed);
        assert_eq!(endpoints.remove(&caller, &endpoint.id, &unseen).await.err(), replayed);
    }
    let after = world.store.tables();
    assert_eq!((after.endpoints, after.deliveries), (before.endpoints, before.deliveries));
}

#[tokio::test]
async fn changes_at_the_same_moment_are_all_made() {
    let (world, caller) = World::started().await;
    let endpoint = world.endpoint(&caller, EventFilter::All).await;
    // Somebody else's changeset comes first, as often as a call is ready to try again.
    let raced = std::sync::atomic::AtomicUsize::new(0);
    let store = world.store.clone();
    let id = endpoint.id.clone();
    world.store.faults.when(move |_| {
        if raced.fetch_add(1, std::sync::atomic::Ordering::SeqCst) >= 3 {
            return None;
        }
        store.tamper(|tables| {
            let endpoint = tables.endpoints.get_mut(&id).expect("made");
            (endpoint.failing_since, endpoint.revision) = (Some(Timestamp::from_secs(1)), endpoint.revision + 1);
        });
        None
    });
    let change = EndpointChange { label: Some("till".parse().ok()), ..EndpointChange::default() };
    let changed = world.endpoints().update(&caller, &endpoint.id, change, &unseen).await.expect("changed at last");
    assert_eq!((changed.revision, changed.failing_since), (endpoint.revision + 4, Some(Timestamp::from_secs(1))));
    assert_eq!(world.store.endpoint(&endpoint.id).await, Ok(Some(changed)));
}
