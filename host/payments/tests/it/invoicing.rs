//! Making invoices: once for each name, on terms within the host's bounds, at an address of its own.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use xthonpay_domain::access::SignatureScheme;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::event::EventKind;
use xthonpay_domain::invoice::{
    CONFIRMATIONS_MAX, EXPIRES_IN_MAX, EXPIRES_IN_MIN, Invoice, Proposal, TOLERANCE_BPS_MAX, Tolerance,
};
use xthonpay_payments::access::Principal;
use xthonpay_payments::invoicing::address_indices::AddressIndices;
use xthonpay_payments::invoicing::{Created, InvoicingError, NewInvoice};
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::hooks::{DraftRuling, OnFailure};
use xthonpay_payments::port::signer::{AddressSource, DeriveError};
use xthonpay_payments::port::store::{CommitError, InvoiceFilter, StoreError, UsedSignature};
use xthonpay_tests::memory_store::Fault;

use crate::doubles::{PathAddresses, ScriptedRules, failure};
use crate::world::{World, unseen};

fn named(world: &World, name: &str) -> NewInvoice {
    NewInvoice { external_id: Some(name.parse().expect("a name")), ..world.new_invoice(100) }
}

/// The caller with a signature that may be used once.
fn signed(caller: &Principal, signature: &str, world: &World) -> Principal {
    let expires_at = world.clock.now().after(Duration::from_secs(600));
    let used = UsedSignature { key: caller.key.id.clone(), signature: signature.to_owned(), expires_at };
    Principal { used_signature: Some(used), ..caller.clone() }
}

#[tokio::test]
async fn the_same_name_on_the_same_terms_is_the_same_invoice() {
    let (world, caller) = World::started().await;
    let first = world.invoicing.create(&caller, named(&world, "order-1"), &unseen).await.expect("made");
    assert!(matches!(first, Created::New(_)));
    let before = world.store.tables();
    let again = world.invoicing.create(&caller, named(&world, "order-1"), &unseen).await.expect("found");
    let (Created::New(first), Created::Existing(again)) = (first, again) else { unreachable!("made once") };
    assert_eq!(again, first);
    let after = world.store.tables();
    assert_eq!((after.invoices.len(), after.events.len()), (before.invoices.len(), before.events.len()));
    // Another merchant has names of its own.
    let other = world.principal(SignatureScheme::Request).await;
    let others = world.invoicing.create(&other, named(&world, "order-1"), &unseen).await.expect("made");
    assert!(matches!(others, Created::New(invoice) if invoice.id != first.id));
}

#[tokio::test]
async fn the_same_name_on_other_terms_is_a_conflict_and_stores_nothing() {
    let (world, caller) = World::started().await;
    let first = world.make(&caller, named(&world, "order-1")).await.expect("made");
    let before = format!("{:?}", world.store.tables());
    let others = [
        NewInvoice { due: Amount::from_units(101), ..named(&world, "order-1") },
        NewInvoice { customer: Some("c".parse().expect("a name")), ..named(&world, "order-1") },
        NewInvoice { callback_url: None, ..named(&world, "order-1") },
        NewInvoice {
            metadata: vec![("k".parse().expect("a key"), "v".parse().expect("a value"))],
            ..named(&world, "order-1")
        },
        NewInvoice {
            asset: world.catalog.asset(&crate::world::bnb()).expect("accepted").clone(),
            ..named(&world, "order-1")
        },
    ];
    for other in others {
        let outcome = world.make(&caller, other).await;
        assert_eq!(outcome, Err(InvoicingError::ExternalIdConflict { invoice: first.id.clone() }));
    }
    assert_eq!(format!("{:?}", world.store.tables()), before);
}

/// Two calls with one name race: one of them finds the name taken only when it commits.
#[tokio::test]
async fn the_loser_of_a_race_for_a_name_gets_the_winners_invoice_or_the_conflict() {
    for (due, same) in [(100, true), (101, false)] {
        let (world, caller) = World::started().await;
        let winner = world.invoice(&caller, 100).await;
        let store = world.store.clone();
        let id = winner.id.clone();
        world.hooks.bind_rules([ScriptedRules::on_draft(move |draft| {
            store.tamper(|tables| {
                let winner = tables.invoices.get_mut(&id).expect("it was made");
                winner.external_id = Some("order-1".parse().expect("a name"));
            });
            Ok(DraftRuling::Accept(draft.proposed))
        })]);
        let loser = NewInvoice { due: Amount::from_units(due), ..named(&world, "order-1") };
        let outcome = world.make(&signed(&caller, "aa", &world), loser).await;
        match outcome {
            Ok(invoice) => assert!(same && invoice.id == winner.id),
            Err(error) => assert!(!same && error == InvoicingError::ExternalIdConflict { invoice: winner.id }),
        }
        assert_eq!(world.store.tables().signatures.len(), 0, "the refused call used nothing up");
    }
}

