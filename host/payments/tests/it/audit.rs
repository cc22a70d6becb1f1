//! The audit: silent about sound books, whatever the story behind them, and loud about each kind of damage.

use std::sync::Arc;
use std::time::Duration;

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::event::EventKind;
use xthonpay_domain::hash::{BlockHash, TxHash};
use xthonpay_domain::id::{ID_BYTES, MerchantId};
use xthonpay_domain::ledger::{Posting, PostingKind};
use xthonpay_domain::transfer::{Origin, Transfer, TransferIdentity};
use xthonpay_payments::access::Principal;
use xthonpay_payments::audit::{Audit, AuditError, BREACHES_LISTED_MAX, From, Report, Scope};
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::store::{Freeze, Store as _};
use xthonpay_tests::memory_store::Fault;
use xthonpay_tests::scripted_chain::{Question, no_answer};

use crate::doubles::ScriptedRules;
use crate::world::{World, bnb, chain_name, usdt};

const HOUR: Duration = Duration::from_secs(3_600);

fn auditor(world: &World) -> Audit {
    world.chain.set_native(&bnb());
    Audit {
        store: world.store.clone(),
        sources: vec![world.chain.clone()],
        catalog: world.catalog.clone(),
        clock: world.clock.clone(),
    }
}

async fn audited(world: &World, scope: &Scope) -> Report {
    auditor(world).run(scope, &|_| ()).await.expect("the store answers")
}

/// Everything, from the beginning of the chain.
pub(crate) async fn audit(world: &World) -> Report {
    audited(world, &Scope { from: From::Block(BlockNumber(0)), ..Scope::default() }).await
}

/// The invariants that are breached, each once.
fn breached(report: &Report) -> Vec<&str> {
    let breached = report.breaches_total.iter().filter(|(_, total)| **total > 0);
    breached.map(|(invariant, _)| invariant.as_str()).collect()
}

/// That exactly these invariants are breached, and that a breach says this.
async fn finds(world: &World, invariants: &[&str], says: &str) -> Report {
    let report = audit(world).await;
    assert_eq!(breached(&report), invariants, "{report:#?}");
    let told = |detail: &str| detail.contains(says);
    assert!(report.breaches.iter().any(|breach| told(&breach.detail)), "no `{says}` in {report:#?}");
    assert!(!report.ok && report.complete, "{report:#?}");
    report
}

/// A world with a bit of everything: an invoice that is paid, one that is paid in another asset, one that has expired, one that
/// waits; a payment to the merchant's own address; and one that left the chain and came back.
async fn sound() -> (World, Principal) {
    let (mut world, caller) = World::started().await;
    let [paid, wrong, expired] = [100, 50, 30].map(|units| (units, world.new_invoice(units)));
    let paid = world.make(&caller, paid.1).await.expect("made");
    let wrong = world.make(&caller, wrong.1).await.expect("made");
    let expired = world.make(&caller, expired.1).await.expect("made");
    let own = own_address(&world, &caller).await;
    world.pay(&[(paid.address, 60), (paid.address, 60), (own, 7)]);
    let in_bnb = [world.chain.payment(&bnb(), wrong.address, 9), world.chain.payment(&bnb(), own, 4)];
    world.chain.mine(&in_bnb);
    world.pay(&[(expired.address, 10)]);
    world.scan().await;
    let taken = world.chain.fork(1);
    world.chain.mine_empty(1);
    taken.iter().for_each(|block| {
        world.chain.mine(&block.transfers);
    });
    world.scan().await;
    world.finalise().await;
    world.settle().await;
    world.pass(HOUR * 2);
    world.chain.mine_empty(1);
    world.finalise().await;
    world.settle().await;
    let _waits = world.invoice(&caller, 5).await;
    (world, caller)
}

async fn own_address(world: &World, caller: &Principal) -> Address {
    world.store.deposit_address(caller.merchant()).await.expect("answers").expect("has one").address
}

