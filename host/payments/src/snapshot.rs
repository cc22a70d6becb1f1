//! How invoices, payments, deposits and webhook endpoints look from outside: the `data` of webhooks and of REST answers.
//!
//! These shapes are the public contract. Fields are added, never renamed or removed; amounts are decimal strings.

use jiff::Timestamp as Instant;
use serde::Serialize;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::event::EventFilter;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::resolution::{Choice, Resolution};
use xthonpay_domain::time::Timestamp;

use crate::port::store::{Endpoint, EndpointState};

/// Payments that a snapshot lists, the newest. Bounds the size of webhooks: an address can receive any number of transfers.
pub const PAYMENTS_LISTED_MAX: usize = 20;

/// A point in time as RFC 3339 text in UTC with seconds, or with milliseconds where they are not zero.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    // Years beyond 9999 cannot be written; nothing here lives that long.
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    Instant::from_millisecond(millis).unwrap_or(Instant::MAX).to_string()
}

/// An invoice.
#[derive(Clone, Debug, Serialize)]
pub struct InvoiceSnapshot {
    /// Public id.
    pub invoice_id: String,
    /// The merchant's own name of the order.
    pub external_id: Option<String>,
    /// The merchant's own name of the customer.
    pub customer: Option<String>,
    /// Where it stands.
    pub status: &'static str,
    /// Marks beside the status.
    pub flags: Vec<&'static str>,
    /// The symbol of the asset.
    pub asset: String,
    /// The chain to pay on.
    pub chain: String,
    /// The amount due.
    pub amount: String,
    /// The sum of final payments.
    pub amount_received: String,
    /// The sum of payments that are seen and not final.
    pub amount_pending: String,
    /// What is still missing of the amount due.
    pub amount_missing: String,
    /// What is final above the amount due.
    pub amount_overpaid: String,
    /// What may be missing, in the asset.
    pub amount_tolerated: String,
    /// The address to pay to.
    pub deposit_address: String,
    /// Confirmations that a payment needs besides finality.
    pub confirmations_required: u64,
    /// Where webhooks of this invoice go.
    pub callback_url: Option<String>,
    /// The merchant's notes.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339, compared with the time of blocks.
    pub expires_at: String,
    /// The merchant's last decision about what was received; `null` when there is none.
    pub resolution: Option<ResolutionSnapshot>,
    /// How many transfers the address received.
    pub payments_total: usize,
    /// The newest of them, oldest first.
    pub payments: Vec<PaymentSnapshot>,
}

/// What a merchant decided about what an invoice received.
#[derive(Clone, Debug, Serialize)]
pub struct ResolutionSnapshot {
    /// `accept`, `refund` or `ignore`.
    pub choice: &'static str,
    /// RFC 3339, by the host's clock.
    pub at: String,
    /// The sum of final payments that was decided about. Where `amount_received` is more, the rest came later.
    pub amount: String,
    /// Who is to get money back, of a refund.
    pub refund_to: Option<String>,
    /// How much, of a refund. Nothing is paid out by the decision itself.
    pub refund_amount: Option<String>,
}

/// A transfer to an address of ours.
#[derive(Clone, Debug, Serialize)]
pub struct PaymentSnapshot {
    /// Public id.
    pub payment_id: String,
    /// `seen`, `final` or `orphaned`.
    pub status: &'static str,
    /// The symbol of the asset.
    pub asset: String,
    /// The chain.
    pub chain: String,
    /// The amount.
    pub amount: String,
    /// The transaction; `null` for coins that a contract passed on, which only the balance of the address shows.
    pub tx_hash: Option<String>,
    /// The sender of tokens, as their contract logged it; `null` for the chain's own coins, whose sender nothing proves. For
    /// payments from exchanges not an address that can take a refund.
    pub from_address: Option<String>,
    /// The receiving address.
    pub to_address: String,
    /// The height of its block.
    pub block_number: u64,
    /// The hash of its block.
    pub block_hash: String,
    /// RFC 3339, the time of its block.
    pub block_time: String,
}

