//! Every kind of record comes back from the store exactly as it went in, and damage is reported.

use core::fmt::Debug;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use surrealdb::types::Value;
use tokio::runtime::Runtime;
use xthonpay_domain::access::{KeyId, Mode, Scope, SignatureScheme};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::event::{Event, EventFilter, EventKind};
use xthonpay_domain::hash::{BlockHash, TxHash};
use xthonpay_domain::id::{DeliveryId, DepositId, EndpointId, EventId, InvoiceId, MerchantId};
use xthonpay_domain::invoice::assessment::{Advice, Assessment, Flags, InvoiceState, Ruling};
use xthonpay_domain::invoice::resolution::{Choice, Resolution};
use xthonpay_domain::invoice::{Invoice, Terms, Tolerance};
use xthonpay_domain::ledger::{Account, Balance, Line, Posting, PostingKind, Side};
use xthonpay_domain::transfer::{Origin, Transfer, TransferIdentity};
use xthonpay_payments::port::lending::attestation::Statement;
use xthonpay_payments::port::lending::storage::{Item, Space};
use xthonpay_payments::port::store::AttestationRecord;
use xthonpay_payments::port::store::{
    AnswerBytes, Attempt, Counter, Cursor, Delivery, DeliveryState, Endpoint, EndpointState, Freeze, KeptAnswer, Key,
    Merchant, OwnAddress, RetiringSecret, UsedSignature,
};
use xthonpay_payments::port::vault::Sealed;

use super::balance::StoredBalance;
use super::block::ProcessedBlock;
use super::counter::NextNumber;
use super::key_use::KeyUse;
use super::reservation::{TakenAccount, TakenExternalId};
use super::*;
use crate::connection::Connection;
use crate::plan::{Expected, Plan};
use crate::record::plugin_item::StoredItem;
use crate::testing::laws;
use crate::{numbers, read, statements, tx};

fn times() -> impl Strategy<Value = Timestamp> {
    prop_oneof![any::<u64>(), Just(0), Just(i64::MAX.unsigned_abs()), Just(u64::MAX)].prop_map(Timestamp::from_millis)
}

fn counts() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), Just(0), Just(i64::MAX.unsigned_abs() + 1), Just(u64::MAX)]
}

fn amounts() -> impl Strategy<Value = Amount> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(Amount::from_be_bytes),
        Just(Amount::ZERO),
        Just(Amount::from_units(1)),
        Just(Amount::MAX)
    ]
}

fn parsed<T: FromStr<Err: Debug> + Debug>(pattern: &'static str) -> impl Strategy<Value = T> {
    pattern.prop_map(|text| text.parse().expect("the pattern gives valid texts"))
}

/// Texts of merchants, with all that could be mistaken for syntax.
fn free_text<T: FromStr<Err: Debug> + Debug + Clone + 'static>() -> impl Strategy<Value = T> {
    let edges =
        ["a:b", "`x`", "⟨x⟩", "'; DELETE invoice; --", "\"", "\\", "🧾", "invoice:inv_0", "$id", "NONE", "null", " "];
    prop_oneof![select(edges.to_vec()).prop_map(|text| text.parse().expect("allowed")), parsed("[ -~äöü€]{1,32}")]
}

fn merchant_ids() -> impl Strategy<Value = MerchantId> {
    any::<[u8; 16]>().prop_map(MerchantId::from_random)
}

fn invoice_ids() -> impl Strategy<Value = InvoiceId> {
    any::<[u8; 16]>().prop_map(InvoiceId::from_random)
}

fn event_ids() -> impl Strategy<Value = EventId> {
    any::<[u8; 16]>().prop_map(EventId::from_random)
}

fn addresses() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_map(Address::new)
}

fn key_ids() -> impl Strategy<Value = KeyId> {
    (select(vec![Mode::Live, Mode::Test]), any::<[u8; 12]>()).prop_map(|(mode, bytes)| KeyId::from_random(mode, bytes))
}

fn sealed() -> impl Strategy<Value = Sealed> {
    vec(any::<u8>(), 0..80).prop_map(Sealed)
}

