//! Ports that have no double in `xthonpay-tests`: rules, formats and receivers that do what a test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use xthonpay_domain::event::Event;
use xthonpay_domain::invoice::assessment::Advice;
use xthonpay_domain::invoice::url_text::CallbackUrl;
use xthonpay_domain::text::PluginName;
use xthonpay_payments::port::bot::BotFlow;
use xthonpay_payments::port::egress::{EgressError, WebhookAnswer, WebhookRequest, WebhookTransport};
use xthonpay_payments::port::hooks::{
    Draft, DraftRuling, HookFailure, Hooks, InvoiceRules, OnFailure, PaymentReview, Rendered, WebhookFormat,
    WithdrawalPolicy,
};
use xthonpay_payments::port::lending::storage::Answered;
pub(crate) use xthonpay_tests::path_addresses::PathAddresses;
pub(crate) use xthonpay_tests::plain_vault::PlainVault;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type OnDraft = Box<dyn Fn(&Draft) -> Result<DraftRuling, HookFailure> + Send + Sync>;
type OnPayment = Box<dyn Fn(&PaymentReview) -> Result<Advice, HookFailure> + Send + Sync>;

/// Rules of a test.
pub(crate) struct ScriptedRules {
    on_draft: OnDraft,
    on_payment: OnPayment,
}

impl ScriptedRules {
    /// Rules that accept every draft as it is.
    pub(crate) fn on_payment(
        judge: impl Fn(&PaymentReview) -> Result<Advice, HookFailure> + Send + Sync + 'static,
    ) -> Arc<dyn InvoiceRules> {
        let on_draft: OnDraft = Box::new(|draft| Ok(DraftRuling::Accept(draft.proposed)));
        Arc::new(Self { on_draft, on_payment: Box::new(judge) })
    }

    /// Rules that settle every payment.
    pub(crate) fn on_draft(
        judge: impl Fn(&Draft) -> Result<DraftRuling, HookFailure> + Send + Sync + 'static,
    ) -> Arc<dyn InvoiceRules> {
        let on_payment: OnPayment = Box::new(|_| Ok(Advice::Settle));
        Arc::new(Self { on_draft: Box::new(judge), on_payment })
    }
}

#[async_trait]
impl InvoiceRules for ScriptedRules {
    async fn on_draft(&self, draft: &Draft) -> Result<Answered<DraftRuling>, HookFailure> {
        (self.on_draft)(draft).map(Answered::plain)
    }

    async fn on_payment(&self, review: &PaymentReview) -> Result<Answered<Advice>, HookFailure> {
        (self.on_payment)(review).map(Answered::plain)
    }
}

type Render = Box<dyn Fn(&Event, &str) -> Result<Option<Rendered>, HookFailure> + Send + Sync>;

/// A webhook format of a test.
pub(crate) struct ScriptedFormat(Render);

#[async_trait]
impl WebhookFormat for ScriptedFormat {
    async fn render(&self, event: &Event, target: &str) -> Result<Option<Rendered>, HookFailure> {
        (self.0)(event, target)
    }
}

/// What a plugin fails with.
pub(crate) fn failure(policy: OnFailure) -> HookFailure {
    HookFailure { plugin: "scripted".to_owned(), hook: "any", reason: "scripted".to_owned(), policy, transient: true }
}

/// The plugins that are bound: none at first.
#[derive(Default)]
pub(crate) struct ScriptedHooks {
    rules: Mutex<Vec<Arc<dyn InvoiceRules>>>,
    format: Mutex<Option<Arc<dyn WebhookFormat>>>,
    named: Mutex<BTreeMap<PluginName, Arc<dyn WebhookFormat>>>,
}

impl ScriptedHooks {
    pub(crate) fn bind_rules(&self, rules: impl IntoIterator<Item = Arc<dyn InvoiceRules>>) {
        *lock(&self.rules) = rules.into_iter().collect();
    }

    pub(crate) fn bind_format(
        &self,
        render: impl Fn(&Event) -> Result<Option<Rendered>, HookFailure> + Send + Sync + 'static,
    ) {
        self.bind_format_for_targets(move |event, _| render(event));
    }

    pub(crate) fn bind_format_for_targets(
        &self,
        render: impl Fn(&Event, &str) -> Result<Option<Rendered>, HookFailure> + Send + Sync + 'static,
    ) {
        *lock(&self.format) = Some(Arc::new(ScriptedFormat(Box::new(render))));
    }

