//! Lists: their order, their filters, their pages, and that records enter and leave them as they change.

use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::id::{DeliveryId, DepositId, InvoiceId, MerchantId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::assessment::{Assessment, InvoiceState};
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::store::{
    Delivery, DeliveryFilter, DeliverySelection, DeliveryState, Endpoint, EndpointState, InvoiceFilter, Key,
    PaymentFilter, PaymentSelection, READ_LIMIT_MAX, Store, Write,
};
use xthonpay_store_surreal::SurrealStore;

use crate::engine::{on_each_engine, stored, stored_one};
use crate::samples;

fn create(invoice: &Invoice) -> Write {
    Write::CreateInvoice(Box::new(invoice.clone()))
}

/// The next revision in another state.
fn moved(invoice: &Invoice, state: InvoiceState, awaits_ruling: bool) -> Invoice {
    let assessment = Assessment { state, awaits_ruling, ..invoice.assessment };
    Invoice { assessment, ..samples::next_revision(invoice) }
}

fn ids<'a>(invoices: impl IntoIterator<Item = &'a Invoice>) -> Vec<InvoiceId> {
    invoices.into_iter().map(|invoice| invoice.id.clone()).collect()
}

#[tokio::test]
async fn invoices_come_newest_first_and_page_without_gap_or_overlap() {
    on_each_engine(async |store| {
        // Three at each of ten times, so that pages end among invoices of one time.
        let mut all: Vec<Invoice> = (0..30)
            .map(|number| Invoice { created_at: samples::time(number / 3), ..samples::invoice(number) })
            .collect();
        stored(store, all.iter().map(create)).await;
        stored_one(store, create(&Invoice { merchant: samples::merchant_id(2), ..samples::invoice(99) })).await;
        all.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));

        let merchant = samples::merchant_id(1);
        let mut filter = InvoiceFilter::default();
        let mut listed = Vec::new();
        loop {
            let page = store.invoices(&merchant, &filter, 7).await.expect("readable");
            let Some(last) = page.last() else { break };
            filter.after = Some((last.created_at, last.id.clone()));
            listed.extend(page);
        }
        assert_eq!(listed, all);

        filter = InvoiceFilter {
            created_from: Some(samples::time(2)),
            created_to: Some(samples::time(4)),
            ..InvoiceFilter::default()
        };
        let within = |invoice: &&Invoice| (2..=4).contains(&invoice.created_at.as_millis());
        let expected = ids(all.iter().filter(within));
        assert_eq!(ids(&store.invoices(&merchant, &filter, 100).await.expect("readable")), expected);
        filter.after = Some((all[0].created_at, all[0].id.clone()));
        assert_eq!(ids(&store.invoices(&merchant, &filter, 100).await.expect("readable")), expected);
        filter.after = Some((samples::time(3), samples::invoice_id(10)));
        let behind = ids(all.iter().filter(within).skip_while(|invoice| invoice.id != samples::invoice_id(10)).skip(1));
        assert_eq!(ids(&store.invoices(&merchant, &filter, 100).await.expect("readable")), behind);
        filter.after = Some((samples::time(1), samples::invoice_id(0)));
        assert_eq!(store.invoices(&merchant, &filter, 100).await, Ok(Vec::new()));
        assert_eq!(store.invoices(&merchant, &InvoiceFilter::default(), 0).await, Ok(Vec::new()));
    })
    .await;
}

