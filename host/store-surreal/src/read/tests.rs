//! No text that reads scans a table, and lists keep their order under paging.

use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::event::Event;
use xthonpay_domain::invoice::Invoice;
use xthonpay_payments::port::store::{Delivery, Write};

use super::*;
use crate::connection::bind_id;
use crate::list::List;
use crate::record::{encode, samples};
use crate::testing::{memory, plan};
use crate::{statements, tx};

async fn store(connection: &Connection, writes: impl IntoIterator<Item = Write>) {
    let outcome = tx::tx(connection, statements::store([&plan(writes)])).await;
    assert!(matches!(outcome, tx::Outcome::Committed), "{outcome:?}");
}

/// How the engine would run a text.
async fn plan_of(connection: &Connection, text: &str, variables: Variables) -> String {
    let explained = format!("EXPLAIN {text}");
    let mut results = connection.ask(&explained, variables).await.expect("an answer");
    let plan: Value = results.take(0).expect("a plan");
    format!("{plan:?}")
}

#[tokio::test]
async fn every_text_reads_a_range_of_keys_and_no_table() {
    let connection = memory().await;
    let list = || List::due().all();
    let texts = [
        (LISTED, bind_list(Delivery::TABLE, list(), Some(5))),
        (LISTED_ALL, bind_list(Deposit::TABLE, List::seen(&samples::chain()).all(), None)),
        (
            LISTED,
            bind_list(Invoice::TABLE, List::invoices_of(&samples::merchant_id(1)).newest(None, None, None), Some(5)),
        ),
        (
            events::LISTED_WITH_ENTRY,
            bind_list(Event::TABLE, List::feed(&samples::merchant_id(1)).places(1, 9), Some(5)),
        ),
        (IDS, bind_range(list(), 5)),
        (ROWS, bind_range(range_of(Table::Address, Bound::Unbounded, Bound::Unbounded), 5)),
    ];
    for (text, variables) in texts {
        let plan = plan_of(&connection, text, variables).await;
        let scan = if text.contains("LIMIT") { "DynamicScan" } else { "RecordIdScan" };
        assert!(plan.contains(scan), "{text}: {plan}");
        assert!(!plan.contains("TableScan") && !plan.contains("Sort"), "{text}: {plan}");
        // A limit that is a step of its own counts what the scan has read already.
        assert!(!plan.contains("Limit ["), "{text}: {plan}");
        assert_eq!(plan.contains("limit: "), text.contains("LIMIT"), "{text}: {plan}");
    }
    assert!(LISTED_IN_EACH.contains(LISTED.trim_end_matches(';')), "the same text for each range");
}

#[tokio::test]
async fn a_page_reads_no_more_than_its_rows() {
    let connection = memory().await;
    store(&connection, (1..=50).map(|number| Write::CreateDelivery(Box::new(samples::delivery(number))))).await;
    store(&connection, (1..=50).map(|number| Write::CreateAddress(samples::own_address(number, None)))).await;
    let addresses = range_of(Table::Address, Bound::Unbounded, Bound::Unbounded);
    for (text, variables) in [
        (LISTED, bind_list(Delivery::TABLE, List::due().all(), Some(5))),
        (IDS, bind_range(addresses.clone(), 5)),
        (ROWS, bind_range(addresses, 5)),
    ] {
        let run = plan_of(&connection, &format!("ANALYZE {text}"), variables).await;
        let (_, scan) = run.split_once("DynamicScan").expect("reads a range");
        assert!(scan.contains("rows: 5,") && !run.contains("rows: 50"), "{text}: {run}");
    }
}

#[tokio::test]
async fn a_list_holds_its_own_entries_and_no_others() {
    let connection = memory().await;
    let writes = (1..=3).map(|number| Write::CreateDelivery(Box::new(samples::delivery(number))));
    store(&connection, writes.chain((4..=5).map(|number| Write::CreateEvent(samples::event(number, 1))))).await;
    store(&connection, [Write::CreateInvoice(Box::new(samples::invoice(6)))]).await;
    let due: Vec<Delivery> = listed(&connection, List::due().all(), 10).await.expect("readable");
    assert_eq!(due, [samples::delivery(1), samples::delivery(2), samples::delivery(3)]);
    let unrouted: Vec<Event> = listed(&connection, List::unrouted().all(), 10).await.expect("readable");
    assert_eq!(unrouted, [samples::event(4, 1), samples::event(5, 1)]);
    let two: Vec<Delivery> = listed(&connection, List::due().all(), 2).await.expect("readable");
    assert_eq!(two.len(), 2);
}

#[test]
fn rows_of_other_ids_are_told_from_those_that_were_asked_for() {
    let ids = [1, 2].map(|number| address::id(&samples::own_address(number, None).address));
    let row = |number| Value::Object(encode(&samples::own_address(number, None)));
    assert!(are_of(&[row(1), row(2)], &ids) && are_of(&[Value::None, row(2)], &ids));
    for wrong in
        [vec![], vec![row(1)], vec![row(2), row(1)], vec![row(1), Value::Bool(true)], vec![row(1), row(2), row(2)]]
    {
        assert!(!are_of(&wrong, &ids), "{wrong:?}");
    }
}

#[tokio::test]
async fn an_entry_without_its_record_is_damage() {
    let connection = memory().await;
    let entry = List::due().delivery(samples::time(1), &samples::delivery(1).id);
    let mut results =
        connection.ask("INSERT INTO entry [{ id: $id }] RETURN NONE;", bind_id(entry)).await.expect("an answer");
    assert!(results.take_errors().is_empty());
    let damaged = listed::<Delivery>(&connection, List::due().all(), 10).await;
    assert!(matches!(damaged, Err(StoreError::Damaged { table: "delivery", .. })), "{damaged:?}");
}

#[tokio::test]
async fn events_of_an_invoice_keep_their_order_when_the_clock_is_set_back() {
    let connection = memory().await;
    // Recorded at 30, 20 and 10 ms in the order of their sequence, among others of the same time.
    let event = |sequence: u64, millis: u64| Event { at: samples::time(millis), ..samples::event(1, sequence) };
    let ordered = [event(1, 30), event(2, 20), event(3, 10)];
    let other = Event { at: samples::time(15), ..samples::event(2, 1) };
    let unnumbered = Event { at: samples::time(16), sequence: 0, ..samples::event(1, 9) };
    let all = ordered.iter().chain([&other, &unnumbered]).cloned().map(Write::CreateEvent);
    store(&connection, all).await;

    let page = unrouted_events(&connection, 10).await.expect("readable");
    let [first, second, third] = ordered.clone();
    assert_eq!(page, [first.clone(), other.clone(), unnumbered, second, third]);
    // A page that the first of the invoice do not fit on begins with them nevertheless.
    assert_eq!(unrouted_events(&connection, 2).await.expect("readable"), [first.clone(), other]);

    store(&connection, [Write::MarkRouted(first.id)]).await;
    let page = unrouted_events(&connection, 1).await.expect("readable");
    assert_eq!(page, [ordered[1].clone()], "the second one, although the third is older");
}
