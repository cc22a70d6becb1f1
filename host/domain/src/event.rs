//! Events: facts that a merchant may hear of.

use core::str::FromStr;
use std::collections::BTreeSet;

use crate::access::UnknownWord;
use crate::id::{DepositId, EventId, InvoiceId, MerchantId};
use crate::time::Timestamp;

/// What happened. The words are part of the public contract: they may be added to, never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// An invoice was made and its address issued.
    InvoiceCreated,
    /// Something was paid, but less than the target.
    InvoicePartiallyPaid,
    /// The target is reached, but not everything is final.
    InvoiceConfirming,
    /// The target is reached by final payments. Happens at most once per invoice.
    InvoicePaid,
    /// More than the amount due is final.
    InvoiceOverpaid,
    /// The chain passed the expiry while the target was not reached.
    InvoiceExpired,
    /// A payment became final after expiry or cancellation.
    InvoicePaymentLate,
    /// A payment left the chain and the invoice fell back.
    InvoicePaymentReverted,
    /// A person should look: the rules asked for it.
    InvoiceNeedsReview,
    /// The merchant withdrew the invoice.
    InvoiceCancelled,
    /// The merchant decided what becomes of an invoice that was paid late, in part or too much.
    InvoiceResolved,
    /// A payment was seen in a block.
    PaymentDetected,
    /// A payment became final and was credited.
    PaymentConfirmed,
    /// The block of a payment left the chain.
    PaymentReorged,
    /// A final deposit that belongs to no invoice was credited.
    DepositCredited,
    /// A final deposit in an asset that its invoice does not ask for was set aside.
    DepositUnattributed,
    /// A webhook endpoint was switched off because it failed for too long, or asked for it.
    EndpointDisabled,
    /// Nothing happened: the merchant asked for a delivery to see that it arrives.
    Ping,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 18] = [
        Self::InvoiceCreated,
        Self::InvoicePartiallyPaid,
        Self::InvoiceConfirming,
        Self::InvoicePaid,
        Self::InvoiceOverpaid,
        Self::InvoiceExpired,
        Self::InvoicePaymentLate,
        Self::InvoicePaymentReverted,
        Self::InvoiceNeedsReview,
        Self::InvoiceCancelled,
        Self::InvoiceResolved,
        Self::PaymentDetected,
        Self::PaymentConfirmed,
        Self::PaymentReorged,
        Self::DepositCredited,
        Self::DepositUnattributed,
        Self::EndpointDisabled,
        Self::Ping,
    ];

    /// The kind's word in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InvoiceCreated => "invoice.created",
            Self::InvoicePartiallyPaid => "invoice.partially_paid",
            Self::InvoiceConfirming => "invoice.confirming",
            Self::InvoicePaid => "invoice.paid",
            Self::InvoiceOverpaid => "invoice.overpaid",
            Self::InvoiceExpired => "invoice.expired",
            Self::InvoicePaymentLate => "invoice.payment_late",
            Self::InvoicePaymentReverted => "invoice.payment_reverted",
            Self::InvoiceNeedsReview => "invoice.needs_review",
            Self::InvoiceCancelled => "invoice.cancelled",
            Self::InvoiceResolved => "invoice.resolved",
            Self::PaymentDetected => "payment.detected",
            Self::PaymentConfirmed => "payment.confirmed",
            Self::PaymentReorged => "payment.reorged",
            Self::DepositCredited => "deposit.credited",
            Self::DepositUnattributed => "deposit.unattributed",
            Self::EndpointDisabled => "endpoint.disabled",
            Self::Ping => "ping",
        }
    }
}

impl FromStr for EventKind {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = UnknownWord { what: "event", expected: "the kinds of events, such as invoice.paid" };
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(unknown)
    }
}

/// Which kinds of events a listener wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventFilter {
    /// All of them, those too that are added later.
    All,
    /// These alone; at least one.
    Only(BTreeSet<EventKind>),
}

impl EventFilter {
    /// Whether events of this kind are wanted.
    #[must_use]
    pub fn admits(&self, kind: EventKind) -> bool {
        match self {
            Self::All => true,
            Self::Only(kinds) => kinds.contains(&kind),
        }
    }
}

/// A fact, with the snapshot of its subject at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The id, equal to the `webhook-id` of every delivery.
    pub id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// When the host recorded it.
    pub at: Timestamp,
    /// Whose event it is.
    pub merchant: MerchantId,
    /// The invoice concerned, if any.
    pub invoice: Option<InvoiceId>,
    /// The deposit concerned, if any.
    pub deposit: Option<DepositId>,
    /// Position among the events of its invoice, from 1 and without gaps; 0 for events of a deposit.
    pub sequence: u64,
    /// The snapshot as a JSON object, the `data` of webhooks.
    pub data_json: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip_and_differ() {
        for kind in EventKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert!("invoice.payed".parse::<EventKind>().is_err());
    }
}
