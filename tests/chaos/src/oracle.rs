//! What the books must say, recomputed from the final chain alone, and how they differ from it.
//!
//! Reads the store through its port, as an auditor would, and holds three books against each other: the chain, the store, and
//! what the witness saw being stored.

mod invoices;

use std::collections::{BTreeMap, BTreeSet};

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::event::EventKind;
use xthonpay_domain::id::{DepositId, MerchantId, PostingId};
use xthonpay_domain::ledger::{Account, Balance, Posting, PostingKind};
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::{Origin, Transfer};
use xthonpay_payments::port::store::{Cursor, DeliveryState, OwnAddress, READ_LIMIT_MAX, Store, StoreError};
use xthonpay_tests::plain_catalog::{bnb, chain_name};

use crate::deployment::Deployment;
use crate::findings::{Findings, Kind};
use crate::witness::Record;

/// The events of an invoice that the receiver of its callback URL is promised.
const TOLD_TO_CALLBACK: [EventKind; 11] = [
    EventKind::InvoicePartiallyPaid,
    EventKind::InvoiceConfirming,
    EventKind::InvoicePaid,
    EventKind::InvoiceOverpaid,
    EventKind::InvoiceExpired,
    EventKind::InvoicePaymentLate,
    EventKind::InvoicePaymentReverted,
    EventKind::InvoiceNeedsReview,
    EventKind::InvoiceCancelled,
    EventKind::InvoiceResolved,
    EventKind::DepositUnattributed,
];

/// The transfers that a chain shows, by the id of the deposit that each makes, with the block and time of each.
type Shown = BTreeMap<DepositId, (Transfer, BlockNumber, Timestamp)>;

/// What is in the store.
struct Stored {
    deposits: BTreeMap<DepositId, Deposit>,
    postings: BTreeMap<PostingId, Posting>,
    balances: BTreeMap<(MerchantId, AssetId), Balance>,
    cursor: Option<Cursor>,
}

/// Holds the books of a deployment at rest against its chain. Findings go to its witness.
pub(crate) async fn judge(deployment: &Deployment) {
    let stored = match read(deployment.store.as_ref()).await {
        Ok(stored) => stored,
        Err(failure) => {
            return deployment
                .witness
                .record()
                .findings
                .add(Kind::Lost, format!("the store cannot be read: {failure}"));
        }
    };
    let events = read_events(deployment).await;
    let mut guard = deployment.witness.record();
    let record = &mut *guard;
    let mut findings = std::mem::take(&mut record.findings);
    same_as_witnessed(&stored, record, &mut findings);
    let shown = shown(deployment);
    judge_deposits(&stored, record, &shown, &mut findings);
    judge_passed_on(deployment, &stored, record, &mut findings);
    judge_postings(&stored, record, &mut findings);
    judge_cursor(deployment, &stored, &mut findings);
    judge_deliveries(deployment, record, &mut findings);
    invoices::judge(deployment, &stored, record, &mut findings);
    match events {
        Ok(missing) => missing.into_iter().for_each(|id| findings.add(Kind::Lost, format!("{id} is not in the store"))),
        Err(failure) => findings.add(Kind::Lost, format!("events cannot be read: {failure}")),
    }
    record.findings = findings;
}

async fn read(store: &dyn Store) -> Result<Stored, StoreError> {
    let mut deposits = BTreeMap::new();
    let mut after: Option<DepositId> = None;
    loop {
        let page = store.deposits(after.as_ref(), READ_LIMIT_MAX).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        deposits.extend(page.into_iter().map(|deposit| (deposit.id.clone(), deposit)));
    }
    let mut postings = BTreeMap::new();
    let mut after: Option<PostingId> = None;
    loop {
        let page = store.postings(after.as_ref(), READ_LIMIT_MAX).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id().clone());
        postings.extend(page.into_iter().map(|posting| (posting.id().clone(), posting)));
    }
    let balances = store.balances(None, READ_LIMIT_MAX).await?;
    let balances = balances.into_iter().map(|(merchant, asset, balance)| ((merchant, asset), balance)).collect();
    Ok(Stored { deposits, postings, balances, cursor: store.cursor(&chain_name()).await? })
}

/// The events that were stored and cannot be found.
async fn read_events(deployment: &Deployment) -> Result<Vec<String>, StoreError> {
    let told: Vec<_> = deployment.witness.record().events.values().cloned().collect();
    let mut missing = Vec::new();
    for event in told {
        if deployment.store.event(&event.id).await?.as_ref() != Some(&event) {
            missing.push(event.id.to_string());
        }
    }
    Ok(missing)
}

