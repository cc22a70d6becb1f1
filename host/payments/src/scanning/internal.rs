//! Coins that a contract passes on: they leave no log and are no transaction's own value, so only a balance shows them.
//!
//! Exchanges that pay many customers at once and multi-signature wallets pay in this way. Every few seconds the balances of
//! open invoices in the native coin are read at the final block and held against the deposits that are known there. What is
//! above them is recorded as a deposit of exactly that amount, which then becomes final in the same way as all others; so no
//! more is ever credited than the balance has risen. A balance below them is never a debit: it is told to the operator.
//!
//! Invoices that no longer await their expiry are not looked at: an address that was paid late or twice by a contract is
//! looked at on request, see [`rescan`](super::rescan).

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, AmountError};
use xthonpay_domain::asset::{AssetId, AssetKind};
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::{Origin, Transfer, TransferIdentity};

use crate::port::chain::{BALANCES_MAX, ChainError, ChainSource};
use crate::port::store::{READ_LIMIT_MAX, StoreError};
use crate::scanning::changes::{Books, Position, ScanError, Step};

/// How often balances are read. Long enough that it costs next to nothing beside the blocks, short enough that a payer who
/// waits before the page of the shop sees the payment.
const INTERVAL: Duration = Duration::from_secs(5);
/// How far below the newest block the final one may be for its balances to be read. Nodes keep the states of the newest 128
/// blocks; the rest is for the question to arrive.
const STATE_BLOCKS_MAX: u64 = 100;
/// Pages of open invoices that one sweep looks at; the next sweep goes on behind them. A page is read and decoded in a few
/// milliseconds, for which the next block has to wait.
const PAGES_MAX: usize = 4;
/// Deposits that one sweep records. Bounds the transaction; the rest follows with the next sweeps.
const FOUND_MAX: usize = 100;
/// Addresses of which it is remembered that the operator was told. Beyond it some are told again.
const WARNED_MAX: usize = 1_000;

// One sweep is one question.
const _: () = assert!(PAGES_MAX * READ_LIMIT_MAX <= BALANCES_MAX);

/// Where the sweeps of a chain stand; none of it is needed after a restart.
pub struct BalanceSweep {
    interval: Duration,
    at: Option<Instant>,
    /// The final block that was looked at.
    block: Option<BlockNumber>,
    /// The last invoice that was looked at, if there are more behind it.
    after: Option<(Timestamp, InvoiceId)>,
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
        Self { interval, at: None, block: None, after: None, warned: BTreeSet::new() }
    }

    fn is_due(&self, at: &Position, head: BlockNumber) -> bool {
        let finalized = at.cursor.finalized.number;
        let is_recent = head.0.saturating_sub(finalized.0) <= STATE_BLOCKS_MAX;
        let is_new = self.after.is_some() || self.block != Some(finalized);
        is_recent && is_new && self.at.is_none_or(|at| at.elapsed() >= self.interval)
    }

    /// Tells of a balance that is lower than what came in, once for each address.
    fn warn_of_shortfall(&mut self, address: Address, balance: Amount, explained: Amount) {
        if self.warned.len() >= WARNED_MAX {
            self.warned.clear();
        }
        if self.warned.insert(address) {
            warn!(%address, %balance, %explained, "an address holds less than its deposits sum up to; nothing is debited, see `xthonpay audit`");
        }
    }
}

/// What a balance says about the deposits that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// They are all there is.
    Explained,
    /// There is more.
    Surplus(Amount),
    /// There is less.
    Shortfall {
        /// What they sum up to.
        explained: Amount,
    },
}

impl Comparison {
    /// Holds a balance against what came in and what we sent away ourselves.
    pub(super) fn of(balance: Amount, received: Amount, sent: Amount) -> Result<Self, AmountError> {
        // Both sides are sums, so that neither can fall below zero.
        let held = balance.checked_add(sent)?;
        Ok(match held.checked_sub(received) {
            Ok(surplus) if surplus.is_zero() => Self::Explained,
            Ok(surplus) => Self::Surplus(surplus),
            Err(_) => Self::Shortfall { explained: received },
        })
    }
}

/// What the known deposits of an address sum up to in the native coin at a final block.
///
/// What is credited or was found in a balance counts whatever its block: a balance holds all that came before, and after a
/// broken finality the same transaction can stand in another block than the one in which it was credited.
pub(super) fn received(deposits: &[Deposit], native: &AssetId, at: BlockNumber) -> Result<Amount, AmountError> {
    let counts = |deposit: &&Deposit| {
        let identity = &deposit.transfer.identity;
        let is_there = match deposit.state {
            DepositState::Final => true,
            DepositState::Seen => deposit.block.number <= at || matches!(identity.origin, Origin::Balance { .. }),
            DepositState::Orphaned => false,
        };
        identity.asset == *native && is_there
    };
    Amount::sum(deposits.iter().filter(counts).map(|deposit| deposit.transfer.amount))
}

