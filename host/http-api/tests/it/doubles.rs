//! Ports that have no double in `xthonpay-tests`.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use xthonpay_domain::address::Address;
use xthonpay_domain::invoice::assessment::Advice;
use xthonpay_domain::invoice::url_text::CallbackUrl;
use xthonpay_domain::text::PluginName;
use xthonpay_payments::port::bot::BotFlow;
use xthonpay_payments::port::egress::{EgressError, WebhookAnswer, WebhookRequest, WebhookTransport};
use xthonpay_payments::port::hooks::{
    Draft, DraftRuling, HookFailure, Hooks, InvoiceRules, OnFailure, PaymentReview, WebhookFormat, WithdrawalPolicy,
};
use xthonpay_payments::port::lending::storage::Answered;
use xthonpay_payments::port::signer::{AddressSource, DeriveError};
use xthonpay_payments::port::vault::{Purpose, Sealed, Secret, Vault, VaultError};

/// A vault that binds secrets to their place and does not encrypt them.
pub(crate) struct OpenVault;

fn label(purpose: Purpose, row: &str) -> Vec<u8> {
    format!("{}|{row}|", purpose.name()).into_bytes()
}

impl Vault for OpenVault {
    fn seal(&self, purpose: Purpose, row: &str, secret: &[u8]) -> Sealed {
        Sealed([label(purpose, row).as_slice(), secret].concat())
    }

    fn open(&self, purpose: Purpose, row: &str, sealed: &Sealed) -> Result<Secret, VaultError> {
        sealed
            .0
            .strip_prefix(label(purpose, row).as_slice())
            .map(|secret| Secret::new(secret.to_vec()))
            .ok_or(VaultError)
    }
}

/// Addresses that show account and index.
pub(crate) struct CountedAddresses;

impl AddressSource for CountedAddresses {
    fn derive(&self, account: u32, index: u32) -> Result<Address, DeriveError> {
        let mut bytes = [0xad; 20];
        bytes[..4].copy_from_slice(&account.to_be_bytes());
        bytes[16..].copy_from_slice(&index.to_be_bytes());
        Ok(Address::new(bytes))
    }
}

/// Refuses plain http, as the real policy does by default, and sends nothing.
pub(crate) struct HttpsOnly;

#[async_trait]
impl WebhookTransport for HttpsOnly {
    fn check(&self, url: &CallbackUrl) -> Result<(), EgressError> {
        let reason = "the URL must begin with https://".to_owned();
        if url.as_str().starts_with("https://") { Ok(()) } else { Err(EgressError::Refused { reason }) }
    }

    async fn post(&self, _: WebhookRequest) -> Result<WebhookAnswer, EgressError> {
        Err(EgressError::Unreachable { reason: "nothing is sent here".to_owned() })
    }
}

/// What the rules do with the next drafts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// No rules are bound.
    #[default]
    Absent,
    /// The rules say no.
    Refuse,
    /// The rules fail, and the operator wants no invoice without them.
    Fail,
    /// A bug in our own code.
    Panic,
    /// The rules do not answer.
    Hang,
}

/// Hooks whose mood a test sets.
#[derive(Clone, Default)]
pub(crate) struct MoodyHooks(Arc<Mutex<Mood>>);

impl MoodyHooks {
    pub(crate) fn set(&self, mood: Mood) {
        *self.0.lock().expect("not poisoned") = mood;
    }

    fn mood(&self) -> Mood {
        *self.0.lock().expect("not poisoned")
    }
}

impl Hooks for MoodyHooks {
    fn invoice_rules(&self) -> Vec<Arc<dyn InvoiceRules>> {
        if self.mood() == Mood::Absent { Vec::new() } else { vec![Arc::new(self.clone())] }
    }

    fn withdrawal_policies(&self) -> Vec<Arc<dyn WithdrawalPolicy>> {
        Vec::new()
    }

    fn bot_flow(&self) -> Option<Arc<dyn BotFlow>> {
        None
    }

    fn webhook_format(&self) -> Option<Arc<dyn WebhookFormat>> {
        None
    }

    fn webhook_format_named(&self, _: &PluginName) -> Option<Arc<dyn WebhookFormat>> {
        None
    }
}

/// A word that appears in failures and must never reach a caller.
pub(crate) const INNER_DETAIL: &str = "inner-detail-10.1.2.3";

#[async_trait]
impl InvoiceRules for MoodyHooks {
    async fn on_draft(&self, draft: &Draft) -> Result<Answered<DraftRuling>, HookFailure> {
        match self.mood() {
            Mood::Absent => Ok(Answered::plain(DraftRuling::Accept(draft.proposed))),
            Mood::Refuse => {
                let (code, message) = ("shop_closed".to_owned(), "no orders on Sundays".to_owned());
                Ok(Answered::plain(DraftRuling::Refuse { code, message }))
            }
            Mood::Fail => Err(HookFailure {
                plugin: "shop-rules".to_owned(),
                hook: "on-draft",
                reason: INNER_DETAIL.to_owned(),
                policy: OnFailure::Closed,
                transient: true,
            }),
            Mood::Panic => std::panic::resume_unwind(Box::new(INNER_DETAIL)),
            Mood::Hang => std::future::pending().await,
        }
    }

    async fn on_payment(&self, _: &PaymentReview) -> Result<Answered<Advice>, HookFailure> {
        Ok(Answered::plain(Advice::Settle))
    }
}
