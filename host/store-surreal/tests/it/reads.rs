//! Records by id, numbers, the probe, and forgetting.

use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::lending::storage::{ItemExpectation, ItemWrite, Space};
use xthonpay_payments::port::store::{CommitError, Counter, Cursor, FeedPosition, Freeze, Store, Write};

use crate::engine::{on_each_engine, outcome, stored, stored_one};
use crate::samples;

#[tokio::test]
async fn what_is_not_there_is_none() {
    on_each_engine(async |store| {
        assert_eq!(store.merchant(&samples::merchant_id(1)).await, Ok(None));
        assert_eq!(store.key(&samples::key_id(1)).await, Ok(None));
        assert_eq!(store.invoice(&samples::invoice_id(1)).await, Ok(None));
        let external_id = "order".parse().expect("an external id");
        assert_eq!(store.invoice_by_external_id(&samples::merchant_id(1), &external_id).await, Ok(None));
        assert_eq!(store.deposit(&samples::deposit_id(1)).await, Ok(None));
        assert_eq!(store.deposits_of_invoice(&samples::invoice_id(1)).await, Ok(Vec::new()));
        assert_eq!(store.address(&samples::address(1)).await, Ok(None));
        assert_eq!(store.deposit_address(&samples::merchant_id(1)).await, Ok(None));
        assert_eq!(store.addresses(None, 5).await, Ok(Vec::new()));
        assert_eq!(store.cursor(&samples::chain()).await, Ok(None));
        assert_eq!(store.block(&samples::chain(), BlockNumber(1)).await, Ok(None));
        assert_eq!(store.unrouted_events(5).await, Ok(Vec::new()));
        assert_eq!(store.due_deliveries(Timestamp::from_millis(u64::MAX), None, 5).await, Ok(Vec::new()));
        assert_eq!(store.next_delivery_at().await, Ok(None));
        assert_eq!(store.address_list(None, 5).await, Ok(Vec::new()));
        assert_eq!(store.next_number(&Counter::AddressIndex(samples::merchant_id(1))).await, Ok(0));
        assert_eq!(store.merchants(None, 5).await, Ok(Vec::new()));
        assert_eq!(store.deposits(None, 5).await, Ok(Vec::new()));
        assert_eq!(store.suspended_deposits(None, 5).await, Ok(Vec::new()));
        assert_eq!(store.posting(samples::posting(1).id()).await, Ok(None));
        assert_eq!(store.postings(None, 5).await, Ok(Vec::new()));
        assert_eq!(store.balances(None, 5).await, Ok(Vec::new()));
        assert_eq!(store.event(&samples::event_id(1)).await, Ok(None));
        let merchant = samples::merchant_id(1);
        assert_eq!(store.keys(&merchant, None, 5).await, Ok(Vec::new()));
        assert_eq!(store.key_used_at(&samples::key_id(1)).await, Ok(None));
        assert_eq!(store.endpoint(&samples::endpoint_id(1)).await, Ok(None));
        assert_eq!(store.endpoints_of(&merchant).await, Ok(Vec::new()));
        assert_eq!(store.endpoints(None, 5).await, Ok(Vec::new()));
        let kept = samples::kept_answer(1);
        assert_eq!(store.kept_answer(&kept.merchant, &kept.call, &kept.key).await, Ok(None));
        assert_eq!(store.feed(&merchant, FeedPosition(0), 5).await, Ok(Vec::new()));
        assert_eq!(store.payments(&merchant, &Default::default(), 5).await, Ok(Vec::new()));
        assert_eq!(store.delivery(&samples::delivery(1).id).await, Ok(None));
        assert_eq!(store.deliveries(&merchant, &Default::default(), 5).await, Ok(Vec::new()));
    })
    .await;
}