#[tokio::test]
async fn invoices_are_filtered_by_state_and_name() {
    on_each_engine(async |store| {
        let merchant = samples::merchant_id(1);
        let in_state = |state| InvoiceFilter { state: Some(state), ..InvoiceFilter::default() };
        let named = Invoice { external_id: Some("order-1".parse().expect("an external id")), ..samples::invoice(1) };
        let invoices = [named.clone(), samples::invoice(2), samples::invoice(3)];
        stored(store, invoices.iter().map(create)).await;
        let paid = moved(&invoices[1], InvoiceState::Paid, false);
        stored_one(store, Write::UpdateInvoice(Box::new(paid.clone()))).await;

        let pending = store.invoices(&merchant, &in_state(InvoiceState::Pending), 9).await.expect("readable");
        assert_eq!(ids(&pending), ids([&invoices[2], &invoices[0]]));
        assert_eq!(store.invoices(&merchant, &in_state(InvoiceState::Paid), 9).await, Ok(vec![paid.clone()]));
        assert_eq!(store.invoices(&merchant, &in_state(InvoiceState::Expired), 9).await, Ok(Vec::new()));
        let everything = store.invoices(&merchant, &InvoiceFilter::default(), 9).await.expect("readable");
        assert_eq!(ids(&everything), ids([&invoices[2], &paid, &invoices[0]]));
        let last = InvoiceFilter {
            created_from: Some(samples::time(1)),
            created_to: Some(samples::time(1)),
            ..in_state(InvoiceState::Pending)
        };
        assert_eq!(store.invoices(&merchant, &last, 9).await, Ok(vec![named.clone()]));

        let by_name = InvoiceFilter { external_id: named.external_id.clone(), ..InvoiceFilter::default() };
        let unpaid = InvoiceFilter { state: Some(InvoiceState::Paid), ..by_name.clone() };
        let later = InvoiceFilter { created_from: Some(samples::time(2)), ..by_name.clone() };
        let earlier = InvoiceFilter { created_to: Some(samples::time(0)), ..by_name.clone() };
        let behind_itself = InvoiceFilter { after: Some((named.created_at, named.id.clone())), ..by_name.clone() };
        for nothing in [unpaid, later, earlier, behind_itself] {
            assert_eq!(store.invoices(&merchant, &nothing, 9).await, Ok(Vec::new()), "{nothing:?}");
        }
        assert_eq!(store.invoices(&merchant, &by_name, 9).await, Ok(vec![named]));
        assert_eq!(store.invoices(&samples::merchant_id(2), &by_name, 9).await, Ok(Vec::new()));
    })
    .await;
}

#[tokio::test]
async fn invoices_past_their_expiry_are_those_that_still_await_it() {
    on_each_engine(async |store| {
        let chain = samples::chain();
        let invoices: Vec<Invoice> = [3, 1, 2].into_iter().map(samples::invoice).collect();
        stored(store, invoices.iter().map(create)).await;
        let past = async |millis| {
            ids(&store.invoices_past_expiry(&chain, Timestamp::from_millis(millis), None, 9).await.expect("readable"))
        };
        assert_eq!(past(1_001).await, Vec::new(), "the moment of expiry is in time");
        assert_eq!(past(1_002).await, ids([&invoices[1]]));
        assert_eq!(past(5_000).await, ids([&invoices[1], &invoices[2], &invoices[0]]), "the earliest expiry first");
        assert_eq!(store.invoices_past_expiry(&chain, samples::time(5_000), None, 1).await.expect("readable").len(), 1);
        let other = "other".parse().expect("a chain");
        assert_eq!(store.invoices_past_expiry(&other, samples::time(5_000), None, 9).await, Ok(Vec::new()));

        let confirming = moved(&invoices[1], InvoiceState::Confirming, false);
        stored_one(store, Write::UpdateInvoice(Box::new(confirming.clone()))).await;
        assert_eq!(past(5_000).await, ids([&invoices[2], &invoices[0]]));
        let again = moved(&confirming, InvoiceState::PartiallyPaid, false);
        stored_one(store, Write::UpdateInvoice(Box::new(again))).await;
        assert_eq!(past(5_000).await, ids([&invoices[1], &invoices[2], &invoices[0]]), "a payment left the chain");
    })
    .await;
}

