//! The hook for rules of invoices: its trait, and its values with exact amounts in place of texts.

use std::string::{String, ToString as _};
use std::vec::Vec;

use crate::Decimal;
use crate::error::HookError;
use crate::money::{Money, decimal_from};
use crate::plugin::{About, Attrs, Call, ConfigProblem, Millis};
use crate::raw::base::xthonpay::host::types;
pub use crate::raw::base::xthonpay::host::types::InvoiceState;
use crate::raw::invoice_rules::exports::xthonpay::hooks::invoice_rules as raw;
pub use crate::raw::invoice_rules::exports::xthonpay::hooks::invoice_rules::{Advice, Refusal};

/// Rules for invoices. Implement what you want to decide, and register the type:
/// `xthonpay_sdk::register!(invoice_rules: MyRules)`.
///
/// A call runs in an instance of its own: nothing that a rule keeps in memory is there in the next call.
pub trait InvoiceRules {
    /// Tells who the plugin is; by default what its `Cargo.toml` says.
    fn describe(cargo: About) -> About {
        cargo
    }

    /// Tells every setting that the plugin cannot work with; by default there is none.
    ///
    /// # Errors
    /// All problems at once. The plugin does not load with any.
    fn check_config() -> Result<(), Vec<ConfigProblem>> {
        Ok(())
    }

    /// Decides on what terms an invoice is opened; by default on the proposed ones.
    ///
    /// # Errors
    /// When there is no answer. To refuse an invoice is an answer: [`DraftRuling::Refuse`].
    fn on_draft(_call: &Call, draft: &Draft) -> Result<DraftRuling, HookError> {
        Ok(DraftRuling::Accept(draft.proposed.clone()))
    }

    /// Decides whether payments that reached the target settle the invoice. By default they do in time, and a late
    /// one is left to the merchant.
    ///
    /// # Errors
    /// When there is no answer; the host asks again later.
    fn on_payment(_call: &Call, invoice: &Invoice, _payments: &[Transfer]) -> Result<Advice, HookError> {
        Ok(if invoice.late { Advice::Review } else { Advice::Settle })
    }
}

/// The terms of an invoice. The host clamps each to its own bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long the invoice waits for payments, in seconds; at least 1.
    pub expires_in_s: u32,
    /// How much of the price may be missing, in basis points, 0 to 10000.
    pub tolerance_bps: u32,
    /// How much may be missing, in the asset of the price. The larger of the two tolerances counts.
    pub tolerance_amount: Decimal,
    /// Confirmations a payment needs beside finality; 0 leaves it to the chain's own floor.
    pub confirmations: u32,
    /// Extra values of later minor versions.
    pub attrs: Attrs,
}

/// An invoice that a merchant asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What the buyer will owe.
    pub price: Money,
    /// The merchant's own id of the order.
    pub external_id: Option<String>,
    /// The merchant's own id of the buyer.
    pub customer: Option<String>,
    /// How long the merchant wants the invoice to wait, in seconds.
    pub requested_expiry_s: Option<u32>,
    /// What the previous plugin in the chain proposes; the host's defaults for the first.
    pub proposed: Terms,
    /// What the merchant attached to the invoice.
    pub metadata: Attrs,
    /// Extra values of later minor versions.
    pub attrs: Attrs,
}

/// What shall become of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DraftRuling {
    /// Open the invoice on these terms.
    Accept(Terms),
    /// Do not open the invoice.
    Refuse(Refusal),
}

impl DraftRuling {
    /// Refuses, with a stable word for programs and a sentence for the merchant.
    pub fn refuse(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Refuse(Refusal { code: code.into(), message: message.into(), attrs: Vec::new() })
    }
}

/// An invoice as the host sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// The platform's id.
    pub id: String,
    /// The merchant's own id of the order.
    pub external_id: Option<String>,
    /// The merchant's own id of the buyer.
    pub customer: Option<String>,
    /// Where it stands before this call is decided.
    pub state: InvoiceState,
    /// What the buyer owes.
    pub price: Money,
    /// Sum of the final payments, in the asset of the price.
    pub received_final: Decimal,
    /// Sum of the payments seen and not final yet, in the asset of the price.
    pub received_seen: Decimal,
    /// When it was created.
    pub created: Millis,
    /// When it stops to wait.
    pub expires: Millis,
    /// Whether the deciding payment came after `expires`.
    pub late: bool,
    /// What the merchant attached to the invoice.
    pub metadata: Attrs,
    /// Extra values of later minor versions.
    pub attrs: Attrs,
}