#[tokio::test]
async fn keys_come_back_revoked_or_not() {
    on_each_engine(async |store| {
        let key = samples::key(1);
        let revoked = xthonpay_payments::port::store::Key { revoked_at: Some(samples::time(5)), ..samples::key(2) };
        stored(store, [&key, &revoked].map(|key| Write::CreateKey(Box::new(key.clone())))).await;
        assert_eq!(store.key(&key.id).await, Ok(Some(key)));
        assert_eq!(store.key(&revoked.id).await, Ok(Some(revoked)));
    })
    .await;
}

#[tokio::test]
async fn a_deposit_address_is_the_one_without_an_invoice() {
    on_each_engine(async |store| {
        let own = samples::own_address(3, None);
        stored(
            store,
            [
                Write::CreateAddress(samples::own_address(1, Some(samples::invoice_id(1)))),
                Write::CreateAddress(own.clone()),
                Write::CreateAddress(samples::own_address(5, Some(samples::invoice_id(2)))),
            ],
        )
        .await;
        assert_eq!(store.deposit_address(&samples::merchant_id(1)).await, Ok(Some(own.clone())));
        assert_eq!(store.deposit_address(&samples::merchant_id(2)).await, Ok(None));
        assert_eq!(store.address(&own.address).await, Ok(Some(own)));
    })
    .await;
}

#[tokio::test]
async fn numbers_are_consecutive_and_each_counter_has_its_own() {
    on_each_engine(async |store| {
        let (one, two) =
            (Counter::AddressIndex(samples::merchant_id(1)), Counter::AddressIndex(samples::merchant_id(2)));
        assert_eq!(store.take_numbers(&one, 3).await, Ok(0));
        assert_eq!(store.take_numbers(&one, 1).await, Ok(3));
        assert_eq!(store.next_number(&one).await, Ok(4), "looking takes nothing");
        assert_eq!(store.next_number(&one).await, Ok(4));
        assert_eq!(store.next_number(&two).await, Ok(0));
        assert_eq!(store.take_numbers(&two, 10).await, Ok(0));
        assert_eq!(store.take_numbers(&one, 1).await, Ok(4));
    })
    .await;
}

#[tokio::test]
async fn an_event_is_found_routed_or_not() {
    on_each_engine(async |store| {
        let event = samples::event(1, 1);
        stored_one(store, Write::CreateEvent(event.clone())).await;
        assert_eq!(store.event(&event.id).await, Ok(Some(event.clone())));
        stored_one(store, Write::MarkRouted(event.id.clone())).await;
        assert_eq!(store.event(&event.id).await, Ok(Some(event)));
    })
    .await;
}

#[tokio::test]
async fn a_chain_is_frozen_and_resumed_from_the_revision_that_was_read() {
    on_each_engine(async |store| {
        let freeze = Freeze { reason: "block 18 \"left\" the chain; 5 wei".to_owned(), at: samples::time(7) };
        let running = samples::cursor(1);
        let frozen = Cursor { frozen: Some(freeze), ..samples::cursor(2) };
        stored_one(store, Write::SetCursor(running.clone())).await;
        stored_one(store, Write::SetCursor(frozen.clone())).await;
        assert_eq!(store.cursor(&running.chain).await, Ok(Some(frozen.clone())));
        let late = outcome(store, Write::SetCursor(samples::cursor(2))).await;
        assert_eq!(late, Err(CommitError::Refused), "a step that does not know of the freeze");
        assert_eq!(store.cursor(&running.chain).await, Ok(Some(frozen)));
        let resumed = samples::cursor(3);
        stored_one(store, Write::SetCursor(resumed.clone())).await;
        assert_eq!(store.cursor(&running.chain).await, Ok(Some(resumed)));
    })
    .await;
}

#[tokio::test]
async fn the_probe_passes_again_and_again() {
    on_each_engine(async |store| {
        for _ in 0..3 {
            assert_eq!(store.probe().await, Ok(()));
        }
    })
    .await;
}

