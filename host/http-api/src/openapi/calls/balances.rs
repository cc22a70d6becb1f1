//! Balances, and the address of the merchant.

use http::StatusCode;

use super::super::operation::{CallDoc, Group};
use super::super::schema::{named, success};

pub(super) fn read() -> CallDoc {
    CallDoc::new("readBalance", Group::Balances, "Read the balance")
        .details("Money counts from the moment at which its payment is final. Amounts are decimal strings: never read them as floats.")
        .answers(StatusCode::OK, "The balance in every accepted asset.", success(named("Balance")))
}

pub(super) fn deposit_address() -> CallDoc {
    CallDoc::new("readDepositAddress", Group::Balances, "Read the deposit address").answers(
        StatusCode::OK,
        "Where money goes that belongs to no invoice.",
        success(named("DepositAddress")),
    )
}