/// A movement of value that was seen on a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The chain's name in the operator's configuration.
    pub chain: String,
    /// The transaction's hash.
    pub tx: String,
    /// What was moved, and how much.
    pub value: Money,
    /// The receiving address, if the host tells it.
    pub to: Option<String>,
    /// The block's number.
    pub block: u64,
    /// The block's own timestamp.
    pub block_time: Millis,
    /// Blocks on top of this one, counting it.
    pub confirmations: u32,
    /// Whether the block is irreversible.
    pub is_final: bool,
    /// Extra values of later minor versions.
    pub attrs: Attrs,
}

impl TryFrom<raw::Terms> for Terms {
    type Error = HookError;

    fn try_from(raw: raw::Terms) -> Result<Self, HookError> {
        Ok(Self {
            expires_in_s: raw.expires_in_s,
            tolerance_bps: raw.tolerance_bps,
            tolerance_amount: decimal_from(&raw.tolerance_amount)?,
            confirmations: raw.confirmations,
            attrs: raw.attrs,
        })
    }
}

impl From<Terms> for raw::Terms {
    fn from(terms: Terms) -> Self {
        Self {
            expires_in_s: terms.expires_in_s,
            tolerance_bps: terms.tolerance_bps,
            tolerance_amount: terms.tolerance_amount.to_string(),
            confirmations: terms.confirmations,
            attrs: terms.attrs,
        }
    }
}

impl TryFrom<raw::Draft> for Draft {
    type Error = HookError;

    fn try_from(raw: raw::Draft) -> Result<Self, HookError> {
        Ok(Self {
            price: raw.price.try_into()?,
            external_id: raw.external_id,
            customer: raw.customer,
            requested_expiry_s: raw.requested_expiry_s,
            proposed: raw.proposed.try_into()?,
            metadata: raw.metadata,
            attrs: raw.attrs,
        })
    }
}

impl From<DraftRuling> for raw::DraftRuling {
    fn from(ruling: DraftRuling) -> Self {
        match ruling {
            DraftRuling::Accept(terms) => Self::Accept(terms.into()),
            DraftRuling::Refuse(refusal) => Self::Refuse(refusal),
        }
    }
}

impl TryFrom<types::InvoiceView> for Invoice {
    type Error = HookError;

    fn try_from(raw: types::InvoiceView) -> Result<Self, HookError> {
        Ok(Self {
            id: raw.id,
            external_id: raw.external_id,
            customer: raw.customer,
            state: raw.state,
            price: raw.price.try_into()?,
            received_final: decimal_from(&raw.received_final)?,
            received_seen: decimal_from(&raw.received_seen)?,
            created: raw.created,
            expires: raw.expires,
            late: raw.late,
            metadata: raw.metadata,
            attrs: raw.attrs,
        })
    }
}

impl TryFrom<types::Transfer> for Transfer {
    type Error = HookError;

    fn try_from(raw: types::Transfer) -> Result<Self, HookError> {
        Ok(Self {
            chain: raw.chain,
            tx: raw.tx,
            value: Money::new(raw.asset, decimal_from(&raw.amount)?),
            to: raw.to,
            block: raw.block,
            block_time: raw.block_time,
            confirmations: raw.confirmations,
            is_final: raw.is_final,
            attrs: raw.attrs,
        })
    }
}

/// Carries a call from the bindings to the trait and back. Used by `register!`.
#[doc(hidden)]
pub fn call_on_draft<T: InvoiceRules>(call: types::CallInfo, draft: raw::Draft) -> Result<raw::DraftRuling, HookError> {
    T::on_draft(&call.into(), &draft.try_into()?).map(Into::into)
}

/// Carries a call from the bindings to the trait and back. Used by `register!`.
#[doc(hidden)]
pub fn call_on_payment<T: InvoiceRules>(
    call: types::CallInfo,
    invoice: types::InvoiceView,
    transfers: Vec<types::Transfer>,
) -> Result<Advice, HookError> {
    let payments = transfers.into_iter().map(Transfer::try_from).collect::<Result<Vec<_>, _>>()?;
    T::on_payment(&call.into(), &invoice.try_into()?, &payments)
}
