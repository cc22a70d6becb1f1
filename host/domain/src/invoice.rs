//! Invoices: the terms agreed at creation and the state that follows from the payments.
//!
//! The state is never moved by hand: [`assessment::assess`] computes it from the terms, from everything known about the
//! payments and from what the merchant decided, and [`transition::events`] tells what changed between two moments.

pub mod assessment;
pub mod resolution;
pub mod transition;

use core::time::Duration;

use thiserror::Error;
use url_text::CallbackUrl;

use crate::address::Address;
use crate::amount::{Amount, AmountError, BPS_IN_WHOLE};
use crate::asset::AssetId;
use crate::id::{InvoiceId, MerchantId};
use crate::text::{CustomerRef, ExternalId, MetadataKey, MetadataValue};
use crate::time::Timestamp;

use assessment::{Assessment, InvoiceState, Ruling};
use resolution::Resolution;

pub mod url_text;

/// Entries that an invoice's metadata may have. Bounds the size of an invoice and of its webhooks.
pub const METADATA_ENTRIES_MAX: usize = 16;

/// The shortest expiry: a payer needs time to open a wallet.
pub const EXPIRES_IN_MIN: Duration = Duration::from_secs(60);
/// The longest expiry, 30 days: longer offers are subscriptions or deposits, not invoices.
pub const EXPIRES_IN_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// The largest share that may be missing, 50 %: beyond it an invoice no longer says what is due.
pub const TOLERANCE_BPS_MAX: u32 = 5_000;
/// The most confirmations that rules may ask for. On BNB Smart Chain 1 000 blocks are about 7.5 minutes, on Ethereum 3.3 hours.
pub const CONFIRMATIONS_MAX: u64 = 1_000;
/// How long after its expiry a payment can still settle an invoice automatically. Later ones are credited and reviewed.
pub const MONITOR_WINDOW: Duration = Duration::from_secs(24 * 3_600);

/// How much of the amount due may be missing; the larger of the two counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tolerance {
    /// A share of the amount due in hundredths of a percent, at most [`TOLERANCE_BPS_MAX`].
    pub bps: u32,
    /// An amount in base units of the invoice's asset.
    pub amount: Amount,
}

/// What the rules decide about a new invoice. A proposal: [`Terms::agree`] clamps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Time until expiry.
    pub expires_in: Duration,
    /// What may be missing.
    pub tolerance: Tolerance,
    /// Confirmations besides the chain's finality; 0 asks for the chain's floor.
    pub confirmations: u64,
}

/// What payer and merchant agreed on. Never changes, but that a simulation can bring the expiry of its own invoice forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What is to be paid in.
    pub asset: AssetId,
    /// How much, in base units; above zero.
    pub due: Amount,
    /// What may be missing.
    pub tolerance: Tolerance,
    /// Confirmations that a payment needs besides the chain's finality.
    pub confirmations: u64,
    /// The last moment, in chain time, at which a payment is in time.
    pub expires_at: Timestamp,
}

/// Terms that cannot be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TermsError {
    /// Nothing would be due.
    #[error("the amount must be above zero")]
    NothingDue,
    /// A computation left the range of 256 bits.
    #[error(transparent)]
    Amount(#[from] AmountError),
}

impl TermsError {
    /// Always `false`: the same terms fail the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

impl Terms {
    /// Terms from a proposal, clamped to what the host allows: expiry from 60 s to 30 days, tolerance up to 50 % and
    /// always below the amount due, confirmations from `confirmations_min` to [`CONFIRMATIONS_MAX`].
    ///
    /// # Errors
    /// [`TermsError::NothingDue`] for an amount of zero.
    pub fn agree(
        asset: AssetId,
        due: Amount,
        proposal: Proposal,
        confirmations_min: u64,
        now: Timestamp,
    ) -> Result<Self, TermsError> {
        if due.is_zero() {
            return Err(TermsError::NothingDue);
        }
        let amount_max = due.share_bps(TOLERANCE_BPS_MAX)?;
        let tolerance = Tolerance {
            bps: proposal.tolerance.bps.min(TOLERANCE_BPS_MAX),
            amount: proposal.tolerance.amount.min(amount_max),
        };
        let expires_in = proposal.expires_in.clamp(EXPIRES_IN_MIN, EXPIRES_IN_MAX);
        let confirmations = proposal.confirmations.min(CONFIRMATIONS_MAX).max(confirmations_min).max(1);
        Ok(Self { asset, due, tolerance, confirmations, expires_at: now.after(expires_in) })
    }

    /// The least sum that pays the invoice: the amount due less the tolerance, never below one base unit.
    #[must_use]
    pub fn target(&self) -> Amount {
        // A share of at most 100 % of an amount always fits in the amount's own range.
        let share = self.due.share_bps(self.tolerance.bps.min(BPS_IN_WHOLE)).unwrap_or(Amount::ZERO);
        self.due.saturating_sub(share.max(self.tolerance.amount)).max(Amount::from_units(1))
    }

