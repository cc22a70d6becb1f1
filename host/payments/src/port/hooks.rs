//! Decisions and shapes that plugins provide.
//!
//! A hook's answer is a proposal: the use cases clamp and check it. "The plugin said no" is a normal answer; "the plugin
//! failed" is a [`HookFailure`], and the caller applies the policy that it carries.

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::event::Event;
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::Proposal;
use xthonpay_domain::invoice::assessment::Advice;
use xthonpay_domain::text::{CustomerRef, ExternalId, MetadataKey, MetadataValue, PluginName};
use xthonpay_domain::time::Timestamp;

/// An invoice that a merchant asks for, before its terms are agreed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Who asks.
    pub merchant: MerchantId,
    /// When, by the host's clock.
    pub at: Timestamp,
    /// What is to be paid in.
    pub asset: AssetId,
    /// Decimals of that asset.
    pub decimals: Decimals,
    /// How much.
    pub due: Amount,
    /// The merchant's name of the order.
    pub external_id: Option<ExternalId>,
    /// The merchant's name of the customer.
    pub customer: Option<CustomerRef>,
    /// The expiry that the request asks for, in seconds.
    pub expires_in_s: Option<u32>,
    /// The merchant's notes.
    pub metadata: Vec<(MetadataKey, MetadataValue)>,
    /// The terms so far: the host's defaults, or what the plugin before proposed.
    pub proposed: Proposal,
}

/// What rules say about a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DraftRuling {
    /// Go ahead on these terms.
    Accept(Proposal),
    /// Do not make this invoice.
    Refuse {
        /// A stable word for machines.
        code: String,
        /// A sentence for the merchant.
        message: String,
    },
}

/// An invoice whose final payments reach the target.
#[derive(Clone, Debug)]
pub struct PaymentReview {
    /// The invoice with its current assessment.
    pub invoice: Invoice,
    /// Every deposit on its address.
    pub deposits: Vec<Deposit>,
    /// Decimals of the invoice's asset.
    pub decimals: Decimals,
    /// The newest block of the asset's chain that is processed.
    pub tip: BlockNumber,
    /// Now, by the host's clock.
    pub at: Timestamp,
    /// How often the rules were asked about this sum before.
    pub attempt: u32,
}

/// A webhook body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The media type.
    pub content_type: String,
    /// Further headers, names in lower case and beginning with `x-`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What to do when a hook fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Go on with the built-in behaviour.
    Builtin,
    /// Refuse the request; the caller may try again.
    Closed,
    /// Decide nothing yet: ask again later, and a person at last.
    Hold,
}

/// A hook that gave no usable answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("plugin {plugin}, hook {hook}: {reason}")]
pub struct HookFailure {
    /// The plugin's name in the config.
    pub plugin: String,
    /// The hook.
    pub hook: &'static str,
    /// What went wrong, the limit if one was hit, and the config key to change.
    pub reason: String,
    /// What the operator wants done about it.
    pub policy: OnFailure,
    /// Whether the same call may succeed later.
    pub transient: bool,
}

impl HookFailure {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.transient
    }
}

/// Decides about invoices.
#[async_trait]
pub trait InvoiceRules: Send + Sync {
    /// Judges a draft.
    ///
    /// # Errors
    /// [`HookFailure`] with the policy to apply.
    async fn on_draft(&self, draft: &Draft) -> Result<DraftRuling, HookFailure>;

    /// Judges an invoice whose final payments reach the target. The credit to the merchant does not depend on it.
    ///
    /// # Errors
    /// [`HookFailure`] with the policy to apply.
    async fn on_payment(&self, review: &PaymentReview) -> Result<Advice, HookFailure>;
}

/// Shapes webhook bodies.
#[async_trait]
pub trait WebhookFormat: Send + Sync {
    /// The body of `event` for the endpoint `target`, or `None` when this event is not to be delivered there.
    ///
    /// # Errors
    /// [`HookFailure`] with the policy to apply.
    async fn render(&self, event: &Event, target: &str) -> Result<Option<Rendered>, HookFailure>;
}

/// The plugins that are bound right now. Asked at every call, so that a swap takes effect at once.
pub trait Hooks: Send + Sync {
    /// The rules in their order; empty means the built-in ones.
    fn invoice_rules(&self) -> Vec<Arc<dyn InvoiceRules>>;

    /// The webhook format of the deployment; `None` means the built-in one.
    fn webhook_format(&self) -> Option<Arc<dyn WebhookFormat>>;

    /// The webhook format of this name, if it is among those that the operator lets endpoints choose.
    fn webhook_format_named(&self, name: &PluginName) -> Option<Arc<dyn WebhookFormat>>;
}
