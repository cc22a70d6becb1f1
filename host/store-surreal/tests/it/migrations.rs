//! Stores that earlier versions filled: every record is read as it was, stands in the lists that were added since, and
//! changes like a new one.
//!
//! The rows are written as those versions wrote them, as statements, since the row types of this version write no other form
//! than their own.

use std::path::Path;

use surrealdb::Surreal;
use surrealdb::engine::any::Any;
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::event::Event;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::ledger::{Posting, Side};
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::store::{
    Delivery, DeliveryFilter, DeliverySelection, DeliveryState, FeedPosition, InvoiceFilter, Key, PaymentFilter,
    PaymentSelection, Store, Write,
};

use crate::engine::{beside_the_store, directory, open, outcome, stored};
use crate::samples;

/// The statements of the earlier versions, up to the one before this.
const MIGRATIONS: [&str; 3] = [
    include_str!("../../src/schema/0001_tables.surql"),
    include_str!("../../src/schema/0002_suspended.surql"),
    include_str!("../../src/schema/0003_deposits_on.surql"),
];

/// What an earlier version has stored.
struct Filled {
    invoice: Invoice,
    /// Seen, on the address of the invoice.
    paying: Deposit,
    /// Final, on a deposit address.
    plain: Deposit,
    /// Seen in a later block, and set aside.
    suspended: Deposit,
    suspension: Posting,
    /// The oldest is the last, and it is routed.
    events: [Event; 3],
    /// The second one is delivered.
    deliveries: [Delivery; 2],
}

impl Filled {
    fn new() -> Self {
        let paying = samples::deposit(1, Some(samples::invoice_id(1)));
        let plain = samples::deposit(2, None).finalised().expect("seen");
        let suspended = Deposit { block: samples::block(11), ..samples::deposit(3, Some(samples::invoice_id(1))) };
        let suspension = Posting::suspend_deposit(&suspended, samples::time(3)).expect("an amount above zero");
        let event = |number| Event { data_json: "{}".to_owned(), ..samples::event(number, 1) };
        let done = Delivery {
            state: DeliveryState::Delivered,
            attempts: 3,
            attempts_on_schedule: 3,
            last_status: Some(200),
            revision: 4,
            ..samples::delivery(2)
        };
        Self {
            invoice: samples::invoice(1),
            paying,
            plain,
            suspended,
            suspension,
            events: [event(8), event(9), event(2)],
            deliveries: [samples::delivery(1), done],
        }
    }

    /// The rows and entries that a version wrote for it.
    fn statements(&self, version: usize) -> String {
        let [late, later, routed] = &self.events;
        let statements = [
            merchant_with_key(),
            invoice(&self.invoice),
            deposit(&self.paying, "seen", version),
            deposit(&self.plain, "final", version),
            deposit(&self.suspended, "seen", version),
            posting(&self.suspension, version),
            event(late, true),
            event(later, true),
            event(routed, false),
            self.deliveries.each_ref().map(delivery).concat(),
        ];
        statements.concat()
    }
}

/// The end of a place in a list that is newest first.
fn newest_first(time: Timestamp, id: &str) -> String {
    let (_, digits) = id.split_once('_').expect("a prefix");
    let counted_down = |digit: char| char::from_digit(15 - digit.to_digit(16).expect("a digit"), 16);
    let digits: String = digits.chars().filter_map(counted_down).collect();
    format!("-{}, '{digits}', '{id}'", time.as_millis())
}

fn entries(entries: &[String]) -> String {
    entries.iter().map(|entry| format!("CREATE {entry};\n")).collect()
}

fn merchant_with_key() -> String {
    let (merchant, key) = (samples::merchant_id(1), samples::key_id(1));
    format!(
        "CREATE merchant:{merchant} CONTENT {{ account: 1, name: \"Shop 1 `x`; 'y'\", created_at: 1, \
           webhook_secret: b\"0001FEFF\" }};\n\
         CREATE account:1 CONTENT {{ merchant: '{merchant}' }};\n\
         CREATE api_key:{key} CONTENT {{ merchant: '{merchant}', label: 'till', scopes: ['read', 'write'], \
           scheme: 'request', ip_list: ['10.0.0.0/8', '2001:db8::/32'], secret: b\"{}\", created_at: 1 }};\n",
        "07".repeat(48)
    )
}

