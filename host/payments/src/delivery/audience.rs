//! Who hears of an event: the one place that decides it.
//!
//! Asked twice. When an event is recorded, so that one that nobody hears is stored as routed at once and costs no read and no
//! transaction of its own later; and when an event is routed, for whom to shape it. The second answer counts: an event that
//! is left to routing may still turn out to have no listener.

use xthonpay_domain::event::{Event, EventKind};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::url_text::CallbackUrl;

use crate::port::store::{Changeset, Write};

/// Those who may hear of an invoice's events: the receiver of its callback URL, if it has one.
#[derive(Clone, Copy, Debug)]
pub struct Audience<'a> {
    callback: Option<&'a CallbackUrl>,
}

impl<'a> Audience<'a> {
    /// The listeners of an invoice.
    #[must_use]
    pub fn of(invoice: &'a Invoice) -> Self {
        Self { callback: invoice.callback_url.as_ref() }
    }

    /// The callback URL at which events of this kind are told, if there is one.
    #[must_use]
    pub fn callback(self, kind: EventKind) -> Option<&'a CallbackUrl> {
        self.callback.filter(|_| goes_to_callback(kind))
    }

    /// Whether anybody hears of events of this kind.
    #[must_use]
    pub fn hears(self, kind: EventKind) -> bool {
        self.callback(kind).is_some()
    }

    /// Adds a new event to a changeset: left to routing if somebody hears of it, else as routed from the beginning.
    pub fn record(self, changes: &mut Changeset, event: Event) {
        let routed = (!self.hears(event.kind)).then(|| Write::MarkRouted(event.id.clone()));
        changes.push(Write::CreateEvent(event));
        changes.writes.extend(routed);
    }
}

/// Whether the receiver of an invoice's callback URL hears of an event: of what happens to the invoice after the merchant
/// made it. Single payments are part of the invoice's snapshot.
fn goes_to_callback(kind: EventKind) -> bool {
    match kind {
        EventKind::InvoicePartiallyPaid
        | EventKind::InvoiceConfirming
        | EventKind::InvoicePaid
        | EventKind::InvoiceOverpaid
        | EventKind::InvoiceExpired
        | EventKind::InvoicePaymentLate
        | EventKind::InvoicePaymentReverted
        | EventKind::InvoiceNeedsReview
        | EventKind::DepositUnattributed => true,
        EventKind::InvoiceCreated
        | EventKind::PaymentDetected
        | EventKind::PaymentConfirmed
        | EventKind::PaymentReorged
        | EventKind::DepositCredited => false,
    }
}
