//! The merchants' webhook receivers, and what they got.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use xthonpay_domain::invoice::url_text::CallbackUrl;
use xthonpay_payments::port::egress::{EgressError, WebhookAnswer, WebhookRequest, WebhookTransport};
use xthonpay_tests::crash_points::{Boundary, Moment};
use xthonpay_tests::seeded::Seeded;

use crate::findings::{Findings, Kind};
use crate::gate::ProcessGate;

/// The header with the id of the event.
const ID_HEADER: &str = "webhook-id";

/// All receivers.
pub(crate) struct Receivers(Mutex<Inbox>);

struct Inbox {
    random: Seeded,
    /// How many of a hundred webhooks are not taken.
    refusing: u64,
    got: BTreeMap<String, Vec<u8>>,
    findings: Findings,
}

impl Receivers {
    pub(crate) fn new(random: Seeded, refusing: u64) -> Self {
        Self(Mutex::new(Inbox { random, refusing, got: BTreeMap::new(), findings: Findings::default() }))
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on everything is taken.
    pub(crate) fn take_all(&self) {
        self.inbox().refusing = 0;
    }

    /// Whether the event arrived.
    pub(crate) fn has(&self, event: &str) -> bool {
        self.inbox().got.contains_key(event)
    }

    pub(crate) fn findings(&self) -> Findings {
        self.inbox().findings.clone()
    }

    /// One webhook arrives; whether it is taken.
    fn arrive(&self, request: WebhookRequest) -> bool {
        let mut inbox = self.inbox();
        let refusing = inbox.refusing;
        if inbox.random.chance(refusing) {
            return false;
        }
        let id = request.headers.into_iter().find(|(name, _)| name == ID_HEADER).map(|(_, value)| value);
        let Some(id) = id else {
            inbox.findings.add(Kind::Wrong, "a webhook without its id");
            return true;
        };
        let same = inbox.got.get(&id).is_none_or(|body| *body == request.body);
        inbox.findings.expect(same, Kind::Wrong, || format!("{id} came again with another body"));
        inbox.got.insert(id, request.body);
        true
    }
}

/// The way to the receivers from one process.
pub(crate) struct Outbound {
    pub(crate) receivers: Arc<Receivers>,
    pub(crate) gate: Arc<ProcessGate>,
}

#[async_trait]
impl WebhookTransport for Outbound {
    fn check(&self, _url: &CallbackUrl) -> Result<(), EgressError> {
        Ok(())
    }

    async fn post(&self, request: WebhookRequest) -> Result<WebhookAnswer, EgressError> {
        self.gate.pass(Some(Boundary::Webhook), Moment::Before).await;
        let status = if self.receivers.arrive(request) { 200 } else { 503 };
        self.gate.pass(Some(Boundary::Webhook), Moment::After).await;
        Ok(WebhookAnswer { status, retry_after: None, excerpt: String::new(), latency: Duration::ZERO })
    }
}
