//! The chain of invoice rules: every bound plugin in its order, with the operator's failure policy and the host's clamps.

use std::time::Duration;

use thiserror::Error;
use tracing::warn;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::invoice::assessment::Advice;
use xthonpay_domain::invoice::{
    CONFIRMATIONS_MAX, EXPIRES_IN_MAX, EXPIRES_IN_MIN, Invoice, Proposal, TOLERANCE_BPS_MAX, Tolerance,
};

use crate::port::hooks::{Draft, DraftRuling, HookFailure, Hooks, OnFailure, PaymentReview};
use crate::port::lending::storage::{Answered, ItemWrite};

/// The expiry when neither the request nor the rules say anything: one hour, as merchants of the hosted product know it.
pub const EXPIRES_IN_DEFAULT: Duration = Duration::from_secs(3_600);

/// A draft that does not become an invoice.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DraftRefused {
    /// The rules said no.
    #[error("{message}")]
    ByRules {
        /// A stable word for machines.
        code: String,
        /// A sentence for the merchant.
        message: String,
    },
    /// The rules failed and the operator chose not to go on without them.
    #[error(transparent)]
    Unavailable(#[from] HookFailure),
}

/// The built-in terms: the expiry that was asked for, or an hour; no tolerance; the chain's floor of confirmations.
#[must_use]
pub fn builtin_proposal(expires_in_s: Option<u32>) -> Proposal {
    Proposal {
        expires_in: expires_in_s.map_or(EXPIRES_IN_DEFAULT, |secs| Duration::from_secs(secs.into())),
        tolerance: Tolerance::default(),
        confirmations: 0,
    }
}

/// What the chain of rules says about a draft.
#[derive(Clone, Debug)]
pub struct RuledDraft {
    /// The terms, or why there are none.
    pub ruling: Result<Proposal, DraftRefused>,
    /// What the rules keep because of it, whichever it is; nothing when a rule that had to answer did not.
    pub writes: Vec<ItemWrite>,
}

/// Asks every rule in order; each sees what the one before proposed, clamped. A refusal ends the chain, and so does a failure
/// under the policy `closed`.
pub async fn rule_on_draft(hooks: &dyn Hooks, mut draft: Draft) -> RuledDraft {
    let mut writes = Vec::new();
    for rules in hooks.invoice_rules() {
        match rules.on_draft(&draft).await {
            Ok(answered) => {
                writes.extend(answered.writes);
                match answered.answer {
                    DraftRuling::Accept(proposal) => draft.proposed = clamp(proposal, draft.due),
                    DraftRuling::Refuse { code, message } => {
                        return RuledDraft { ruling: Err(DraftRefused::ByRules { code, message }), writes };
                    }
                }
            }
            Err(failure) if failure.policy == OnFailure::Closed => {
                return RuledDraft { ruling: Err(failure.into()), writes: Vec::new() };
            }
            Err(failure) => warn!(%failure, "the draft goes on without this plugin"),
        }
    }
    RuledDraft { ruling: Ok(clamp(draft.proposed, draft.due)), writes }
}

/// The proposal within the bounds of the host.
fn clamp(proposal: Proposal, due: Amount) -> Proposal {
    let tolerance_max = due.share_bps(TOLERANCE_BPS_MAX).unwrap_or(Amount::ZERO);
    Proposal {
        expires_in: proposal.expires_in.clamp(EXPIRES_IN_MIN, EXPIRES_IN_MAX),
        tolerance: Tolerance {
            bps: proposal.tolerance.bps.min(TOLERANCE_BPS_MAX),
            amount: proposal.tolerance.amount.min(tolerance_max),
        },
        confirmations: proposal.confirmations.min(CONFIRMATIONS_MAX),
    }
}

/// Asks every rule; the most careful advice wins: review over wait over settle.
pub async fn rule_on_payment(hooks: &dyn Hooks, review: &PaymentReview) -> Answered<Advice> {
    let bound = hooks.invoice_rules();
    if bound.is_empty() {
        return Answered::plain(builtin_advice(&review.invoice));
    }
    let mut strictest = Answered::plain(Advice::Settle);
    for rules in bound {
        let advice = match rules.on_payment(review).await {
            Ok(answered) => {
                strictest.writes.extend(answered.writes);
                answered.answer
            }
            Err(failure) => {
                warn!(%failure, invoice = %review.invoice.id, "no ruling from this plugin");
                match failure.policy {
                    OnFailure::Builtin => builtin_advice(&review.invoice),
                    OnFailure::Closed | OnFailure::Hold | OnFailure::Silent => Advice::Wait,
                }
            }
        };
        strictest.answer = stricter(strictest.answer, advice);
    }
    strictest
}

/// The built-in advice: settle what was paid in time, let a person look at what needed late money to reach the target.
fn builtin_advice(invoice: &Invoice) -> Advice {
    if invoice.is_reached_in_time() { Advice::Settle } else { Advice::Review }
}

fn stricter(one: Advice, other: Advice) -> Advice {
    match (one, other) {
        (Advice::Review, _) | (_, Advice::Review) => Advice::Review,
        (Advice::Wait, _) | (_, Advice::Wait) => Advice::Wait,
        (Advice::Settle, Advice::Settle) => Advice::Settle,
    }
}