fn blocks() -> impl Strategy<Value = BlockRef> {
    (counts(), any::<[u8; 32]>(), any::<[u8; 32]>(), times()).prop_map(|(number, hash, parent, time)| BlockRef {
        number: BlockNumber(number),
        hash: BlockHash::new(hash),
        parent: BlockHash::new(parent),
        time,
    })
}

prop_compose! {
    fn merchants()(
        id in merchant_ids(),
        account: u32,
        mode in select(vec![Mode::Live, Mode::Test]),
        name in free_text(),
        created_at in times(),
        webhook_secret in sealed(),
    ) -> Merchant {
        Merchant { id, account, mode, name, created_at, webhook_secret }
    }
}

prop_compose! {
    fn keys()(
        id in key_ids(),
        merchant in merchant_ids(),
        label in free_text(),
        scopes in vec(select(vec![Scope::Read, Scope::Write, Scope::Webhooks, Scope::Withdraw]), 0..5),
        scheme in select(vec![SignatureScheme::Request, SignatureScheme::Timestamp]),
        ip_list in vec((any::<std::net::IpAddr>(), 0_u8..=32), 0..4),
        secret in sealed(),
        requests_per_minute in option::of(any::<core::num::NonZeroU32>()),
        daily_withdraw_caps in vec((Just(samples::asset()), amounts()), 0..3),
        withdraw_addresses in vec(addresses(), 0..3),
        created_at in times(),
        ends in (option::of(times()), option::of(times()), option::of(key_ids())),
        revision in counts(),
    ) -> Key {
        let (expires_at, revoked_at, replaced_by) = ends;
        let network = |(address, bits)| ipnet::IpNet::new(address, bits).expect("32 bits fit both families");
        let ip_list = ip_list.into_iter().map(network).collect();
        Key {
            id, merchant, label, scopes, scheme, ip_list, secret, requests_per_minute, daily_withdraw_caps,
            withdraw_addresses, created_at, expires_at, revoked_at, replaced_by, revision,
        }
    }
}

fn filters() -> impl Strategy<Value = EventFilter> {
    let kinds = proptest::collection::btree_set(select(EventKind::ALL.to_vec()), 1..5);
    prop_oneof![Just(EventFilter::All), kinds.prop_map(EventFilter::Only)]
}

fn endpoint_states() -> impl Strategy<Value = EndpointState> {
    let disabled = (".{0,40}", times()).prop_map(|(reason, at)| EndpointState::Disabled { reason, at });
    let plain = select(vec![EndpointState::Enabled, EndpointState::Paused, EndpointState::Removed]);
    prop_oneof![plain, disabled]
}

prop_compose! {
    fn endpoints()(
        ids in (any::<[u8; 16]>().prop_map(EndpointId::from_random), merchant_ids()),
        url in parsed("https://[a-z]{1,9}/[a-z?=&]{0,9}"),
        events in filters(),
        label in option::of(free_text()),
        format in option::of(parsed("[a-z0-9-]{1,20}")),
        secret in sealed(),
        retiring in option::of((sealed(), times())),
        state in endpoint_states(),
        times in (option::of(times()), times()),
        revision in counts(),
    ) -> Endpoint {
        let ((id, merchant), (failing_since, created_at)) = (ids, times);
        let retiring_secret = retiring.map(|(secret, until)| RetiringSecret { secret, until });
        Endpoint {
            id, merchant, url, events, label, format, secret, retiring_secret, state, failing_since, created_at, revision,
        }
    }
}

prop_compose! {
    fn stored_items()(
        plugin in parsed("[a-z0-9-]{1,64}"),
        merchant in option::of(merchant_ids()),
        label in parsed("[a-z0-9-]{1,32}"),
        key in parsed("[!-~é]{1,128}"),
        value in vec(any::<u8>(), 0..200),
        revision: u64,
        expires_at in option::of(times()),
    ) -> StoredItem {
        let space = Space { plugin, merchant, label };
        StoredItem { space, key, item: Item { value, revision, expires_at } }
    }
}

