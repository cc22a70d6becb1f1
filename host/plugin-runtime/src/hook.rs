//! Hooks: what plugins decide, and a plugin as it is bound to one.
//!
//! A file per served hook turns the domain's values into the contract's and back; this file holds what they share. A bound
//! plugin that is not loaded, or that fails too often, answers every call with its failure policy: it is never left out in
//! silence.

mod bot_flow;
mod invoice_rules;
pub(crate) mod transfers;
mod webhook_format;
mod withdrawal_policy;

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tracing::{debug, error};
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::text::is_deceptive;
use xthonpay_payments::hook_tally::{FunctionTally, HookOutcome};
use xthonpay_payments::port::clock::Clock;
use xthonpay_payments::port::hooks::{HookFailure, OnFailure};
use xthonpay_payments::port::lending::storage::{Answered, Space};

use crate::artefact::Digest;
use crate::bindings::base::xthonpay::host::types::{CallInfo, Detail, HookError, Money};
use crate::breaker::{Breaker, End, Leave, Standstill};
use crate::capture::{Evidence, Shelf};
use crate::fault::{CallFault, RETRY_LATER, standstill_text};
use crate::instance::{Call, CallState, Runner, Traces, Work};
use crate::limits::Limit;
use crate::loader::About;
use crate::manifest::Wants;
use crate::meter::LimitHit;
use crate::plain_text::one_line;
use crate::policy::Policies;
use crate::shadow::{Shadow, told};
use crate::switch::Switch;

pub(crate) use bot_flow::BotFlowHook;
pub(crate) use invoice_rules::InvoiceRulesHook;
pub(crate) use webhook_format::WebhookFormatHook;
pub(crate) use withdrawal_policy::WithdrawalPolicyHook;

/// Bytes of a plugin's code and message that a failure repeats.
const DETAIL_BYTES_MAX: usize = 300;

/// Bytes of the word of a refusal: merchants match on it.
const REFUSAL_CODE_BYTES_MAX: usize = 64;

/// Bytes of a digest that make a call's id: 128 bits, so that no two facts share one.
const CALL_ID_BYTES: usize = 16;

/// A hook. Each has a world of its own in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Rules for invoices.
    InvoiceRules,
    /// The shape of webhooks.
    WebhookFormat,
    /// The flow of the bot.
    BotFlow,
    /// Policies for withdrawals.
    WithdrawalPolicy,
}

impl Hook {
    /// Every hook.
    pub const ALL: [Self; 4] = [Self::InvoiceRules, Self::WebhookFormat, Self::BotFlow, Self::WithdrawalPolicy];

    /// The hook's word in manifests, in `[hooks]` and in the contract.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InvoiceRules => "invoice-rules",
            Self::WebhookFormat => "webhook-format",
            Self::BotFlow => "bot-flow",
            Self::WithdrawalPolicy => "withdrawal-policy",
        }
    }

    /// The hook of a word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.name() == name)
    }

    /// All words, for messages.
    pub(crate) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A question to a plugin.
struct Asked {
    call: Call,
    /// Which try it is.
    attempt: u32,
    /// Bytes of what the guest is told.
    bytes: usize,
    /// The parameters as JSON, made when the call has failed.
    input: Box<dyn FnOnce() -> Value + Send>,
}

/// A hook that this version serves.
pub(crate) trait Served: Send + Sync + 'static {
    /// Which.
    const HOOK: Hook;

    /// Its functions.
    const FUNCTIONS: &'static [&'static str];

    /// A linked component that exports the hook.
    type Pre: Clone + Send + Sync + 'static;

    /// Finds the exports of the hook.
    ///
    /// # Errors
    /// The engine's, when one is missing.
    fn find_exports(linked: InstancePre<CallState>) -> wasmtime::Result<Self::Pre>;

    /// The component that was linked.
    fn linked(pre: &Self::Pre) -> &InstancePre<CallState>;

    /// Whether an answer of one of the functions, as it would be made of JSON, is one that the host takes. Amounts are judged with
    /// these decimals.
    ///
    /// # Errors
    /// [`CallFault::BadOutput`].
    fn judge(function: &str, answer: Value, decimals: Decimals) -> Result<(), CallFault>;

    /// Checks the types of the exports, which show in an instance only.
    ///
    /// # Errors
    /// The engine's, with the difference.
    fn check_types(store: &mut Store<CallState>, instance: &Instance) -> wasmtime::Result<()>;
}

/// A plugin that the operator bound to a hook, loaded or not.
pub(crate) struct Bound<H: Served> {
    /// The name of its table.
    pub(crate) name: String,
    pub(crate) policies: Policies,
    pub(crate) clock: Arc<dyn Clock>,
    /// What is counted about each function.
    pub(crate) tallies: BTreeMap<&'static str, Arc<FunctionTally>>,
    /// The last failures.
    pub(crate) captures: Arc<Shelf>,
    /// With which the operator switches it off.
    pub(crate) switch: Arc<Switch>,
    /// A candidate beside it.
    pub(crate) shadow: Option<Shadow<H>>,
    /// Why it is a version from before, and not the file of the config.
    pub(crate) instead: Option<String>,
    pub(crate) state: State<H>,
}

