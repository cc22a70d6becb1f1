//! The hook `invoice-rules`: on what terms an invoice is opened, and whether a payment settles it.
//!
//! Answers are checked here for being values at all; the use cases clamp them to the host's bounds.

use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::invoice::assessment::{Advice, InvoiceState};
use xthonpay_domain::invoice::{Invoice, Proposal, Tolerance};
use xthonpay_domain::text::{MetadataKey, MetadataValue};
use xthonpay_payments::port::hooks::{Draft, DraftRuling, HookFailure, InvoiceRules, PaymentReview};
use xthonpay_payments::port::lending::storage::Answered;

use super::{
    Asked, Bound, Hook, Served, answer_of, attrs_bytes, bad, call_id, call_info, money, refusal_code, sentence,
    transfers,
};
use crate::bindings::base::xthonpay::host::types as wit;
use crate::bindings::invoice_rules::exports::xthonpay::hooks::invoice_rules as wit_rules;
use crate::bindings::invoice_rules::{self as bindings, InvoiceRulesHookPre};
use crate::fault::CallFault;
use crate::instance::{Call, CallState};

const ON_DRAFT: &str = "on-draft";
const ON_PAYMENT: &str = "on-payment";

/// A whole, in basis points: no more of a price can be missing.
const BPS_MAX: u32 = 10_000;

/// Bytes of a refusal's sentence: it ends up in an answer of the REST interface.
const REFUSAL_MESSAGE_BYTES_MAX: usize = 512;

/// The hook.
pub(crate) struct InvoiceRulesHook;

impl Served for InvoiceRulesHook {
    const HOOK: Hook = Hook::InvoiceRules;
    const FUNCTIONS: &'static [&'static str] = &[ON_DRAFT, ON_PAYMENT];
    type Pre = InvoiceRulesHookPre<CallState>;

    fn find_exports(linked: InstancePre<CallState>) -> wasmtime::Result<Self::Pre> {
        InvoiceRulesHookPre::new(linked)
    }

    fn linked(pre: &Self::Pre) -> &InstancePre<CallState> {
        pre.instance_pre()
    }

    fn judge(function: &str, answer: Value, decimals: Decimals) -> Result<(), CallFault> {
        match function {
            ON_DRAFT => ruling_from_wit(answer_of(answer)?, decimals).map(drop),
            _ => answer_of::<wit_rules::Advice>(answer).map(drop),
        }
    }

    fn check_types(store: &mut Store<CallState>, instance: &Instance) -> wasmtime::Result<()> {
        bindings::InvoiceRulesHook::new(store, instance).map(drop)
    }
}

#[async_trait]
impl InvoiceRules for Bound<InvoiceRulesHook> {
    async fn on_draft(&self, draft: &Draft) -> Result<Answered<DraftRuling>, HookFailure> {
        let id = draft_id(draft);
        let merchant = Some(draft.merchant.clone());
        let call = Call { function: ON_DRAFT, id: id.clone(), at: draft.at, merchant };
        self.guarded(ON_DRAFT, &id, self.policies.on_draft, self.draft_ruling(draft, call)).await
    }

    async fn on_payment(&self, review: &PaymentReview) -> Result<Answered<Advice>, HookFailure> {
        let judged = review.invoice.assessment.received.to_string();
        let id = call_id(ON_PAYMENT, &[review.invoice.id.as_str(), &judged]);
        let merchant = Some(review.invoice.merchant.clone());
        let call = Call { function: ON_PAYMENT, id: id.clone(), at: review.at, merchant };
        self.guarded(ON_PAYMENT, &id, self.policies.on_payment, self.payment_advice(review, call)).await
    }
}

impl Bound<InvoiceRulesHook> {
    async fn draft_ruling(&self, draft: &Draft, call: Call) -> Result<Answered<DraftRuling>, CallFault> {
        let (info, told) = (call_info(&call, 1), Arc::new(draft_to_wit(draft)));
        let (bytes, shown) = (draft_bytes(&told), Arc::clone(&told));
        let asked = Asked { call, attempt: 1, bytes, input: Box::new(move || json!({"draft": &*shown})) };
        let decimals = draft.decimals;
        let ruling = self.call(
            asked,
            move |store, linked| {
                Box::pin(async move {
                    let guest = linked.instantiate_async(&mut *store).await?;
                    store.data_mut().usage.instantiated();
                    guest.xthonpay_hooks_invoice_rules().call_on_draft(store, &info, &told).await
                })
            },
            ruling_bytes,
            |ruling| ruling_from_wit(ruling, decimals),
        );
        ruling.await
    }

