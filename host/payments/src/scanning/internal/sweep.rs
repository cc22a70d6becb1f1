//! Where the sweeps of a chain stand; none of it is needed after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::id::{InvoiceId, MerchantId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::time::Timestamp;

use super::Holder;

/// How often balances are read. Long enough that it costs next to nothing beside the blocks, short enough that a payer who
/// waits before the page of the shop sees the payment.
const INTERVAL: Duration = Duration::from_secs(5);
/// Intervals between two looks at merchants' deposit addresses: nobody waits for those before a page.
const MERCHANTS_EVERY: u32 = 6;
/// Addresses of which it is remembered that the operator was told. Beyond it some are told again.
const WARNED_MAX: usize = 1_000;
/// Deposit addresses whose last explained balance is remembered: about 1 MB. Beyond it some deposits are read again.
const SETTLED_MAX: usize = 10_000;

/// An invoice that awaits its expiry, as the sweep has to know it.
#[derive(Clone, Debug)]
pub(super) struct OpenInvoice {
    pub(super) id: InvoiceId,
    pub(super) expires_at: Timestamp,
    pub(super) has_deposits: bool,
}

impl OpenInvoice {
    pub(super) fn of(invoice: &Invoice) -> (Holder, Option<Self>) {
        let assessment = &invoice.assessment;
        let has_deposits = !assessment.received.is_zero() || !assessment.pending.is_zero();
        let open = Self { id: invoice.id.clone(), expires_at: invoice.terms.expires_at, has_deposits };
        (Holder { address: invoice.address, invoice: Some(invoice.id.clone()) }, Some(open))
    }
}

/// Balances at a block.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) block: BlockRef,
    /// The time of the block at which the invoice that expires first was looked at.
    pub(super) began: Timestamp,
    /// The addresses that have something to tell: open invoices in the order of their expiry, then those of merchants.
    pub(super) held: Vec<(Holder, Option<OpenInvoice>, Amount)>,
    /// The last invoice that was looked at, if there are more behind it.
    pub(super) rest: Option<(Timestamp, InvoiceId)>,
    /// The same for merchants.
    pub(super) merchants: Option<MerchantId>,
}

/// How far a reading was looked through.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    block: BlockNumber,
    began: Timestamp,
    rest: Option<(Timestamp, InvoiceId)>,
    merchants: Option<MerchantId>,
}

impl Looked {
    /// All of it.
    pub(super) fn through(reading: &Reading) -> Self {
        let (rest, merchants) = (reading.rest.clone(), reading.merchants.clone());
        Self { block: reading.block.number, began: reading.began, rest, merchants }
    }

    /// Only up to this invoice, or up to the merchants if there is none.
    pub(super) fn stop_behind(&mut self, last: Option<&OpenInvoice>, sweep: &BalanceSweep) {
        self.merchants = sweep.merchants.clone();
        if let Some(last) = last {
            self.rest = Some((last.expires_at, last.id.clone()));
        }
    }

    /// Every invoice that expires before this was looked at, at a block behind its expiry.
    fn until(&self) -> Timestamp {
        self.rest.as_ref().map_or(self.began, |(expires_at, _)| self.began.min(*expires_at))
    }
}

/// Where the sweeps of a chain stand; none of it is needed after a restart.
pub struct BalanceSweep {
    interval: Duration,
    pub(super) at: Option<Instant>,
    merchants_at: Option<Instant>,
    /// The block that was looked at.
    block: Option<BlockNumber>,
    /// The round under way: when it began, and the last invoice that was looked at.
    round: Option<(Timestamp, (Timestamp, InvoiceId))>,
    /// The last merchant that was looked at, if there are more.
    pub(super) merchants: Option<MerchantId>,
    /// Balances at a block that is not final yet.
    reading: Option<Reading>,
    /// What was looked at and found in a step that is not stored yet.
    unstored: Option<Looked>,
    covered: Option<Timestamp>,
    /// Balances of deposit addresses that their deposits explain. Nothing leaves them, so the same balance needs no new look.
    settled: BTreeMap<Address, Amount>,
    warned: BTreeSet<Address>,
}

