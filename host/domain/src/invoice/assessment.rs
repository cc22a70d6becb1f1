//! The invoice state machine, as one pure function of terms and facts.
//!
//! | state | meaning |
//! |---|---|
//! | `pending` | nothing counts yet |
//! | `partially_paid` | payments in time are above zero and below the target |
//! | `confirming` | payments in time reach the target, but not all are final or the rules have not agreed yet |
//! | `paid` | final payments reached the target and the rules agreed, or the merchant accepted less; never left again |
//! | `expired` | the chain passed the expiry before payments in time reached the target |
//! | `cancelled` | the merchant withdrew it; its address is still watched |
//!
//! What the merchant may decide, and what that does, stands in [`resolution`](super::resolution).
//!
//! A payment is in time when the time of its block is not after the expiry. Expiry itself is decided by the time of the
//! newest *final* block that the scanner has processed, so a scanner that lags never turns a payment in time into a late one.

use core::ops::BitOr;

use super::Terms;
use super::resolution::{Choice, Resolution};
use crate::amount::{Amount, AmountError};
use crate::asset::AssetId;
use crate::deposit::{Deposit, DepositState};
use crate::time::Timestamp;

/// Where an invoice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InvoiceState {
    /// Nothing counts yet.
    Pending,
    /// Something was paid in time, but less than the target.
    PartiallyPaid,
    /// Payments in time reach the target; finality or the rules are awaited.
    Confirming,
    /// Paid. Stays so.
    Paid,
    /// Not paid in time.
    Expired,
    /// Withdrawn by the merchant.
    Cancelled,
}

impl InvoiceState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::PartiallyPaid, Self::Confirming, Self::Paid, Self::Expired, Self::Cancelled];

    /// The state's word in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::PartiallyPaid => "partially_paid",
            Self::Confirming => "confirming",
            Self::Paid => "paid",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of a word of the API.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether the expiry can still strike.
    #[must_use]
    pub fn awaits_expiry(self) -> bool {
        matches!(self, Self::Pending | Self::PartiallyPaid)
    }
}

/// Marks beside the state; they combine freely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u16);

impl Flags {
    /// No mark.
    pub const NONE: Self = Self(0);
    /// Paid with less than the amount due, within the tolerance.
    pub const WITHIN_TOLERANCE: Self = Self(1);
    /// More than the amount due is final.
    pub const OVERPAID: Self = Self(1 << 1);
    /// A payment came after expiry or cancellation.
    pub const LATE: Self = Self(1 << 2);
    /// More than one payment counts.
    pub const MULTI_PAYMENT: Self = Self(1 << 3);
    /// The address received another asset.
    pub const WRONG_ASSET: Self = Self(1 << 4);
    /// A payment's block once left the chain.
    pub const REORGED: Self = Self(1 << 5);
    /// A person decided.
    pub const MANUAL: Self = Self(1 << 6);
    /// A person should look.
    pub const NEEDS_REVIEW: Self = Self(1 << 7);

    /// Every mark with its word in the API, in a fixed order.
    pub const NAMES: [(Self, &'static str); 8] = [
        (Self::WITHIN_TOLERANCE, "within_tolerance"),
        (Self::OVERPAID, "overpaid"),
        (Self::LATE, "late"),
        (Self::MULTI_PAYMENT, "multi_payment"),
        (Self::WRONG_ASSET, "wrong_asset"),
        (Self::REORGED, "reorged"),
        (Self::MANUAL, "manual"),
        (Self::NEEDS_REVIEW, "needs_review"),
    ];

    /// Whether all marks of `other` are set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The words of the marks that are set, in a fixed order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| name)
    }

    /// The mark of a word of the API.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(_, known)| *known == name).map(|(flag, _)| flag)
    }

    fn when(self, condition: bool) -> Self {
        if condition { self } else { Self::NONE }
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What the rules say once final payments reach the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Advice {
    /// The invoice is paid.
    Settle,
    /// Not yet; ask again.
    Wait,
    /// A person should look first.
    Review,
}

/// The rules' last word, and the sum of final payments that they saw when they gave it. See [`Ruling::fits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// What they said.
    pub advice: Advice,
    /// The final sum that they judged, in base units of the invoice's asset.
    pub judged: Amount,
}

impl Ruling {
    /// Whether the word can hold for an invoice that has received this sum by now: it does for the sum that was judged, and
    /// whoever agreed to a sum that reaches the target agreed to more. Otherwise anybody who sends a grain with every block
    /// could keep an invoice from being settled.
    #[must_use]
    pub fn fits(&self, terms: &Terms, received: Amount) -> bool {
        let enough = self.advice == Advice::Settle && self.judged >= terms.target();
        self.judged == received || (enough && self.judged < received)
    }
}