#[tokio::test]
async fn invoices_past_their_expiry_page_by_expiry_and_id() {
    on_each_engine(async |store| {
        let chain = samples::chain();
        // Two of them expire at the same time.
        let twin = Invoice { terms: samples::invoice(2).terms, ..samples::invoice(9) };
        let all = [samples::invoice(1), samples::invoice(2), twin, samples::invoice(3)];
        stored(store, all.iter().map(create)).await;
        let place = |invoice: &Invoice| (invoice.terms.expires_at, invoice.id.clone());
        let page = async |millis, after: Option<(Timestamp, InvoiceId)>, limit| {
            let found = store.invoices_past_expiry(&chain, samples::time(millis), after.as_ref(), limit).await;
            ids(&found.expect("readable"))
        };
        assert_eq!(page(5_000, None, 2).await, ids(&all[..2]));
        assert_eq!(page(5_000, Some(place(&all[1])), 9).await, ids(&all[2..]), "among those of one time");
        assert_eq!(page(1_003, Some(place(&all[0])), 9).await, ids(&all[1..3]), "up to the time");
        assert_eq!(page(5_000, Some(place(&all[3])), 9).await, Vec::new());
        assert_eq!(page(1_002, Some(place(&all[3])), 9).await, Vec::new(), "a place behind the time");
        assert_eq!(page(u64::MAX, Some(place(&all[0])), 9).await, ids(&all[1..]), "the end of time");
    })
    .await;
}

#[tokio::test]
async fn invoices_that_await_a_ruling_page_by_id() {
    on_each_engine(async |store| {
        let invoices: Vec<Invoice> = (1..=5).map(samples::invoice).collect();
        stored(store, invoices.iter().map(create)).await;
        assert_eq!(store.invoices_awaiting_ruling(None, 9).await, Ok(Vec::new()));
        let waiting: Vec<Invoice> =
            invoices.iter().map(|invoice| moved(invoice, InvoiceState::Confirming, true)).collect();
        stored(store, waiting.iter().map(|invoice| Write::UpdateInvoice(Box::new(invoice.clone())))).await;
        assert_eq!(store.invoices_awaiting_ruling(None, 2).await, Ok(waiting[..2].to_vec()));
        assert_eq!(store.invoices_awaiting_ruling(Some(&waiting[1].id), 9).await, Ok(waiting[2..].to_vec()));
        assert_eq!(store.invoices_awaiting_ruling(Some(&waiting[4].id), 9).await, Ok(Vec::new()));

        let paid = moved(&waiting[0], InvoiceState::Paid, false);
        stored_one(store, Write::UpdateInvoice(Box::new(paid))).await;
        assert_eq!(store.invoices_awaiting_ruling(None, 9).await, Ok(waiting[1..].to_vec()));
    })
    .await;
}

#[tokio::test]
async fn deposits_are_seen_until_they_are_final_or_orphaned() {
    on_each_engine(async |store| {
        let chain = samples::chain();
        let invoice = samples::invoice_id(1);
        let deposits: Vec<Deposit> =
            (1..=1_200).map(|number| samples::deposit(number, Some(invoice.clone()))).collect();
        stored(store, deposits.iter().cloned().map(Write::CreateDeposit)).await;
        let sorted = |mut deposits: Vec<Deposit>| {
            deposits.sort_by(|a, b| a.id.cmp(&b.id));
            deposits
        };
        assert!(deposits.len() > READ_LIMIT_MAX);
        assert_eq!(store.seen_deposits(&chain).await.map(sorted), Ok(sorted(deposits.clone())), "all of them");
        assert_eq!(store.deposits_of_invoice(&invoice).await.map(sorted), Ok(sorted(deposits.clone())));
        assert_eq!(store.seen_deposits(&"other".parse().expect("a chain")).await, Ok(Vec::new()));

        let done: Vec<Deposit> = deposits[..700].iter().filter_map(Deposit::finalised).collect();
        let gone: Vec<Deposit> = deposits[700..].iter().filter_map(Deposit::orphaned).collect();
        let after = || done.iter().chain(&gone);
        let update = |(before, after): (&Deposit, &Deposit)| Write::UpdateDeposit {
            before: Box::new(before.clone()),
            after: Box::new(after.clone()),
        };
        stored(store, deposits.iter().zip(after()).map(update)).await;
        assert_eq!(store.seen_deposits(&chain).await, Ok(Vec::new()));
        assert_eq!(store.deposits_of_invoice(&invoice).await.map(sorted), Ok(sorted(after().cloned().collect())));

        let back = Deposit { state: xthonpay_domain::deposit::DepositState::Seen, ..gone[0].clone() };
        stored_one(store, update((&gone[0], &back))).await;
        assert_eq!(store.seen_deposits(&chain).await, Ok(vec![back]));
    })
    .await;
}

