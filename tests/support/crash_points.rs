//! The places at which a process can die and something is at stake: before and after everything that becomes durable or
//! leaves the process.
//!
//! Which boundary a changeset is stands in the changeset itself, so the code under test needs no switch for it: a decorator of
//! the store, or of the transport, knows where it is and lets the process end there.

use core::fmt;

use xthonpay_domain::event::EventKind;
use xthonpay_domain::invoice::assessment::InvoiceState;
use xthonpay_payments::port::store::{Changeset, Counter, Cursor, Write};

/// What is stored or sent in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Boundary {
    /// The first cursor of a chain.
    FirstCursor,
    /// A block without a transfer to an address of ours.
    Block,
    /// A block with deposits.
    Sighting,
    /// A run of final blocks.
    CatchUp,
    /// A block is taken back.
    Retraction,
    /// Blocks become final, and nothing in them is ours.
    Finality,
    /// Deposits become final and are posted.
    Credit,
    /// A chain is frozen.
    Freeze,
    /// A frozen chain is resumed.
    Resumption,
    /// A deposit outside of the order of blocks, with or without its posting.
    LateDeposit,
    /// A merchant's decision about an invoice.
    Decision,
    /// A ruling of the rules.
    Ruling,
    /// The expiry of an invoice.
    Expiry,
    /// An event with its delivery.
    Delivery,
    /// An event that nobody is to hear of.
    Routed,
    /// What came of an attempt to deliver.
    Attempt,
    /// An invoice with its address.
    Invoice,
    /// A merchant with its address.
    Merchant,
    /// A key.
    Key,
    /// Addresses of a merchant are taken.
    Addresses,
    /// Old rows are removed.
    Forgetting,
    /// A webhook on its way out.
    Webhook,
}

impl Boundary {
    /// Every boundary.
    pub const ALL: [Self; 22] = [
        Self::FirstCursor,
        Self::Block,
        Self::Sighting,
        Self::CatchUp,
        Self::Retraction,
        Self::Finality,
        Self::Credit,
        Self::Freeze,
        Self::Resumption,
        Self::LateDeposit,
        Self::Decision,
        Self::Ruling,
        Self::Expiry,
        Self::Delivery,
        Self::Routed,
        Self::Attempt,
        Self::Invoice,
        Self::Merchant,
        Self::Key,
        Self::Addresses,
        Self::Forgetting,
        Self::Webhook,
    ];

    /// The boundary that a changeset is, on top of the cursor that is stored; `None` for one that is none of them.
    #[must_use]
    pub fn of(changes: &Changeset, stored: Option<&Cursor>) -> Option<Self> {
        let writes = &changes.writes;
        let holds = |kind: fn(&Write) -> bool| writes.iter().any(kind);
        if let Some(next) =
            writes.iter().find_map(|write| if let Write::SetCursor(next) = write { Some(next) } else { None })
        {
            return Some(Self::of_cursor(changes, stored, next));
        }
        // From what weighs most to what comes with it.
        let by_kind: [(IsKind, Self); 11] = [
            (|write| matches!(write, Write::CreateDeposit(_) | Write::UpdateDeposit { .. }), Self::LateDeposit),
            (|write| matches!(write, Write::Post(_)), Self::LateDeposit),
            (|write| matches!(write, Write::CreateInvoice(_)), Self::Invoice),
            (|write| matches!(write, Write::CreateMerchant(_)), Self::Merchant),
            (|write| matches!(write, Write::CreateKey(_)), Self::Key),
            (|write| matches!(write, Write::CreateDelivery(_)), Self::Delivery),
            (|write| matches!(write, Write::UpdateDelivery(_)), Self::Attempt),
            (is_decision, Self::Decision),
            (is_expiry, Self::Expiry),
            (|write| matches!(write, Write::UpdateInvoice(_)), Self::Ruling),
            // Last: an event that nobody hears is marked where it is made.
            (|write| matches!(write, Write::MarkRouted(_)), Self::Routed),
        ];
        by_kind.into_iter().find(|(kind, _)| holds(*kind)).map(|(_, boundary)| boundary)
    }