/// The only deposit of so many units.
fn deposit_of(world: &World, asset: &AssetId, units: u128) -> Deposit {
    let tables = world.store.tables();
    let like = |deposit: &&Deposit| {
        deposit.transfer.amount == Amount::from_units(units) && deposit.transfer.identity.asset == *asset
    };
    let mut found = tables.deposits.values().filter(like);
    let deposit = found.next().expect("there is one").clone();
    assert!(found.next().is_none(), "only one");
    deposit
}

fn posting_id(deposit: &Deposit, kind: PostingKind) -> xthonpay_domain::id::PostingId {
    Posting::id_of(kind, deposit.id.as_str())
}

/// Removes a deposit with everything that the ledger made of it.
fn forget_deposit(world: &World, deposit: &Deposit) {
    world.store.tamper(|tables| {
        tables.deposits.remove(&deposit.id);
        tables.postings.remove(&posting_id(deposit, PostingKind::DepositCredited));
        let key = (deposit.merchant.clone(), deposit.transfer.identity.asset.clone());
        let (balance, _) = tables.balances.get_mut(&key).expect("was credited");
        balance.available = balance.available.checked_sub(deposit.transfer.amount).expect("was credited");
    });
}

#[tokio::test]
async fn says_nothing_about_sound_books() {
    let (world, caller) = sound().await;
    let report = audit(&world).await;
    assert!(report.ok && report.complete && report.breaches.is_empty(), "{report:#?}");
    let checked = &report.checked;
    assert_eq!((checked.postings, checked.deposits, checked.suspended), (6, 6, 1), "{checked:?}");
    assert_eq!((checked.balances, checked.invoices, checked.chain_transfers), (2, 4, 6), "{checked:?}");
    let addresses = world.store.tables().addresses.len();
    assert_eq!(checked.holdings, u64::try_from(addresses * 2).expect("few"), "each address in each asset");
    assert!(checked.events > 10 && checked.blocks > 5 && checked.chain_blocks == 5, "{checked:?}");
    let of = |asset: &AssetId| report.assets.iter().find(|totals| totals.asset == asset.to_string()).expect("is told");
    assert_eq!((of(&usdt()).on_chain.as_str(), of(&usdt()).deposited.as_str()), ("137", "137"));
    assert_eq!((of(&bnb()).on_chain.as_str(), of(&bnb()).suspended.as_str()), ("13", "9"));
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(137));
    assert_eq!(world.chain.tip().number.0, report.chains[0].tip);
    // The same from the default and from the beginning.
    for from in [From::Recent, From::Beginning] {
        let report = audited(&world, &Scope { from, chain: Some(chain_name()), ..Scope::default() }).await;
        assert!(report.ok, "{from:?}: {report:#?}");
        assert_eq!(report.checked.chain_transfers, 6, "{from:?}");
    }
}

#[tokio::test]
async fn says_nothing_about_an_empty_deployment() {
    let mut world = World::new(1);
    let before = audit(&world).await;
    assert!(before.ok, "nothing is scanned yet: {before:#?}");
    assert!(before.not_checked.iter().any(|omission| omission.what.contains("no block")), "{before:#?}");
    world.scan().await;
    assert!(audit(&world).await.ok);
}

#[tokio::test]
async fn a_deposit_that_awaits_confirmations_is_in_flight() {
    let (mut world, caller) = World::started().await;
    world.hooks.bind_rules([ScriptedRules::on_draft(|draft| {
        let mut proposal = draft.proposed;
        proposal.confirmations = 5;
        Ok(xthonpay_payments::port::hooks::DraftRuling::Accept(proposal))
    })]);
    let invoice = world.invoice(&caller, 100).await;
    world.pay(&[(invoice.address, 100)]);
    world.finalise().await;
    assert_eq!(deposit_of(&world, &usdt(), 100).state, DepositState::Seen);
    let report = audit(&world).await;
    assert!(report.ok, "{report:#?}");
    let told = report.assets.iter().find(|totals| totals.asset == usdt().to_string()).expect("is told");
    assert_eq!((told.on_chain.as_str(), told.deposited.as_str(), told.in_flight.as_str()), ("100", "0", "100"));
}