#[tokio::test]
async fn addresses_page_in_their_own_order() {
    on_each_engine(async |store| {
        let mut all: Vec<_> = [5, 300, 2, 70_000, 1].map(|number| samples::own_address(number, None)).to_vec();
        stored(store, all.iter().cloned().map(Write::CreateAddress)).await;
        all.sort_by_key(|own| own.address);
        let mut listed = Vec::new();
        let mut after = None;
        loop {
            let page = store.addresses(after, 2).await.expect("readable");
            let Some(last) = page.last() else { break };
            after = Some(last.address);
            listed.extend(page);
        }
        assert_eq!(listed, all);

        let bare: Vec<_> = all.iter().map(|own| own.address).collect();
        assert_eq!(store.address_list(None, 9).await, Ok(bare.clone()));
        assert_eq!(store.address_list(None, 2).await, Ok(bare[..2].to_vec()));
        assert_eq!(store.address_list(Some(bare[1]), 9).await, Ok(bare[2..].to_vec()));
        assert_eq!(store.address_list(Some(bare[4]), 9).await, Ok(Vec::new()));
    })
    .await;
}

#[tokio::test]
async fn events_come_oldest_first_until_they_are_routed() {
    on_each_engine(async |store| {
        let events = [samples::event(3, 1), samples::event(1, 1), samples::event(2, 1)];
        stored(store, events.iter().cloned().map(Write::CreateEvent)).await;
        let [third, first, second] = events;
        assert_eq!(store.unrouted_events(2).await, Ok(vec![first.clone(), second.clone()]));
        stored_one(store, Write::MarkRouted(first.id)).await;
        assert_eq!(store.unrouted_events(9).await, Ok(vec![second, third]));
    })
    .await;
}

#[tokio::test]
async fn events_behind_a_place_are_those_that_are_not_routed() {
    on_each_engine(async |store| {
        // Two of one time, which the sequence and then the id put in order.
        let mut events = [samples::event(1, 1), samples::event(2, 1), samples::event(3, 1), samples::event(4, 1)];
        events[2].at = events[1].at;
        let place = |event: &xthonpay_domain::event::Event| (event.at, event.sequence, event.id.clone());
        events.sort_by_key(place);
        stored(store, events.iter().cloned().map(Write::CreateEvent)).await;
        for (number, event) in (1..).zip(&events) {
            let behind = store.unrouted_events_behind(&place(event), 9).await;
            assert_eq!(behind, Ok(events[number..].to_vec()));
        }
        assert_eq!(store.unrouted_events_behind(&place(&events[0]), 1).await, Ok(vec![events[1].clone()]));
        stored_one(store, Write::MarkRouted(events[2].id.clone())).await;
        assert_eq!(store.unrouted_events_behind(&place(&events[1]), 9).await, Ok(vec![events[3].clone()]));
    })
    .await;
}