#[tokio::test]
async fn a_signature_makes_one_invoice() {
    let (world, caller) = World::started().await;
    let caller = signed(&caller, "aa", &world);
    world.make(&caller, world.new_invoice(100)).await.expect("made");
    let before = world.store.tables();
    let replayed = world.make(&caller, world.new_invoice(100)).await;
    assert_eq!(replayed, Err(InvoicingError::SignatureReplayed));
    let after = world.store.tables();
    assert_eq!((after.invoices, after.addresses, after.events), (before.invoices, before.addresses, before.events));
    // With a name, the replay finds what the first call made.
    let caller = signed(&caller, "bb", &world);
    let first = world.make(&caller, named(&world, "order-1")).await.expect("made");
    assert_eq!(world.make(&caller, named(&world, "order-1")).await, Ok(first));
}

#[tokio::test]
async fn a_failure_of_the_store_makes_one_invoice_or_none() {
    for (fault, made) in [(Fault::NothingStored, 0), (Fault::Stored, 1)] {
        let (world, caller) = World::started().await;
        world.store.faults.next([Some(fault)]);
        let outcome = world.make(&caller, named(&world, "order-1")).await;
        assert!(matches!(outcome, Err(InvoicingError::Commit(CommitError::Store(_)))), "{outcome:?}");
        assert_eq!(world.store.tables().invoices.len(), made);
        let again = world.make(&caller, named(&world, "order-1")).await.expect("made or found");
        let tables = world.store.tables();
        assert_eq!(tables.invoices.keys().collect::<Vec<_>>(), [&again.id]);
        assert!(world.watch.contains(&again.address));
    }
}

#[tokio::test]
async fn what_the_host_refuses_reaches_no_plugin() {
    let (world, caller) = World::started().await;
    world.hooks.bind_rules([ScriptedRules::on_draft(|_| unreachable!("no plugin is asked"))]);
    let before = format!("{:?}", world.store.tables());
    let nothing = world.make(&caller, world.new_invoice(0)).await;
    assert!(matches!(nothing, Err(InvoicingError::Terms(_))), "{nothing:?}");
    let url = Some("https://refused.example/".parse().expect("a URL"));
    let refused = world.make(&caller, NewInvoice { callback_url: url, ..world.new_invoice(1) }).await;
    assert!(matches!(refused, Err(InvoicingError::CallbackUrl(_))), "{refused:?}");
    assert_eq!(format!("{:?}", world.store.tables()), before);
}

fn proposal(expires_in_s: u64, bps: u32, missing: u128, confirmations: u64) -> Proposal {
    let tolerance = Tolerance { bps, amount: Amount::from_units(missing) };
    Proposal { expires_in: Duration::from_secs(expires_in_s), tolerance, confirmations }
}

async fn agreed(world: &World, caller: &Principal, new: NewInvoice) -> Proposal {
    let Invoice { created_at, terms, .. } = world.make(caller, new).await.expect("made");
    Proposal {
        expires_in: terms.expires_at.since(created_at),
        tolerance: terms.tolerance,
        confirmations: terms.confirmations,
    }
}

#[tokio::test]
async fn proposals_are_clamped_to_the_hosts_bounds() {
    let table = [
        (proposal(600, 100, 5, 12), proposal(600, 100, 5, 12)),
        (proposal(0, 0, 0, 0), proposal(EXPIRES_IN_MIN.as_secs(), 0, 0, 1)),
        (proposal(59, 0, 0, 1), proposal(60, 0, 0, 1)),
        (
            proposal(u64::MAX, u32::MAX, u128::MAX, u64::MAX),
            proposal(EXPIRES_IN_MAX.as_secs(), TOLERANCE_BPS_MAX, 500, CONFIRMATIONS_MAX),
        ),
    ];
    for (proposed, expected) in table {
        let (world, caller) = World::started().await;
        world.hooks.bind_rules([ScriptedRules::on_draft(move |_| Ok(DraftRuling::Accept(proposed)))]);
        assert_eq!(agreed(&world, &caller, world.new_invoice(1_000)).await, expected);
    }
    let (world, caller) = World::started().await;
    for (asked, given) in [(None, 3_600), (Some(600), 600), (Some(0), 60), (Some(u32::MAX), 30 * 24 * 3_600)] {
        let new = NewInvoice { expires_in_s: asked, ..world.new_invoice(1_000) };
        assert_eq!(agreed(&world, &caller, new).await, proposal(given, 0, 0, 1), "{asked:?}");
    }
}

#[tokio::test]
async fn each_rule_sees_what_the_one_before_proposed_within_bounds() {
    let (world, caller) = World::started().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |answer: Result<Proposal, OnFailure>| {
        let seen = seen.clone();
        ScriptedRules::on_draft(move |draft| {
            seen.lock().expect("no panic before").push(draft.proposed);
            answer.map(DraftRuling::Accept).map_err(failure)
        })
    };
    world.hooks.bind_rules([
        note(Ok(proposal(u64::MAX, 9_999, 0, 2))),
        note(Err(OnFailure::Builtin)),
        note(Err(OnFailure::Hold)),
        note(Ok(proposal(700, 10, 1, 3))),
    ]);
    assert_eq!(agreed(&world, &caller, world.new_invoice(1_000)).await, proposal(700, 10, 1, 3));
    let clamped = proposal(EXPIRES_IN_MAX.as_secs(), TOLERANCE_BPS_MAX, 0, 2);
    assert_eq!(*seen.lock().expect("no panic before"), [proposal(3_600, 0, 0, 0), clamped, clamped, clamped]);
}