prop_compose! {
    fn attestations()(
        id in "[0-9a-f]{32}",
        signer in parsed("[a-z0-9-]{1,32}"),
        key_id in "[0-9a-f]{16}",
        plugin in parsed("[a-z0-9-]{1,64}"),
        merchant in option::of(merchant_ids()),
        purpose in "[a-z-]{1,64}",
        digest: [u8; 32],
        at in times(),
        signature in vec(any::<u8>(), 64),
    ) -> AttestationRecord {
        let statement = Statement { plugin, merchant, purpose, digest, at };
        AttestationRecord { id, signer, key_id, statement, signature }
    }
}

prop_compose! {
    fn kept_answers()(
        merchant in merchant_ids(),
        call in "(GET|POST|DELETE) /[a-z0-9_/]{0,60}",
        key in parsed("[ -~]{1,255}"),
        fingerprint: [u8; 32],
        status: u16,
        location in option::of(".{0,40}"),
        body in vec(any::<u8>(), 0..200),
        expires_at in times(),
    ) -> KeptAnswer {
        KeptAnswer { merchant, call, key, fingerprint, answer: AnswerBytes { status, location, body }, expires_at }
    }
}

prop_compose! {
    fn own_addresses()(
        address in addresses(), merchant in merchant_ids(), invoice in option::of(invoice_ids()), index: u32,
    ) -> OwnAddress {
        OwnAddress { address, merchant, invoice, index }
    }
}

prop_compose! {
    fn terms()(due in amounts(), bps: u32, missing in amounts(), confirmations in counts(), expires_at in times()) -> Terms {
        let tolerance = Tolerance { bps, amount: missing };
        Terms { asset: samples::asset(), due, tolerance, confirmations, expires_at }
    }
}

prop_compose! {
    fn assessments()(
        state in select(InvoiceState::ALL.to_vec()),
        flags in vec(select(vec!["within_tolerance", "overpaid", "late", "multi_payment", "wrong_asset", "reorged",
            "manual", "needs_review"]), 0..9),
        sums in [amounts(), amounts(), amounts(), amounts(), amounts()],
        awaits_ruling: bool,
    ) -> Assessment {
        let flags = flags.into_iter().filter_map(Flags::from_name).fold(Flags::NONE, |all, flag| all | flag);
        let [received, pending, received_late, overpaid, missing] = sums;
        Assessment { state, flags, received, pending, received_late, overpaid, missing, awaits_ruling }
    }
}

prop_compose! {
    fn rulings()(advice in select(vec![Advice::Settle, Advice::Wait, Advice::Review]), judged in amounts()) -> Ruling {
        Ruling { advice, judged }
    }
}

fn resolutions() -> impl Strategy<Value = Resolution> {
    let refund = (addresses(), amounts()).prop_map(|(to, amount)| Choice::Refund { to, amount });
    let choice = prop_oneof![select(vec![Choice::Accept, Choice::Ignore]), refund];
    (choice, amounts(), any::<u32>(), times()).prop_map(|(choice, judged, set_aside, at)| Resolution {
        choice,
        judged,
        set_aside,
        at,
    })
}

prop_compose! {
    fn invoices()(
        ids in (invoice_ids(), merchant_ids(), addresses()),
        external_id in option::of(free_text()),
        customer in option::of(free_text()),
        metadata in vec((parsed("[a-z._-]{1,9}"), free_text()), 0..4),
        callback_url in option::of(parsed("https://[a-z]{1,9}/[a-z?=&]{0,9}")),
        created_at in times(),
        terms in terms(),
        assessment in assessments(),
        decided in (option::of(rulings()), option::of(resolutions())),
        counts in (counts(), counts()),
    ) -> Invoice {
        let ((id, merchant, address), (ruling, resolution), (events, revision)) = (ids, decided, counts);
        Invoice {
            id, merchant, external_id, customer, metadata, callback_url, address, created_at, terms, assessment, ruling,
            resolution, events, revision,
        }
    }
}