fn invoice(invoice: &Invoice) -> String {
    let Invoice { id, merchant, .. } = invoice;
    let place = newest_first(invoice.created_at, id.as_str());
    let moving = [
        format!("entry:['invoices_in', '{merchant}', 'pending', {place}]"),
        format!("entry:['expiring', 'bsc', {}, '{id}']", invoice.terms.expires_at.as_millis()),
    ];
    format!(
        "CREATE invoice:{id} CONTENT {{ merchant: '{merchant}', metadata: [['order', 'a:b `c`']], \
           callback_url: 'https://shop.example/hook', address: '{}', created_at: {}, \
           terms: {{ asset: 'bsc:USDT', due: '100', tolerance_bps: 0, tolerance_amount: '0', confirmations: 1, \
             expires_at: {} }}, \
           assessment: {{ state: 'pending', flags: [], received: '0', pending: '0', received_late: '0', overpaid: '0', \
             missing: '{}', awaits_ruling: false }}, events: 1, revision: 1, listed: [{}] }};\n\
         CREATE entry:['invoices', '{merchant}', {place}];\n{}",
        invoice.address.to_lower_hex(),
        invoice.created_at.as_millis(),
        invoice.terms.expires_at.as_millis(),
        invoice.assessment.missing,
        moving.join(", "),
        entries(&moving),
    )
}

fn deposit(deposit: &Deposit, state: &str, version: usize) -> String {
    let Deposit { id, transfer, block, .. } = deposit;
    let to = transfer.identity.to.to_lower_hex();
    let seen = format!("entry:['seen', 'bsc', '{id}']");
    let moving = if state == "seen" { vec![seen] } else { Vec::new() };
    let (invoice, forever) = match &deposit.invoice {
        Some(invoice) => (format!("invoice: '{invoice}', "), vec![format!("entry:['deposits', '{invoice}', '{id}']")]),
        // The third version began to list these.
        None if version >= 3 => (String::new(), vec![format!("entry:['deposits_on', '{to}', '{id}']")]),
        None => (String::new(), Vec::new()),
    };
    format!(
        "CREATE deposit:{id} CONTENT {{ asset: 'bsc:USDT', tx: '{}', nth: 0, to: '{to}', from: '{}', amount: '{}', \
           block: {{ number: {}, hash: '{}', parent: '{}', time: {} }}, state: '{state}', reorged: false, \
           merchant: '{}', {invoice}confirmations_required: 1, listed: [{}] }};\n{}{}",
        transfer.identity.origin.tx().expect("a transaction"),
        transfer.from.expect("a sender").to_lower_hex(),
        transfer.amount,
        block.number.0,
        block.hash,
        block.parent,
        block.time.as_millis(),
        deposit.merchant,
        moving.join(", "),
        entries(&moving),
        entries(&forever),
    )
}

fn posting(posting: &Posting, version: usize) -> String {
    let side = |side| if side == Side::Debit { "debit" } else { "credit" };
    let line = |line: &xthonpay_domain::ledger::Line| {
        let (account, side) = (line.account.name(), side(line.side));
        format!("{{ account: '{account}', side: '{side}', asset: '{}', amount: '{}' }}", line.asset, line.amount)
    };
    let lines: Vec<String> = posting.lines().iter().map(line).collect();
    // The second version began to list these.
    let forever = format!("entry:['suspended', '{}']", posting.cause());
    format!(
        "CREATE posting:{} CONTENT {{ kind: 'deposit_suspended', cause: '{}', at: {}, lines: [{}] }};\n{}",
        posting.id(),
        posting.cause(),
        posting.at().as_millis(),
        lines.join(", "),
        if version >= 2 { entries(&[forever]) } else { String::new() },
    )
}

