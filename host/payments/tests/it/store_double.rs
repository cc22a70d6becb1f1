//! The store in memory keeps what the port promises: otherwise the other tests would prove nothing.

use std::time::Duration;

use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::event::{Event, EventFilter};
use xthonpay_domain::id::{DeliveryId, EndpointId, EventId, InvoiceId, MerchantId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::ledger::Balance;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::store::{
    AnswerBytes, Changeset, CommitError, Cursor, Delivery, DeliveryFilter, DeliverySelection, DeliveryState, Endpoint,
    EndpointState, FeedPosition, KeptAnswer, Key, Merchant, PaymentFilter, PaymentSelection, Store as _, UsedSignature,
    Write,
};
use xthonpay_payments::port::vault::Sealed;
use xthonpay_tests::memory_store::{Fault, Tables};

use crate::delivery::with_deliveries;
use crate::world::{World, usdt};

/// A store with a record of each kind.
async fn filled() -> (World, Tables) {
    let (world, invoice) = with_deliveries().await;
    let name = Some("order-1".parse().expect("a name"));
    world.store.tamper(|tables| tables.invoices.get_mut(&invoice.id).expect("it was made").external_id = name);
    let key = world.store.tables().keys.into_keys().next().expect("a key");
    let used = UsedSignature { key, signature: "aa".to_owned(), expires_at: invoice.terms.expires_at };
    let changes = Changeset::new()
        .with(Write::UseSignature(used))
        .with(Write::CreateEndpoint(Box::new(endpoint(1, &invoice.merchant))))
        .with(Write::KeepAnswer(Box::new(kept_answer(&invoice.merchant, invoice.terms.expires_at))));
    world.store.commit(changes).await.expect("neither is there yet");
    let tables = world.store.tables();
    (world, tables)
}

fn endpoint(number: u8, merchant: &MerchantId) -> Endpoint {
    Endpoint {
        id: EndpointId::from_random([number; 16]),
        merchant: merchant.clone(),
        url: "https://shop.example/hooks".parse().expect("a URL"),
        events: EventFilter::All,
        label: None,
        format: None,
        secret: Sealed(vec![number]),
        retiring_secret: None,
        state: EndpointState::Enabled,
        failing_since: None,
        created_at: Timestamp::from_secs(number.into()),
        revision: 1,
    }
}

fn kept_answer(merchant: &MerchantId, expires_at: Timestamp) -> KeptAnswer {
    KeptAnswer {
        merchant: merchant.clone(),
        call: "POST /invoices".to_owned(),
        key: "order-1".parse().expect("a name"),
        fingerprint: [7; 32],
        answer: AnswerBytes { status: 201, location: None, body: b"{}".to_vec() },
        expires_at,
    }
}

fn first<T: Clone>(mut records: impl Iterator<Item = T>) -> T {
    records.next().expect("a record of each kind")
}

fn other_merchant() -> MerchantId {
    MerchantId::from_random([9; 16])
}

fn other_invoice() -> InvoiceId {
    InvoiceId::from_random([9; 16])
}

/// Every way in which an expectation does not hold.
fn refused(tables: &Tables) -> Vec<Write> {
    let merchant: Merchant = first(tables.merchants.values().cloned());
    let invoice: Invoice = first(tables.invoices.values().cloned());
    let deposit: Deposit = first(tables.deposits.values().cloned());
    let delivery: Delivery = first(tables.deliveries.values().cloned());
    let cursor: Cursor = first(tables.cursors.values().cloned());
    let key: Key = first(tables.keys.values().cloned());
    let endpoint: Endpoint = first(tables.endpoints.values().cloned());
    let balance = |merchant, from_revision| Write::SetBalance {
        merchant,
        asset: usdt(),
        balance: Balance::default(),
        from_revision,
    };
    let update = |revision| Write::UpdateInvoice(Box::new(Invoice { revision, ..invoice.clone() }));
    let deliver = |revision| Write::UpdateDelivery(Box::new(Delivery { revision, ..delivery.clone() }));
    let advance = |revision| Write::SetCursor(Cursor { revision, ..cursor.clone() });
    let rekey = |revision| Write::UpdateKey(Box::new(Key { revision, ..key.clone() }));
    let move_to = |revision| Write::UpdateEndpoint(Box::new(Endpoint { revision, ..endpoint.clone() }));
    let elsewhere = Endpoint { id: EndpointId::from_random([9; 16]), revision: 2, ..endpoint.clone() };
    let changed = Deposit { reorged: !deposit.reorged, ..deposit.clone() };
    vec![
        Write::CreateMerchant(merchant.clone()),
        Write::CreateMerchant(Merchant { id: other_merchant(), ..merchant.clone() }),
        Write::CreateMerchant(Merchant { account: 99, ..merchant.clone() }),
        Write::CreateKey(Box::new(key.clone())),
        rekey(key.revision),
        rekey(key.revision.saturating_add(2)),
        Write::CreateEndpoint(Box::new(endpoint.clone())),
        move_to(endpoint.revision),
        move_to(endpoint.revision.saturating_add(2)),
        Write::UpdateEndpoint(Box::new(elsewhere)),
        Write::KeepAnswer(Box::new(first(tables.answers.values().cloned()))),
        Write::CreateAddress(first(tables.addresses.values().cloned())),
        Write::CreateInvoice(Box::new(Invoice { external_id: None, ..invoice.clone() })),
        Write::CreateInvoice(Box::new(Invoice { id: other_invoice(), ..invoice.clone() })),
        update(invoice.revision),
        update(invoice.revision.saturating_sub(1)),
        update(invoice.revision.saturating_add(2)),
        Write::UpdateInvoice(Box::new(Invoice { id: other_invoice(), revision: 1, ..invoice.clone() })),
        Write::CreateDeposit(deposit.clone()),
        Write::UpdateDeposit { before: Box::new(changed.clone()), after: Box::new(deposit) },
        Write::Post(first(tables.postings.values().cloned())),
        balance(merchant.id.clone(), 0),
        balance(merchant.id, 2),
        balance(other_merchant(), 1),
        Write::CreateEvent(first(tables.events.iter().map(|event| event.as_ref().clone()))),
        Write::MarkRouted(EventId::from_random([9; 16])),
        Write::CreateDelivery(Box::new(delivery.clone())),
        deliver(delivery.revision),
        deliver(delivery.revision.saturating_add(2)),
        advance(cursor.revision),
        advance(cursor.revision.saturating_add(2)),
        Write::UseSignature(first(tables.signatures.values().cloned())),
    ]
}

#[tokio::test]
async fn a_write_whose_expectation_does_not_hold_takes_the_whole_changeset_with_it() {
    let (world, tables) = filled().await;
    let before = format!("{tables:?}");
    let witness = Merchant { id: other_merchant(), account: 99, ..first(tables.merchants.values().cloned()) };
    for write in refused(&tables) {
        let described = format!("{write:?}");
        let alone = Changeset::new().with(write.clone());
        assert_eq!(world.store.commit(alone).await, Err(CommitError::Refused), "{described}");
        let behind = Changeset::new().with(Write::CreateMerchant(witness.clone())).with(write);
        assert_eq!(world.store.commit(behind).await, Err(CommitError::Refused), "{described}");
        assert_eq!(format!("{:?}", world.store.tables()), before, "{described}");
    }
    assert_eq!(world.store.commit(Changeset::new()).await, Err(CommitError::Refused), "an empty changeset");
}

#[tokio::test]
async fn a_write_whose_expectation_holds_is_stored() {
    let (world, tables) = filled().await;
    let invoice: Invoice = first(tables.invoices.values().cloned());
    let delivery: Delivery = first(tables.deliveries.values().cloned());
    let cursor: Cursor = first(tables.cursors.values().cloned());
    let key: Key = first(tables.keys.values().cloned());
    let endpoint: Endpoint = first(tables.endpoints.values().cloned());
    let merchant = first(tables.merchants.keys().cloned());
    let other_call = KeptAnswer { call: "POST /other".to_owned(), ..first(tables.answers.values().cloned()) };
    let balance = |from_revision| Write::SetBalance {
        merchant: merchant.clone(),
        asset: usdt(),
        balance: Balance::default(),
        from_revision,
    };
    let next = |revision: u64| revision.saturating_add(1);
    let changes = Changeset::new()
        .with(Write::UpdateInvoice(Box::new(Invoice { revision: next(invoice.revision), ..invoice.clone() })))
        .with(Write::UpdateDelivery(Box::new(Delivery { revision: next(delivery.revision), ..delivery.clone() })))
        .with(Write::SetCursor(Cursor { revision: next(cursor.revision), ..cursor }))
        .with(Write::UpdateKey(Box::new(Key { revision: next(key.revision), ..key.clone() })))
        .with(Write::NoteKeyUse { key: key.id.clone(), at: Timestamp::from_secs(8) })
        .with(Write::NoteKeyUse { key: key.id.clone(), at: Timestamp::from_secs(7) })
        .with(Write::UpdateEndpoint(Box::new(Endpoint { revision: next(endpoint.revision), ..endpoint.clone() })))
        .with(Write::KeepAnswer(Box::new(other_call.clone())))
        .with(balance(1))
        .with(Write::CreateInvoice(Box::new(Invoice { id: other_invoice(), external_id: None, ..invoice })));
    world.store.commit(changes).await.expect("every expectation holds");
    world.store.commit(Changeset::new().with(balance(2))).await.expect("the balance has the next revision");
    let after = world.store.tables();
    assert_eq!(after.deliveries[&delivery.id].revision, next(delivery.revision));
    assert!(after.invoices.contains_key(&other_invoice()));
    assert_eq!(after.keys[&key.id].revision, next(key.revision));
    assert_eq!(after.endpoints[&endpoint.id].revision, next(endpoint.revision));
    assert_eq!(world.store.key_used_at(&key.id).await, Ok(Some(Timestamp::from_secs(7))), "the last word counts");
    let kept = world.store.kept_answer(&merchant, &other_call.call, &other_call.key).await;
    assert_eq!(kept, Ok(Some(other_call.clone())));
    assert_eq!(world.store.kept_answer(&other_merchant(), &other_call.call, &other_call.key).await, Ok(None));
}

#[tokio::test]
async fn a_feed_tells_the_events_of_a_merchant_in_the_order_of_their_commits() {
    let (world, tables) = filled().await;
    let (merchant, known): (MerchantId, Event) =
        (first(tables.merchants.keys().cloned()), first(tables.events.iter().map(|event| Event::clone(event))));
    let own = world.store.feed(&merchant, FeedPosition::default(), 99).await.expect("readable");
    let told: Vec<&EventId> = own.iter().map(|(_, event)| &event.id).collect();
    assert_eq!(told, tables.events.iter().map(|event| &event.id).collect::<Vec<_>>());
    // One of somebody else, and one that says that it is older than all.
    let foreign = Event { id: EventId::from_random([8; 16]), merchant: other_merchant(), ..known.clone() };
    let late = Event { id: EventId::from_random([9; 16]), at: Timestamp::from_millis(0), ..known };
    for event in [foreign.clone(), late.clone()] {
        world.store.commit(Changeset::new().with(Write::CreateEvent(event))).await.expect("new");
    }
    let last = own.last().map(|(position, _)| *position).expect("an event");
    let behind = world.store.feed(&merchant, last, 99).await.expect("readable");
    assert!(behind.iter().all(|(position, _)| *position > last));
    assert_eq!(behind.into_iter().map(|(_, event)| event).collect::<Vec<_>>(), [late]);
    let of_other = world.store.feed(&other_merchant(), FeedPosition::default(), 99).await.expect("readable");
    assert_eq!(of_other.into_iter().map(|(_, event)| event).collect::<Vec<_>>(), [foreign]);
    assert_eq!(world.store.feed(&merchant, FeedPosition::default(), 1).await.expect("readable").len(), 1);
}

#[tokio::test]
async fn deposits_and_deliveries_are_listed_newest_first() {
    let (world, tables) = filled().await;
    let deposit: Deposit = first(tables.deposits.values().cloned());
    let merchant = deposit.merchant.clone();
    let newer = Deposit { id: xthonpay_domain::id::DepositId::from_random([9; 16]), invoice: None, ..deposit.clone() };
    let newer = Deposit { block: later(&newer, Duration::from_secs(60)), ..newer };
    world.store.commit(Changeset::new().with(Write::CreateDeposit(newer.clone()))).await.expect("new");
    let payments = async |filter: PaymentFilter| world.store.payments(&merchant, &filter, 99).await.expect("readable");
    assert_eq!(payments(PaymentFilter::default()).await, [newer.clone(), deposit.clone()]);
    let behind = PaymentFilter { after: Some((newer.block.time, newer.id)), ..PaymentFilter::default() };
    assert_eq!(payments(behind).await, std::slice::from_ref(&deposit));
    let of = |invoice| PaymentFilter { select: PaymentSelection::OfInvoice(invoice), after: None };
    assert_eq!(payments(of(deposit.invoice.clone().expect("it pays an invoice"))).await, [deposit]);
    assert_eq!(payments(of(other_invoice())).await, []);

    let delivery: Delivery = first(tables.deliveries.values().cloned());
    let to = EndpointId::from_random([1; 16]);
    let second = Delivery {
        id: DeliveryId::from_random([9; 16]),
        endpoint: Some(to.clone()),
        state: DeliveryState::Failed,
        created_at: Timestamp::from_millis(u64::MAX),
        ..delivery.clone()
    };
    world.store.commit(Changeset::new().with(Write::CreateDelivery(Box::new(second.clone())))).await.expect("new");
    let ids = async |select: DeliverySelection| {
        let filter = DeliveryFilter { select, after: None };
        let found = world.store.deliveries(&delivery.merchant, &filter, 99).await.expect("readable");
        found.into_iter().map(|delivery| delivery.id).collect::<Vec<_>>()
    };
    let all = ids(DeliverySelection::All).await;
    assert_eq!((all.first(), all.len()), (Some(&second.id), tables.deliveries.len() + 1));
    assert_eq!(ids(DeliverySelection::To(to)).await, std::slice::from_ref(&second.id));
    assert_eq!(ids(DeliverySelection::In(DeliveryState::Failed)).await, std::slice::from_ref(&second.id));
    assert_eq!(ids(DeliverySelection::OfEvent(delivery.event.clone())).await, [second.id, delivery.id.clone()]);
    assert_eq!(world.store.delivery(&delivery.id).await, Ok(Some(delivery)));
}

fn later(deposit: &Deposit, by: Duration) -> xthonpay_domain::block::BlockRef {
    xthonpay_domain::block::BlockRef { time: deposit.block.time.after(by), ..deposit.block }
}

#[tokio::test]
async fn endpoints_are_listed_oldest_first_until_they_are_removed() {
    let (world, tables) = filled().await;
    let merchant = first(tables.merchants.keys().cloned());
    let older = Endpoint { created_at: Timestamp::from_millis(0), ..endpoint(9, &merchant) };
    let foreign = endpoint(5, &other_merchant());
    let changes = [older.clone(), foreign.clone()].map(|endpoint| Write::CreateEndpoint(Box::new(endpoint)));
    world.store.commit(changes.into_iter().collect()).await.expect("new");
    let first = endpoint(1, &merchant);
    assert_eq!(world.store.endpoints_of(&merchant).await, Ok(vec![older.clone(), first.clone()]));
    let removed = Endpoint { state: EndpointState::Removed, revision: 2, ..older };
    let remove = Write::UpdateEndpoint(Box::new(removed.clone()));
    world.store.commit(Changeset::new().with(remove)).await.expect("the next revision");
    assert_eq!(world.store.endpoints_of(&merchant).await, Ok(vec![first.clone()]));
    assert_eq!(world.store.endpoint(&removed.id).await, Ok(Some(removed.clone())));
    assert_eq!(world.store.endpoints(None, 2).await, Ok(vec![first, foreign.clone()]));
    assert_eq!(world.store.endpoints(Some(&foreign.id), 9).await, Ok(vec![removed]));
}

#[tokio::test]
async fn answers_are_forgotten_when_they_have_expired() {
    let (world, tables) = filled().await;
    let kept: KeptAnswer = first(tables.answers.values().cloned());
    let chain = first(tables.cursors.keys().cloned());
    let forget = async |now| world.store.forget(now, &chain, xthonpay_domain::block::BlockNumber(0)).await;
    assert_eq!(forget(kept.expires_at).await, Ok(0), "at its moment it is still kept");
    assert_eq!(forget(kept.expires_at.after(Duration::from_millis(1))).await, Ok(2), "with the signature");
    assert_eq!(world.store.kept_answer(&kept.merchant, &kept.call, &kept.key).await, Ok(None));
}

#[tokio::test]
async fn a_fault_stores_what_it_says() {
    for (fault, stored) in
        [(Fault::NothingStored, false), (Fault::Refused, false), (Fault::Stored, true), (Fault::StoredAndSilent, true)]
    {
        let (world, tables) = filled().await;
        let merchant = Merchant { id: other_merchant(), account: 99, ..first(tables.merchants.values().cloned()) };
        world.store.faults.next([Some(fault)]);
        let commit = world.store.commit(Changeset::new().with(Write::CreateMerchant(merchant.clone())));
        let outcome = tokio::time::timeout(std::time::Duration::from_millis(20), commit).await;
        assert_eq!(outcome.is_err(), fault == Fault::StoredAndSilent, "{fault:?}");
        assert!(!matches!(outcome, Ok(Ok(()))), "{fault:?}");
        assert_eq!(world.store.tables().merchants.contains_key(&merchant.id), stored, "{fault:?}");
    }
}