prop_compose! {
    fn deposits()(
        tx: [u8; 32],
        found_at in option::of(counts().prop_map(BlockNumber)),
        to in addresses(),
        from in option::of(addresses()),
        nth: u32,
        amount in amounts(),
        block in blocks(),
        state in select(vec![DepositState::Seen, DepositState::Orphaned, DepositState::Final]),
        reorged: bool,
        merchant in merchant_ids(),
        invoice in option::of(invoice_ids()),
        confirmations_required in counts(),
    ) -> Deposit {
        let origin = found_at.map_or(Origin::Transaction { tx: TxHash::new(tx), nth }, |block| Origin::Balance { block });
        let identity = TransferIdentity { asset: samples::asset(), to, origin };
        let id = identity.deposit_id();
        let transfer = Transfer { identity, from, amount };
        Deposit { id, transfer, block, state, reorged, merchant, invoice, confirmations_required }
    }
}

fn accounts() -> impl Strategy<Value = Account> {
    prop_oneof![
        select(vec![
            Account::ChainDeposit,
            Account::ChainTreasury,
            Account::ChainGas,
            Account::FeeNetwork,
            Account::Suspense,
            Account::External,
        ]),
        merchant_ids().prop_map(Account::MerchantAvailable),
        merchant_ids().prop_map(Account::MerchantHeld),
    ]
}

prop_compose! {
    fn postings()(
        kind in select(vec![PostingKind::DepositCredited, PostingKind::DepositSuspended]),
        cause in "[ -~]{0,40}",
        at in times(),
        amount in amounts().prop_filter("a line needs an amount", |amount| !amount.is_zero()),
        accounts in (accounts(), accounts()),
    ) -> Posting {
        let line = |account, side| Line { account, side, asset: samples::asset(), amount };
        let lines = vec![line(accounts.0, Side::Debit), line(accounts.1, Side::Credit)];
        Posting::new(kind, &cause, at, lines).expect("balanced")
    }
}

prop_compose! {
    fn events()(
        id in event_ids(),
        kind in select(EventKind::ALL.to_vec()),
        at in times(),
        merchant in merchant_ids(),
        invoice in option::of(invoice_ids()),
        deposit in option::of(any::<[u8; 16]>().prop_map(DepositId::from_random)),
        sequence in counts(),
        data_json in ".{0,60}",
    ) -> Event {
        Event { id, kind, at, merchant, invoice, deposit, sequence, data_json }
    }
}

prop_compose! {
    fn attempts()(
        at in times(),
        status in option::of(any::<u16>()),
        error in option::of(".{0,20}"),
        latency in any::<u64>().prop_map(core::time::Duration::from_nanos),
        excerpt in ".{0,40}",
    ) -> Attempt {
        Attempt { at, status, error, latency, excerpt }
    }
}

prop_compose! {
    fn deliveries()(
        ids in (any::<[u8; 16]>().prop_map(DeliveryId::from_random), event_ids(), merchant_ids(), option::of(invoice_ids())),
        endpoint in option::of(any::<[u8; 16]>().prop_map(EndpointId::from_random)),
        url in parsed("https://[a-z]{1,9}/[a-z?=&]{0,9}"),
        content_type in ".{0,20}",
        headers in vec((".{0,9}", ".{0,9}"), 0..4),
        body in vec(any::<u8>(), 0..200),
        state in select(vec![DeliveryState::Pending, DeliveryState::Delivered, DeliveryState::Failed]),
        attempts: (u32, u32),
        log in vec(attempts(), 0..4),
        times in (times(), times()),
        last in (option::of(any::<u16>()), option::of(".{0,30}")),
        counts in (counts(), counts()),
    ) -> Delivery {
        let ((id, event, merchant, invoice), (sequence, revision)) = (ids, counts);
        let ((next_at, created_at), (last_status, last_error)) = (times, last);
        let (attempts, attempts_on_schedule) = attempts;
        Delivery {
            id, event, merchant, endpoint, invoice, sequence, url, content_type, headers, body, state, attempts,
            attempts_on_schedule, log, next_at, last_status, last_error, created_at, revision,
        }
    }
}