pub(crate) enum State<H: Served> {
    Ready(Box<Ready<H>>),
    /// Why it is not loaded.
    Failed(String),
}

/// A loaded plugin.
pub(crate) struct Ready<H: Served> {
    pub(crate) runner: Runner,
    pub(crate) linked: H::Pre,
    pub(crate) digest: Digest,
    /// The how manyth plugin it is that this host has loaded.
    pub(crate) generation: u64,
    pub(crate) about: About,
    /// What its manifest asks for.
    pub(crate) wants: Wants,
    /// The record of each function.
    pub(crate) breakers: BTreeMap<&'static str, Breaker>,
}

impl<H: Served> Ready<H> {
    /// The functions that are left alone now, and when each is called again; `None` when only loading it anew helps.
    pub(crate) fn left_alone(&self) -> impl Iterator<Item = (&'static str, Option<Duration>)> {
        let now = Instant::now();
        self.breakers.iter().filter_map(move |(name, breaker)| Some((*name, retry_in(breaker.standstill(now)?))))
    }
}

fn retry_in(standstill: Standstill) -> Option<Duration> {
    match standstill {
        Standstill::Pause(time) => Some(time),
        Standstill::Quarantine => None,
    }
}

impl<H: Served> Bound<H> {
    /// Runs a call about what `input` makes of its parameters, `input_bytes` large, and turns its answer into the host's: `bytes`
    /// measures it, `judge` checks it. What fails is captured.
    async fn call<R, T, W>(
        &self,
        asked: Asked,
        work: W,
        bytes: impl FnOnce(&R) -> usize + Send,
        judge: impl FnOnce(R) -> Result<T, CallFault> + Send,
    ) -> Result<Answered<T>, CallFault>
    where
        R: Serialize + Send + 'static,
        W: for<'a> FnOnce(&'a mut Store<CallState>, H::Pre) -> Work<'a, Result<R, HookError>> + Clone + Send + 'static,
    {
        let ready = match &self.state {
            State::Ready(ready) => ready,
            State::Failed(reason) => return Err(CallFault::NotLoaded { reason: reason.clone() }),
        };
        let profile = ready.runner.profile();
        if asked.bytes > profile.limits.kib(Limit::InputKib) {
            return Err(ready.runner.fault(kib_hit(Limit::InputKib, asked.bytes)));
        }
        let (linked, Asked { call, attempt, input, .. }) = (ready.linked.clone(), asked);
        let twin = self.shadow.as_ref().and_then(|shadow| shadow.twin(call.function)).map(|twin| (twin, work.clone()));
        let (ended, traces) = ready.runner.run_traced(call.clone(), move |store| work(store, linked)).await;
        if let Some((twin, work)) = twin {
            twin.ask(call.clone(), told(&ended), work);
        }
        if let Some(tally) = self.tallies.get(call.function) {
            tally.note(&traces.used);
        }
        let Traces { writes, growth, noted, .. } = traces;
        let judged = ended.and_then(|answer| answer.map_err(|error| declined(&error))).and_then(|answer| {
            let bytes = bytes(&answer);
            if bytes > profile.limits.kib(Limit::OutputKib) {
                return Err(ready.runner.fault(kib_hit(Limit::OutputKib, bytes)));
            }
            judge(answer)
        });
        match judged {
            Ok(answer) => {
                self.note_growth(ready, &growth);
                Ok(Answered { answer, writes })
            }
            Err(fault) => {
                if fault.end() == End::Bad {
                    let evidence = Evidence { call, attempt, noted, input };
                    self.captures.keep(evidence, ready.digest, profile, &fault);
                }
                Err(fault)
            }
        }
    }

    /// What a guest keeps counts as used from now on.
    fn note_growth(&self, ready: &Ready<H>, growth: &[(Space, i64)]) {
        if let Some(storage) = &ready.runner.profile().borrowed.storage {
            for (space, bytes) in growth {
                storage.note_growth(space, *bytes);
            }
        }
    }

    /// Carries out the call about a fact, unless the function is left alone, and keeps its record.
    async fn guarded<R>(
        &self,
        function: &'static str,
        fact: &str,
        policy: OnFailure,
        work: impl Future<Output = Result<R, CallFault>>,
    ) -> Result<R, HookFailure> {
        let leave = match self.leave(function) {
            Ok(leave) => leave,
            Err(fault) => {
                self.count(function, fault.outcome(), Duration::ZERO);
                return Err(self.failure(function, policy, &fault));
            }
        };
        let started = Instant::now();
        let answer = work.await;
        self.count(
            function,
            answer.as_ref().map_or_else(CallFault::outcome, |_| HookOutcome::Answered),
            started.elapsed(),
        );
        let end = answer.as_ref().map_or_else(CallFault::end, |_| End::Good);
        if let Some(standstill) = leave.and_then(|leave| leave.end(end, fact, Instant::now())) {
            let consequence = standstill_text(retry_in(standstill));
            error!(plugin = self.name, function, fact, consequence, "the plugin fails too often and is left alone");
        }
        answer.map_err(|fault| self.failure(function, policy, &fault))
    }

    fn count(&self, function: &'static str, outcome: HookOutcome, took: Duration) {
        if let Some(tally) = self.tallies.get(function) {
            tally.count(outcome, took);
        }
    }

    /// Leave to call a function. A plugin that is not loaded needs none.
    fn leave(&self, function: &'static str) -> Result<Option<Leave>, CallFault> {
        if self.switch.is_off() {
            return Err(CallFault::SwitchedOff);
        }
        let State::Ready(ready) = &self.state else { return Ok(None) };
        let Some(breaker) = ready.breakers.get(function) else { return Ok(None) };
        let left_alone = |standstill| CallFault::LeftAlone { retry_in: retry_in(standstill) };
        breaker.leave(Instant::now()).map(Some).map_err(left_alone)
    }

    /// The port's form of a failure.
    fn failure(&self, hook: &'static str, policy: OnFailure, fault: &CallFault) -> HookFailure {
        debug!(target: "plugin", plugin = self.name, function = hook, ?fault, "the call failed");
        let transient = fault.is_transient();
        HookFailure { plugin: self.name.clone(), hook, reason: fault.to_string(), policy, transient }
    }
}