/// The store holds what it said that it stored.
fn same_as_witnessed(stored: &Stored, record: &Record, findings: &mut Findings) {
    findings.expect(stored.deposits == record.deposits, Kind::Lost, || "the store has other deposits".to_owned());
    findings.expect(stored.postings == record.postings, Kind::Lost, || "the store has other postings".to_owned());
    findings.expect(stored.balances == record.balances, Kind::Lost, || "the store has other balances".to_owned());
    findings.expect(stored.cursor == record.cursor, Kind::Lost, || "the store has another cursor".to_owned());
}

fn shown(deployment: &Deployment) -> Shown {
    let blocks = deployment.chain.blocks();
    let transfers = blocks.iter().flat_map(|mined| {
        let block = mined.found.block;
        let of_block = mined.found.transfers.iter();
        of_block.map(move |transfer| (transfer.identity.deposit_id(), (transfer.clone(), block.number, block.time)))
    });
    transfers.collect()
}

/// Whether an address that was given out by no invoice had been claimed by no payment before this block.
fn was_nobodys(own: &OwnAddress, block: BlockNumber, stored: &Stored) -> bool {
    let to_it = stored.deposits.values().filter(|deposit| deposit.transfer.identity.to == own.address);
    let claimed_at = to_it.map(|deposit| deposit.block.number).min();
    own.invoice.is_none() && own.index > 0 && claimed_at.is_none_or(|claimed_at| block < claimed_at)
}

/// Every transfer to an address of ours is a final deposit, and every final deposit a transfer.
fn judge_deposits(stored: &Stored, record: &Record, shown: &Shown, findings: &mut Findings) {
    for (id, (transfer, block, _)) in shown {
        if !record.addresses.contains_key(&transfer.identity.to) {
            continue;
        }
        let credited = stored.deposits.get(id).filter(|deposit| deposit.state == DepositState::Final);
        let own = record.addresses.get(&transfer.identity.to);
        // The balances of invoices in the native coin are looked at, and those of merchants' deposit addresses.
        let swept = own.is_some_and(|own| match &own.invoice {
            Some(invoice) => record.invoices.get(invoice).is_some_and(|own| own.terms.asset == bnb()),
            None => true,
        });
        match credited {
            // Found in the balance before its transaction was: the balances are added up below.
            None if record.hidden && swept && transfer.identity.asset == bnb() => {}
            // Taken for an invoice that was never made, so that nobody was told of it, and claimed by a later payment after a
            // restart: what came before the claim was nobody's.
            None if own.is_some_and(|own| was_nobodys(own, *block, stored)) => {}
            None => findings.add(
                Kind::Lost,
                format!("{id} of block {block}: {} units to {}", transfer.amount, transfer.identity.to),
            ),
            // What was credited before finality broke keeps what that chain showed.
            Some(deposit) if deposit.transfer != *transfer && !record.excused.contains_key(id) => {
                findings.add(Kind::Wrong, format!("{id} is not what block {block} shows"));
            }
            Some(_) => {}
        }
    }
    for deposit in stored.deposits.values().filter(|deposit| deposit.state == DepositState::Final) {
        let by_transaction = matches!(deposit.transfer.identity.origin, Origin::Transaction { .. });
        let known = shown.contains_key(&deposit.id) || record.excused.contains_key(&deposit.id);
        findings.expect(!by_transaction || known, Kind::Doubled, || {
            format!("{} was credited and is not on the chain", deposit.id)
        });
    }
    let seen = stored.deposits.values().filter(|deposit| deposit.state == DepositState::Seen);
    seen.for_each(|deposit| findings.add(Kind::Wrong, format!("{} is still only seen", deposit.id)));
}

/// Coins that contracts passed on: never more than the balance rose, and never less.
fn judge_passed_on(deployment: &Deployment, stored: &Stored, record: &Record, findings: &mut Findings) {
    let blocks = deployment.chain.blocks();
    let mut owed: BTreeMap<Address, Amount> = BTreeMap::new();
    for mined in &blocks {
        let shown = mined.found.transfers.iter().filter(|transfer| transfer.identity.asset == bnb());
        let shown = shown.map(|transfer| (transfer.identity.to, transfer.amount));
        for (to, amount) in shown.chain(mined.passed_on.iter().copied()) {
            let sum = owed.entry(to).or_default();
            *sum = sum.checked_add(amount).unwrap_or(Amount::MAX);
        }
    }
    let of_invoices = record.invoices.values().filter(|invoice| invoice.terms.asset == bnb());
    let of_merchants = record.addresses.values().filter(|own| own.invoice.is_none());
    for address in of_invoices.map(|invoice| invoice.address).chain(of_merchants.map(|own| own.address)) {
        let counted = stored.deposits.values().filter(|deposit| {
            deposit.state == DepositState::Final
                && deposit.transfer.identity.asset == bnb()
                && deposit.transfer.identity.to == address
        });
        let counted: Vec<&Deposit> = counted.collect();
        if counted.iter().any(|deposit| record.excused.contains_key(&deposit.id)) {
            continue;
        }
        let credited = Amount::sum(counted.iter().map(|deposit| deposit.transfer.amount)).unwrap_or(Amount::MAX);
        let owed = owed.get(&address).copied().unwrap_or_default();
        findings.expect(credited <= owed, Kind::Doubled, || {
            format!("{address} received {owed} units and {credited} were credited")
        });
        findings.expect(credited >= owed, Kind::Lost, || {
            format!("{address} received {owed} units and only {credited} were credited")
        });
    }
}