prop_compose! {
    fn used_signatures()(key in key_ids(), signature in "[0-9a-f]{64}", expires_at in times()) -> UsedSignature {
        UsedSignature { key, signature, expires_at }
    }
}

prop_compose! {
    fn freezes()(reason in ".{0,40}", at in times()) -> Freeze {
        Freeze { reason, at }
    }
}

prop_compose! {
    fn cursors()(tip in blocks(), finalized in blocks(), frozen in option::of(freezes()), revision in counts()) -> Cursor {
        Cursor { chain: samples::chain(), tip, finalized, frozen, revision }
    }
}

/// A store in memory with the runtime that it lives in.
struct Bench {
    runtime: Runtime,
    connection: Connection,
}

impl Bench {
    fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let connection = runtime.block_on(crate::testing::memory());
        Self { runtime, connection }
    }

    /// The record as it comes back from the store.
    fn round_trip<R: Record>(&self, record: &R) -> R {
        let row = encode(record);
        let Some(Value::RecordId(id)) = row.get(ID).cloned() else { unreachable!("every row names its record") };
        let mut plan = Plan::default();
        plan.put(id.clone(), Expected::Anything, record).expect("one change");
        self.runtime.block_on(async {
            let outcome = tx::tx(&self.connection, statements::store([&plan])).await;
            assert!(matches!(outcome, tx::Outcome::Committed), "{outcome:?}");
            read::by_id(&self.connection, id).await.expect("readable").expect("stored")
        })
    }
}

macro_rules! comes_back {
    ($($name:ident: $strategy:expr;)*) => {$(
        #[test]
        fn $name() {
            let bench = Bench::new();
            proptest!(laws(stringify!($name)), |(record in $strategy)| {
                prop_assert_eq!(&bench.round_trip(&record), &record);
            });
        }
    )*};
}

comes_back! {
    a_merchant_comes_back_as_it_was: merchants();
    a_key_comes_back_as_it_was: keys();
    an_address_comes_back_as_it_was: own_addresses();
    an_invoice_comes_back_as_it_was: invoices();
    a_deposit_comes_back_as_it_was: deposits();
    a_posting_comes_back_as_it_was: postings();
    an_event_comes_back_as_it_was: events();
    a_delivery_comes_back_as_it_was: deliveries();
    a_cursor_comes_back_as_it_was: cursors();
    an_endpoint_comes_back_as_it_was: endpoints();
    a_kept_answer_comes_back_as_it_was: kept_answers();
    a_used_signature_comes_back_as_it_was: used_signatures();
    a_value_of_a_plugin_comes_back_as_it_was: stored_items();
    a_use_of_a_signer_comes_back_as_it_was: attestations();
}

#[test]
fn what_only_this_crate_knows_comes_back_as_it_was() {
    let bench = Bench::new();
    proptest!(laws("what_only_this_crate_knows"), |(
        merchant in merchant_ids(),
        invoice in invoice_ids(),
        external_id in free_text(),
        account: u32,
        sums in (amounts(), amounts()),
        revision in counts(),
        block in blocks(),
    )| {
        let balance = Balance { available: sums.0, held: sums.1 };
        let stored = StoredBalance { merchant: merchant.clone(), asset: samples::asset(), balance, revision };
        let back = bench.round_trip(&stored);
        prop_assert_eq!((&back.merchant, &back.asset, back.balance, back.revision),
            (&merchant, &samples::asset(), balance, revision));

        let back = bench.round_trip(&ProcessedBlock { chain: samples::chain(), block });
        prop_assert_eq!((back.chain, back.block), (samples::chain(), block));

        let taken = TakenExternalId { merchant: merchant.clone(), external_id, invoice };
        let back = bench.round_trip(&taken);
        prop_assert_eq!((&back.merchant, &back.external_id, &back.invoice),
            (&taken.merchant, &taken.external_id, &taken.invoice));

        let back = bench.round_trip(&TakenAccount { account, merchant: merchant.clone() });
        prop_assert_eq!((back.account, &back.merchant), (account, &merchant));

        let used = KeyUse { key: samples::key_id(revision), at: Timestamp::from_millis(revision) };
        let back = bench.round_trip(&used);
        prop_assert_eq!((&back.key, back.at), (&used.key, used.at));

        let counter = counter::id(&Counter::AddressIndex(merchant));
        let back = bench.round_trip(&NextNumber { counter: counter.clone(), next: revision });
        prop_assert_eq!((back.counter, back.next), (counter, revision));
    });
}

