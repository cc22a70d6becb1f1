//! What a merchant decides: to withdraw an invoice, and what becomes of money that came late, in part or too much.
//!
//! A decision is a fact like a payment: [`assess`](super::assessment::assess) takes it in, and nothing else moves the state. No
//! decision touches the ledger, since whatever is final was credited to the merchant when it became final.
//!
//! | decision | state | ledger | flags | events |
//! |---|---|---|---|---|
//! | cancel | `cancelled` | nothing | none | `invoice.cancelled` |
//! | accept | `paid` | nothing | `manual`, no longer `needs_review` | `invoice.paid`, if it was not told before; `invoice.resolved` |
//! | refund | as it was | nothing: the money stays in `merchant.available` until a withdrawal takes it out | `manual`, no longer `needs_review` | `invoice.resolved`, with the draft |
//! | ignore | as it was | nothing | `manual`, no longer `needs_review` | `invoice.resolved` |
//!
//! A resolution holds for what it judged: the final sum, and the number of deposits that were set aside because they are in
//! another asset. More of either needs a review again, and is resolved anew. Rules do not settle an invoice by themselves
//! any more from which money was promised back, nor late money that the merchant left as it is.

use thiserror::Error;

use super::assessment::{Assessment, Flags, InvoiceState, PaymentFact};
use super::{Standing, Terms};
use crate::address::Address;
use crate::amount::Amount;
use crate::deposit::DepositState;
use crate::time::Timestamp;

/// A merchant's decision about what an invoice has received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// What was decided.
    pub choice: Choice,
    /// The sum of final payments that was decided about, in base units of the invoice's asset.
    pub judged: Amount,
    /// How many final deposits on the invoice's address count for nothing and were decided about: those in another asset, and
    /// those above [`Amount::PAYMENT_MAX`].
    pub set_aside: u32,
    /// When.
    pub at: Timestamp,
}

/// What a merchant can decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Take the invoice as paid with what is there.
    Accept,
    /// Note that this much shall be paid back. Moves no money: it stays in the merchant's balance until a withdrawal does.
    Refund {
        /// To whom.
        to: Address,
        /// How much, in base units of the invoice's asset; above zero and at most what was received.
        amount: Amount,
    },
    /// Leave it as it is, and stop asking.
    Ignore,
}

impl Choice {
    /// The choice's word in the API.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Refund { .. } => "refund",
            Self::Ignore => "ignore",
        }
    }
}

/// What a merchant asks for, before anybody looks at the invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// As [`Choice::Accept`].
    Accept,
    /// As [`Choice::Refund`].
    Refund {
        /// To whom.
        to: Address,
        /// How much, in base units of the invoice's asset; `None` for all that was received.
        amount: Option<Amount>,
    },
    /// As [`Choice::Ignore`].
    Ignore,
}

/// A decision that an invoice does not allow as it stands.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecisionError {
    /// Money is there or was, or it is too late.
    #[error("only a pending invoice without payments can be cancelled; this one is {}: {}", .state.name(), instead_of_cancelling(*.state))]
    NotCancellable {
        /// Where the invoice stands.
        state: InvoiceState,
    },
    /// Nobody needs to decide.
    #[error("there is nothing to decide about this invoice while it is {} and needs no review", .state.name())]
    NothingToDecide {
        /// Where the invoice stands.
        state: InvoiceState,
    },
    /// The sum to decide about is not known yet.
    #[error("a payment is not final yet: wait for it")]
    PaymentPending,
    /// The rules come first.
    #[error("the rules have not judged the payments yet: wait for them")]
    RulesPending,
    /// There is no sum to decide about.
    #[error("no payment in the asset of the invoice is final")]
    NothingReceived,
    /// More than there is, or nothing.
    #[error("a refund must be above zero and at most what was received")]
    RefundOutOfRange,
    /// An address that would swallow the money, or bring it back.
    #[error("a refund cannot go to the zero address or to the address of the invoice itself")]
    RefundAddress,
}

impl DecisionError {
    /// Whether the same decision may be possible later without a new payment.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::PaymentPending | Self::RulesPending => true,
            Self::NotCancellable { .. }
            | Self::NothingToDecide { .. }
            | Self::NothingReceived
            | Self::RefundOutOfRange
            | Self::RefundAddress => false,
        }
    }
}