    fn of_cursor(changes: &Changeset, stored: Option<&Cursor>, next: &Cursor) -> Self {
        let holds = |kind: fn(&Write) -> bool| changes.writes.iter().any(kind);
        let Some(stored) = stored else { return Self::FirstCursor };
        match (&stored.frozen, &next.frozen) {
            (None, Some(_)) => return Self::Freeze,
            (Some(_), None) => return Self::Resumption,
            _ => {}
        }
        if next.tip.number < stored.tip.number {
            Self::Retraction
        } else if next.tip.number.0 > stored.tip.number.0.saturating_add(1) {
            Self::CatchUp
        } else if holds(|write| matches!(write, Write::Post(_))) {
            Self::Credit
        } else if holds(|write| matches!(write, Write::CreateDeposit(_) | Write::UpdateDeposit { .. })) {
            if next.tip == stored.tip { Self::LateDeposit } else { Self::Sighting }
        } else if next.tip == stored.tip {
            Self::Finality
        } else {
            Self::Block
        }
    }

    /// The boundary at which numbers are taken.
    #[must_use]
    pub fn of_numbers(counter: &Counter) -> Self {
        match counter {
            Counter::AddressIndex(_) => Self::Addresses,
        }
    }

    /// Whether something is stored there, or leaves the process.
    #[must_use]
    pub fn is_persist(self) -> bool {
        self != Self::Webhook
    }

    fn word(self) -> &'static str {
        match self {
            Self::FirstCursor => "first-cursor",
            Self::Block => "block",
            Self::Sighting => "sighting",
            Self::CatchUp => "catch-up",
            Self::Retraction => "retraction",
            Self::Finality => "finality",
            Self::Credit => "credit",
            Self::Freeze => "freeze",
            Self::Resumption => "resumption",
            Self::LateDeposit => "late-deposit",
            Self::Decision => "decision",
            Self::Ruling => "ruling",
            Self::Expiry => "expiry",
            Self::Delivery => "delivery",
            Self::Routed => "routed",
            Self::Attempt => "attempt",
            Self::Invoice => "invoice",
            Self::Merchant => "merchant",
            Self::Key => "key",
            Self::Addresses => "addresses",
            Self::Forgetting => "forgetting",
            Self::Webhook => "webhook",
        }
    }
}

/// Whether a change is of one kind.
type IsKind = fn(&Write) -> bool;

fn is_decision(write: &Write) -> bool {
    let decisions = [EventKind::InvoiceCancelled, EventKind::InvoiceResolved];
    matches!(write, Write::CreateEvent(event) if decisions.contains(&event.kind))
}

fn is_expiry(write: &Write) -> bool {
    matches!(write, Write::UpdateInvoice(invoice) if invoice.assessment.state == InvoiceState::Expired)
}

/// Which side of a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// Nothing is stored or sent yet.
    Before,
    /// Everything is, and nobody in the process knows it yet.
    After,
}

/// A place at which a process can die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrashPoint {
    /// What is stored or sent there.
    pub boundary: Boundary,
    /// Before or after that.
    pub moment: Moment,
}

impl CrashPoint {
    /// Every point, in a fixed order.
    pub fn all() -> impl Iterator<Item = Self> {
        let sides = |boundary| [Moment::Before, Moment::After].map(|moment| Self { boundary, moment });
        Boundary::ALL.into_iter().flat_map(sides)
    }
}

/// For example `before persist credit`.
impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = match self.moment {
            Moment::Before => "before",
            Moment::After => "after",
        };
        let verb = if self.boundary.is_persist() { "persist" } else { "send" };
        write!(f, "{moment} {verb} {}", self.boundary.word())
    }
}