/// Tells how many decimals an asset has; `None` for an asset that the config no longer names.
pub trait DecimalsOf {
    /// The decimals of the asset.
    fn decimals(&self, asset: &AssetId) -> Option<Decimals>;

    /// The amount in whole units. Without decimals (an asset that left the config) it is shown in base units rather than
    /// wrongly scaled.
    fn show(&self, asset: &AssetId, amount: Amount) -> String {
        self.decimals(asset).map_or_else(|| amount.to_string(), |places| amount.to_decimal(places))
    }
}

impl DecimalsOf for crate::catalog::Catalog {
    fn decimals(&self, asset: &AssetId) -> Option<Decimals> {
        self.asset(asset).map(|asset| asset.decimals)
    }
}

impl InvoiceSnapshot {
    /// A snapshot of `invoice` with the deposits on its address.
    #[must_use]
    pub fn new(invoice: &Invoice, deposits: &[Deposit], decimals: &dyn DecimalsOf) -> Self {
        let asset = &invoice.terms.asset;
        let show = |amount| decimals.show(asset, amount);
        let metadata = invoice.metadata.iter();
        Self {
            invoice_id: invoice.id.to_string(),
            external_id: invoice.external_id.as_ref().map(ToString::to_string),
            customer: invoice.customer.as_ref().map(ToString::to_string),
            status: invoice.assessment.state.name(),
            flags: invoice.assessment.flags.names().collect(),
            asset: asset.symbol.to_string(),
            chain: asset.chain.to_string(),
            amount: show(invoice.terms.due),
            amount_received: show(invoice.assessment.received),
            amount_pending: show(invoice.assessment.pending),
            amount_missing: show(invoice.assessment.missing),
            amount_overpaid: show(invoice.assessment.overpaid),
            amount_tolerated: show(invoice.terms.due.saturating_sub(invoice.terms.target())),
            deposit_address: invoice.address.to_string(),
            confirmations_required: invoice.terms.confirmations,
            callback_url: invoice.callback_url.as_ref().map(ToString::to_string),
            metadata: metadata.map(|(key, value)| (key.to_string(), value.as_str().into())).collect(),
            created_at: rfc3339(invoice.created_at),
            expires_at: rfc3339(invoice.terms.expires_at),
            resolution: invoice.resolution.as_ref().map(|made| ResolutionSnapshot::new(made, asset, decimals)),
            payments_total: deposits.len(),
            payments: newest(deposits).into_iter().map(|deposit| PaymentSnapshot::new(deposit, decimals)).collect(),
        }
    }
}

impl ResolutionSnapshot {
    fn new(resolution: &Resolution, asset: &AssetId, decimals: &dyn DecimalsOf) -> Self {
        let refund = match &resolution.choice {
            Choice::Refund { to, amount } => Some((to.to_string(), decimals.show(asset, *amount))),
            Choice::Accept | Choice::Ignore => None,
        };
        let (refund_to, refund_amount) = refund.unzip();
        Self {
            choice: resolution.choice.name(),
            at: rfc3339(resolution.at),
            amount: decimals.show(asset, resolution.judged),
            refund_to,
            refund_amount,
        }
    }
}

/// The newest deposits, oldest first.
fn newest(deposits: &[Deposit]) -> Vec<&Deposit> {
    let mut ordered: Vec<&Deposit> = deposits.iter().collect();
    ordered.sort_by_key(|deposit| (deposit.block.number, deposit.id.clone()));
    let skipped = ordered.len().saturating_sub(PAYMENTS_LISTED_MAX);
    ordered.split_off(skipped)
}