#[tokio::test]
async fn finds_a_balance_that_its_postings_do_not_make() {
    let (world, caller) = sound().await;
    world.store.tamper(|tables| {
        let (balance, _) = tables.balances.get_mut(&(caller.merchant().clone(), usdt())).expect("has one");
        balance.available = Amount::from_units(138);
    });
    let report = finds(&world, &["I2"], "available is 138 and its postings sum to 137").await;
    assert!(report.breaches[0].subject.contains(caller.merchant().as_str()), "{report:#?}");
}

#[tokio::test]
async fn finds_a_balance_that_is_not_there() {
    let (world, caller) = sound().await;
    world.store.tamper(|tables| {
        tables.balances.remove(&(caller.merchant().clone(), usdt())).expect("has one");
    });
    finds(&world, &["I2"], "available is 0 and its postings sum to 137").await;
}

#[tokio::test]
async fn finds_a_missing_posting() {
    let (world, _) = sound().await;
    let deposit = deposit_of(&world, &usdt(), 7);
    world.store.tamper(|tables| {
        drop(tables.postings.remove(&posting_id(&deposit, PostingKind::DepositCredited)).expect("was there"));
    });
    let report = finds(&world, &["I2", "I3"], "no posting").await;
    assert!(report.breaches.iter().any(|breach| breach.subject == deposit.id.as_str()), "{report:#?}");
}

#[tokio::test]
async fn finds_a_deposit_that_is_posted_twice() {
    let (world, _) = sound().await;
    let deposit = deposit_of(&world, &usdt(), 7);
    let twice = Posting::suspend_deposit(&deposit, world.clock.now()).expect("an amount");
    world.store.tamper(|tables| drop(tables.postings.insert(twice.id().clone(), twice)));
    // The event that a suspension promises was never told either.
    finds(&world, &["I3", "I7"], "posted twice").await;
}

#[tokio::test]
async fn finds_a_posting_of_another_amount() {
    let (world, _) = sound().await;
    let deposit = deposit_of(&world, &usdt(), 7);
    let mut other = deposit.clone();
    other.transfer.amount = Amount::from_units(8);
    let posting = Posting::credit_deposit(&other, world.clock.now()).expect("an amount");
    world.store.tamper(|tables| {
        tables.postings.insert(posting.id().clone(), posting).expect("replaced");
    });
    finds(&world, &["I2", "I3"], "not those of deposit").await;
}

#[tokio::test]
async fn finds_a_posting_about_a_deposit_that_is_not_final() {
    let (world, _) = sound().await;
    let deposit = deposit_of(&world, &usdt(), 7);
    world.store.tamper(|tables| {
        tables.deposits.get_mut(&deposit.id).expect("there").state = DepositState::Orphaned;
    });
    // The chain has the transfer, and its address holds the coins.
    finds(&world, &["I3", "I5"], "is not final").await;
}

#[tokio::test]
async fn finds_a_deposit_without_a_transfer_on_the_chain() {
    let (world, _) = sound().await;
    let real = deposit_of(&world, &usdt(), 7);
    let origin = Origin::Transaction { tx: TxHash::new([0xee; 32]), nth: 0 };
    let identity = TransferIdentity { origin, ..real.transfer.identity.clone() };
    let transfer = Transfer { identity, ..real.transfer.clone() };
    let invented = Deposit { id: transfer.identity.deposit_id(), transfer, ..real.clone() };
    let posting = Posting::credit_deposit(&invented, world.clock.now()).expect("an amount");
    let tables = world.store.tables();
    let told = tables.events.iter().find(|event| event.deposit.as_ref() == Some(&real.id)).expect("was told");
    let mut event = xthonpay_domain::event::Event::clone(told);
    event.id = xthonpay_domain::id::EventId::from_fact(&[invented.id.as_str(), EventKind::DepositCredited.name()]);
    world.store.tamper(|tables| {
        let key = (invented.merchant.clone(), usdt());
        let (balance, _) = tables.balances.get_mut(&key).expect("has one");
        balance.available = balance.available.checked_add(Amount::from_units(7)).expect("in range");
        tables.events.push(Arc::new(event));
        tables.postings.insert(posting.id().clone(), posting);
        tables.deposits.insert(invented.id.clone(), invented.clone());
    });
    // The books agree with themselves; only the chain tells.
    let report = finds(&world, &["I3", "I5"], "its transaction is not on the chain").await;
    assert_eq!(report.breaches_total["I3"], 1, "the real ones are left alone: {report:#?}");
    assert!(report.breaches.iter().any(|breach| breach.detail.starts_with("7 of its deposits is not there")));
}

