//! What each call says about itself. A call of the table without a word here does not compile.

mod balances;
mod deliveries;
mod endpoints;
mod events;
mod invoices;
mod keys;
mod service;
mod test_mode;

use super::operation::CallDoc;
use crate::policies::{Door, OpenCall, OperatorCall, SignedCall};

/// What the call behind a door says about itself.
pub(super) fn of(door: Door) -> CallDoc {
    match door {
        Door::Signed(call, _) => signed(call),
        Door::Open(call) => open(call),
        Door::Operator(OperatorCall::Metrics) => service::metrics(),
    }
}

fn signed(call: SignedCall) -> CallDoc {
    match call {
        SignedCall::CreateInvoice => invoices::create(),
        SignedCall::ListInvoices => invoices::list(),
        SignedCall::ReadInvoice => invoices::read(),
        SignedCall::CancelInvoice => invoices::cancel(),
        SignedCall::ResolveInvoice => invoices::resolve(),
        SignedCall::ListPayments => invoices::payments(),
        SignedCall::ReadPayment => invoices::payment(),
        SignedCall::RescanTransaction => invoices::rescan(),
        SignedCall::ReadBalance => balances::read(),
        SignedCall::ReadDepositAddress => balances::deposit_address(),
        SignedCall::ReadFeed => events::feed(),
        SignedCall::ReadEvent => events::read(),
        SignedCall::ReplayEvents => events::replay(),
        SignedCall::CreateEndpoint => endpoints::create(),
        SignedCall::ListEndpoints => endpoints::list(),
        SignedCall::ReadEndpoint => endpoints::read(),
        SignedCall::UpdateEndpoint => endpoints::update(),
        SignedCall::RemoveEndpoint => endpoints::remove(),
        SignedCall::RotateEndpointSecret => endpoints::rotate_secret(),
        SignedCall::PingEndpoint => endpoints::ping(),
        SignedCall::ListDeliveries => deliveries::list(),
        SignedCall::ReadDelivery => deliveries::read(),
        SignedCall::Redeliver => deliveries::redeliver(),
        SignedCall::ReadOwnKey => keys::read_own(),
        SignedCall::Simulate => test_mode::simulate(),
    }
}

fn open(call: OpenCall) -> CallDoc {
    match call {
        OpenCall::Time => service::time(),
        OpenCall::Health => service::health(),
        OpenCall::Readiness => service::readiness(),
        OpenCall::Document => service::document(),
        OpenCall::Reference => service::reference(),
    }
}