/// One deposit on the invoice's address, as far as the state machine needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentFact {
    /// What was paid in.
    pub asset: AssetId,
    /// How much.
    pub amount: Amount,
    /// The time of its block.
    pub block_time: Timestamp,
    /// Where it stands.
    pub state: DepositState,
    /// Whether its block ever left the chain.
    pub reorged: bool,
}

impl PaymentFact {
    /// Whether the payment counts for an invoice, as far as asset and amount say. What does not is set aside.
    #[must_use]
    pub fn counts_for(&self, terms: &Terms) -> bool {
        self.asset == terms.asset && self.amount <= Amount::PAYMENT_MAX
    }
}

impl From<&Deposit> for PaymentFact {
    fn from(deposit: &Deposit) -> Self {
        Self {
            asset: deposit.transfer.identity.asset.clone(),
            amount: deposit.transfer.amount,
            block_time: deposit.block.time,
            state: deposit.state,
            reorged: deposit.reorged,
        }
    }
}

/// Everything besides the terms that decides about an invoice.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Every deposit on the invoice's address.
    pub payments: &'a [PaymentFact],
    /// The time of the newest final block that the scanner has processed.
    pub finalized_time: Timestamp,
    /// Where the invoice stood before.
    pub before: InvoiceState,
    /// The flags that it had before.
    pub flags_before: Flags,
    /// The rules' last word.
    pub ruling: Option<Ruling>,
    /// Whether the merchant withdraws the invoice at this moment. That it did so before stands in `before`.
    pub cancels: bool,
    /// The merchant's last decision about what was received.
    pub resolution: Option<&'a Resolution>,
}

/// What follows from terms and facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// Where the invoice stands.
    pub state: InvoiceState,
    /// Marks beside the state.
    pub flags: Flags,
    /// The sum of final payments in the invoice's asset.
    pub received: Amount,
    /// The sum of payments in the invoice's asset that are seen but not final.
    pub pending: Amount,
    /// The sum of final payments that came after the expiry.
    pub received_late: Amount,
    /// What final payments are above the amount due.
    pub overpaid: Amount,
    /// What final and seen payments are below the amount due.
    pub missing: Amount,
    /// Whether the rules must be asked: final payments reach the target and they have not judged this sum.
    pub awaits_ruling: bool,
}

impl Assessment {
    /// The assessment of an invoice that nobody has paid to.
    #[must_use]
    pub fn initial(terms: &Terms) -> Self {
        Self {
            state: InvoiceState::Pending,
            flags: Flags::NONE,
            received: Amount::ZERO,
            pending: Amount::ZERO,
            received_late: Amount::ZERO,
            overpaid: Amount::ZERO,
            missing: terms.due,
            awaits_ruling: false,
        }
    }
}

/// Sums over the payments that count.
struct Sums {
    received: Amount,
    pending: Amount,
    received_in_time: Amount,
    in_time: Amount,
    received_monitored: Amount,
}

impl Sums {
    fn of(terms: &Terms, counted: &[&PaymentFact]) -> Result<Self, AmountError> {
        let sum = |keep: &dyn Fn(&PaymentFact) -> bool| {
            Amount::sum(counted.iter().filter(|payment| keep(payment)).map(|payment| payment.amount))
        };
        let is_final = |payment: &PaymentFact| payment.state == DepositState::Final;
        let in_time = |payment: &PaymentFact| payment.block_time <= terms.expires_at;
        Ok(Self {
            received: sum(&is_final)?,
            pending: sum(&|payment| !is_final(payment))?,
            received_in_time: sum(&|payment| is_final(payment) && in_time(payment))?,
            in_time: sum(&in_time)?,
            received_monitored: sum(&|payment| is_final(payment) && payment.block_time <= terms.monitor_until())?,
        })
    }
}

/// What the merchant's last decision means for the sum that is final now.
#[derive(Default)]
struct Decided {
    /// Whether it was made about this very sum.
    on_this: bool,
    accepts: bool,
    refunds: bool,
    /// Whether this sum is to be left as it is.
    ignores_this: bool,
    /// Deposits that count for nothing and were decided about.
    set_aside: usize,
}