    /// Lets endpoints choose a format.
    pub(crate) fn offer_format(
        &self,
        name: &str,
        render: impl Fn(&Event, &str) -> Result<Option<Rendered>, HookFailure> + Send + Sync + 'static,
    ) {
        let name = name.parse().expect("a plugin's name");
        lock(&self.named).insert(name, Arc::new(ScriptedFormat(Box::new(render))));
    }

    /// Takes back all offers.
    pub(crate) fn offer_nothing(&self) {
        lock(&self.named).clear();
    }
}

impl Hooks for ScriptedHooks {
    fn invoice_rules(&self) -> Vec<Arc<dyn InvoiceRules>> {
        lock(&self.rules).clone()
    }

    fn withdrawal_policies(&self) -> Vec<Arc<dyn WithdrawalPolicy>> {
        Vec::new()
    }

    fn bot_flow(&self) -> Option<Arc<dyn BotFlow>> {
        None
    }

    fn webhook_format(&self) -> Option<Arc<dyn WebhookFormat>> {
        lock(&self.format).clone()
    }

    fn webhook_format_named(&self, name: &PluginName) -> Option<Arc<dyn WebhookFormat>> {
        lock(&self.named).get(name).cloned()
    }
}

/// How long every answer of a scripted receiver took, as it says.
pub(crate) const LATENCY: Duration = Duration::from_millis(42);

/// What a receiver does with a webhook.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Status(u16),
    RetryAfter(u16, Duration),
    /// This status, with this body.
    Says(u16, String),
    Unreachable,
    Refused,
    /// Takes the webhook and answers 200 once the test lets it.
    Hang,
    /// Breaks our own sending.
    Panic,
}

type Answer = Box<dyn Fn(&WebhookRequest) -> Reply + Send + Sync>;

/// Receivers that answer what a test says, and remember what they got.
pub(crate) struct ScriptedReceivers {
    answer: Mutex<Answer>,
    got: Mutex<Vec<WebhookRequest>>,
    released: Semaphore,
}

impl Default for ScriptedReceivers {
    fn default() -> Self {
        let answer: Answer = Box::new(|_| Reply::Status(200));
        Self { answer: Mutex::new(answer), got: Mutex::default(), released: Semaphore::new(0) }
    }
}

impl ScriptedReceivers {
    pub(crate) fn answer(&self, answer: impl Fn(&WebhookRequest) -> Reply + Send + Sync + 'static) {
        *lock(&self.answer) = Box::new(answer);
    }

    /// What was sent so far, in the order of arrival.
    pub(crate) fn got(&self) -> Vec<WebhookRequest> {
        lock(&self.got).clone()
    }

    /// How many of them went to URLs that hold this text.
    pub(crate) fn count_to(&self, part: &str) -> usize {
        lock(&self.got).iter().filter(|request| request.url.as_str().contains(part)).count()
    }

    /// Lets everything that hangs end.
    pub(crate) fn release(&self) {
        self.released.close();
    }
}

#[async_trait]
impl WebhookTransport for ScriptedReceivers {
    fn check(&self, url: &CallbackUrl) -> Result<(), EgressError> {
        let refused = url.as_str().contains("refused");
        if refused { Err(EgressError::Refused { reason: "refused by its text".to_owned() }) } else { Ok(()) }
    }

    async fn post(&self, request: WebhookRequest) -> Result<WebhookAnswer, EgressError> {
        let reply = (lock(&self.answer))(&request);
        lock(&self.got).push(request);
        let answered =
            |status, retry_after| Ok(WebhookAnswer { status, retry_after, excerpt: String::new(), latency: LATENCY });
        match reply {
            Reply::Status(status) => answered(status, None),
            Reply::RetryAfter(status, pause) => answered(status, Some(pause)),
            Reply::Says(status, excerpt) => Ok(WebhookAnswer { status, retry_after: None, excerpt, latency: LATENCY }),
            Reply::Unreachable => Err(EgressError::Unreachable { reason: "scripted".to_owned() }),
            Reply::Refused => Err(EgressError::Refused { reason: "scripted".to_owned() }),
            Reply::Hang => {
                // Nothing is ever released one by one: this ends when the semaphore is closed.
                let _ = self.released.acquire().await;
                answered(200, None)
            }
            Reply::Panic => unreachable!("the test asked for it"),
        }
    }
}