impl Books {
    /// Looks for coins that contracts passed on to open invoices, when it is time to. `None` when nothing is to be stored.
    ///
    /// A node that cannot tell balances holds up nothing: the next sweep asks again.
    ///
    /// # Errors
    /// [`ScanError`] of the store.
    pub async fn sweep_internal(
        &self,
        at: &Position,
        head: BlockNumber,
        source: &dyn ChainSource,
        sweep: &mut BalanceSweep,
    ) -> Result<Option<Step>, ScanError> {
        let Some(native) = self.native().filter(|_| at.cursor.frozen.is_none() && sweep.is_due(at, head)) else {
            return Ok(None);
        };
        sweep.at = Some(Instant::now());
        let block = at.cursor.finalized;
        let (invoices, rest) = self.open_invoices(&native, sweep.after.clone()).await?;
        let balances = match balances(source, block, &invoices).await {
            Ok(balances) => balances,
            Err(error) => {
                debug!(chain = %self.chain, %error, "balances could not be read; asked again with the next sweep");
                return Ok(None);
            }
        };
        let mut found = Vec::new();
        let mut looked_at = None;
        for (invoice, balance) in invoices.iter().zip(balances) {
            if found.len() == FOUND_MAX {
                break;
            }
            looked_at = Some((invoice.terms.expires_at, invoice.id.clone()));
            match self.compare(invoice, &native, block.number, balance).await? {
                Comparison::Explained => {}
                Comparison::Surplus(surplus) => found.push(passed_on(&native, invoice.address, block, surplus)),
                Comparison::Shortfall { explained } => sweep.warn_of_shortfall(invoice.address, balance, explained),
            }
        }
        sweep.block = Some(block.number);
        sweep.after = if found.len() == FOUND_MAX { looked_at } else { rest };
        for transfer in &found {
            info!(chain = %self.chain, to = %transfer.identity.to, amount = %transfer.amount, block = %block.number, "coins without a transaction of their own: recorded as a deposit");
        }
        let found: Vec<_> = found.iter().map(|transfer| (transfer, block)).collect();
        self.amend(at, &found).await
    }

    /// The native coin of the chain, if it is accepted.
    pub(super) fn native(&self) -> Option<AssetId> {
        let is_native = |asset: &&xthonpay_domain::asset::Asset| {
            asset.id.chain == self.chain && matches!(asset.kind, AssetKind::Native)
        };
        self.catalog.assets().find(is_native).map(|asset| asset.id.clone())
    }

    /// The next open invoices in the native coin, and where the next sweep goes on, if there are more.
    async fn open_invoices(
        &self,
        native: &AssetId,
        mut after: Option<(Timestamp, InvoiceId)>,
    ) -> Result<(Vec<Invoice>, Option<(Timestamp, InvoiceId)>), StoreError> {
        let end_of_time = Timestamp::from_millis(u64::MAX);
        let mut invoices = Vec::new();
        for _ in 0..PAGES_MAX {
            let page =
                self.store.invoices_past_expiry(&self.chain, end_of_time, after.as_ref(), READ_LIMIT_MAX).await?;
            let is_last = page.len() < READ_LIMIT_MAX;
            after = page.last().map(|last| (last.terms.expires_at, last.id.clone()));
            invoices.extend(page.into_iter().filter(|invoice| invoice.terms.asset == *native));
            if is_last {
                return Ok((invoices, None));
            }
        }
        Ok((invoices, after))
    }

    /// What a balance at a final block says about an invoice's address.
    pub(super) async fn compare(
        &self,
        invoice: &Invoice,
        native: &AssetId,
        at: BlockNumber,
        balance: Amount,
    ) -> Result<Comparison, ScanError> {
        let assessment = &invoice.assessment;
        // Most open invoices have received nothing: those cost no further read.
        if balance.is_zero() && assessment.received.is_zero() && assessment.pending.is_zero() {
            return Ok(Comparison::Explained);
        }
        let deposits = self.store.deposits_of_invoice(&invoice.id).await?;
        // Nothing leaves a deposit address yet: no part of this version signs with its key.
        let sent = Amount::ZERO;
        Ok(Comparison::of(balance, received(&deposits, native, at)?, sent)?)
    }
}

/// One balance for each invoice.
async fn balances(source: &dyn ChainSource, block: BlockRef, invoices: &[Invoice]) -> Result<Vec<Amount>, ChainError> {
    if invoices.is_empty() {
        return Ok(Vec::new());
    }
    let addresses: Vec<Address> = invoices.iter().map(|invoice| invoice.address).collect();
    let balances = source.native_balances(block, &addresses).await?;
    if balances.len() == addresses.len() {
        Ok(balances)
    } else {
        let reason = format!("{} balances for {} addresses", balances.len(), addresses.len());
        Err(ChainError::Inconsistent { reason })
    }
}

/// A transfer that only a balance shows.
pub(super) fn passed_on(native: &AssetId, to: Address, block: BlockRef, amount: Amount) -> Transfer {
    let origin = Origin::Balance { block: block.number };
    Transfer { identity: TransferIdentity { asset: native.clone(), to, origin }, from: None, amount }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(units: u128) -> Amount {
        Amount::from_units(units)
    }

    #[test]
    fn what_we_sent_away_explains_what_is_missing() {
        let compare = |balance, received, sent| Comparison::of(units(balance), units(received), units(sent));
        assert_eq!(compare(0, 0, 0), Ok(Comparison::Explained));
        assert_eq!(compare(7, 7, 0), Ok(Comparison::Explained));
        assert_eq!(compare(9, 7, 0), Ok(Comparison::Surplus(units(2))));
        assert_eq!(compare(0, 7, 7), Ok(Comparison::Explained));
        assert_eq!(compare(2, 7, 7), Ok(Comparison::Surplus(units(2))));
        assert_eq!(compare(5, 7, 0), Ok(Comparison::Shortfall { explained: units(7) }));
        assert_eq!(compare(5, 7, 1), Ok(Comparison::Shortfall { explained: units(7) }));
        let top = Amount::from_be_bytes([0xff; 32]);
        assert_eq!(Comparison::of(top, units(1), units(1)), Err(AmountError::Overflow));
    }
}
