//! One place where invoices change: new facts go in, the invoice's next revision and its events come out.
//!
//! Pure apart from the time stamp that it is given. The callers (the scanner, settlement and the merchant's decisions) store
//! the result in the same transaction as the facts.

use xthonpay_domain::amount::AmountError;
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::event::{Event, EventKind};
use xthonpay_domain::id::{EventId, InvoiceId};
use xthonpay_domain::invoice::assessment::{Facts, PaymentFact, Ruling, assess};
use xthonpay_domain::invoice::resolution::Resolution;
use xthonpay_domain::invoice::{Invoice, transition};
use xthonpay_domain::text::ExternalId;
use xthonpay_domain::time::Timestamp;

use crate::delivery::audience::Audience;
use crate::delivery::listeners::Listeners;
use crate::port::store::{Changeset, Write};
use crate::snapshot::{DecimalsOf, InvoiceEventData, InvoiceSnapshot, PaymentSnapshot, to_json};

/// What is known about an invoice at one moment.
#[derive(Clone, Copy)]
pub struct NewFacts<'a> {
    /// Every deposit on its address, as it will be stored.
    pub deposits: &'a [Deposit],
    /// What happened to single payments since the stored revision, in order.
    pub payment_events: &'a [(EventKind, Deposit)],
    /// A new word of the rules; `None` keeps the old one.
    pub ruling: Option<Ruling>,
    /// What the merchant decides now, if it does.
    pub decision: Option<&'a Decision>,
    /// The time of the newest final block that is processed.
    pub finalized_time: Timestamp,
    /// Now, by the host's clock.
    pub at: Timestamp,
}

/// What a merchant decides about an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It withdraws the invoice.
    Cancel,
    /// It says what becomes of what was received. Takes the place of what it said before.
    Resolve(Resolution),
}

/// The invoice after the facts with the events that follow, or `None` when nothing changed.
///
/// # Errors
/// [`AmountError::Overflow`] when payments sum to more than 2^256 - 1.
pub fn reassess(
    invoice: &Invoice,
    facts: NewFacts<'_>,
    decimals: &dyn DecimalsOf,
) -> Result<Option<(Invoice, Vec<Event>)>, AmountError> {
    let payments: Vec<PaymentFact> = facts.deposits.iter().map(PaymentFact::from).collect();
    let ruling = facts.ruling.or(invoice.ruling);
    let resolution = match facts.decision {
        Some(Decision::Resolve(resolution)) => Some(resolution),
        Some(Decision::Cancel) | None => invoice.resolution.as_ref(),
    };
    let assessment = assess(
        &invoice.terms,
        Facts {
            payments: &payments,
            finalized_time: facts.finalized_time,
            before: invoice.assessment.state,
            flags_before: invoice.assessment.flags,
            ruling,
            cancels: facts.decision == Some(&Decision::Cancel),
            resolution,
        },
    )?;
    let mut next = Invoice { assessment, ruling, resolution: resolution.cloned(), ..invoice.clone() };
    if next == *invoice && facts.payment_events.is_empty() {
        return Ok(None);
    }
    next.revision = invoice.revision.saturating_add(1);
    let kinds = transition::events(invoice.standing(), next.standing());
    let snapshot = InvoiceSnapshot::new(&next, facts.deposits, decimals);
    let payment_events = facts.payment_events.iter().map(|(kind, deposit)| (*kind, Some(deposit)));
    let told = payment_events.chain(kinds.into_iter().map(|kind| (kind, None)));
    let events = told
        .map(|(kind, deposit)| {
            next.events = next.events.saturating_add(1);
            invoice_event(&next, kind, deposit, &snapshot, facts.at, decimals)
        })
        .collect();
    Ok(Some((next, events)))
}

/// The event `kind` of an invoice, numbered by the invoice's event count.
#[must_use]
pub fn invoice_event(
    invoice: &Invoice,
    kind: EventKind,
    deposit: Option<&Deposit>,
    snapshot: &InvoiceSnapshot,
    at: Timestamp,
    decimals: &dyn DecimalsOf,
) -> Event {
    let data = match deposit {
        None => InvoiceEventData::Invoice(snapshot),
        Some(deposit) => InvoiceEventData::Payment {
            invoice_id: invoice.id.as_str(),
            external_id: invoice.external_id.as_ref().map(ExternalId::as_str),
            payment: Box::new(PaymentSnapshot::new(deposit, decimals)),
        },
    };
    Event {
        id: event_id(&invoice.id, invoice.events),
        kind,
        at,
        merchant: invoice.merchant.clone(),
        invoice: Some(invoice.id.clone()),
        deposit: deposit.map(|deposit| deposit.id.clone()),
        sequence: invoice.events,
        data_json: to_json(&data),
    }
}

/// The id of an invoice's event: made from its position, so that no two writers can tell two different events at one position.
#[must_use]
pub fn event_id(invoice: &InvoiceId, sequence: u64) -> EventId {
    EventId::from_fact(&[invoice.as_str(), &sequence.to_string()])
}

/// Adds an invoice's next revision and its events to a changeset.
pub fn record(changes: &mut Changeset, invoice: Invoice, events: Vec<Event>, listeners: &Listeners) {
    let audience = Audience::of(&invoice, listeners);
    events.into_iter().for_each(|event| audience.record(changes, event));
    changes.push(Write::UpdateInvoice(Box::new(invoice)));
}