    async fn payment_advice(&self, review: &PaymentReview, call: Call) -> Result<Answered<Advice>, CallFault> {
        let attempt = review.attempt.saturating_add(1);
        let info = call_info(&call, attempt);
        let view = invoice_to_wit(&review.invoice, review.decimals);
        let asset = &review.invoice.terms.asset;
        let payments = transfers::of_invoice(&review.deposits, asset, review.decimals, review.tip);
        let bytes = view_bytes(&view).saturating_add(payments.iter().map(transfer_bytes).sum());
        let told = Arc::new((view, payments));
        let shown = Arc::clone(&told);
        let input = Box::new(move || json!({"invoice": &shown.0, "transfers": &shown.1}));
        let asked = Asked { call, attempt, bytes, input };
        let advice = self.call(
            asked,
            move |store, linked| {
                Box::pin(async move {
                    let guest = linked.instantiate_async(&mut *store).await?;
                    store.data_mut().usage.instantiated();
                    guest.xthonpay_hooks_invoice_rules().call_on_payment(store, &info, &told.0, &told.1).await
                })
            },
            |_| 0,
            |advice| Ok(advice_from_wit(advice)),
        );
        advice.await
    }
}

fn advice_from_wit(advice: wit_rules::Advice) -> Advice {
    match advice {
        wit_rules::Advice::Settle => Advice::Settle,
        wit_rules::Advice::Wait => Advice::Wait,
        wit_rules::Advice::Review => Advice::Review,
    }
}

/// The id of a draft: everything that a merchant asks for, so that a corrected request is another fact. Without an
/// external id two equal requests are two orders, told apart by their time.
fn draft_id(draft: &Draft) -> String {
    let external_id = draft.external_id.as_ref().map(|id| id.as_str()).unwrap_or_default();
    let at = if draft.external_id.is_some() { String::new() } else { draft.at.to_string() };
    let (asset, due) = (draft.asset.to_string(), draft.due.to_string());
    let customer = draft.customer.as_ref().map(|customer| customer.as_str()).unwrap_or_default();
    let expiry = draft.expires_in_s.map(|secs| secs.to_string()).unwrap_or_default();
    let mut parts = vec![draft.merchant.as_str(), external_id, &at, &asset, &due, customer, &expiry];
    for (key, value) in &draft.metadata {
        parts.extend([key.as_str(), value.as_str()]);
    }
    call_id(ON_DRAFT, &parts)
}