impl Decided {
    fn of(resolution: Option<&Resolution>, received: Amount) -> Self {
        let Some(resolution) = resolution else { return Self::default() };
        let on_this = resolution.judged == received;
        Self {
            on_this,
            accepts: resolution.choice == Choice::Accept,
            refunds: matches!(resolution.choice, Choice::Refund { .. }),
            ignores_this: on_this && resolution.choice == Choice::Ignore,
            set_aside: usize::try_from(resolution.set_aside).unwrap_or(usize::MAX),
        }
    }
}

/// Computes where an invoice stands. Payments above [`Amount::PAYMENT_MAX`] count like those in another asset: not at all.
///
/// # Errors
/// [`AmountError::Overflow`] when payments sum to more than 2^256 - 1, for which they would have to be more than 2^64.
pub fn assess(terms: &Terms, facts: Facts<'_>) -> Result<Assessment, AmountError> {
    let on_chain = |payment: &&PaymentFact| payment.state != DepositState::Orphaned;
    let there: Vec<&PaymentFact> = facts.payments.iter().filter(on_chain).collect();
    let (counted, stray): (Vec<&PaymentFact>, Vec<&PaymentFact>) =
        there.iter().partition(|payment| payment.counts_for(terms));
    let sums = Sums::of(terms, &counted)?;
    let target = terms.target();
    let cancelled = facts.cancels || facts.before == InvoiceState::Cancelled;
    let expired = facts.finalized_time > terms.expires_at;

    let reached_in_time = !cancelled && sums.in_time >= target;
    // Lateness is judged with the sum that was there.
    let holds =
        |ruling: &Ruling| ruling.fits(terms, sums.received) && (reached_in_time || ruling.judged == sums.received);
    let ruling = facts.ruling.filter(holds).map(|ruling| ruling.advice);
    let decided = Decided::of(facts.resolution, sums.received);
    // Money that came late can still settle the invoice if it is final, in the monitor window, and the rules accept it.
    let can_settle = if decided.refunds || (decided.ignores_this && !reached_in_time) {
        false
    } else if reached_in_time {
        sums.received_in_time >= target
    } else {
        (cancelled || expired) && sums.received_monitored >= target
    };
    let was_paid = facts.before == InvoiceState::Paid;
    let state = if was_paid || decided.accepts || (can_settle && ruling == Some(Advice::Settle)) {
        InvoiceState::Paid
    } else if cancelled {
        InvoiceState::Cancelled
    } else if reached_in_time {
        InvoiceState::Confirming
    } else if expired {
        InvoiceState::Expired
    } else if sums.in_time.is_zero() {
        InvoiceState::Pending
    } else {
        InvoiceState::PartiallyPaid
    };

    let is_paid = state == InvoiceState::Paid;
    let sticky = |flag: Flags| was_paid && facts.flags_before.contains(flag);
    let comes_late = counted.iter().any(|payment| cancelled || payment.block_time > terms.expires_at);
    let late = comes_late || sticky(Flags::LATE);
    let left_over = matches!(state, InvoiceState::Expired | InvoiceState::Cancelled) && !sums.received.is_zero();
    let held_for_review = !is_paid && ruling == Some(Advice::Review) && !decided.on_this;
    let money_to_judge = if facts.resolution.is_some() {
        !decided.on_this && (left_over || (is_paid && late) || decided.accepts || decided.refunds)
    } else {
        let late_after_paid = was_paid && comes_late && !facts.flags_before.contains(Flags::LATE);
        left_over || late_after_paid || sticky(Flags::NEEDS_REVIEW)
    };
    let stray_to_judge = stray.len() > decided.set_aside;
    let flags = Flags::WITHIN_TOLERANCE.when(is_paid && sums.received < terms.due && sums.received >= target)
        | Flags::OVERPAID.when(sums.received > terms.due)
        | Flags::LATE.when(late)
        | Flags::MULTI_PAYMENT.when(counted.len() > 1)
        | Flags::WRONG_ASSET.when(stray.iter().any(|payment| payment.asset != terms.asset))
        | Flags::REORGED.when(facts.payments.iter().any(|payment| payment.reorged))
        | Flags::MANUAL.when(facts.resolution.is_some() || facts.flags_before.contains(Flags::MANUAL))
        | Flags::NEEDS_REVIEW.when(held_for_review || money_to_judge || stray_to_judge);

    Ok(Assessment {
        state,
        flags,
        received: sums.received,
        pending: sums.pending,
        received_late: sums.received.saturating_sub(sums.received_in_time),
        overpaid: sums.received.saturating_sub(terms.due),
        missing: terms.due.saturating_sub(sums.received.checked_add(sums.pending)?),
        awaits_ruling: !is_paid && can_settle && !matches!(ruling, Some(Advice::Review)),
    })
}