#[tokio::test]
async fn finds_a_transfer_without_a_deposit() {
    let (world, _) = sound().await;
    let deposit = deposit_of(&world, &usdt(), 7);
    forget_deposit(&world, &deposit);
    let report = finds(&world, &["I3", "I5"], "it has no deposit").await;
    let advice = format!("--from {0} --to {0}", deposit.block.number);
    assert!(report.breaches.iter().any(|breach| breach.detail.contains(&advice)), "{report:#?}");
    assert!(report.breaches.iter().any(|breach| breach.detail.starts_with("7 at block")), "{report:#?}");
}

/// The books agree with each other then: only the address tells whose the money is.
#[tokio::test]
async fn finds_a_deposit_that_is_attributed_to_somebody_else() {
    let (mut world, caller) = World::started().await;
    let other = world.invoice(&caller, 100).await;
    let own = own_address(&world, &caller).await;
    world.pay(&[(own, 7)]);
    world.scan().await;
    world.store.tamper(|tables| {
        tables.deposits.values_mut().for_each(|deposit| deposit.merchant = MerchantId::from_random([7; ID_BYTES]));
    });
    world.finalise().await;
    finds(&world, &["I3"], "it is attributed to no invoice of").await;
    world.store.tamper(|tables| {
        tables.deposits.values_mut().for_each(|deposit| deposit.merchant = caller.merchant().clone());
    });
    world.store.tamper(|tables| {
        tables.deposits.values_mut().for_each(|deposit| deposit.invoice = Some(other.id.clone()));
    });
    let report = audit(&world).await;
    let told = |detail: &str| detail.contains(&format!("attributed to {}", other.id));
    assert!(report.breaches.iter().any(|breach| told(&breach.detail)), "{report:#?}");
    world.store.tamper(|tables| {
        tables.addresses.remove(&own);
    });
    let report = audit(&world).await;
    assert!(report.breaches.iter().any(|breach| breach.detail.contains("has no record")), "{report:#?}");
}

#[tokio::test]
async fn finds_a_final_transfer_that_was_not_credited() {
    let (world, _) = sound().await;
    let deposit = deposit_of(&world, &usdt(), 7);
    forget_deposit(&world, &deposit);
    let seen = Deposit { state: DepositState::Seen, ..deposit };
    world.store.tamper(|tables| drop(tables.deposits.insert(seen.id.clone(), seen)));
    finds(&world, &["I3"], "is not credited").await;
}

#[tokio::test]
async fn finds_a_deposit_of_another_amount_or_block() {
    let (world, _) = sound().await;
    let id = deposit_of(&world, &bnb(), 4).id;
    world.store.tamper(|tables| {
        tables.deposits.get_mut(&id).expect("there").block.hash = BlockHash::new([9; 32]);
    });
    finds(&world, &["I3"], "is recorded in block").await;

    let (world, _) = sound().await;
    world.store.tamper(|tables| {
        tables.deposits.get_mut(&id).expect("there").transfer.amount = Amount::from_units(5);
    });
    finds(&world, &["I3", "I5"], "has the amount 5").await;
}

