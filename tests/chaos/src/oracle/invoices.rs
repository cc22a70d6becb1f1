//! What every invoice and its events must say.

use std::collections::BTreeMap;

use xthonpay_domain::amount::Amount;
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::event::{Event, EventKind};
use xthonpay_domain::id::{DepositId, InvoiceId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::assessment::{Flags, InvoiceState};
use xthonpay_domain::invoice::resolution::{Choice, Resolution};
use xthonpay_domain::ledger::PostingKind;

use super::Stored;
use crate::deployment::Deployment;
use crate::findings::{Findings, Kind};
use crate::witness::{Decisions, Record};

pub(super) fn judge(deployment: &Deployment, stored: &Stored, record: &Record, findings: &mut Findings) {
    let mut by_invoice: BTreeMap<&InvoiceId, Vec<&Event>> = BTreeMap::new();
    for event in record.events.values() {
        event.invoice.iter().for_each(|invoice| by_invoice.entry(invoice).or_default().push(event));
    }
    for invoice in record.invoices.values() {
        let made = record.decisions.get(&invoice.id).copied().unwrap_or_default();
        judge_state(deployment, stored, record, invoice, made, findings);
        let events = by_invoice.remove(&invoice.id).unwrap_or_default();
        judge_numbers(invoice, made, &events, findings);
        // A payment in time can come after the expiry only where final blocks were replaced, or did not show it at first.
        if !record.finality_broke && !record.hidden {
            judge_expiry(invoice, made.accepted, &events, findings);
        }
    }
    judge_deposit_events(stored, record, findings);
}

/// The sums and the state follow from what was paid in time, and from what the merchant decided.
fn judge_state(
    deployment: &Deployment,
    stored: &Stored,
    record: &Record,
    invoice: &Invoice,
    made: Decisions,
    findings: &mut Findings,
) {
    let paid = stored.deposits.values().filter(|deposit| {
        deposit.state == DepositState::Final
            && deposit.transfer.identity.to == invoice.address
            && deposit.transfer.identity.asset == invoice.terms.asset
    });
    let paid: Vec<&Deposit> = paid.collect();
    let sum = |deposits: &[&Deposit]| Amount::sum(deposits.iter().map(|deposit| deposit.transfer.amount));
    let in_time: Vec<&Deposit> =
        paid.iter().copied().filter(|deposit| deposit.block.time <= invoice.terms.expires_at).collect();
    let (Ok(received), Ok(received_in_time)) = (sum(&paid), sum(&in_time)) else {
        return findings.add(Kind::Wrong, format!("{} received more than there can be", invoice.id));
    };
    let id = &invoice.id;
    let now = &invoice.assessment;
    let kind = if now.received < received { Kind::Lost } else { Kind::Doubled };
    findings.expect(now.received == received, kind, || format!("{id} shows {}, received {received}", now.received));
    findings.expect(now.pending.is_zero(), Kind::Wrong, || format!("{id} still awaits {}", now.pending));
    let reached = received_in_time >= invoice.terms.target();
    // What expired stays so, though the blocks whose time it was may be gone after a broken finality.
    let expired_before = record.final_time > invoice.terms.expires_at && now.state == InvoiceState::Expired;
    let expired = deployment.chain.tip().time > invoice.terms.expires_at || expired_before;
    // What was promised back before it was paid is not settled any more without the merchant.
    let refunds = |made: &Resolution| matches!(made.choice, Choice::Refund { .. });
    let promised_back = now.state != InvoiceState::Paid && invoice.resolution.as_ref().is_some_and(refunds);
    let due = match (made.accepted, made.cancelled > 0) {
        (true, _) => InvoiceState::Paid,
        (false, true) => InvoiceState::Cancelled,
        (false, false) if reached && promised_back => InvoiceState::Confirming,
        (false, false) if reached => InvoiceState::Paid,
        (false, false) if expired => InvoiceState::Expired,
        (false, false) if received_in_time.is_zero() => InvoiceState::Pending,
        (false, false) => InvoiceState::PartiallyPaid,
    };
    findings.expect(now.state == due, Kind::Wrong, || {
        format!(
            "{id} is {:?} with {received_in_time} of {} in time, expired: {expired}, {made:?}",
            now.state,
            invoice.terms.target()
        )
    });
    let judged = invoice.resolution.as_ref().is_some_and(|made| made.judged == received);
    let left_over = matches!(now.state, InvoiceState::Expired | InvoiceState::Cancelled) && !received.is_zero();
    findings.expect(now.flags.contains(Flags::NEEDS_REVIEW) || judged || !left_over, Kind::Lost, || {
        format!("{id} is {:?} with {received}, and nobody is asked to look", now.state)
    });
}

/// The events of an invoice are numbered from 1 without a gap, "paid" is told once if it is so, and each decision once.
fn judge_numbers(invoice: &Invoice, made: Decisions, events: &[&Event], findings: &mut Findings) {
    let id = &invoice.id;
    let mut numbers: Vec<u64> = events.iter().map(|event| event.sequence).filter(|number| *number > 0).collect();
    numbers.sort_unstable();
    let promised: Vec<u64> = (1..=invoice.events).collect();
    let kind = if numbers.len() < promised.len() { Kind::Lost } else { Kind::Doubled };
    findings.expect(numbers == promised, kind, || format!("{id} has the events {numbers:?}"));
    let told = |kind| events.iter().filter(|event| event.kind == kind).count();
    for (kind, times) in [
        (EventKind::InvoiceCreated, 1),
        (EventKind::InvoicePaid, usize::from(invoice.assessment.state == InvoiceState::Paid)),
        (EventKind::InvoiceCancelled, made.cancelled),
        (EventKind::InvoiceResolved, made.resolved),
    ] {
        let told = told(kind);
        let what = if told < times { Kind::Lost } else { Kind::Doubled };
        findings.expect(told == times, what, || format!("{id} was told {} {told} times", kind.name()));
    }
}

/// "Expired" is told once and only if it is so, or was before the merchant accepted what was there: nothing that was in time can
/// come behind it.
fn judge_expiry(invoice: &Invoice, accepted: bool, events: &[&Event], findings: &mut Findings) {
    let told = events.iter().filter(|event| event.kind == EventKind::InvoiceExpired).count();
    let (id, state) = (&invoice.id, invoice.assessment.state);
    let holds = match state {
        InvoiceState::Expired => told == 1,
        InvoiceState::Paid if accepted => told <= 1,
        _ => told == 0,
    };
    findings.expect(holds, Kind::Wrong, || format!("{id} was told to be expired {told} times and is {state:?}"));
}

/// Every final deposit was told once as what it is.
fn judge_deposit_events(stored: &Stored, record: &Record, findings: &mut Findings) {
    let mut told: BTreeMap<(&DepositId, EventKind), usize> = BTreeMap::new();
    for event in record.events.values() {
        if let Some(deposit) = &event.deposit {
            let count = told.entry((deposit, event.kind)).or_default();
            *count = count.saturating_add(1);
        }
    }
    for deposit in stored.deposits.values() {
        let is_final = deposit.state == DepositState::Final;
        let suspended = is_final
            && stored.postings.values().any(|posting| {
                posting.kind() == PostingKind::DepositSuspended && posting.cause() == deposit.id.as_str()
            });
        let of_invoice = deposit.invoice.is_some();
        for (kind, times) in [
            (EventKind::PaymentConfirmed, usize::from(is_final && of_invoice)),
            (EventKind::DepositCredited, usize::from(is_final && !of_invoice && !suspended)),
            (EventKind::DepositUnattributed, usize::from(suspended)),
        ] {
            let told = told.get(&(&deposit.id, kind)).copied().unwrap_or_default();
            let what = if told < times { Kind::Lost } else { Kind::Doubled };
            findings.expect(told == times, what, || format!("{} was told {} {told} times", deposit.id, kind.name()));
        }
        let detected = told.get(&(&deposit.id, EventKind::PaymentDetected)).copied().unwrap_or_default();
        findings.expect(!of_invoice || detected > 0, Kind::Lost, || format!("{} was never told as seen", deposit.id));
    }
}