fn event(event: &Event, unrouted: bool) -> String {
    let Event { id, sequence, .. } = event;
    let invoice = event.invoice.as_ref().expect("an event of an invoice");
    let moving = [
        format!("entry:['unrouted', {}, {sequence}, '{id}']", event.at.as_millis()),
        format!("entry:['unrouted_of', '{invoice}', {sequence}, '{id}']"),
    ];
    format!(
        "CREATE event:{id} CONTENT {{ kind: '{}', at: {}, merchant: '{}', invoice: '{invoice}', sequence: {sequence}, \
           data_json: '{{}}', listed: [{}] }};\n{}",
        event.kind.name(),
        event.at.as_millis(),
        event.merchant,
        moving.join(", "),
        // Routing an event removes its entries and leaves the row.
        if unrouted { entries(&moving) } else { String::new() },
    )
}

fn delivery(delivery: &Delivery) -> String {
    let id = &delivery.id;
    let due = format!("entry:['due', {}, '{id}']", delivery.next_at.as_millis());
    let (state, moving, last) = match delivery.state {
        DeliveryState::Pending => ("pending", vec![due], ""),
        DeliveryState::Delivered => ("delivered", Vec::new(), "last_status: 200, "),
        DeliveryState::Failed => ("failed", Vec::new(), ""),
    };
    format!(
        "CREATE delivery:{id} CONTENT {{ event: '{}', merchant: '{}', invoice: '{}', sequence: 1, url: '{}', \
           content_type: 'application/json', headers: [['x-a', '1'], ['x-a', '2']], body: b\"00FF0A\", state: '{state}', \
           attempts: {}, next_at: {}, {last}created_at: {}, revision: {}, listed: [{}] }};\n{}",
        delivery.event,
        delivery.merchant,
        delivery.invoice.as_ref().expect("a delivery of an invoice"),
        delivery.url,
        delivery.attempts,
        delivery.next_at.as_millis(),
        delivery.created_at.as_millis(),
        delivery.revision,
        moving.join(", "),
        entries(&moving),
    )
}

async fn run(db: &Surreal<Any>, statements: String) {
    let ran = db.query(statements.as_str()).await.and_then(surrealdb::IndexedResults::check);
    assert!(ran.is_ok(), "{ran:?}: {statements}");
}

/// A store as `version` left it.
async fn fill(directory: &Path, version: usize, filled: &Filled) {
    beside_the_store(directory, async |db| {
        run(db, "DEFINE TABLE IF NOT EXISTS schema_version SCHEMALESS;".to_owned()).await;
        for migration in &MIGRATIONS[..version] {
            run(db, (*migration).to_owned()).await;
        }
        run(db, format!("CREATE schema_version:current SET number = {version};")).await;
        run(db, filled.statements(version)).await;
    })
    .await;
}

/// Reads everything that is filled in, by its id and in its lists.
async fn reads_everything(store: &impl Store, filled: &Filled) {
    let merchant = samples::merchant_id(1);
    assert_eq!(store.merchant(&merchant).await, Ok(Some(samples::merchant(1))), "with real money");
    assert_eq!(store.key(&samples::key_id(1)).await, Ok(Some(samples::key(1))));
    assert_eq!(store.keys(&merchant, None, 9).await, Ok(vec![samples::key(1)]));
    assert_eq!(store.invoice(&filled.invoice.id).await, Ok(Some(filled.invoice.clone())));
    assert_eq!(store.invoices(&merchant, &InvoiceFilter::default(), 9).await, Ok(vec![filled.invoice.clone()]));

    let (paying, plain, suspended) = (filled.paying.clone(), filled.plain.clone(), filled.suspended.clone());
    assert_eq!(store.suspended_deposits(None, 9).await, Ok(vec![suspended.clone()]));
    assert_eq!(store.deposits_on(&samples::address(9), None, 9).await, Ok(vec![plain.clone()]));
    let of_invoice = PaymentFilter { select: PaymentSelection::OfInvoice(filled.invoice.id.clone()), after: None };
    assert_eq!(store.payments(&merchant, &of_invoice, 9).await, Ok(vec![suspended.clone(), paying.clone()]));
    let all = store.payments(&merchant, &PaymentFilter::default(), 9).await.expect("readable");
    let mut in_one_block = [paying.clone(), plain];
    in_one_block.sort_by(|a, b| b.id.cmp(&a.id));
    assert_eq!(all, [[suspended.clone()].as_slice(), &in_one_block].concat());
    let mut seen = store.seen_deposits(&samples::chain()).await.expect("readable");
    seen.sort_by_key(|deposit| deposit.block.number);
    assert_eq!(seen, [paying, suspended]);

    let [pending, delivered] = filled.deliveries.clone();
    let deliveries =
        async |select| store.deliveries(&merchant, &DeliveryFilter { select, after: None }, 9).await.expect("readable");
    assert_eq!(deliveries(DeliverySelection::All).await, [delivered.clone(), pending.clone()]);
    assert_eq!(store.due_deliveries(samples::time(99), None, 9).await, Ok(vec![pending.clone()]));
    assert_eq!(deliveries(DeliverySelection::OfEvent(delivered.event.clone())).await, [delivered]);
    assert_eq!(deliveries(DeliverySelection::In(DeliveryState::Pending)).await, [pending]);
}

