//! Which events follow when an invoice moves from one assessment to the next, or is decided about.

use super::Standing;
use super::assessment::{Assessment, Flags, InvoiceState};
use crate::amount::Amount;
use crate::event::EventKind;

/// The invoice events between two moments, in the order in which they are told.
///
/// Events about single payments (`payment.*`) are not among them: they follow from the deposits.
#[must_use]
pub fn events(before: Standing<'_>, after: Standing<'_>) -> Vec<EventKind> {
    let resolved = after.resolution.is_some() && after.resolution != before.resolution;
    let (before, after) = (before.assessment, after.assessment);
    let newly = |flag: Flags| after.flags.contains(flag) && !before.flags.contains(flag);
    let moved = before.state != after.state;
    let fell_back = before.state == InvoiceState::Confirming
        && matches!(after.state, InvoiceState::Pending | InvoiceState::PartiallyPaid | InvoiceState::Expired);

    let mut told = Vec::new();
    if fell_back {
        told.push(EventKind::InvoicePaymentReverted);
    }
    // On a cancelled invoice every payment comes too late, whatever the time of its block.
    let came_late = after.received_late > before.received_late
        || (before.state == InvoiceState::Cancelled && after.received > before.received);
    if came_late {
        told.push(EventKind::InvoicePaymentLate);
    }
    if moved {
        told.extend(match after.state {
            InvoiceState::PartiallyPaid => Some(EventKind::InvoicePartiallyPaid),
            InvoiceState::Confirming => Some(EventKind::InvoiceConfirming),
            InvoiceState::Paid => Some(EventKind::InvoicePaid),
            InvoiceState::Expired => Some(EventKind::InvoiceExpired),
            InvoiceState::Cancelled => Some(EventKind::InvoiceCancelled),
            InvoiceState::Pending => None,
        });
    }
    if after.state == InvoiceState::Paid && after.overpaid > overpaid_when_paid(before) {
        told.push(EventKind::InvoiceOverpaid);
    }
    if resolved {
        told.push(EventKind::InvoiceResolved);
    }
    if newly(Flags::NEEDS_REVIEW) {
        told.push(EventKind::InvoiceNeedsReview);
    }
    told
}

/// The overpaid sum that was already told: nothing before the invoice was paid.
fn overpaid_when_paid(before: &Assessment) -> Amount {
    if before.state == InvoiceState::Paid { before.overpaid } else { Amount::ZERO }
}