#[tokio::test]
async fn forgets_what_expired_and_what_is_deep_enough() {
    on_each_engine(async |store| {
        let chain = samples::chain();
        let put = |number| Write::PutBlock { chain: samples::chain(), block: samples::block(number) };
        let elsewhere = Write::PutBlock { chain: "other".parse().expect("a chain"), block: samples::block(1) };
        stored(store, (1..=600).map(|number| Write::UseSignature(samples::used_signature(number)))).await;
        stored(store, (1..=600).map(|number| Write::KeepAnswer(Box::new(samples::kept_answer(number))))).await;
        stored(store, (1..=600).map(put).chain([elsewhere])).await;

        let mut went = Vec::new();
        loop {
            let count = store.forget(samples::time(590), &chain, BlockNumber(595)).await.expect("forgettable");
            if count == 0 {
                break;
            }
            went.push(count);
        }
        assert_eq!(went.iter().sum::<usize>(), 589 + 589 + 594);
        assert!(went.len() > 1, "the work of one call is bounded: {went:?}");

        // What is kept still counts, and what is forgotten could be used again: its time stamp is refused by then.
        assert!(outcome(store, Write::UseSignature(samples::used_signature(590))).await.is_err());
        stored_one(store, Write::UseSignature(samples::used_signature(589))).await;
        let kept = samples::kept_answer(590);
        assert_eq!(store.kept_answer(&kept.merchant, &kept.call, &kept.key).await, Ok(Some(kept)));
        let forgotten = samples::kept_answer(589);
        assert_eq!(store.kept_answer(&forgotten.merchant, &forgotten.call, &forgotten.key).await, Ok(None));
        stored_one(store, Write::KeepAnswer(Box::new(forgotten))).await;
        assert_eq!(store.block(&chain, BlockNumber(594)).await, Ok(None));
        assert_eq!(store.block(&chain, BlockNumber(595)).await, Ok(Some(samples::block(595))));
        let other = "other".parse().expect("a chain");
        assert_eq!(store.block(&other, BlockNumber(1)).await, Ok(Some(samples::block(1))));
    })
    .await;
}

#[tokio::test]
async fn values_of_a_space_are_listed_in_order_and_no_others() {
    on_each_engine(async |store| {
        let put = |space: &Space, key: &str| {
            let (space, key) = (space.clone(), key.parse().expect("a key"));
            let becomes = Some(samples::item("v", 1));
            Write::PutItem(Box::new(ItemWrite { space, key, expected: ItemExpectation::Anything, becomes }))
        };
        let own = samples::space("a", Some(1));
        let others = [samples::space("a", Some(2)), samples::space("a", None), samples::space("b", Some(1))];
        stored(store, others.iter().map(|space| put(space, "k/1"))).await;
        stored(store, ["k/2", "k/10", "k", "l", "k/é", "k/\u{10fffe}"].map(|key| put(&own, key))).await;
        let list = async |prefix: &str, after: Option<&str>, limit: usize| {
            let found = store.plugin_items(&own, prefix, after, limit).await.expect("reads");
            found.into_iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(list("", None, 9).await, ["k", "k/10", "k/2", "k/é", "k/\u{10fffe}", "l"]);
        assert_eq!(list("k/", None, 9).await, ["k/10", "k/2", "k/é", "k/\u{10fffe}"]);
        assert_eq!(list("k/", Some("k/10"), 1).await, ["k/2"]);
        assert_eq!(list("k/", Some("a"), 1).await, ["k/10"]);
        assert_eq!(list("k/", Some("z"), 9).await, [""; 0]);
        assert_eq!(list("m", None, 9).await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn uses_of_signers_come_back_in_the_order_of_their_time() {
    on_each_engine(async |store| {
        let uses: Vec<_> = [3, 1, 2].map(samples::attestation).into();
        stored(store, uses.iter().map(|used| Write::RecordAttestation(Box::new(used.clone())))).await;
        let all = store.attestations(None, 9).await.expect("reads");
        assert_eq!(all, [1, 2, 3].map(samples::attestation));
        let behind = Some((all[0].statement.at, all[0].id.as_str()));
        assert_eq!(store.attestations(behind, 1).await, Ok(vec![samples::attestation(2)]));
    })
    .await;
}