#[tokio::test]
async fn a_rule_that_refuses_or_fails_closed_ends_the_matter() {
    let (world, caller) = World::started().await;
    let refuses = || {
        ScriptedRules::on_draft(|_| {
            Ok(DraftRuling::Refuse { code: "too_small".to_owned(), message: "at least 5".to_owned() })
        })
    };
    let never = || ScriptedRules::on_draft(|_| unreachable!("not asked"));
    let before = format!("{:?}", world.store.tables());
    world.hooks.bind_rules([refuses(), never()]);
    let refused = InvoicingError::RefusedByRules { code: "too_small".to_owned(), message: "at least 5".to_owned() };
    assert_eq!(world.make(&caller, world.new_invoice(1)).await, Err(refused));
    world.hooks.bind_rules([ScriptedRules::on_draft(|_| Err(failure(OnFailure::Closed))), never()]);
    let closed = InvoicingError::RulesUnavailable(failure(OnFailure::Closed));
    assert_eq!(world.make(&caller, world.new_invoice(1)).await, Err(closed));
    assert_eq!(format!("{:?}", world.store.tables()), before);
}

#[tokio::test]
async fn every_invoice_has_an_address_of_its_own_across_restarts() {
    let (mut world, caller) = World::started().await;
    let other = world.principal(SignatureScheme::Request).await;
    let mut addresses = BTreeSet::new();
    for round in 0..3 {
        for _ in 0..25 {
            for caller in [&caller, &other] {
                assert!(addresses.insert(world.invoice(caller, 1).await.address), "round {round}");
            }
        }
        world.invoicing.indices =
            Arc::new(AddressIndices::new(world.store.clone(), Arc::new(PathAddresses), world.watch.clone()));
    }
    assert!(world.store.tables().addresses.len() > addresses.len(), "and so have the merchants");
}

/// Two paths without a key.
struct Gaps;

impl AddressSource for Gaps {
    fn derive(&self, account: u32, index: u32) -> Result<Address, DeriveError> {
        if index == 1 || index == 2 {
            Err(DeriveError::Unusable { account, index })
        } else {
            PathAddresses.derive(account, index)
        }
    }
}

#[tokio::test]
async fn paths_without_a_key_are_skipped() {
    let (mut world, caller) = World::started().await;
    world.invoicing.indices = Arc::new(AddressIndices::new(world.store.clone(), Arc::new(Gaps), world.watch.clone()));
    let invoice = world.invoice(&caller, 1).await;
    assert_eq!(world.store.tables().addresses[&invoice.address].index, 3);
}

#[tokio::test]
async fn a_merchant_without_a_record_gets_no_address() {
    let (world, caller) = World::started().await;
    world.store.tamper(|tables| tables.merchants.clear());
    let outcome = world.make(&caller, world.new_invoice(1)).await;
    assert!(
        matches!(outcome, Err(InvoicingError::Store(StoreError::Damaged { table: "merchant", .. }))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_merchant_sees_its_own_invoices_only() {
    let (world, caller) = World::started().await;
    let other = world.principal(SignatureScheme::Request).await;
    let mine = world.invoice(&caller, 1).await;
    world.clock.advance(Duration::from_secs(1));
    let newer = world.invoice(&caller, 2).await;
    let theirs = world.invoice(&other, 1).await;
    let get = |id| world.invoicing.get(caller.merchant(), id);
    assert_eq!(get(&mine.id).await.expect("the store answers").map(|(invoice, _)| invoice), Some(mine.clone()));
    assert_eq!(get(&theirs.id).await, Ok(None));
    let listed = world.invoicing.list(caller.merchant(), &InvoiceFilter::default(), 10).await;
    assert_eq!(listed, Ok(vec![newer.clone(), mine.clone()]));
    let after = InvoiceFilter { after: Some((newer.created_at, newer.id)), ..InvoiceFilter::default() };
    assert_eq!(world.invoicing.list(caller.merchant(), &after, 10).await, Ok(vec![mine]));
}

#[tokio::test]
async fn a_new_invoice_is_an_event_that_leaves_nothing_to_route() {
    let (world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    assert_eq!(world.events_of(&invoice.id), [EventKind::InvoiceCreated]);
    assert_eq!(world.store.tables().routed.len(), 1);
    let woken = tokio::time::timeout(Duration::from_millis(50), world.wakeups.routing.notified());
    assert!(woken.await.is_err(), "nobody is woken for nothing");
    let data: serde_json::Value =
        serde_json::from_str(&world.store.tables().events[0].data_json).expect("events are JSON");
    assert_eq!(data["invoice_id"], invoice.id.as_str());
    assert_eq!(data["amount"], "100");
    assert_eq!(data["status"], "pending");
    assert_eq!(data["deposit_address"], invoice.address.to_string());
}