#[tokio::test]
async fn deliveries_are_due_until_they_are_delivered_or_failed() {
    on_each_engine(async |store| {
        let deliveries: Vec<Delivery> = [30, 10, 20].into_iter().map(samples::delivery).collect();
        // A fourth one is due at the same time as the second.
        let twin = Delivery { next_at: samples::time(10), ..samples::delivery(11) };
        let create = |delivery: &Delivery| Write::CreateDelivery(Box::new(delivery.clone()));
        stored(store, deliveries.iter().chain([&twin]).map(create)).await;
        let due = async |millis, after: Option<&Delivery>| {
            let after = after.map(|delivery| (delivery.next_at, delivery.id.clone()));
            store.due_deliveries(samples::time(millis), after.as_ref(), 9).await
        };
        assert_eq!(store.next_delivery_at().await, Ok(Some(samples::time(10))));
        assert_eq!(due(9, None).await, Ok(Vec::new()));
        assert_eq!(due(10, None).await, Ok(vec![deliveries[1].clone(), twin.clone()]));
        assert_eq!(due(20, Some(&deliveries[1])).await, Ok(vec![twin.clone(), deliveries[2].clone()]));
        assert_eq!(due(10, Some(&twin)).await, Ok(Vec::new()));
        assert_eq!(due(10, Some(&deliveries[0])).await, Ok(Vec::new()), "a position behind the end");
        assert_eq!(store.due_deliveries(samples::time(99), None, 1).await, Ok(vec![deliveries[1].clone()]));

        let change = |delivery: &Delivery, state, next| Delivery {
            state,
            next_at: samples::time(next),
            revision: delivery.revision + 1,
            ..delivery.clone()
        };
        let later = change(&deliveries[1], DeliveryState::Pending, 50);
        let delivered = change(&twin, DeliveryState::Delivered, 10);
        let failed = change(&deliveries[2], DeliveryState::Failed, 20);
        let update = |delivery: &Delivery| Write::UpdateDelivery(Box::new(delivery.clone()));
        stored(store, [&later, &delivered, &failed].map(update)).await;
        assert_eq!(due(99, None).await, Ok(vec![deliveries[0].clone(), later]));
        assert_eq!(store.next_delivery_at().await, Ok(Some(samples::time(30))));
    })
    .await;
}

#[tokio::test]
async fn keys_of_a_merchant_page_by_id() {
    on_each_engine(async |store| {
        let merchant = samples::merchant_id(1);
        let own: Vec<Key> = (1..=5).map(|number| Key { merchant: merchant.clone(), ..samples::key(number) }).collect();
        let create = |key: &Key| Write::CreateKey(Box::new(key.clone()));
        // Those of another merchant stand between them in the order of ids, and before and behind.
        let foreign = [0, 6].map(|number| Key { merchant: samples::merchant_id(2), ..samples::key(number) });
        stored(store, own.iter().rev().chain(&foreign).map(create)).await;
        assert_eq!(store.keys(&merchant, None, 9).await, Ok(own.clone()));
        assert_eq!(store.keys(&merchant, None, 2).await, Ok(own[..2].to_vec()));
        assert_eq!(store.keys(&merchant, Some(&own[1].id), 2).await, Ok(own[2..4].to_vec()));
        assert_eq!(store.keys(&merchant, Some(&own[4].id), 2).await, Ok(Vec::new()));
        // A key stays in the list, whatever becomes of it.
        let revoked = Key { revoked_at: Some(samples::time(9)), revision: 2, ..own[2].clone() };
        stored_one(store, Write::UpdateKey(Box::new(revoked.clone()))).await;
        assert_eq!(store.keys(&merchant, Some(&own[1].id), 1).await, Ok(vec![revoked]));
    })
    .await;
}

#[tokio::test]
async fn endpoints_of_a_merchant_come_oldest_first_until_they_are_removed() {
    on_each_engine(async |store| {
        let merchant = samples::merchant_id(1);
        let oldest = Endpoint { created_at: samples::time(0), ..samples::endpoint(7) };
        let own = [oldest, samples::endpoint(2), samples::endpoint(3)];
        let foreign = Endpoint { merchant: samples::merchant_id(2), ..samples::endpoint(1) };
        let create = |endpoint: &Endpoint| Write::CreateEndpoint(Box::new(endpoint.clone()));
        stored(store, own.iter().rev().chain([&foreign]).map(create)).await;
        assert_eq!(store.endpoints_of(&merchant).await, Ok(own.to_vec()));

        let next = |of: &Endpoint, state| Endpoint { state, revision: of.revision + 1, ..of.clone() };
        let removed = next(&own[1], EndpointState::Removed);
        let paused = next(&own[2], EndpointState::Paused);
        stored(store, [&removed, &paused].map(|endpoint| Write::UpdateEndpoint(Box::new(endpoint.clone())))).await;
        assert_eq!(store.endpoints_of(&merchant).await, Ok(vec![own[0].clone(), paused.clone()]));
        assert_eq!(
            store.endpoint(&removed.id).await,
            Ok(Some(removed.clone())),
            "kept for the deliveries that name it"
        );

        let all = [foreign, removed, paused, own[0].clone()];
        assert_eq!(store.endpoints(None, 9).await, Ok(all.to_vec()));
        assert_eq!(store.endpoints(Some(&all[1].id), 1).await, Ok(vec![all[2].clone()]));
        assert_eq!(store.endpoints(Some(&all[3].id), 9).await, Ok(Vec::new()));
    })
    .await;
}

