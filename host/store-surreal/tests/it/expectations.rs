//! Each kind of write: its expectation holds and it is stored, or it does not and nothing of the changeset is stored.

use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::lending::storage::{Item, ItemExpectation, ItemWrite};
use xthonpay_payments::port::store::{
    CommitError, Cursor, Delivery, DeliveryState, Endpoint, EndpointState, FeedPosition, KeptAnswer, Key, Merchant,
    READ_LIMIT_MAX, Store, UsedSignature, Write,
};
use xthonpay_store_surreal::SurrealStore;

use crate::engine::{on_each_engine, outcome, stored, stored_one};
use crate::samples;

fn create_invoice(invoice: &Invoice) -> Write {
    Write::CreateInvoice(Box::new(invoice.clone()))
}

fn update_invoice(invoice: &Invoice) -> Write {
    Write::UpdateInvoice(Box::new(invoice.clone()))
}

fn update_deposit(before: &Deposit, after: &Deposit) -> Write {
    Write::UpdateDeposit { before: Box::new(before.clone()), after: Box::new(after.clone()) }
}

fn update_delivery(delivery: &Delivery) -> Write {
    Write::UpdateDelivery(Box::new(delivery.clone()))
}

fn set_balance(units: u128, from_revision: u64) -> Write {
    Write::SetBalance {
        merchant: samples::merchant_id(1),
        asset: samples::asset(),
        balance: samples::balance(units),
        from_revision,
    }
}

fn named(invoice: Invoice, external_id: &str) -> Invoice {
    Invoice { external_id: Some(external_id.parse().expect("an external id")), ..invoice }
}

/// The write is refused, and so are those before and behind it in the same changeset.
async fn refused_as_a_whole(store: &SurrealStore, write: Write) {
    let described = format!("{write:?}");
    let before = store.unrouted_events(READ_LIMIT_MAX).await.expect("readable");
    let witness = |number| Write::CreateEvent(samples::event(number, 1));
    let changes = [witness(900_001), write, witness(900_002)].into_iter().collect();
    assert_eq!(store.commit(changes).await, Err(CommitError::Refused), "{described}");
    let after = store.unrouted_events(READ_LIMIT_MAX).await.expect("readable");
    assert_eq!(before, after, "{described}");
}

#[tokio::test]
async fn a_merchant_is_new_by_id_and_by_account() {
    on_each_engine(async |store| {
        let first = samples::merchant(1);
        stored_one(store, Write::CreateMerchant(first.clone())).await;
        refused_as_a_whole(store, Write::CreateMerchant(Merchant { account: 2, ..first.clone() })).await;
        let same_account = Merchant { account: 1, ..samples::merchant(2) };
        refused_as_a_whole(store, Write::CreateMerchant(same_account.clone())).await;
        assert_eq!(store.merchant(&same_account.id).await, Ok(None));
        assert_eq!(store.merchant(&first.id).await, Ok(Some(first)));
        // The refused attempts reserved nothing.
        stored_one(store, Write::CreateMerchant(samples::merchant(2))).await;
    })
    .await;
}

#[tokio::test]
async fn records_are_new_by_id() {
    on_each_engine(async |store| {
        let writes = [
            Write::CreateKey(Box::new(samples::key(1))),
            Write::CreateEndpoint(Box::new(samples::endpoint(1))),
            Write::KeepAnswer(Box::new(samples::kept_answer(1))),
            Write::CreateAddress(samples::own_address(1, None)),
            Write::Post(samples::posting(1)),
            Write::UseSignature(samples::used_signature(1)),
            Write::CreateEvent(samples::event(1, 1)),
            Write::CreateDelivery(Box::new(samples::delivery(1))),
            Write::CreateDeposit(samples::deposit(1, None)),
            Write::RecordAttestation(Box::new(samples::attestation(1))),
            create_invoice(&samples::invoice(1)),
        ];
        for write in writes {
            stored_one(store, write.clone()).await;
            refused_as_a_whole(store, write).await;
        }
        let elsewhere = UsedSignature { key: samples::key_id(2), ..samples::used_signature(1) };
        stored_one(store, Write::UseSignature(elsewhere)).await;
        let later = UsedSignature { expires_at: samples::time(9), ..samples::used_signature(1) };
        refused_as_a_whole(store, Write::UseSignature(later)).await;
    })
    .await;
}