/// What a merchant can do who cannot cancel.
fn instead_of_cancelling(state: InvoiceState) -> &'static str {
    match state {
        InvoiceState::PartiallyPaid => "resolve it, or wait for its expiry",
        InvoiceState::Pending | InvoiceState::Confirming => "wait for its payments",
        InvoiceState::Paid | InvoiceState::Expired | InvoiceState::Cancelled => "it is closed",
    }
}

/// Whether an invoice may be withdrawn as it stands: while it is pending and nothing was paid in its asset, not even late.
///
/// # Errors
/// [`DecisionError::NotCancellable`]; also for one that is cancelled, since there is nothing more to withdraw.
pub fn may_cancel(now: &Assessment) -> Result<(), DecisionError> {
    let untouched = now.state == InvoiceState::Pending && now.received.is_zero() && now.pending.is_zero();
    if untouched { Ok(()) } else { Err(DecisionError::NotCancellable { state: now.state }) }
}

impl Resolution {
    /// The decision that grants a wish about an invoice with these deposits on its address, if it stands so that this may be
    /// decided:
    ///
    /// - anything about an invoice that needs a review, that was decided about before, that expired or was cancelled with money
    ///   on it, or that received too much;
    /// - accepting one that is partially paid, and in general one that is still open, once all of its payments are final;
    /// - promising money back from one that is confirming once its payments are final and the rules did not settle it.
    ///
    /// # Errors
    /// [`DecisionError`].
    pub fn grant(
        wish: Wish,
        terms: &Terms,
        standing: Standing<'_>,
        payments: &[PaymentFact],
        at: Timestamp,
    ) -> Result<Self, DecisionError> {
        let now = standing.assessment;
        let invites = wish == Wish::Accept && now.state == InvoiceState::PartiallyPaid;
        if !invites && !is_open_question(standing) {
            return Err(DecisionError::NothingToDecide { state: now.state });
        }
        let choice = match wish {
            Wish::Ignore => Choice::Ignore,
            Wish::Accept => {
                let open =
                    matches!(now.state, InvoiceState::Pending | InvoiceState::PartiallyPaid | InvoiceState::Confirming);
                refuse_if(open && !now.pending.is_zero(), DecisionError::PaymentPending)?;
                refuse_if(now.received.is_zero(), DecisionError::NothingReceived)?;
                Choice::Accept
            }
            Wish::Refund { to, amount } => {
                let confirming = now.state == InvoiceState::Confirming;
                refuse_if(confirming && !now.pending.is_zero(), DecisionError::PaymentPending)?;
                refuse_if(confirming && now.awaits_ruling, DecisionError::RulesPending)?;
                refuse_if(now.received.is_zero(), DecisionError::NothingReceived)?;
                let amount = amount.unwrap_or(now.received);
                refuse_if(amount.is_zero() || amount > now.received, DecisionError::RefundOutOfRange)?;
                refuse_if(to == Address::ZERO, DecisionError::RefundAddress)?;
                Choice::Refund { to, amount }
            }
        };
        Ok(Self { choice, judged: now.received, set_aside: set_aside(terms, payments), at })
    }

    /// Whether another decision says the same about the same, whenever it was made.
    #[must_use]
    pub fn repeats(&self, other: &Self) -> bool {
        self.choice == other.choice && self.judged == other.judged && self.set_aside == other.set_aside
    }
}

fn refuse_if(condition: bool, error: DecisionError) -> Result<(), DecisionError> {
    if condition { Err(error) } else { Ok(()) }
}

/// Whether a person has something to say about an invoice.
fn is_open_question(standing: Standing<'_>) -> bool {
    let Assessment { state, flags, received, overpaid, .. } = standing.assessment;
    let is_over = matches!(state, InvoiceState::Expired | InvoiceState::Cancelled);
    flags.contains(Flags::NEEDS_REVIEW)
        || standing.resolution.is_some()
        || (is_over && !received.is_zero())
        || (*state == InvoiceState::Paid && !overpaid.is_zero())
}

/// How many final deposits count for nothing.
fn set_aside(terms: &Terms, payments: &[PaymentFact]) -> u32 {
    let count =
        payments.iter().filter(|payment| payment.state == DepositState::Final && !payment.counts_for(terms)).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}