/// Every page of a merchant's deposits, in pages of `limit`.
async fn payments(
    store: &SurrealStore,
    merchant: &MerchantId,
    select: PaymentSelection,
    limit: usize,
) -> Vec<DepositId> {
    let mut filter = PaymentFilter { select, after: None };
    let mut all = Vec::new();
    loop {
        let page = store.payments(merchant, &filter, limit).await.expect("readable");
        assert!(page.len() <= limit);
        let Some(last) = page.last() else { return all };
        filter.after = Some((last.block.time, last.id.clone()));
        all.extend(page.into_iter().map(|deposit| deposit.id));
    }
}

#[tokio::test]
async fn deposits_come_newest_first_and_move_with_their_block() {
    on_each_engine(async |store| {
        let merchant = samples::merchant_id(1);
        let invoice = samples::invoice_id(1);
        // Three in each of four blocks, some on the address of an invoice.
        let deposit = |number: u64| {
            let invoice = number.is_multiple_of(2).then(|| invoice.clone());
            Deposit { block: samples::block(number / 3), ..samples::deposit(number, invoice) }
        };
        let mut all: Vec<Deposit> = (0..12).map(deposit).collect();
        let foreign = Deposit { merchant: samples::merchant_id(2), ..samples::deposit(99, None) };
        stored(store, all.iter().chain([&foreign]).cloned().map(Write::CreateDeposit)).await;
        let expected = |all: &mut Vec<Deposit>, of_invoice: bool| -> Vec<DepositId> {
            all.sort_by(|a, b| (b.block.time, &b.id).cmp(&(a.block.time, &a.id)));
            let wanted = all.iter().filter(|deposit| !of_invoice || deposit.invoice.is_some());
            wanted.map(|deposit| deposit.id.clone()).collect()
        };
        let of = || PaymentSelection::OfInvoice(invoice.clone());
        for limit in [1, 5, 100] {
            assert_eq!(payments(store, &merchant, PaymentSelection::All, limit).await, expected(&mut all, false));
            assert_eq!(payments(store, &merchant, of(), limit).await, expected(&mut all, true));
        }
        assert_eq!(payments(store, &foreign.merchant, PaymentSelection::All, 9).await, [foreign.id]);
        assert_eq!(payments(store, &foreign.merchant, of(), 9).await, [], "another merchant's invoice");

        // The oldest one leaves the chain and is mined again in the newest block; then it is final.
        let before = all.last().cloned().expect("twelve");
        let gone = before.orphaned().expect("seen");
        let again = gone.sighted_again(&gone.transfer, samples::block(50)).expect("another block");
        let done = again.finalised().expect("seen");
        let update = |before: &Deposit, after: &Deposit| Write::UpdateDeposit {
            before: Box::new(before.clone()),
            after: Box::new(after.clone()),
        };
        for (before, after) in [(&before, &gone), (&gone, &again), (&again, &done)] {
            stored_one(store, update(before, after)).await;
            *all.iter_mut().find(|deposit| deposit.id == after.id).expect("one of them") = after.clone();
            assert_eq!(payments(store, &merchant, PaymentSelection::All, 5).await, expected(&mut all, false));
            assert_eq!(payments(store, &merchant, of(), 5).await, expected(&mut all, true));
        }
        assert_eq!(all.first().map(|first| &first.id), Some(&before.id));
    })
    .await;
}