/// The feed of everything that is filled in.
async fn told(store: &impl Store) -> Vec<(u64, Event)> {
    let feed = store.feed(&samples::merchant_id(1), FeedPosition(0), 9).await.expect("readable");
    feed.into_iter().map(|(position, event)| (position.0, event)).collect()
}

#[tokio::test]
async fn what_an_earlier_version_stored_is_read_as_it_was() {
    for version in 1..=MIGRATIONS.len() {
        let (directory, filled) = (directory(), Filled::new());
        fill(directory.path(), version, &filled).await;
        // The second time there is nothing to bring up to date.
        for _ in 0..2 {
            let store = open(directory.path()).await.expect("an older schema is brought up to date");
            reads_everything(&store, &filled).await;
            let [late, later, routed] = filled.events.clone();
            assert_eq!(told(&store).await, [(1, routed), (2, late.clone()), (3, later.clone())], "by their time");
            assert_eq!(store.unrouted_events(9).await, Ok(vec![late, later]));
            store.close().await;
        }
    }
}

#[tokio::test]
async fn what_an_earlier_version_stored_changes_like_what_is_new() {
    for version in 1..=MIGRATIONS.len() {
        let (directory, filled) = (directory(), Filled::new());
        fill(directory.path(), version, &filled).await;
        let store = open(directory.path()).await.expect("an older schema is brought up to date");
        let moved = filled.paying.sighted_again(&filled.paying.transfer, samples::block(30)).expect("another block");
        let [pending, delivered] = filled.deliveries.clone();
        let failed = Delivery { state: DeliveryState::Failed, revision: pending.revision + 1, ..pending };
        let key = Key { revoked_at: Some(samples::time(9)), revision: 2, ..samples::key(1) };
        let event = samples::event(1, 1);
        stored(
            &store,
            [
                Write::UpdateDeposit { before: Box::new(filled.paying.clone()), after: Box::new(moved.clone()) },
                Write::UpdateDelivery(Box::new(failed.clone())),
                Write::UpdateKey(Box::new(key.clone())),
                Write::UpdateInvoice(Box::new(samples::next_revision(&filled.invoice))),
                Write::CreateEvent(event.clone()),
                Write::MarkRouted(filled.events[0].id.clone()),
            ],
        )
        .await;
        let merchant = samples::merchant_id(1);
        let payments = store.payments(&merchant, &PaymentFilter::default(), 9).await.expect("readable");
        assert_eq!((payments.first(), payments.len()), (Some(&moved), 3), "it left its place by the old block");
        let of_invoice = store.deposits_of_invoice(&filled.invoice.id).await.expect("readable");
        assert_eq!(of_invoice, [moved, filled.suspended.clone()]);
        let all = store.deliveries(&merchant, &DeliveryFilter::default(), 9).await;
        assert_eq!(all, Ok(vec![delivered, failed]));
        assert_eq!(store.next_delivery_at().await, Ok(None));
        assert_eq!(store.keys(&merchant, None, 9).await, Ok(vec![key.clone()]));
        assert_eq!(
            told(&store).await.last(),
            Some(&(4, event)),
            "behind every older one, though it says that it is older"
        );
        assert_eq!(store.unrouted_events(9).await.map(|events| events.len()), Ok(2));
        assert!(outcome(&store, Write::CreateKey(Box::new(key))).await.is_err(), "it is there");
        store.close().await;
    }
}
