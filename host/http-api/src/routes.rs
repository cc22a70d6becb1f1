//! Which handler serves which call.

pub(crate) mod health;

mod balance;
mod deposit_address;
mod invoices;
mod keys;
mod rescan;
mod time;

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
        SignedCall::ReadBalance => balance::read(api, call).await,
        SignedCall::ReadDepositAddress => deposit_address::read(api, call).await,
        SignedCall::ReadOwnKey => keys::read_own(call),
        SignedCall::RescanTransaction => rescan::transaction(api, call).await,
    }
}

/// Serves a call that anybody may make.
pub(crate) async fn open(shared: &Shared, which: OpenCall) -> Result<Answer, ApiError> {
    match which {
        OpenCall::Time => time::read(&shared.api),
        OpenCall::Health => health::alive(),
        OpenCall::Readiness => health::ready(shared).await,
    }
}