#[tokio::test]
async fn finds_every_unit_that_no_deposit_explains() {
    let (mut world, _) = sound().await;
    world.chain.mine_passing_on(&bnb(), closed_address(&world), 1);
    world.finalise().await;
    let report = finds(&world, &["I5"], "1 at block").await;
    let told = report.assets.iter().find(|totals| totals.asset == bnb().to_string()).expect("is told");
    assert_eq!((told.on_chain.as_str(), told.unexplained.as_str(), told.missing.as_str()), ("14", "1", "0"));
}

#[tokio::test]
async fn finds_a_missing_event_of_an_invoice() {
    for kind in
        [EventKind::InvoicePaid, EventKind::PaymentConfirmed, EventKind::InvoiceCreated, EventKind::InvoiceExpired]
    {
        let (world, _) = sound().await;
        world.store.tamper(|tables| {
            let place = tables.events.iter().position(|event| event.kind == kind && event.invoice.is_some());
            drop(tables.events.remove(place.expect("was told")));
        });
        let report = finds(&world, &["I7"], "these are missing").await;
        assert!(report.breaches[0].detail.contains(kind.name()), "{kind:?}: {report:#?}");
    }
}

#[tokio::test]
async fn finds_an_event_that_was_never_numbered() {
    let (world, _) = sound().await;
    world.store.tamper(|tables| {
        let paid = tables.invoices.values_mut().max_by_key(|invoice| invoice.events).expect("there are some");
        let last = xthonpay_payments::reassess::event_id(&paid.id, paid.events);
        paid.events -= 1;
        tables.events.retain(|event| event.id != last);
    });
    finds(&world, &["I7"], "told 0 times").await;
}

#[tokio::test]
async fn finds_a_missing_event_of_a_deposit() {
    for kind in [EventKind::DepositCredited, EventKind::DepositUnattributed] {
        let (world, _) = sound().await;
        world.store.tamper(|tables| {
            let place = tables.events.iter().position(|event| event.kind == kind).expect("was told");
            drop(tables.events.remove(place));
        });
        finds(&world, &["I7"], kind.name()).await;
    }
}

#[tokio::test]
async fn finds_blocks_that_are_not_linked() {
    let (world, _) = sound().await;
    world.store.tamper(|tables| {
        let block = tables.blocks.get_mut(&(chain_name(), BlockNumber(2))).expect("is remembered");
        block.hash = BlockHash::new([9; 32]);
    });
    finds(&world, &["I8"], "its parent is").await;

    let (world, _) = sound().await;
    world.store.tamper(|tables| {
        let cursor = tables.cursors.get_mut(&chain_name()).expect("is scanned");
        tables.blocks.get_mut(&(chain_name(), cursor.tip.number)).expect("is remembered").hash =
            BlockHash::new([9; 32]);
    });
    finds(&world, &["I8"], "the cursor has it as").await;
}

#[tokio::test]
async fn finds_a_final_block_that_is_not_the_chains() {
    let (world, _) = sound().await;
    world.store.tamper(|tables| {
        let wrong = BlockHash::new([9; 32]);
        let cursor = tables.cursors.get_mut(&chain_name()).expect("is scanned");
        cursor.finalized.hash = wrong;
        cursor.tip = cursor.finalized;
        tables.blocks.insert((chain_name(), cursor.tip.number), cursor.tip);
    });
    let report = audit(&world).await;
    assert!(breached(&report).contains(&"I8"), "{report:#?}");
    assert!(report.breaches.iter().any(|breach| breach.detail.contains("and on the chain as")), "{report:#?}");
}

/// The address of an invoice that is paid, whose balance no sweep reads.
fn closed_address(world: &World) -> Address {
    let invoices = world.store.tables().invoices;
    let is_paid = |invoice: &&xthonpay_domain::invoice::Invoice| {
        invoice.assessment.state == xthonpay_domain::invoice::assessment::InvoiceState::Paid
    };
    invoices.values().find(is_paid).expect("one is paid").address
}

/// Lets a deposit of 7 count as 8.
fn credit_too_much(world: &World) {
    let id = deposit_of(world, &usdt(), 7).id;
    world.store.tamper(|tables| tables.deposits.get_mut(&id).expect("there").transfer.amount = Amount::from_units(8));
}

