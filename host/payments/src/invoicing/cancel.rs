//! Withdrawing an invoice to which nothing was paid.

use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::assessment::InvoiceState;
use xthonpay_domain::invoice::resolution::may_cancel;

use super::decision::{DecidedInvoice, DecidingError};
use super::{Answering, Invoicing, Principal};
use crate::reassess::Decision;

impl Invoicing {
    /// Cancels a pending invoice of the caller's; one that is cancelled already stays so. Its address is watched on: what is
    /// paid there later is credited as late, and the merchant resolves it.
    ///
    /// `answer` makes what is kept for the caller's idempotency key.
    ///
    /// # Errors
    /// [`DecidingError`]; nothing is stored then.
    pub async fn cancel(
        &self,
        caller: &Principal,
        id: &InvoiceId,
        answer: Answering<'_, DecidedInvoice>,
    ) -> Result<DecidedInvoice, DecidingError> {
        self.decide(caller, id, answer, |invoice, _, _| match invoice.assessment.state {
            InvoiceState::Cancelled => Ok(None),
            _ => may_cancel(&invoice.assessment).map(|()| Some(Decision::Cancel)),
        })
        .await
    }
}