fn kib_hit(limit: Limit, bytes: usize) -> LimitHit {
    LimitHit { limit, used: u64::try_from(bytes.div_ceil(1_024)).ok() }
}

/// The plugin's own failure, made fit for a log.
fn declined(error: &HookError) -> CallFault {
    let (kind, Detail { code, message, .. }) = match error {
        HookError::BadInput(detail) => ("bad-input", detail),
        HookError::RetryLater(detail) => (RETRY_LATER, detail),
        HookError::Other(detail) => ("other", detail),
    };
    CallFault::Declined { kind, code: one_line(code, DETAIL_BYTES_MAX), message: one_line(message, DETAIL_BYTES_MAX) }
}

/// The id of a call about a fact: equal parts give equal ids.
fn call_id(function: &str, parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in [&[function], parts].concat() {
        // The length in front keeps ("ab", "c") and ("a", "bc") apart.
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    let bytes = digest.get(..CALL_ID_BYTES).unwrap_or(&digest);
    format!("{function}:{}", hex::encode(bytes))
}

fn call_info(call: &Call, attempt: u32) -> CallInfo {
    let merchant_id = call.merchant.as_ref().map(ToString::to_string).unwrap_or_default();
    CallInfo { call_id: call.id.clone(), merchant_id, at: call.at.as_millis(), attempt, attrs: Vec::new() }
}

/// An amount as the contract writes it.
fn money(asset: &AssetId, amount: Amount, decimals: Decimals) -> Money {
    Money { asset: asset.to_string(), amount: amount.to_decimal(decimals), attrs: Vec::new() }
}

/// Bytes of named values.
fn attrs_bytes(attrs: &[(String, String)]) -> usize {
    attrs.iter().map(|(key, value)| key.len().saturating_add(value.len())).sum()
}

/// An answer made of JSON.
fn answer_of<T: DeserializeOwned>(answer: Value) -> Result<T, CallFault> {
    serde_json::from_value(answer).map_err(|error| bad(error.to_string()))
}

/// A value of an answer that breaks the contract.
fn bad(what: impl Into<String>) -> CallFault {
    CallFault::BadOutput { what: what.into() }
}

/// The word of a refusal, for programs: lower case, joined by `_`.
fn refusal_code(field: &str, text: String) -> Result<String, CallFault> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if text.is_empty() || text.len() > REFUSAL_CODE_BYTES_MAX || !text.bytes().all(allowed) {
        return Err(bad(format!("{field} is not 1 to {REFUSAL_CODE_BYTES_MAX} lower-case letters, digits and `_`")));
    }
    Ok(text)
}

/// A sentence of an answer that people will read.
fn sentence(field: &str, text: String, bytes_max: usize) -> Result<String, CallFault> {
    if text.is_empty() || text.len() > bytes_max {
        return Err(bad(format!("{field} has {} bytes, not 1 to {bytes_max}", text.len())));
    }
    if text.chars().any(is_deceptive) {
        return Err(bad(format!("{field} holds control, invisible or direction-changing characters")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_ids_are_stable_and_separate() {
        let id = call_id("render", &["evt", "end"]);
        assert_eq!(id, call_id("render", &["evt", "end"]));
        assert_eq!(id, "render:b497792594bfe9cb5fe6e7cf42b8f6ec");
        for other in [call_id("render", &["ev", "tend"]), call_id("on-draft", &["evt", "end"]), call_id("render", &[])]
        {
            assert_ne!(id[id.len() - 32..], other[other.len() - 32..]);
        }
    }

    #[test]
    fn sentences_are_bounded_and_plain() {
        assert_eq!(sentence("message", "Zu groß.".to_owned(), 64), Ok("Zu groß.".to_owned()));
        for text in ["", "a\nb", "\u{202e}a", "a\u{7f}", &"x".repeat(65)] {
            assert!(sentence("message", text.to_owned(), 64).is_err(), "{text:?}");
        }
    }
}
