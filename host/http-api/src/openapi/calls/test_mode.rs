//! Test mode: what makes things happen on the simulated chain.

use http::StatusCode;
use xthonpay_payments::simulation::Case;

use super::super::operation::{CallDoc, Group};
use super::super::schema::{Fields, amount, id, named, one_of, or_null, success};
use crate::error::Fault;

pub(super) fn simulate() -> CallDoc {
    let cases = Case::ALL.map(Case::name);
    let says =
        "How much is paid, above zero, in the asset that is paid in. What the case stands for, where it is missing.";
    let body = Fields::new("What shall happen.")
        .field("case", one_of(cases, "Which case to play."))
        .optional("amount", or_null(amount("12.5", says)))
        .closed();
    CallDoc::new("simulateInvoice", Group::TestMode, "Let something happen to an invoice of test mode")
        .details(
            "Makes blocks on the simulated chain and waits until they are processed, at most 15 s. Only the chain is simulated: \
             states, events and webhooks are made as with real money. To live keys this address does not exist.",
        )
        .path("id", id("inv_", "The invoice."))
        .body(body)
        .answers(StatusCode::OK, "The invoice afterwards.", success(named("Invoice")))
        .fails([Fault::InvalidAmount, Fault::InvalidState])
}