impl Default for BalanceSweep {
    /// The first sweep is due at once.
    fn default() -> Self {
        Self::every(INTERVAL)
    }
}

impl BalanceSweep {
    /// Sweeps that lie at least this far apart, the first of them at once.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        Self {
            interval,
            at: None,
            merchants_at: None,
            block: None,
            round: None,
            merchants: None,
            reading: None,
            unstored: None,
            covered: None,
            settled: BTreeMap::new(),
            warned: BTreeSet::new(),
        }
    }

    /// The open invoices in the native coin that expire before this time have been looked at, at final blocks behind their
    /// expiry, and what was found is stored. `None` before the first look.
    #[must_use]
    pub fn covered(&self) -> Option<Timestamp> {
        self.covered
    }

    /// The step that the last sweep gave is stored.
    pub fn stored(&mut self) {
        if let Some(looked) = self.unstored.take() {
            self.conclude(looked);
        }
    }

    /// After a failure nothing is believed to be looked at: the chain may be another one now.
    pub(in crate::scanning) fn after_failure(self) -> Self {
        Self { at: self.at, merchants_at: self.merchants_at, warned: self.warned, ..Self::every(self.interval) }
    }

    /// A step that was never told to be stored was not.
    pub(super) fn forget_unstored(&mut self) {
        if self.unstored.take().is_some() {
            (self.round, self.block) = (None, None);
        }
    }

    pub(super) fn is_due(&self, block: BlockNumber) -> bool {
        let is_new = self.round.is_some() || self.block != Some(block);
        is_new && self.at.is_none_or(|at| at.elapsed() >= self.interval)
    }

    /// Whether merchants' addresses are due; if so, that is noted.
    pub(super) fn is_turn_of_merchants(&mut self) -> bool {
        let between = self.interval.saturating_mul(MERCHANTS_EVERY);
        let is_turn = self.merchants_at.is_none_or(|at| at.elapsed() >= between);
        if is_turn {
            self.merchants_at = Some(Instant::now());
        }
        is_turn
    }

    pub(super) fn after(&self) -> Option<(Timestamp, InvoiceId)> {
        self.round.as_ref().map(|(_, after)| after.clone())
    }

    /// When the round under way began, or begins now.
    pub(super) fn round_began(&self, now: Timestamp) -> Timestamp {
        self.round.as_ref().map_or(now, |(began, _)| *began)
    }

    pub(super) fn take_reading(&mut self) -> Option<Reading> {
        self.reading.take()
    }

    pub(super) fn keep(&mut self, reading: Reading) {
        self.reading = Some(reading);
    }

    /// A reading was looked through, and what it told `is_to_be_stored`, or is known.
    pub(super) fn looked(&mut self, looked: Looked, is_to_be_stored: bool) {
        if is_to_be_stored {
            self.unstored = Some(looked);
        } else {
            self.conclude(looked);
        }
    }

    fn conclude(&mut self, looked: Looked) {
        self.block = Some(looked.block);
        self.covered = self.covered.max(Some(looked.until()));
        self.merchants = looked.merchants;
        self.round = looked.rest.map(|after| (looked.began, after));
    }

    /// Whether an address holds something else than when it was last explained.
    pub(super) fn is_news(&self, address: &Address, balance: Amount) -> bool {
        self.settled.get(address).copied().unwrap_or_default() != balance
    }

    pub(super) fn settle(&mut self, address: Address, balance: Amount) {
        if self.settled.len() >= SETTLED_MAX {
            self.settled.clear();
        }
        self.settled.insert(address, balance);
    }

    /// Tells of a balance that is lower than what came in, once for each address.
    pub(super) fn warn_of_shortfall(&mut self, address: Address, balance: Amount, explained: Amount) {
        if self.warned.len() >= WARNED_MAX {
            self.warned.clear();
        }
        if self.warned.insert(address) {
            warn!(%address, %balance, %explained, "an address holds less than its deposits sum up to; nothing is debited, see `xthonpay audit`");
        }
    }
}
