//! Who hears of an event: the one place that decides it.
//!
//! Asked twice. When an event is recorded, so that one that nobody hears is stored as routed at once and costs no read and no
//! transaction of its own later; and when an event is routed, for whom to shape it. The second answer counts: an event that
//! is left to routing may still turn out to have no listener.

use xthonpay_domain::event::{Event, EventKind};
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::url_text::CallbackUrl;

use crate::delivery::listeners::Listeners;
use crate::port::store::{Changeset, Endpoint, EndpointState, Write};

/// Those who may hear of a merchant's events: its endpoints, and for the events of an invoice the receiver of its callback
/// URL, if it has one.
#[derive(Clone, Copy, Debug)]
pub struct Audience<'a> {
    merchant: &'a MerchantId,
    callback: Option<&'a CallbackUrl>,
    listeners: &'a Listeners,
}

impl<'a> Audience<'a> {
    /// The listeners of an invoice.
    #[must_use]
    pub fn of(invoice: &'a Invoice, listeners: &'a Listeners) -> Self {
        Self { merchant: &invoice.merchant, callback: invoice.callback_url.as_ref(), listeners }
    }

    /// The listeners of a merchant, where no invoice is concerned.
    #[must_use]
    pub fn of_merchant(merchant: &'a MerchantId, listeners: &'a Listeners) -> Self {
        Self { merchant, callback: None, listeners }
    }

    /// Whether anybody may hear of events of this kind.
    #[must_use]
    pub fn hears(self, kind: EventKind) -> bool {
        (self.callback.is_some() && goes_to_callback(kind)) || self.listeners.hear(self.merchant, kind)
    }

    /// Adds a new event to a changeset: left to routing if somebody may hear of it, else as routed from the beginning.
    pub fn record(self, changes: &mut Changeset, event: Event) {
        let routed = (!self.hears(event.kind)).then(|| Write::MarkRouted(event.id.clone()));
        changes.push(Write::CreateEvent(event));
        changes.writes.extend(routed);
    }
}

/// Whether an endpoint gets a delivery of events of this kind. A ping goes to the one endpoint that it was asked for, which gets
/// it when it is made.
#[must_use]
pub fn goes_to_endpoint(kind: EventKind, endpoint: &Endpoint) -> bool {
    endpoint.state == EndpointState::Enabled && kind != EventKind::Ping && endpoint.events.admits(kind)
}

/// Whether the receiver of an invoice's callback URL hears of an event: of what happens to the invoice after the merchant
/// made it. Single payments are part of the invoice's snapshot.
#[must_use]
pub fn goes_to_callback(kind: EventKind) -> bool {
    match kind {
        EventKind::InvoicePartiallyPaid
        | EventKind::InvoiceConfirming
        | EventKind::InvoicePaid
        | EventKind::InvoiceOverpaid
        | EventKind::InvoiceExpired
        | EventKind::InvoicePaymentLate
        | EventKind::InvoicePaymentReverted
        | EventKind::InvoiceNeedsReview
        | EventKind::InvoiceCancelled
        | EventKind::InvoiceResolved
        | EventKind::DepositUnattributed => true,
        EventKind::InvoiceCreated
        | EventKind::PaymentDetected
        | EventKind::PaymentConfirmed
        | EventKind::PaymentReorged
        | EventKind::DepositCredited
        | EventKind::EndpointDisabled
        | EventKind::Ping => false,
    }
}