#[tokio::test]
async fn does_not_freeze_for_money_that_no_record_explains() {
    let (mut world, _) = sound().await;
    world.chain.mine_passing_on(&bnb(), closed_address(&world), 1);
    forget_deposit(&world, &deposit_of(&world, &usdt(), 7));
    world.finalise().await;
    let report = audited(&world, &Scope { freeze: true, ..Scope::default() }).await;
    assert_eq!(breached(&report), ["I3", "I5"], "{report:#?}");
    assert!(report.breaches.iter().any(|breach| breach.detail.contains("rescan --address")), "{report:#?}");
    assert_eq!(report.chains[0].frozen, None);
    assert_eq!(world.store.cursor(&chain_name()).await.expect("answers").expect("is scanned").frozen, None);
}

/// A host that is in the middle of its work: what is final is credited, and what a contract passed on recorded, a moment later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looks_again_at_what_a_running_host_is_about_to_record() {
    let (mut world, caller) = sound().await;
    let invoice = world.bnb_invoice(&caller, 50).await;
    world.chain.mine_passing_on(&bnb(), invoice.address, 50);
    world.chain.finalise();
    world.chain.fail_when(|question| matches!(question, Question::Balances(_)).then(no_answer));
    world.restart();
    world.scan().await;
    world.chain.recover();
    let auditor = auditor(&world);
    let audits = tokio::spawn(async move { auditor.run(&Scope::default(), &|_| ()).await });
    while !audits.is_finished() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.chain.mine_empty(1);
        world.finalise().await;
    }
    let report = audits.await.expect("no panic").expect("the store answers");
    assert!(report.breaches.is_empty(), "{report:#?}");
}

#[tokio::test]
async fn freezes_a_chain_when_money_is_missing_or_too_much_is_credited() {
    let (world, _) = sound().await;
    credit_too_much(&world);
    let frozen = async || world.store.cursor(&chain_name()).await.expect("answers").expect("is scanned").frozen;
    let unasked = audit(&world).await;
    assert!(!unasked.ok && frozen().await.is_none(), "an audit changes nothing unless it is asked to");

    // The scanner moves the cursor at the same moment.
    world.store.faults.next([Some(Fault::Refused), Some(Fault::Refused)]);
    let scope = Scope { freeze: true, ..Scope::default() };
    let report = audited(&world, &scope).await;
    let freeze = frozen().await.expect("is frozen");
    assert_eq!(report.chains[0].frozen.as_ref(), Some(&freeze.reason));
    assert!(freeze.reason.starts_with("the audit found") && freeze.at == world.clock.now(), "{freeze:?}");

    // A freeze that stands keeps its own reason.
    let mine = Freeze { reason: "the operator's".to_owned(), at: world.clock.now() };
    world.store.tamper(|tables| tables.cursors.get_mut(&chain_name()).expect("is scanned").frozen = Some(mine.clone()));
    let report = audited(&world, &scope).await;
    assert_eq!((report.chains[0].frozen.as_deref(), frozen().await), (Some("the operator's"), Some(mine)));
}

#[tokio::test]
async fn a_freeze_that_cannot_be_stored_is_told() {
    let (world, _) = sound().await;
    credit_too_much(&world);
    world.store.faults.next([Some(Fault::NothingStored)]);
    let failed = auditor(&world).run(&Scope { freeze: true, ..Scope::default() }, &|_| ()).await;
    assert!(matches!(&failed, Err(error @ AuditError::Freeze(_)) if error.is_transient()), "{failed:?}");
}

#[tokio::test]
async fn does_not_freeze_for_what_is_not_about_money() {
    let (world, _) = sound().await;
    world.store.tamper(|tables| drop(tables.events.pop()));
    let report = audited(&world, &Scope { freeze: true, ..Scope::default() }).await;
    assert_eq!(breached(&report), ["I7"]);
    assert_eq!(report.chains[0].frozen, None);
    assert_eq!(world.store.cursor(&chain_name()).await.expect("answers").expect("is scanned").frozen, None);
}