#[tokio::test]
async fn an_answer_is_kept_once_for_a_merchant_a_call_and_a_key() {
    on_each_engine(async |store| {
        let first = samples::kept_answer(1);
        let keep = |kept: &KeptAnswer| Write::KeepAnswer(Box::new(kept.clone()));
        stored_one(store, keep(&first)).await;
        let another = KeptAnswer { fingerprint: [9; 32], expires_at: samples::time(9), ..first.clone() };
        refused_as_a_whole(store, keep(&another)).await;
        let others = [
            KeptAnswer { merchant: samples::merchant_id(2), ..first.clone() },
            KeptAnswer { call: "POST /keys".to_owned(), ..first.clone() },
            samples::kept_answer(2),
        ];
        stored(store, others.iter().map(keep)).await;
        for kept in others.iter().chain([&first]) {
            assert_eq!(store.kept_answer(&kept.merchant, &kept.call, &kept.key).await, Ok(Some(kept.clone())));
        }
        assert_eq!(store.kept_answer(&samples::merchant_id(3), &first.call, &first.key).await, Ok(None));
    })
    .await;
}

#[tokio::test]
async fn a_plugins_value_is_written_as_its_expectation_holds() {
    on_each_engine(async |store| {
        let space = samples::space("a", Some(1));
        let write = |expected, becomes: Option<Item>| {
            let (space, key) = (space.clone(), "k".parse().expect("a key"));
            Write::PutItem(Box::new(ItemWrite { space, key, expected, becomes }))
        };
        let item = |value: &str, revision| Some(samples::item(value, revision));
        let key = "k".parse().expect("a key");
        refused_as_a_whole(store, write(ItemExpectation::Revision(1), item("a", 2))).await;
        refused_as_a_whole(store, write(ItemExpectation::Revision(1), None)).await;
        stored_one(store, write(ItemExpectation::Absent, item("a", 2))).await;
        refused_as_a_whole(store, write(ItemExpectation::Absent, item("b", 3))).await;
        stored_one(store, write(ItemExpectation::Revision(2), item("b", 4))).await;
        refused_as_a_whole(store, write(ItemExpectation::Revision(2), None)).await;
        assert_eq!(store.plugin_item(&space, &key).await, Ok(item("b", 4)));
        stored_one(store, write(ItemExpectation::Anything, item("c", 5))).await;
        stored_one(store, write(ItemExpectation::Revision(5), None)).await;
        assert_eq!(store.plugin_item(&space, &key).await, Ok(None));
        stored_one(store, write(ItemExpectation::Anything, None)).await;
    })
    .await;
}

#[tokio::test]
async fn a_key_changes_from_the_revision_below() {
    on_each_engine(async |store| {
        let first = samples::key(1);
        let update = |key: &Key| Write::UpdateKey(Box::new(key.clone()));
        let second = Key { revoked_at: Some(samples::time(5)), revision: 2, ..first.clone() };
        refused_as_a_whole(store, update(&second)).await;
        stored_one(store, Write::CreateKey(Box::new(first.clone()))).await;
        refused_as_a_whole(store, update(&first)).await;
        refused_as_a_whole(store, update(&Key { revision: 3, ..second.clone() })).await;
        stored_one(store, update(&second)).await;
        refused_as_a_whole(store, update(&second)).await;
        assert_eq!(store.key(&first.id).await, Ok(Some(second)));
    })
    .await;
}

