//! Deciding what becomes of money that came late, in part or too much. What each choice does stands in
//! [`xthonpay_domain::invoice::resolution`].

use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::assessment::PaymentFact;
use xthonpay_domain::invoice::resolution::{DecisionError, Resolution, Wish};

use super::decision::{DecidedInvoice, DecidingError};
use super::{Answering, Invoicing, Principal};
use crate::reassess::Decision;

impl Invoicing {
    /// Resolves an invoice of the caller's. The same decision about the same payments again changes nothing.
    ///
    /// `answer` makes what is kept for the caller's idempotency key.
    ///
    /// # Errors
    /// [`DecidingError`]; nothing is stored then.
    pub async fn resolve(
        &self,
        caller: &Principal,
        id: &InvoiceId,
        wish: &Wish,
        answer: Answering<'_, DecidedInvoice>,
    ) -> Result<DecidedInvoice, DecidingError> {
        self.decide(caller, id, answer, |invoice, deposits, now| {
            if matches!(wish, Wish::Refund { to, .. } if *to == invoice.address) {
                return Err(DecisionError::RefundAddress);
            }
            let payments: Vec<PaymentFact> = deposits.iter().map(PaymentFact::from).collect();
            let resolution = Resolution::grant(wish.clone(), &invoice.terms, invoice.standing(), &payments, now)?;
            let repeats = invoice.resolution.as_ref().is_some_and(|made| made.repeats(&resolution));
            Ok((!repeats).then_some(Decision::Resolve(resolution)))
        })
        .await
    }
}