#[test]
fn damage_in_any_field_is_reported_with_table_and_record() {
    let invoice = samples::invoice(1);
    let damages: [(&str, Value); 8] = [
        ("merchant", Value::None),
        ("merchant", Value::String("mer_short".to_owned())),
        ("address", Value::from_int(5)),
        ("created_at", Value::from_int(-1)),
        ("created_at", Value::String("1".to_owned())),
        ("terms", Value::Null),
        ("assessment", Value::Object(Row::new())),
        ("listed", Value::Bool(true)),
    ];
    for (field, value) in damages {
        let mut row = encode(&invoice);
        row.insert(field, value.clone());
        let error = decode::<Invoice>(Value::Object(row)).expect_err("damaged");
        let StoreError::Damaged { table, reason } = &error else { unreachable!("damage is not transient: {error}") };
        assert_eq!(*table, "invoice");
        assert!(reason.contains(invoice.id.as_str()), "{field} {value:?}: {reason}");
        assert!(!error.is_transient());
    }
}

#[test]
fn a_posting_whose_lines_were_changed_is_reported() {
    let posting = samples::posting(1);
    let mut row = encode(&posting);
    let Some(Value::Array(lines)) = row.get("lines").cloned() else { unreachable!("a posting has lines") };
    let mut lines = lines.to_vec();
    let Some(Value::Object(line)) = lines.first_mut() else { unreachable!("a posting has lines") };
    line.insert("amount", "6".to_owned());
    row.insert("lines", Array::from(lines));
    assert!(matches!(decode::<Posting>(Value::Object(row)), Err(StoreError::Damaged { table: "posting", .. })));

    let mut row = encode(&posting);
    row.insert("cause", "another".to_owned());
    assert!(matches!(decode::<Posting>(Value::Object(row)), Err(StoreError::Damaged { table: "posting", .. })));
}

#[test]
fn a_deposit_under_another_id_is_reported() {
    let mut row = encode(&samples::deposit(1, None));
    row.insert(ID, deposit::id(&samples::deposit_id(2)));
    assert!(matches!(decode::<Deposit>(Value::Object(row)), Err(StoreError::Damaged { table: "deposit", .. })));
}

#[test]
fn a_block_under_another_height_is_reported() {
    let processed = ProcessedBlock { chain: samples::chain(), block: samples::block(5) };
    let mut row = encode(&processed);
    row.insert(ID, block::id(&samples::chain(), BlockNumber(6)));
    assert!(matches!(decode::<ProcessedBlock>(Value::Object(row)), Err(StoreError::Damaged { table: "block", .. })));
}

#[test]
fn damage_never_shows_a_secret() {
    let mut row = encode(&samples::key(1));
    row.insert("secret", "canary-of-a-secret".to_owned());
    let error = decode::<Key>(Value::Object(row)).expect_err("damaged");
    assert!(!error.to_string().contains("canary"), "{error}");
}

#[test]
fn numbers_end_where_32_bits_end() {
    let bench = Bench::new();
    bench.runtime.block_on(async {
        let connection = std::sync::Arc::new(bench.connection);
        let writer = crate::testing::writer(&connection).await;
        let counter = Counter::AddressIndex(samples::merchant_id(1));
        assert_eq!(numbers::take(&connection, &writer, &counter, u32::MAX).await, Ok(0));
        assert_eq!(numbers::take(&connection, &writer, &counter, 1).await, Ok(u32::MAX));
        let used_up = numbers::take(&connection, &writer, &counter, 1).await.expect_err("no number is left");
        assert!(!used_up.is_transient(), "{used_up}");
        writer.close().await;
    });
}