#[tokio::test]
async fn the_last_use_of_a_key_is_what_was_noted_last() {
    on_each_engine(async |store| {
        let key = samples::key_id(1);
        let note = |millis| Write::NoteKeyUse { key: samples::key_id(1), at: samples::time(millis) };
        assert_eq!(store.key_used_at(&key).await, Ok(None));
        stored_one(store, note(7)).await;
        assert_eq!(store.key_used_at(&key).await, Ok(Some(samples::time(7))));
        stored(store, [note(9), note(8)]).await;
        assert_eq!(store.key_used_at(&key).await, Ok(Some(samples::time(8))), "whatever the clock says");
        assert_eq!(store.key_used_at(&samples::key_id(2)).await, Ok(None));
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_changes_from_the_revision_below() {
    on_each_engine(async |store| {
        let first = samples::endpoint(1);
        let update = |endpoint: &Endpoint| Write::UpdateEndpoint(Box::new(endpoint.clone()));
        let state = EndpointState::Disabled { reason: "it said \"410\"".to_owned(), at: samples::time(3) };
        let second = Endpoint { state, revision: 2, ..first.clone() };
        refused_as_a_whole(store, update(&second)).await;
        stored_one(store, Write::CreateEndpoint(Box::new(first.clone()))).await;
        refused_as_a_whole(store, update(&first)).await;
        stored_one(store, update(&second)).await;
        refused_as_a_whole(store, update(&second)).await;
        assert_eq!(store.endpoint(&first.id).await, Ok(Some(second)));
    })
    .await;
}

#[tokio::test]
async fn an_external_id_belongs_to_one_invoice_of_a_merchant() {
    on_each_engine(async |store| {
        let tricky = "order `1`; DELETE invoice; a:b 🧾";
        let first = named(samples::invoice(1), tricky);
        stored_one(store, create_invoice(&first)).await;
        let second = named(samples::invoice(2), tricky);
        refused_as_a_whole(store, create_invoice(&second)).await;
        assert_eq!(store.invoice(&second.id).await, Ok(None));
        // Another merchant may use it, and this merchant another one.
        stored_one(store, create_invoice(&Invoice { merchant: samples::merchant_id(2), ..second })).await;
        stored_one(store, create_invoice(&named(samples::invoice(3), "order `1`"))).await;
        let external_id = tricky.parse().expect("an external id");
        assert_eq!(store.invoice_by_external_id(&first.merchant, &external_id).await, Ok(Some(first)));
    })
    .await;
}

#[tokio::test]
async fn an_invoice_changes_from_the_revision_below() {
    on_each_engine(async |store| {
        let first = samples::invoice(1);
        refused_as_a_whole(store, update_invoice(&samples::next_revision(&first))).await;
        stored_one(store, create_invoice(&first)).await;
        refused_as_a_whole(store, update_invoice(&first)).await;
        let second = samples::next_revision(&first);
        stored_one(store, update_invoice(&second)).await;
        refused_as_a_whole(store, update_invoice(&second)).await;
        refused_as_a_whole(store, update_invoice(&Invoice { revision: 4, ..second.clone() })).await;
        assert_eq!(store.invoice(&first.id).await, Ok(Some(second)));
    })
    .await;
}

#[tokio::test]
async fn a_deposit_changes_from_exactly_what_was_read() {
    on_each_engine(async |store| {
        let seen = samples::deposit(1, Some(samples::invoice_id(1)));
        let done = seen.finalised().expect("seen");
        refused_as_a_whole(store, update_deposit(&seen, &done)).await;
        stored_one(store, Write::CreateDeposit(seen.clone())).await;
        let other_block = Deposit { block: samples::block(11), ..seen.clone() };
        refused_as_a_whole(store, update_deposit(&other_block, &done)).await;
        let other_amount = Deposit { confirmations_required: 2, ..seen.clone() };
        refused_as_a_whole(store, update_deposit(&other_amount, &done)).await;
        stored_one(store, update_deposit(&seen, &done)).await;
        refused_as_a_whole(store, update_deposit(&seen, &done)).await;
        assert_eq!(store.deposit(&seen.id).await, Ok(Some(done)));
    })
    .await;
}

#[tokio::test]
async fn a_balance_changes_from_the_revision_that_was_read() {
    on_each_engine(async |store| {
        let (merchant, asset) = (samples::merchant_id(1), samples::asset());
        assert_eq!(store.balance(&merchant, &asset).await, Ok((samples::balance(0), 0)));
        refused_as_a_whole(store, set_balance(5, 1)).await;
        stored_one(store, set_balance(5, 0)).await;
        refused_as_a_whole(store, set_balance(6, 0)).await;
        stored_one(store, set_balance(7, 1)).await;
        refused_as_a_whole(store, set_balance(8, 1)).await;
        refused_as_a_whole(store, set_balance(8, 3)).await;
        assert_eq!(store.balance(&merchant, &asset).await, Ok((samples::balance(7), 2)));
        assert_eq!(outcome(store, set_balance(8, u64::MAX)).await, Err(CommitError::Refused));
    })
    .await;
}

#[tokio::test]
async fn an_event_is_routed_if_there_is_one() {
    on_each_engine(async |store| {
        let event = samples::event(1, 1);
        refused_as_a_whole(store, Write::MarkRouted(event.id.clone())).await;
        stored_one(store, Write::CreateEvent(event.clone())).await;
        stored_one(store, Write::MarkRouted(event.id.clone())).await;
        assert_eq!(store.unrouted_events(9).await, Ok(Vec::new()));
        // Saying it again changes nothing.
        stored_one(store, Write::MarkRouted(event.id.clone())).await;
        refused_as_a_whole(store, Write::CreateEvent(event)).await;
    })
    .await;
}

#[tokio::test]
async fn a_delivery_changes_from_the_revision_below() {
    on_each_engine(async |store| {
        let first = samples::delivery(1);
        let second = Delivery { attempts: 1, last_status: Some(503), revision: 2, ..first.clone() };
        refused_as_a_whole(store, update_delivery(&second)).await;
        stored_one(store, Write::CreateDelivery(Box::new(first))).await;
        stored_one(store, update_delivery(&second)).await;
        refused_as_a_whole(store, update_delivery(&second)).await;
        let third = Delivery { state: DeliveryState::Delivered, revision: 3, ..second };
        stored_one(store, update_delivery(&third)).await;
        assert_eq!(store.next_delivery_at().await, Ok(None));
    })
    .await;
}

#[tokio::test]
async fn a_cursor_begins_at_one_and_grows_by_one() {
    on_each_engine(async |store| {
        refused_as_a_whole(store, Write::SetCursor(samples::cursor(2))).await;
        stored_one(store, Write::SetCursor(samples::cursor(1))).await;
        refused_as_a_whole(store, Write::SetCursor(samples::cursor(1))).await;
        let second = Cursor { tip: samples::block(21), ..samples::cursor(2) };
        stored_one(store, Write::SetCursor(second.clone())).await;
        refused_as_a_whole(store, Write::SetCursor(samples::cursor(2))).await;
        assert_eq!(store.cursor(&samples::chain()).await, Ok(Some(second)));
    })
    .await;
}

#[tokio::test]
async fn a_block_replaces_the_one_at_its_height() {
    on_each_engine(async |store| {
        let put = |block| Write::PutBlock { chain: samples::chain(), block };
        let first = samples::block(7);
        let second = xthonpay_domain::block::BlockRef { hash: samples::block(99).hash, ..first };
        stored_one(store, put(first)).await;
        stored_one(store, put(second)).await;
        assert_eq!(store.block(&samples::chain(), first.number).await, Ok(Some(second)));
    })
    .await;
}

#[tokio::test]
async fn writes_to_one_record_are_made_one_after_the_other() {
    on_each_engine(async |store| {
        let first = samples::invoice(1);
        let second = samples::next_revision(&first);
        let third = samples::next_revision(&second);
        let event = samples::event(1, 1);
        stored(
            store,
            [
                create_invoice(&first),
                update_invoice(&second),
                update_invoice(&third),
                set_balance(1, 0),
                set_balance(2, 1),
                Write::CreateEvent(event.clone()),
                Write::MarkRouted(event.id),
            ],
        )
        .await;
        assert_eq!(store.invoice(&first.id).await, Ok(Some(third.clone())));
        assert_eq!(store.balance(&samples::merchant_id(1), &samples::asset()).await, Ok((samples::balance(2), 2)));
        assert_eq!(store.unrouted_events(9).await, Ok(Vec::new()));
        // Two steps from a stored revision, and two of which the second does not follow from the first.
        let fourth = samples::next_revision(&third);
        let fifth = samples::next_revision(&fourth);
        stored(store, [update_invoice(&fourth), update_invoice(&fifth)]).await;
        let sixth = samples::next_revision(&fifth);
        let changes = [update_invoice(&sixth), update_invoice(&sixth)].into_iter().collect();
        assert_eq!(store.commit(changes).await, Err(CommitError::Refused));
        assert_eq!(store.invoice(&first.id).await, Ok(Some(fifth)));
    })
    .await;
}

#[tokio::test]
async fn a_changeset_of_every_kind_is_stored_as_a_whole() {
    on_each_engine(async |store| {
        let seen = samples::deposit(1, Some(samples::invoice_id(1)));
        stored(store, [Write::CreateDeposit(seen.clone()), Write::CreateEvent(samples::event(2, 1))]).await;
        let done = seen.finalised().expect("seen");
        let all = |balance_revision| {
            vec![
                Write::CreateMerchant(samples::merchant(1)),
                Write::CreateKey(Box::new(samples::key(1))),
                Write::NoteKeyUse { key: samples::key_id(1), at: samples::time(1) },
                Write::CreateEndpoint(Box::new(samples::endpoint(1))),
                Write::KeepAnswer(Box::new(samples::kept_answer(1))),
                Write::CreateAddress(samples::own_address(1, None)),
                create_invoice(&named(samples::invoice(1), "order")),
                Write::CreateDeposit(samples::deposit(2, None)),
                update_deposit(&seen, &done),
                Write::Post(samples::posting(1)),
                Write::CreateEvent(samples::event(1, 1)),
                Write::MarkRouted(samples::event(2, 1).id),
                Write::CreateDelivery(Box::new(samples::delivery(1))),
                Write::PutBlock { chain: samples::chain(), block: samples::block(1) },
                Write::SetCursor(samples::cursor(1)),
                Write::UseSignature(samples::used_signature(1)),
                set_balance(5, balance_revision),
            ]
        };
        // The last one is refused, so all are.
        let refused = store.commit(all(9).into_iter().collect()).await;
        assert_eq!(refused, Err(CommitError::Refused));
        assert_eq!(store.merchant(&samples::merchant_id(1)).await, Ok(None));
        assert_eq!(store.key(&samples::key_id(1)).await, Ok(None));
        assert_eq!(store.keys(&samples::merchant_id(1), None, 9).await, Ok(Vec::new()));
        assert_eq!(store.key_used_at(&samples::key_id(1)).await, Ok(None));
        assert_eq!(store.endpoints_of(&samples::merchant_id(1)).await, Ok(Vec::new()));
        let feed = store.feed(&samples::merchant_id(1), FeedPosition(0), 9).await;
        assert_eq!(feed.map(|feed| feed.len()), Ok(1));
        assert_eq!(store.address(&samples::address(1)).await, Ok(None));
        assert_eq!(store.deposit_address(&samples::merchant_id(1)).await, Ok(None));
        assert_eq!(store.invoice(&samples::invoice_id(1)).await, Ok(None));
        assert_eq!(store.deposit(&samples::deposit_id(2)).await, Ok(None));
        assert_eq!(store.deposit(&seen.id).await, Ok(Some(seen.clone())));
        assert_eq!(store.unrouted_events(9).await, Ok(vec![samples::event(2, 1)]));
        assert_eq!(store.next_delivery_at().await, Ok(None));
        assert_eq!(store.block(&samples::chain(), samples::block(1).number).await, Ok(None));
        assert_eq!(store.cursor(&samples::chain()).await, Ok(None));

        stored(store, all(0)).await;
        assert_eq!(store.merchant(&samples::merchant_id(1)).await, Ok(Some(samples::merchant(1))));
        assert_eq!(store.deposit(&seen.id).await, Ok(Some(done.clone())));
        assert_eq!(store.unrouted_events(9).await, Ok(vec![samples::event(1, 1)]));
        assert_eq!(store.next_delivery_at().await, Ok(Some(Timestamp::from_millis(1))));
        assert_eq!(store.balance(&samples::merchant_id(1), &samples::asset()).await, Ok((samples::balance(5), 1)));
    })
    .await;
}

#[tokio::test]
async fn nothing_to_store_is_stored_at_once() {
    on_each_engine(async |store| assert_eq!(store.commit([].into_iter().collect()).await, Ok(()))).await;
}