fn metadata(entries: &[(MetadataKey, MetadataValue)]) -> Vec<(String, String)> {
    entries.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

fn draft_to_wit(draft: &Draft) -> wit_rules::Draft {
    let proposed = &draft.proposed;
    wit_rules::Draft {
        price: money(&draft.asset, draft.due, draft.decimals),
        external_id: draft.external_id.as_ref().map(ToString::to_string),
        customer: draft.customer.as_ref().map(ToString::to_string),
        requested_expiry_s: draft.expires_in_s,
        proposed: wit_rules::Terms {
            expires_in_s: u32::try_from(proposed.expires_in.as_secs()).unwrap_or(u32::MAX),
            tolerance_bps: proposed.tolerance.bps,
            tolerance_amount: proposed.tolerance.amount.to_decimal(draft.decimals),
            confirmations: u32::try_from(proposed.confirmations).unwrap_or(u32::MAX),
            attrs: Vec::new(),
        },
        metadata: metadata(&draft.metadata),
        attrs: Vec::new(),
    }
}

fn invoice_to_wit(invoice: &Invoice, decimals: Decimals) -> wit::InvoiceView {
    let assessment = &invoice.assessment;
    wit::InvoiceView {
        id: invoice.id.to_string(),
        external_id: invoice.external_id.as_ref().map(ToString::to_string),
        customer: invoice.customer.as_ref().map(ToString::to_string),
        state: match assessment.state {
            InvoiceState::Pending => wit::InvoiceState::Pending,
            InvoiceState::PartiallyPaid => wit::InvoiceState::PartiallyPaid,
            InvoiceState::Confirming => wit::InvoiceState::Confirming,
            InvoiceState::Paid => wit::InvoiceState::Paid,
            InvoiceState::Expired => wit::InvoiceState::Expired,
            InvoiceState::Cancelled => wit::InvoiceState::Cancelled,
        },
        price: money(&invoice.terms.asset, invoice.terms.due, decimals),
        received_final: assessment.received.to_decimal(decimals),
        received_seen: assessment.pending.to_decimal(decimals),
        created: invoice.created_at.as_millis(),
        expires: invoice.terms.expires_at.as_millis(),
        late: !invoice.is_reached_in_time(),
        metadata: metadata(&invoice.metadata),
        attrs: Vec::new(),
    }
}

fn ruling_from_wit(ruling: wit_rules::DraftRuling, decimals: Decimals) -> Result<DraftRuling, CallFault> {
    match ruling {
        wit_rules::DraftRuling::Accept(terms) => proposal_from_wit(&terms, decimals).map(DraftRuling::Accept),
        wit_rules::DraftRuling::Refuse(refusal) => Ok(DraftRuling::Refuse {
            code: refusal_code("refusal.code", refusal.code)?,
            message: sentence("refusal.message", refusal.message, REFUSAL_MESSAGE_BYTES_MAX)?,
        }),
    }
}

fn proposal_from_wit(terms: &wit_rules::Terms, decimals: Decimals) -> Result<Proposal, CallFault> {
    if terms.expires_in_s == 0 {
        return Err(bad("terms.expires-in-s is 0, and an invoice waits for at least a second"));
    }
    if terms.tolerance_bps > BPS_MAX {
        return Err(bad(format!("terms.tolerance-bps is {}, above {BPS_MAX}", terms.tolerance_bps)));
    }
    let amount = Amount::parse(without_trailing_zeros(&terms.tolerance_amount), decimals)
        .map_err(|error| bad(format!("terms.tolerance-amount: {error}")))?;
    Ok(Proposal {
        expires_in: Duration::from_secs(terms.expires_in_s.into()),
        tolerance: Tolerance { bps: terms.tolerance_bps, amount },
        confirmations: terms.confirmations.into(),
    })
}

/// A decimal without the zeros at its end, which carry no meaning by the contract. The domain counts them as digits, and
/// refuses more digits than the asset has.
fn without_trailing_zeros(decimal: &str) -> &str {
    match decimal.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0') => whole,
        Some(_) => decimal.trim_end_matches('0'),
        None => decimal,
    }
}

fn option_bytes(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

fn sum(parts: &[usize]) -> usize {
    parts.iter().fold(0, |sum, part| sum.saturating_add(*part))
}

fn draft_bytes(draft: &wit_rules::Draft) -> usize {
    sum(&[
        draft.price.asset.len(),
        draft.price.amount.len(),
        option_bytes(draft.external_id.as_ref()),
        option_bytes(draft.customer.as_ref()),
        draft.proposed.tolerance_amount.len(),
        attrs_bytes(&draft.metadata),
    ])
}

fn view_bytes(view: &wit::InvoiceView) -> usize {
    sum(&[
        view.id.len(),
        view.price.asset.len(),
        view.price.amount.len(),
        view.received_final.len(),
        view.received_seen.len(),
        option_bytes(view.external_id.as_ref()),
        option_bytes(view.customer.as_ref()),
        attrs_bytes(&view.metadata),
    ])
}

fn transfer_bytes(transfer: &wit::Transfer) -> usize {
    sum(&[
        transfer.chain.len(),
        transfer.tx.len(),
        transfer.asset.len(),
        transfer.amount.len(),
        option_bytes(transfer.to.as_ref()),
    ])
}

fn ruling_bytes(ruling: &wit_rules::DraftRuling) -> usize {
    match ruling {
        wit_rules::DraftRuling::Accept(terms) => terms.tolerance_amount.len().saturating_add(attrs_bytes(&terms.attrs)),
        wit_rules::DraftRuling::Refuse(refusal) => {
            sum(&[refusal.code.len(), refusal.message.len(), attrs_bytes(&refusal.attrs)])
        }
    }
}

#[cfg(test)]
mod tests;