    /// The last moment at which a payment after expiry may still settle the invoice by rule.
    #[must_use]
    pub fn monitor_until(&self) -> Timestamp {
        self.expires_at.after(MONITOR_WINDOW)
    }
}

/// A request for payment with an address of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// Public id.
    pub id: InvoiceId,
    /// The owner.
    pub merchant: MerchantId,
    /// The merchant's own name of the order.
    pub external_id: Option<ExternalId>,
    /// The merchant's own name of the customer.
    pub customer: Option<CustomerRef>,
    /// The merchant's own notes.
    pub metadata: Vec<(MetadataKey, MetadataValue)>,
    /// Where webhooks of this invoice go, besides the merchant's endpoints.
    pub callback_url: Option<CallbackUrl>,
    /// The address to pay to; used by this invoice alone.
    pub address: Address,
    /// When it was made, by the host's clock.
    pub created_at: Timestamp,
    /// What was agreed.
    pub terms: Terms,
    /// What follows from the payments so far.
    pub assessment: Assessment,
    /// The rules' last word about settling, if they were asked.
    pub ruling: Option<Ruling>,
    /// The merchant's last decision about what was received.
    pub resolution: Option<Resolution>,
    /// How many events the invoice has had; the next one gets this plus one as its sequence.
    pub events: u64,
    /// Grows by one with every stored change; a write names the revision that it read.
    pub revision: u64,
}

/// Where an invoice stands at one moment: what follows from the payments, and what the merchant decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    /// What follows from the payments.
    pub assessment: &'a Assessment,
    /// The merchant's last decision about what was received.
    pub resolution: Option<&'a Resolution>,
}

impl Invoice {
    /// Where the invoice stands.
    #[must_use]
    pub fn standing(&self) -> Standing<'_> {
        Standing { assessment: &self.assessment, resolution: self.resolution.as_ref() }
    }

    /// Whether there may be a deposit on its address: it is made with its first event, and each deposit that is seen adds one in
    /// the same transaction.
    #[must_use]
    pub fn may_have_deposits(&self) -> bool {
        self.events > 1
    }

    /// Whether final payments that came in time reach the target by themselves, and the invoice was not cancelled. What came
    /// late besides changes nothing about that.
    #[must_use]
    pub fn is_reached_in_time(&self) -> bool {
        let in_time = self.assessment.received.saturating_sub(self.assessment.received_late);
        self.assessment.state != InvoiceState::Cancelled && in_time >= self.terms.target()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agree(due: u128, bps: u32, missing: u128) -> Terms {
        let proposal = Proposal {
            expires_in: Duration::from_secs(3_600),
            tolerance: Tolerance { bps, amount: Amount::from_units(missing) },
            confirmations: 0,
        };
        let asset = "bsc:USDT".parse().expect("well formed");
        Terms::agree(asset, Amount::from_units(due), proposal, 1, Timestamp::EPOCH).expect("possible terms")
    }

    #[test]
    fn target_is_due_less_the_larger_tolerance() {
        for (due, bps, missing, target) in [
            (1_000, 0, 0, 1_000),
            (1_000, 100, 0, 990),
            (1_000, 100, 50, 950),
            (1_000, 100, 5, 990),
            (1_000, 9_999, 0, 500), // clamped to 50 %
            (1_000, 0, 5_000, 500), // clamped to 50 %
            (1, 5_000, 1, 1),       // never below one base unit
        ] {
            assert_eq!(agree(due, bps, missing).target(), Amount::from_units(target), "{due} {bps} {missing}");
        }
        let asset = "bsc:USDT".parse().expect("well formed");
        let proposal = Proposal { expires_in: Duration::MAX, tolerance: Tolerance::default(), confirmations: u64::MAX };
        let terms = Terms::agree(asset, Amount::MAX, proposal, 1, Timestamp::EPOCH).expect("possible terms");
        assert_eq!(terms.target(), Amount::MAX);
        assert_eq!(terms.confirmations, CONFIRMATIONS_MAX);
        assert_eq!(terms.expires_at, Timestamp::EPOCH.after(EXPIRES_IN_MAX));
    }

    #[test]
    fn clamps_what_rules_propose() {
        let asset: AssetId = "bsc:USDT".parse().expect("well formed");
        let proposal = Proposal { expires_in: Duration::ZERO, tolerance: Tolerance::default(), confirmations: 0 };
        let terms =
            Terms::agree(asset.clone(), Amount::from_units(5), proposal, 3, Timestamp::EPOCH).expect("possible");
        assert_eq!(terms.expires_at, Timestamp::EPOCH.after(EXPIRES_IN_MIN));
        assert_eq!(terms.confirmations, 3, "never below the chain's floor");
        let nothing = Terms::agree(asset, Amount::ZERO, proposal, 3, Timestamp::EPOCH);
        assert_eq!(nothing, Err(TermsError::NothingDue));
    }
}