/// Every page of a merchant's deliveries, in pages of `limit`.
async fn delivered(store: &SurrealStore, select: DeliverySelection, limit: usize) -> Vec<DeliveryId> {
    let mut filter = DeliveryFilter { select, after: None };
    let mut all = Vec::new();
    loop {
        let page = store.deliveries(&samples::merchant_id(1), &filter, limit).await.expect("readable");
        assert!(page.len() <= limit);
        let Some(last) = page.last() else { return all };
        filter.after = Some((last.created_at, last.id.clone()));
        all.extend(page.into_iter().map(|delivery| delivery.id));
    }
}

#[tokio::test]
async fn deliveries_come_newest_first_whatever_is_asked_for() {
    on_each_engine(async |store| {
        const STATES: [DeliveryState; 3] = [DeliveryState::Pending, DeliveryState::Delivered, DeliveryState::Failed];
        let state = |number: u64| STATES[usize::try_from(number % 3).expect("small")];
        let (event, endpoint) = (samples::event_id(1), samples::endpoint_id(1));
        // Four at each of six times, all pending at first.
        let first = |number: u64| Delivery {
            event: if number.is_multiple_of(4) { event.clone() } else { samples::event_id(9) },
            endpoint: number.is_multiple_of(5).then(|| endpoint.clone()),
            created_at: samples::time(number / 4),
            ..samples::delivery(number)
        };
        let mut all: Vec<Delivery> = (0..24).map(first).collect();
        let foreign = Delivery { merchant: samples::merchant_id(2), event: event.clone(), ..samples::delivery(99) };
        let create = |delivery: &Delivery| Write::CreateDelivery(Box::new(delivery.clone()));
        stored(store, all.iter().chain([&foreign]).map(create)).await;
        assert_eq!(delivered(store, DeliverySelection::In(DeliveryState::Pending), 100).await.len(), 24);

        let moved =
            |(number, delivery): (u64, &Delivery)| Delivery { state: state(number), revision: 2, ..delivery.clone() };
        all = (0..).zip(&all).map(moved).collect();
        stored(store, all.iter().map(|delivery| Write::UpdateDelivery(Box::new(delivery.clone())))).await;
        all.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        let expected = |wanted: &dyn Fn(&Delivery) -> bool| -> Vec<DeliveryId> {
            all.iter().filter(|delivery| wanted(delivery)).map(|delivery| delivery.id.clone()).collect()
        };
        for limit in [1, 5, 100] {
            assert_eq!(delivered(store, DeliverySelection::All, limit).await, expected(&|_| true), "all by {limit}");
            let of_event = delivered(store, DeliverySelection::OfEvent(event.clone()), limit).await;
            assert_eq!(of_event, expected(&|delivery| delivery.event == event));
            let to = delivered(store, DeliverySelection::To(endpoint.clone()), limit).await;
            assert_eq!(to, expected(&|delivery| delivery.endpoint.is_some()));
            for state in STATES {
                let found = delivered(store, DeliverySelection::In(state), limit).await;
                assert_eq!(found, expected(&|delivery| delivery.state == state), "{state:?} by {limit}");
            }
        }
        assert_eq!(store.deliveries(&samples::merchant_id(1), &DeliveryFilter::default(), 0).await, Ok(Vec::new()));
        assert_eq!(store.delivery(&foreign.id).await, Ok(Some(foreign)));
    })
    .await;
}

#[tokio::test]
async fn no_page_is_longer_than_the_limit_of_the_port() {
    on_each_engine(async |store| {
        let many = READ_LIMIT_MAX as u64 + 5;
        stored(store, (0..many).map(|number| Write::CreateEvent(samples::event(number, 1)))).await;
        assert_eq!(store.unrouted_events(usize::MAX).await.expect("readable").len(), READ_LIMIT_MAX);
    })
    .await;
}
