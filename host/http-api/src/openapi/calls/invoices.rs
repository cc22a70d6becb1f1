//! Invoices, their payments, and looking again at transactions.

use http::StatusCode;
use xthonpay_domain::invoice::assessment::InvoiceState;
use xthonpay_domain::text::ExternalId;

use super::super::operation::{CallDoc, Group};
use super::super::schema::{address, id, moment, named, one_of, page, success, words};
use super::super::{cursor_parameter, limit_parameter};
use crate::error::{Fault, Outage};

pub(super) fn create() -> CallDoc {
    CallDoc::new("createInvoice", Group::Invoices, "Make an invoice")
        .details(
            "Show `data.deposit_address` and `data.amount` to your customer, and wait for the webhook `invoice.paid`. Give an \
             `external_id`: then the call is safe to repeat, whatever became of the first answer.",
        )
        .body(named("NewInvoice"))
        .creates("The invoice was made.", success(named("Invoice")))
        .answers(StatusCode::OK, "The invoice that exists under this external id, with the same terms.", success(named("Invoice")))
        .fails([Fault::InvalidAmount, Fault::UnsupportedAsset, Fault::ExternalIdConflict, Fault::RuleRejected])
        .fails([Outage::ComponentFailed])
}

pub(super) fn list() -> CallDoc {
    let states = InvoiceState::ALL.map(InvoiceState::name);
    CallDoc::new("listInvoices", Group::Invoices, "List invoices")
        .details("Newest first, page by page. Filters may be combined.")
        .query("limit", limit_parameter())
        .query("cursor", cursor_parameter())
        .query("status", one_of(states, "Only those in this state."))
        .query("external_id", words(ExternalId::LEN_MAX, "Only the one with this external id."))
        .query("address", address("Only the one to which this address belongs."))
        .query("created_gte", moment("Only those made at this moment or later. Write the `+` of an offset as `%2B`."))
        .query("created_lte", moment("Only those made at this moment or earlier."))
        .answers(StatusCode::OK, "One page.", page(named("Invoice"), false))
        .fails([Fault::InvalidAddress])
}

pub(super) fn read() -> CallDoc {
    CallDoc::new("readInvoice", Group::Invoices, "Read an invoice").path("id", id("inv_", "The invoice.")).answers(
        StatusCode::OK,
        "The invoice with its payments.",
        success(named("Invoice")),
    )
}

pub(super) fn cancel() -> CallDoc {
    CallDoc::new("cancelInvoice", Group::Invoices, "Cancel an invoice")
        .details(
            "Possible while it is `pending` and nothing was paid. Its address is watched on: what arrives later is credited to \
             you, marked `late` and `needs_review`, and told by `invoice.payment_late`. Safe to repeat.",
        )
        .path("id", id("inv_", "The invoice."))
        .answers(StatusCode::OK, "The invoice, cancelled.", success(named("Invoice")))
        .fails([Fault::NotFound, Fault::InvalidState])
}

pub(super) fn resolve() -> CallDoc {
    CallDoc::new("resolveInvoice", Group::Invoices, "Decide about late, partial or too much money")
        .details(
            "Possible where `flags` has `needs_review`, where money came to an invoice that is `expired` or `cancelled`, where \
             more than the amount due was received, and, to accept it, where an invoice is `partially_paid` and its payments are \
             final. `accept` makes it `paid`. `refund` notes who is to get how much back, and `ignore` leaves it as it is. No \
             action moves money: all that is final is in your balance already. More money later asks for another decision.",
        )
        .path("id", id("inv_", "The invoice."))
        .body(named("ResolveRequest"))
        .answers(StatusCode::OK, "The invoice with its `resolution`.", success(named("Invoice")))
        .fails([
            Fault::NotFound,
            Fault::InvalidState,
            Fault::InvalidAmount,
            Fault::InvalidAddress,
            Fault::UnsupportedAsset,
        ])
}

pub(super) fn payments() -> CallDoc {
    CallDoc::new("listPayments", Group::Invoices, "List payments")
        .details(
            "Transfers to your addresses, those of invoices and your own, by the time of their blocks, newest first, page by \
             page. A payment whose block leaves the chain takes another place in the list when it is mined again.",
        )
        .query("limit", limit_parameter())
        .query("cursor", cursor_parameter())
        .query("invoice_id", id("inv_", "Only those to the address of this invoice."))
        .answers(StatusCode::OK, "One page.", page(named("PaymentOfInvoice"), false))
}

pub(super) fn payment() -> CallDoc {
    CallDoc::new("readPayment", Group::Invoices, "Read a payment").path("id", id("dep_", "The payment.")).answers(
        StatusCode::OK,
        "The payment.",
        success(named("PaymentOfInvoice")),
    )
}

pub(super) fn rescan() -> CallDoc {
    CallDoc::new("rescanTransaction", Group::Invoices, "Look again at a transaction")
        .details(
            "For a customer who says that they have paid. Makes nothing that the chain does not show, and tells of your own \
             deposits alone. One rescan at a time.",
        )
        .body(named("RescanRequest"))
        .answers(StatusCode::OK, "What the transaction holds for you.", success(named("RescanReport")))
        .fails([Fault::NotFound])
}