#[tokio::test]
async fn silent_nodes_leave_the_audit_incomplete_and_the_ledger_checked() {
    let (world, caller) = sound().await;
    world.chain.fail_when(|_| Some(no_answer()));
    let report = audit(&world).await;
    assert!(!report.ok && !report.complete && report.breaches.is_empty(), "{report:#?}");
    assert_eq!(report.checked.postings, 6);
    world.store.tamper(|tables| {
        let (balance, _) = tables.balances.get_mut(&(caller.merchant().clone(), usdt())).expect("has one");
        balance.available = Amount::ZERO;
    });
    assert_eq!(breached(&audit(&world).await), ["I2"]);

    // Nodes that have forgotten the state of the block.
    let (world, _) = sound().await;
    world.chain.fail_when(|question| matches!(question, Question::Balances(_)).then(no_answer));
    let report = audit(&world).await;
    assert!(!report.complete && report.breaches.is_empty() && report.checked.chain_transfers == 6, "{report:#?}");
}

#[tokio::test]
async fn a_node_that_shows_another_chain_is_not_believed() {
    let (world, _) = sound().await;
    let number = world.chain.tip().number;
    let mut lie = xthonpay_domain::transfer::BlockTransfers { block: world.chain.tip(), transfers: Vec::new() };
    lie.block.hash = BlockHash::new([9; 32]);
    world.chain.lie_about(number, lie);
    let report = audit(&world).await;
    assert!(!report.complete, "{report:#?}");
    assert!(!breached(&report).contains(&"I3"), "nothing is concluded from it: {report:#?}");
}

#[tokio::test]
async fn a_store_that_does_not_answer_ends_the_audit() {
    let (world, _) = sound().await;
    world.store.faults.fail_reads(true);
    let failed = auditor(&world).run(&Scope::default(), &|_| ()).await;
    assert!(matches!(&failed, Err(error @ AuditError::Store(_)) if error.is_transient()), "{failed:?}");
}

#[tokio::test]
async fn an_unknown_chain_is_refused_with_those_that_there_are() {
    let (world, _) = sound().await;
    let scope = Scope { chain: Some("eth".parse().expect("well formed")), ..Scope::default() };
    let failed = auditor(&world).run(&scope, &|_| ()).await.expect_err("there is no such chain");
    assert!(failed.to_string().contains("bsc") && !failed.is_transient(), "{failed}");
}

#[tokio::test]
async fn lists_a_bounded_number_of_breaches_and_counts_all() {
    let (world, caller) = World::started().await;
    let many = BREACHES_LISTED_MAX + 50;
    for _ in 0..many {
        world.invoice(&caller, 100).await;
    }
    world.store.tamper(|tables| tables.events.clear());
    let report = audit(&world).await;
    assert_eq!(report.breaches.len(), BREACHES_LISTED_MAX);
    assert_eq!(report.breaches_total["I7"], u64::try_from(many).expect("few"));
}

/// A host goes on while it is audited: what comes in between must not look like damage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn says_nothing_about_books_that_are_being_written() {
    let (mut world, caller) = sound().await;
    let own = own_address(&world, &caller).await;
    let auditor = auditor(&world);
    let audits = tokio::spawn(async move {
        let mut rounds = 0_u32;
        for _ in 0..40 {
            let report = auditor.run(&Scope::default(), &|_| ()).await.expect("the store answers");
            assert!(report.breaches.is_empty(), "{report:#?}");
            rounds += 1;
            tokio::task::yield_now().await;
        }
        rounds
    });
    let mut paid = 0_u128;
    while !audits.is_finished() {
        world.pay(&[(own, 3), (own, 4)]);
        world.chain.mine(&[world.chain.payment(&bnb(), own, 1)]);
        world.finalise().await;
        paid += 7;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(audits.await.expect("no breach was told"), 40);
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(137 + paid));
}