impl PaymentSnapshot {
    /// A snapshot of `deposit`.
    #[must_use]
    pub fn new(deposit: &Deposit, decimals: &dyn DecimalsOf) -> Self {
        let identity = &deposit.transfer.identity;
        Self {
            payment_id: deposit.id.to_string(),
            status: match deposit.state {
                DepositState::Seen => "seen",
                DepositState::Final => "final",
                DepositState::Orphaned => "orphaned",
            },
            asset: identity.asset.symbol.to_string(),
            chain: identity.asset.chain.to_string(),
            amount: decimals.show(&identity.asset, deposit.transfer.amount),
            tx_hash: identity.origin.tx().map(|tx| tx.to_string()),
            from_address: deposit.transfer.from.map(|from| from.to_string()),
            to_address: identity.to.to_string(),
            block_number: deposit.block.number.0,
            block_hash: deposit.block.hash.to_string(),
            block_time: rfc3339(deposit.block.time),
        }
    }
}

/// The `data` of an event of an invoice.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum InvoiceEventData<'a> {
    /// What happened to the invoice: the whole of it at that moment.
    Invoice(&'a InvoiceSnapshot),
    /// What happened to a single payment. Names its invoice and does not repeat it: anybody can send any number of payments.
    Payment {
        /// The invoice.
        invoice_id: &'a str,
        /// The merchant's own name of the order.
        external_id: Option<&'a str>,
        /// The payment.
        payment: Box<PaymentSnapshot>,
    },
}

/// The `data` of an event about a deposit without an invoice.
#[derive(Clone, Debug, Serialize)]
pub struct DepositEventData {
    /// The deposit.
    pub deposit: PaymentSnapshot,
}

/// A webhook endpoint, without its secrets.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointSnapshot {
    /// Public id.
    pub endpoint_id: String,
    /// Where its deliveries go.
    pub url: String,
    /// The kinds of events that it hears of; `null` means all.
    pub events: Option<Vec<&'static str>>,
    /// The merchant's name for it.
    pub label: Option<String>,
    /// The plugin that shapes its bodies; `null` means the one of the deployment.
    pub format: Option<String>,
    /// `enabled`, `paused`, `disabled` or `removed`.
    pub status: &'static str,
    /// Why the host switched it off.
    pub disabled_reason: Option<String>,
    /// RFC 3339, when the host switched it off.
    pub disabled_at: Option<String>,
    /// RFC 3339, since when every attempt failed.
    pub failing_since: Option<String>,
    /// RFC 3339, until when the secret before the last rotation signs beside the new one.
    pub previous_secret_until: Option<String>,
    /// RFC 3339.
    pub created_at: String,
}

impl EndpointSnapshot {
    /// A snapshot of `endpoint`.
    #[must_use]
    pub fn new(endpoint: &Endpoint) -> Self {
        let (status, disabled) = match &endpoint.state {
            EndpointState::Enabled => ("enabled", None),
            EndpointState::Paused => ("paused", None),
            EndpointState::Disabled { reason, at } => ("disabled", Some((reason.clone(), rfc3339(*at)))),
            EndpointState::Removed => ("removed", None),
        };
        let (disabled_reason, disabled_at) = disabled.unzip();
        let events = match &endpoint.events {
            EventFilter::All => None,
            EventFilter::Only(kinds) => Some(kinds.iter().map(|kind| kind.name()).collect()),
        };
        Self {
            endpoint_id: endpoint.id.to_string(),
            url: endpoint.url.to_string(),
            events,
            label: endpoint.label.as_ref().map(ToString::to_string),
            format: endpoint.format.as_ref().map(ToString::to_string),
            status,
            disabled_reason,
            disabled_at,
            failing_since: endpoint.failing_since.map(rfc3339),
            previous_secret_until: endpoint.retiring_secret.as_ref().map(|retiring| rfc3339(retiring.until)),
            created_at: rfc3339(endpoint.created_at),
        }
    }
}

/// The `data` of an event about a webhook endpoint.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointEventData {
    /// The endpoint.
    pub endpoint: EndpointSnapshot,
}

/// A snapshot as JSON text.
#[must_use]
pub fn to_json(data: &impl Serialize) -> String {
    // The shapes above hold strings, numbers and lists only: there is nothing in them that cannot be written.
    serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned())
}
