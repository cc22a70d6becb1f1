//! The records of a deployment besides those of the domain.

use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;
use xthonpay_domain::access::{KeyId, Mode, Scope, SignatureScheme};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::BlockRef;
use xthonpay_domain::event::EventFilter;
use xthonpay_domain::id::{DeliveryId, EndpointId, EventId, InvoiceId, MerchantId};
use xthonpay_domain::invoice::url_text::CallbackUrl;
use xthonpay_domain::text::{ChainName, IdempotencyKey, Label, LoanLabel, PluginName};
use xthonpay_domain::time::Timestamp;

use crate::port::lending::attestation::Statement;
use crate::port::vault::Sealed;

/// A merchant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merchant {
    /// Public id.
    pub id: MerchantId,
    /// The hardened account number in the derivation path; unique.
    pub account: u32,
    /// Real money or simulation. A merchant and its test twin are two merchants, so nothing of one is ever seen by the other.
    pub mode: Mode,
    /// The operator's name for it.
    pub name: Label,
    /// When it was made.
    pub created_at: Timestamp,
    /// Signs the merchant's webhooks.
    pub webhook_secret: Sealed,
}

/// A key without its plain secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Public id.
    pub id: KeyId,
    /// The owner.
    pub merchant: MerchantId,
    /// The owner's name for it.
    pub label: Label,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// How its requests are signed.
    pub scheme: SignatureScheme,
    /// Networks from which it may be used; empty means any.
    pub ip_list: Vec<IpNet>,
    /// Verifies its requests.
    pub secret: Sealed,
    /// Requests a minute that it may make; `None` means as many as the deployment grants.
    pub requests_per_minute: Option<NonZeroU32>,
    /// How much it may withdraw a day, for each asset; nothing of an asset that is missing.
    pub daily_withdraw_caps: Vec<(AssetId, Amount)>,
    /// The only addresses to which it may withdraw.
    pub withdraw_addresses: Vec<Address>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused because its time is over.
    pub expires_at: Option<Timestamp>,
    /// From when on it is refused because somebody said so.
    pub revoked_at: Option<Timestamp>,
    /// The key that takes its place.
    pub replaced_by: Option<KeyId>,
    /// Grows by one with every change.
    pub revision: u64,
}

/// A webhook endpoint: a place where a merchant hears of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Public id.
    pub id: EndpointId,
    /// Who hears there.
    pub merchant: MerchantId,
    /// Where to.
    pub url: CallbackUrl,
    /// Of what.
    pub events: EventFilter,
    /// The merchant's name for it.
    pub label: Option<Label>,
    /// The plugin that shapes its bodies; `None` means the one of the deployment.
    pub format: Option<PluginName>,
    /// Signs its deliveries.
    pub secret: Sealed,
    /// The secret before the last rotation, which signs beside the new one for a while.
    pub retiring_secret: Option<RetiringSecret>,
    /// Whether it gets deliveries.
    pub state: EndpointState,
    /// Since when every attempt failed.
    pub failing_since: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Grows by one with every change.
    pub revision: u64,
}

/// A use of a signer that is lent to plugins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationRecord {
    /// Names the record, besides its time: random.
    pub id: String,
    /// The operator's name of the signer.
    pub signer: LoanLabel,
    /// The key that signed.
    pub key_id: String,
    /// What was signed, for whom, and when.
    pub statement: Statement,
    /// The signature.
    pub signature: Vec<u8>,
}

/// A secret that another one has replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetiringSecret {
    /// The secret.
    pub secret: Sealed,
    /// Until when it signs.
    pub until: Timestamp,
}

/// Whether an endpoint gets deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointState {
    /// It does.
    Enabled,
    /// The merchant switched it off.
    Paused,
    /// The host switched it off.
    Disabled {
        /// Why, in one sentence for the merchant.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// The merchant removed it. Kept for the deliveries that name it.
    Removed,
}

/// An answer that a caller gets again if it asks for the same effect again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Who asked.
    pub merchant: MerchantId,
    /// For which call, such as `POST /invoices`.
    pub call: String,
    /// Under which name.
    pub key: IdempotencyKey,
    /// SHA-256 of what was asked for.
    pub fingerprint: [u8; 32],
    /// What was answered. The body of an answer that may show a secret is sealed.
    pub answer: AnswerBytes,
    /// From when on it may be forgotten.
    pub expires_at: Timestamp,
}

/// An answer of whichever door the call came through, as it was given. Nothing here looks into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerBytes {
    /// HTTP status.
    pub status: u16,
    /// Where the thing that was made can be read.
    pub location: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// An address of ours and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAddress {
    /// The address.
    pub address: Address,
    /// Whose deposits it receives.
    pub merchant: MerchantId,
    /// The invoice that it was made for; `None` for a merchant's deposit address.
    pub invoice: Option<InvoiceId>,
    /// The index in the derivation path, below the merchant's account.
    pub index: u32,
}

/// How far a chain has been processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The chain.
    pub chain: ChainName,
    /// The newest processed block.
    pub tip: BlockRef,
    /// The newest processed block that is final.
    pub finalized: BlockRef,
    /// Set while nothing may be credited or withdrawn on the chain, until an operator resumes it.
    pub frozen: Option<Freeze>,
    /// Grows by one with every change.
    pub revision: u64,
}

/// Why a chain is frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// What was found, in one sentence for the operator.
    pub reason: String,
    /// When it was found, by the host's clock.
    pub at: Timestamp,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Has attempts left.
    Pending,
    /// The receiver took it.
    Delivered,
    /// The schedule is exhausted, or the receiver or the address policy refused for good.
    Failed,
}

/// One event going to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Made from event and endpoint, so that routing twice makes one delivery.
    pub id: DeliveryId,
    /// The event, whose id is the `webhook-id`.
    pub event: EventId,
    /// Whose event it is, and whose secret signs it where no endpoint has one of its own.
    pub merchant: MerchantId,
    /// The endpoint that it goes to; `None` for an invoice's own callback URL.
    pub endpoint: Option<EndpointId>,
    /// The invoice whose order it keeps.
    pub invoice: Option<InvoiceId>,
    /// Position of the event in its invoice.
    pub sequence: u64,
    /// Where to.
    pub url: CallbackUrl,
    /// Media type of the body.
    pub content_type: String,
    /// Headers from the formatter, in lower case.
    pub headers: Vec<(String, String)>,
    /// The bytes that every attempt sends.
    pub body: Vec<u8>,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts made, ever.
    pub attempts: u32,
    /// Attempts made since the schedule began: at first, or when somebody asked for it again.
    pub attempts_on_schedule: u32,
    /// The last attempts, oldest first; at most [`ATTEMPTS_LOGGED_MAX`].
    pub log: Vec<Attempt>,
    /// When the next attempt is due.
    pub next_at: Timestamp,
    /// Status of the last answer.
    pub last_status: Option<u16>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Grows by one with every change.
    pub revision: u64,
}

/// Attempts of a delivery that are remembered one by one: a whole schedule and a few by hand. At about 1.2 KiB each.
pub const ATTEMPTS_LOGGED_MAX: usize = 16;

/// One attempt of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// What was answered.
    pub status: Option<u16>,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// From its beginning to its end.
    pub latency: Duration,
    /// The beginning of the answer's body as text, at most 1 KiB.
    pub excerpt: String,
}

/// A signed request whose signature must not be used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedSignature {
    /// The key.
    pub key: KeyId,
    /// The signature in lower-case hexadecimal.
    pub signature: String,
    /// When the row may be forgotten: after that the timestamp is refused anyway.
    pub expires_at: Timestamp,
}
