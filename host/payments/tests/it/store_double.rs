//! The store in memory keeps what the port promises: otherwise the other tests would prove nothing.

use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::id::{EventId, InvoiceId, MerchantId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::ledger::Balance;
use xthonpay_payments::port::store::{
    Changeset, CommitError, Cursor, Delivery, Merchant, Store as _, UsedSignature, Write,
};
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
    world.store.commit(Changeset::new().with(Write::UseSignature(used))).await.expect("not used before");
    let tables = world.store.tables();
    (world, tables)
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
    let balance = |merchant, from_revision| Write::SetBalance {
        merchant,
        asset: usdt(),
        balance: Balance::default(),
        from_revision,
    };
    let update = |revision| Write::UpdateInvoice(Box::new(Invoice { revision, ..invoice.clone() }));
    let deliver = |revision| Write::UpdateDelivery(Box::new(Delivery { revision, ..delivery.clone() }));
    let advance = |revision| Write::SetCursor(Cursor { revision, ..cursor.clone() });
    let changed = Deposit { reorged: !deposit.reorged, ..deposit.clone() };
    vec![
        Write::CreateMerchant(merchant.clone()),
        Write::CreateMerchant(Merchant { id: other_merchant(), ..merchant.clone() }),
        Write::CreateMerchant(Merchant { account: 99, ..merchant.clone() }),
        Write::CreateKey(first(tables.keys.values().cloned())),
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
    let merchant = first(tables.merchants.keys().cloned());
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
        .with(balance(1))
        .with(Write::CreateInvoice(Box::new(Invoice { id: other_invoice(), external_id: None, ..invoice })));
    world.store.commit(changes).await.expect("every expectation holds");
    world.store.commit(Changeset::new().with(balance(2))).await.expect("the balance has the next revision");
    let after = world.store.tables();
    assert_eq!(after.deliveries[&delivery.id].revision, next(delivery.revision));
    assert!(after.invoices.contains_key(&other_invoice()));
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
