//! Which records to list, and from where on.

use xthonpay_domain::id::{DeliveryId, DepositId, EndpointId, EventId, InvoiceId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::assessment::InvoiceState;
use xthonpay_domain::text::ExternalId;
use xthonpay_domain::time::Timestamp;

use super::records::DeliveryState;

/// Which invoices of a merchant to list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvoiceFilter {
    /// Only in this state.
    pub state: Option<InvoiceState>,
    /// Only with this external id.
    pub external_id: Option<ExternalId>,
    /// Only created at or after.
    pub created_from: Option<Timestamp>,
    /// Only created before or at.
    pub created_to: Option<Timestamp>,
    /// Only those that come after this one in the list: its creation time and id.
    pub after: Option<(Timestamp, InvoiceId)>,
}

impl InvoiceFilter {
    /// Whether an invoice of the merchant's belongs in the list.
    #[must_use]
    pub fn admits(&self, invoice: &Invoice) -> bool {
        let place = || (invoice.created_at, invoice.id.clone());
        self.state.is_none_or(|state| invoice.assessment.state == state)
            && self.external_id.as_ref().is_none_or(|name| invoice.external_id.as_ref() == Some(name))
            && self.created_from.is_none_or(|from| invoice.created_at >= from)
            && self.created_to.is_none_or(|to| invoice.created_at <= to)
            && self.after.as_ref().is_none_or(|after| place() < *after)
    }
}

/// Which deposits of a merchant to list, newest first (by the time of their block, then id, both descending).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaymentFilter {
    /// Which of them.
    pub select: PaymentSelection,
    /// Only those that come after this one in the list: the time of its block and its id.
    pub after: Option<(Timestamp, DepositId)>,
}

/// Which deposits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PaymentSelection {
    /// All.
    #[default]
    All,
    /// Those on the address of an invoice.
    OfInvoice(InvoiceId),
}

/// Which deliveries of a merchant to list, newest first (by creation time, then id, both descending).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Which of them.
    pub select: DeliverySelection,
    /// Only those that come after this one in the list: its creation time and id.
    pub after: Option<(Timestamp, DeliveryId)>,
}

/// Which deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeliverySelection {
    /// All.
    #[default]
    All,
    /// Those of an event.
    OfEvent(EventId),
    /// Those to an endpoint.
    To(EndpointId),
    /// Those in a state.
    In(DeliveryState),
}

/// A place in a merchant's feed of events. Positions grow in the order in which events were committed; they have gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedPosition(pub u64);
