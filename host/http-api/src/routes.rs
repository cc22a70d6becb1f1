//! Which handler serves which call.

pub(crate) mod health;

mod balance;
mod deliveries;
mod deposit_address;
mod docs;
mod events;
mod invoices;
mod keys;
mod payments;
mod rescan;
mod simulate;
mod time;
mod webhook_endpoints;

use axum::response::{IntoResponse as _, Response};

use crate::answer::Answer;
use crate::door::Call;
use crate::error::ApiError;
use crate::policies::{OpenCall, SignedCall};
use crate::router::Shared;

/// Serves a call whose caller was admitted.
pub(crate) async fn signed(shared: &Shared, which: SignedCall, call: &Call) -> Result<Answer, ApiError> {
    let api = &shared.api;
    match which {
        SignedCall::CreateInvoice => invoices::create(api, call).await,
        SignedCall::ListInvoices => invoices::list(api, call).await,
        SignedCall::ReadInvoice => invoices::read(api, call).await,
        SignedCall::CancelInvoice => invoices::cancel(api, call).await,
        SignedCall::ResolveInvoice => invoices::resolve(api, call).await,
        SignedCall::ListPayments => payments::list(api, call).await,
        SignedCall::ReadPayment => payments::read(api, call).await,
        SignedCall::ReadBalance => balance::read(api, call).await,
        SignedCall::ReadDepositAddress => deposit_address::read(api, call).await,
        SignedCall::ReadOwnKey => keys::read_own(api, call).await,
        SignedCall::RescanTransaction => rescan::transaction(api, call).await,
        SignedCall::CreateEndpoint => webhook_endpoints::create(api, call).await,
        SignedCall::ListEndpoints => webhook_endpoints::list(api, call).await,
        SignedCall::ReadEndpoint => webhook_endpoints::read(api, call).await,
        SignedCall::UpdateEndpoint => webhook_endpoints::update(api, call).await,
        SignedCall::RemoveEndpoint => webhook_endpoints::remove(api, call).await,
        SignedCall::RotateEndpointSecret => webhook_endpoints::rotate_secret(api, call).await,
        SignedCall::PingEndpoint => webhook_endpoints::ping(api, call).await,
        SignedCall::ListDeliveries => deliveries::list(api, call).await,
        SignedCall::ReadDelivery => deliveries::read(api, call).await,
        SignedCall::Redeliver => deliveries::redeliver(api, call).await,
        SignedCall::ReadFeed => events::feed(api, call).await,
        SignedCall::ReadEvent => events::read(api, call).await,
        SignedCall::ReplayEvents => events::replay(api, call).await,
        SignedCall::Simulate => simulate::invoice(api, call).await,
    }
}

/// Serves a call that anybody may make.
pub(crate) async fn open(shared: &Shared, which: OpenCall) -> Result<Response, ApiError> {
    let answer = match which {
        OpenCall::Time => time::read(&shared.api),
        OpenCall::Health => health::alive(),
        OpenCall::Readiness => health::ready(shared).await,
        OpenCall::Document => return Ok(docs::document(shared)),
        OpenCall::Reference => return Ok(docs::reference(shared)),
    };
    answer.map(Answer::into_response)
}
