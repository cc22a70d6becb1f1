//! Decisions and shapes that plugins provide.
//!
//! A hook's answer is a proposal: the use cases clamp and check it. "The plugin said no" is a normal answer; "the plugin
//! failed" is a [`HookFailure`], and the caller applies the policy that it carries. What a plugin wants to keep because of an
//! answer comes with it and is stored with what the answer brings about.

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use xthonpay_domain::access::KeyId;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::event::Event;
use xthonpay_domain::id::{MerchantId, WithdrawalId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::Proposal;
use xthonpay_domain::invoice::assessment::Advice;
use xthonpay_domain::text::{CustomerRef, ExternalId, MetadataKey, MetadataValue, PluginName};
use xthonpay_domain::time::Timestamp;

use crate::port::bot::BotFlow;
use crate::port::lending::storage::Answered;

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
    /// Do nothing, and say nothing.
    Silent,
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
    async fn on_draft(&self, draft: &Draft) -> Result<Answered<DraftRuling>, HookFailure>;

    /// Judges an invoice whose final payments reach the target. The credit to the merchant does not depend on it.
    ///
    /// # Errors
    /// [`HookFailure`] with the policy to apply.
    async fn on_payment(&self, review: &PaymentReview) -> Result<Answered<Advice>, HookFailure>;
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

/// Who asks for a withdrawal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requester {
    /// The holder of a key.
    Key(KeyId),
    /// A person in a chat, by the chat's own id of that person.
    Chat(String),
    /// The operator.
    Admin,
}

/// A withdrawal that is asked for, before money is held for it.
#[derive(Clone, Debug)]
pub struct WithdrawalRequest {
    /// Its id.
    pub id: WithdrawalId,
    /// Whose money.
    pub merchant: MerchantId,
    /// Where it shall go.
    pub destination: Address,
    /// What, and on which chain.
    pub asset: AssetId,
    /// Decimals of that asset.
    pub decimals: Decimals,
    /// How much.
    pub amount: Amount,
    /// Who asks.
    pub requested_by: Requester,
    /// When it was asked for, by the host's clock.
    pub requested_at: Timestamp,
    /// What the merchant withdrew in the 24 hours before, by asset with its decimals, this request not counted.
    pub total_24h: Vec<(AssetId, Decimals, Amount)>,
    /// How many withdrawals of the merchant to this destination are final.
    pub destination_uses: u32,
    /// Now, by the host's clock.
    pub at: Timestamp,
}

/// How a withdrawal may go on, from the mildest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WithdrawalRuling {
    /// As it is.
    Allow,
    /// After the owner gave a fresh one-time code.
    RequireTotp,
    /// After a second person approved it.
    RequireApproval,
    /// Not at all.
    Deny,
}

/// A ruling with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithdrawalVerdict {
    /// How it may go on.
    pub ruling: WithdrawalRuling,
    /// A stable word for machines; empty for [`WithdrawalRuling::Allow`].
    pub code: String,
    /// A sentence for the merchant; empty for [`WithdrawalRuling::Allow`].
    pub message: String,
}

/// Reviews withdrawals.
#[async_trait]
pub trait WithdrawalPolicy: Send + Sync {
    /// Judges a request. May be asked about one request more than once.
    ///
    /// # Errors
    /// [`HookFailure`], whose policy is [`OnFailure::Closed`]: a request that was not reviewed does not go on.
    async fn review(&self, request: &WithdrawalRequest) -> Result<Answered<WithdrawalVerdict>, HookFailure>;
}

/// The plugins that are bound right now. Asked at every call, so that a swap takes effect at once.
pub trait Hooks: Send + Sync {
    /// The rules in their order; empty means the built-in ones.
    fn invoice_rules(&self) -> Vec<Arc<dyn InvoiceRules>>;

    /// The policies for withdrawals in their order; empty leaves it to the host's own rules.
    fn withdrawal_policies(&self) -> Vec<Arc<dyn WithdrawalPolicy>>;

    /// The flow of the bot; `None` means that there is none.
    fn bot_flow(&self) -> Option<Arc<dyn BotFlow>>;

    /// The webhook format of the deployment; `None` means the built-in one.
    fn webhook_format(&self) -> Option<Arc<dyn WebhookFormat>>;

    /// The webhook format of this name, if it is among those that the operator lets endpoints choose.
    fn webhook_format_named(&self, name: &PluginName) -> Option<Arc<dyn WebhookFormat>>;
}
