//! The hook `withdrawal-policy`: how a withdrawal may go on.
//!
//! A policy can only tighten, which the use case sees to; here its answer is checked for being one. Whatever fails is closed:
//! there is no failure policy to choose.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::asset::AssetId;
use xthonpay_payments::port::hooks::{
    HookFailure, OnFailure, Requester, WithdrawalPolicy, WithdrawalRequest, WithdrawalRuling, WithdrawalVerdict,
};
use xthonpay_payments::port::lending::storage::Answered;

use super::{Asked, Bound, Hook, Served, answer_of, bad, call_id, call_info, money, refusal_code, sentence};
use crate::bindings::base::xthonpay::host::types as wit;
use crate::bindings::withdrawal_policy::exports::xthonpay::hooks::withdrawal_policy as wit_policy;
use crate::bindings::withdrawal_policy::{self as bindings, WithdrawalPolicyHookPre};
use crate::fault::CallFault;
use crate::instance::{Call, CallState};

const REVIEW: &str = "review";

/// Bytes of a verdict's sentence: it ends up in an answer of the REST interface.
const MESSAGE_BYTES_MAX: usize = 512;

/// The hook.
pub(crate) struct WithdrawalPolicyHook;

impl Served for WithdrawalPolicyHook {
    const HOOK: Hook = Hook::WithdrawalPolicy;
    const FUNCTIONS: &'static [&'static str] = &[REVIEW];
    type Pre = WithdrawalPolicyHookPre<CallState>;

    fn find_exports(linked: InstancePre<CallState>) -> wasmtime::Result<Self::Pre> {
        WithdrawalPolicyHookPre::new(linked)
    }

    fn linked(pre: &Self::Pre) -> &InstancePre<CallState> {
        pre.instance_pre()
    }

    fn judge(_: &str, answer: Value, _: Decimals) -> Result<(), CallFault> {
        verdict_from_wit(answer_of(answer)?).map(drop)
    }

    fn check_types(store: &mut Store<CallState>, instance: &Instance) -> wasmtime::Result<()> {
        bindings::WithdrawalPolicyHook::new(store, instance).map(drop)
    }
}

#[async_trait]
impl WithdrawalPolicy for Bound<WithdrawalPolicyHook> {
    async fn review(&self, request: &WithdrawalRequest) -> Result<Answered<WithdrawalVerdict>, HookFailure> {
        let id = call_id(REVIEW, &[request.id.as_str()]);
        let merchant = Some(request.merchant.clone());
        let call = Call { function: REVIEW, id: id.clone(), at: request.at, merchant };
        self.guarded(REVIEW, &id, OnFailure::Closed, self.verdict(request, call)).await
    }
}

impl Bound<WithdrawalPolicyHook> {
    async fn verdict(&self, request: &WithdrawalRequest, call: Call) -> Result<Answered<WithdrawalVerdict>, CallFault> {
        let info = call_info(&call, 1);
        let told = Arc::new(request_to_wit(request));
        let (bytes, shown) = (request_bytes(&told), Arc::clone(&told));
        let verdict = self.call(
            Asked { call, attempt: 1, bytes, input: Box::new(move || json!({"request": &*shown})) },
            move |store, linked| {
                Box::pin(async move {
                    let guest = linked.instantiate_async(&mut *store).await?;
                    store.data_mut().usage.instantiated();
                    guest.xthonpay_hooks_withdrawal_policy().call_review(store, &info, &told).await
                })
            },
            |verdict| verdict.code.len().saturating_add(verdict.message.len()),
            verdict_from_wit,
        );
        verdict.await
    }
}

fn request_to_wit(request: &WithdrawalRequest) -> wit_policy::Request {
    let total = |(asset, decimals, amount): &(AssetId, Decimals, Amount)| money(asset, *amount, *decimals);
    wit_policy::Request {
        id: request.id.to_string(),
        chain: request.asset.chain.to_string(),
        destination: request.destination.to_string(),
        amount: money(&request.asset, request.amount, request.decimals),
        requested_by: match &request.requested_by {
            Requester::Key(id) => format!("key:{id}"),
            Requester::Chat(user) => format!("chat:{user}"),
            Requester::Admin => "admin".to_owned(),
        },
        requested: request.requested_at.as_millis(),
        total_24h: request.total_24h.iter().map(total).collect(),
        destination_uses: request.destination_uses,
        attrs: Vec::new(),
    }
}

fn request_bytes(request: &wit_policy::Request) -> usize {
    let of_money = |money: &wit::Money| money.asset.len().saturating_add(money.amount.len());
    let texts = [&request.id, &request.chain, &request.destination, &request.requested_by];
    let totals = request.total_24h.iter().chain([&request.amount]).map(of_money);
    texts.into_iter().map(String::len).chain(totals).sum()
}

fn verdict_from_wit(verdict: wit_policy::Verdict) -> Result<WithdrawalVerdict, CallFault> {
    let ruling = match verdict.ruling {
        wit_policy::Ruling::Allow => WithdrawalRuling::Allow,
        wit_policy::Ruling::RequireTotp => WithdrawalRuling::RequireTotp,
        wit_policy::Ruling::RequireApproval => WithdrawalRuling::RequireApproval,
        wit_policy::Ruling::Deny => WithdrawalRuling::Deny,
    };
    if ruling == WithdrawalRuling::Allow {
        // A reason beside it is most likely a ruling that was meant and not made.
        if !verdict.code.is_empty() || !verdict.message.is_empty() {
            return Err(bad("`allow` has a code or a message, which are for the other rulings"));
        }
        return Ok(WithdrawalVerdict { ruling, code: String::new(), message: String::new() });
    }
    let code = refusal_code("code", verdict.code)?;
    let message = sentence("message", verdict.message, MESSAGE_BYTES_MAX)?;
    Ok(WithdrawalVerdict { ruling, code, message })
}