/// Each final deposit has one posting: the merchant's where its asset is the one asked for, else set aside.
fn judge_postings(stored: &Stored, record: &Record, findings: &mut Findings) {
    let mut causes = BTreeSet::new();
    for posting in stored.postings.values() {
        let cause = posting.cause();
        findings.expect(causes.insert(cause.to_owned()), Kind::Doubled, || format!("{cause} has two postings"));
        let Some(deposit) = cause.parse().ok().and_then(|id: DepositId| stored.deposits.get(&id)) else {
            findings.add(Kind::Doubled, format!("{cause} is posted and no deposit"));
            continue;
        };
        let own = record.addresses.get(&deposit.transfer.identity.to);
        let asked = own.and_then(|own| own.invoice.as_ref()).and_then(|invoice| record.invoices.get(invoice));
        let expected = asked.is_none_or(|invoice| invoice.terms.asset == deposit.transfer.identity.asset);
        let kind = if expected { PostingKind::DepositCredited } else { PostingKind::DepositSuspended };
        let owner = own.map(|own| Account::MerchantAvailable(own.merchant.clone()));
        let to = if expected { owner } else { Some(Account::Suspense) };
        let lines = posting.lines();
        let moved = lines.iter().find(|line| Some(&line.account) == to.as_ref()).map(|line| line.amount);
        let right = posting.kind() == kind && lines.len() == 2 && moved == Some(deposit.transfer.amount);
        findings.expect(right, Kind::Wrong, || format!("the posting of {cause} is not what its deposit asks for"));
    }
    for deposit in record.final_deposits() {
        let posted = causes.contains(deposit.id.as_str());
        findings.expect(posted, Kind::Lost, || format!("{} is final and not posted", deposit.id));
    }
    let sums = record.sums();
    for (key, sum) in &sums {
        let balance = stored.balances.get(key).copied().unwrap_or_default();
        let kind = if balance.available < *sum { Kind::Lost } else { Kind::Doubled };
        findings.expect(balance.available == *sum, kind, || format!("{key:?}: {balance:?}, and postings of {sum}"));
    }
    for (key, balance) in &stored.balances {
        let owed = sums.contains_key(key) || *balance == Balance::default();
        findings.expect(owed, Kind::Doubled, || format!("{key:?} has {balance:?} without a posting"));
    }
}

/// The scanner has followed the chain to its end.
fn judge_cursor(deployment: &Deployment, stored: &Stored, findings: &mut Findings) {
    let tip = deployment.chain.tip();
    let Some(cursor) = &stored.cursor else { return findings.add(Kind::Lost, "there is no cursor") };
    findings.expect(cursor.tip == tip && cursor.finalized == tip && cursor.frozen.is_none(), Kind::Wrong, || {
        format!("the chain ends at block {}, the cursor stands at {cursor:?}", tip.number)
    });
}

/// Every delivery came to its end, and what counts as delivered did arrive.
fn judge_deliveries(deployment: &Deployment, record: &Record, findings: &mut Findings) {
    for event in record.events.values() {
        let routed = record.routed.contains(&event.id);
        findings.expect(routed, Kind::Lost, || format!("{} ({}) was not routed", event.id, event.kind.name()));
    }
    let on_their_way: BTreeSet<_> = record.deliveries.values().map(|delivery| &delivery.event).collect();
    for event in record.events.values() {
        let invoice = event.invoice.as_ref().and_then(|invoice| record.invoices.get(invoice));
        let heard = TOLD_TO_CALLBACK.contains(&event.kind) && invoice.is_some_and(|own| own.callback_url.is_some());
        let found = on_their_way.contains(&event.id);
        findings.expect(found || !heard, Kind::Lost, || format!("{} has no delivery", event.id));
    }
    let mut told = BTreeSet::new();
    for delivery in record.deliveries.values() {
        let event = &delivery.event;
        findings.expect(told.insert(event), Kind::Doubled, || format!("{event} has two deliveries"));
        findings.expect(delivery.state != DeliveryState::Pending, Kind::Lost, || format!("{event} is not delivered"));
        let arrived = delivery.state != DeliveryState::Delivered || deployment.receivers.has(event.as_str());
        findings.expect(arrived, Kind::Lost, || format!("{event} counts as delivered and never arrived"));
    }
}
