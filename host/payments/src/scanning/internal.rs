//! Coins that a contract passes on: they leave no log and are no transaction's own value, so only a balance shows them.
//!
//! Exchanges that pay many customers at once and multi-signature wallets pay in this way. Every few seconds the balances of
//! open invoices in the native coin, and less often those of merchants' deposit addresses, are read at the final block and held
//! against the deposits that are known there. What is above them is recorded as a deposit of exactly that amount, which then
//! becomes final in the same way as all others; so no more is ever credited than the balance has risen. A balance below them
//! is never a debit: it is told to the operator.
//!
//! While finality lags so far that nodes have forgotten the final state, the newest processed block is read instead, and what it
//! says is believed once that very block is final.
//!
//! An invoice in the native coin expires only after such a look at a block behind its expiry; how far the looks have come is
//! kept in memory alone, so that after a restart or a failure they are made again. Invoices that no longer await their expiry
//! are not looked at: an address that was paid late or twice by a contract is looked at on request, see
//! [`rescan`](super::rescan).

mod comparison;
mod sweep;

use tokio::time::Instant;
use tracing::{debug, info};
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::{AssetId, AssetKind};
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::id::{InvoiceId, MerchantId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::Transfer;

use crate::port::chain::{BALANCES_MAX, ChainError, ChainSource};
use crate::port::store::{READ_LIMIT_MAX, StoreError};
use crate::scanning::changes::{Books, Position, ScanError, Step};
use comparison::there_before;
pub(in crate::scanning) use comparison::{Comparison, Holder, passed_on, received};
pub use sweep::BalanceSweep;
use sweep::{Looked, OpenInvoice, Reading};

/// How far below the newest block another one may be for its balances to be read. Nodes keep the states of the newest 128
/// blocks; the rest is for the question to arrive.
const STATE_BLOCKS_MAX: u64 = 100;
/// Pages of open invoices that one sweep looks at; the next sweep goes on behind them. A page is read and decoded in a few
/// milliseconds, for which the next block has to wait.
const PAGES_MAX: usize = 4;
/// Merchants whose deposit addresses one sweep looks at; each costs a read of its own.
const MERCHANTS_MAX: usize = 200;
/// Surpluses that one sweep records. Bounds the transaction; the rest follows with the next sweeps.
const FOUND_MAX: usize = 100;

// One sweep is one question.
const _: () = assert!(PAGES_MAX * READ_LIMIT_MAX + MERCHANTS_MAX <= BALANCES_MAX);

/// Coins without a transaction of their own, with the block at which the balance told of them.
type Found = Vec<(Transfer, BlockRef)>;

impl Books {
    /// Looks for coins that contracts passed on, when it is time to. `None` when nothing is to be stored; a step that was stored
    /// is to be told to the sweep by [`BalanceSweep::stored`].
    ///
    /// A node that cannot tell balances holds up nothing but the expiry of invoices in the native coin: the next sweep asks
    /// again.
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
        let Some(native) = self.native().filter(|_| at.cursor.frozen.is_none()) else { return Ok(None) };
        sweep.forget_unstored();
        let outcome = async {
            let reading = match sweep.take_reading() {
                Some(reading) => reading,
                None => match self.read_balances(at, &native, head, source, sweep).await? {
                    Some(reading) => reading,
                    None => return Ok(None),
                },
            };
            if !is_final(&reading, at, source).await? {
                sweep.keep(reading);
                return Ok(None);
            }
            let (found, looked) = self.look_through(&reading, &native, head, source, sweep).await?;
            for (transfer, block) in &found {
                info!(chain = %self.chain, to = %transfer.identity.to, amount = %transfer.amount, block = %block.number, "coins without a transaction of their own: recorded as a deposit");
            }
            let found: Vec<_> = found.iter().map(|(transfer, block)| (transfer, *block)).collect();
            let step = self.amend(at, &found).await?;
            sweep.looked(looked, step.is_some());
            Ok(step)
        };
        match outcome.await {
            Err(ScanError::Chain(error)) => {
                debug!(chain = %self.chain, %error, "balances could not be read; asked again with the next sweep");
                Ok(None)
            }
            outcome => outcome,
        }
    }

    /// The native coin of the chain, if it is accepted.
    pub(super) fn native(&self) -> Option<AssetId> {
        let is_native = |asset: &&xthonpay_domain::asset::Asset| {
            asset.id.chain == self.chain && matches!(asset.kind, AssetKind::Native)
        };
        self.catalog.assets().find(is_native).map(|asset| asset.id.clone())
    }

    /// Reads the balances that are due; `None` when none are.
    async fn read_balances(
        &self,
        at: &Position,
        native: &AssetId,
        head: BlockNumber,
        source: &dyn ChainSource,
        sweep: &mut BalanceSweep,
    ) -> Result<Option<Reading>, ScanError> {
        let finalized = at.cursor.finalized;
        let block = if is_recent(finalized, head) { finalized } else { at.cursor.tip };
        if !sweep.is_due(block.number) {
            return Ok(None);
        }
        sweep.at = Some(Instant::now());
        let (invoices, rest) = self.open_invoices(native, sweep.after()).await?;
        let mut holders: Vec<(Holder, Option<OpenInvoice>)> = invoices.iter().map(OpenInvoice::of).collect();
        let merchants = self.deposit_addresses(sweep, &mut holders).await?;
        let addresses: Vec<_> = holders.iter().map(|(holder, _)| holder.address).collect();
        let balances =
            if addresses.is_empty() { Vec::new() } else { source.native_balances(block, &addresses).await? };
        if balances.len() != addresses.len() {
            let reason = format!("{} balances for {} addresses", balances.len(), addresses.len());
            return Err(ChainError::Inconsistent { reason }.into());
        }
        let held = holders.into_iter().zip(balances).map(|((holder, open), balance)| (holder, open, balance));
        // Most open invoices have received nothing: those cost no further read.
        let tells = |(holder, open, balance): &(Holder, Option<OpenInvoice>, Amount)| match open {
            Some(open) => !balance.is_zero() || open.has_deposits,
            None => sweep.is_news(&holder.address, *balance),
        };
        let held = held.filter(tells).collect();
        Ok(Some(Reading { block, began: sweep.round_began(block.time), held, rest, merchants }))
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

    /// Adds the next merchants' deposit addresses, when it is their turn, and tells where the next turn goes on.
    async fn deposit_addresses(
        &self,
        sweep: &mut BalanceSweep,
        holders: &mut Vec<(Holder, Option<OpenInvoice>)>,
    ) -> Result<Option<MerchantId>, StoreError> {
        if !sweep.is_turn_of_merchants() {
            return Ok(sweep.merchants.clone());
        }
        let merchants = self.store.merchants(sweep.merchants.as_ref(), MERCHANTS_MAX).await?;
        for merchant in &merchants {
            let own = self.store.deposit_address(&merchant.id).await?;
            holders.extend(own.iter().map(|own| (Holder::from(own), None)));
        }
        let is_last = merchants.len() < MERCHANTS_MAX;
        Ok(merchants.last().filter(|_| !is_last).map(|last| last.id.clone()))
    }

    /// Holds what was read against the deposits that are known.
    async fn look_through(
        &self,
        reading: &Reading,
        native: &AssetId,
        head: BlockNumber,
        source: &dyn ChainSource,
        sweep: &mut BalanceSweep,
    ) -> Result<(Found, Looked), ScanError> {
        let mut found = Vec::new();
        let mut looked = Looked::through(reading);
        let mut before = None;
        for (holder, open, balance) in &reading.held {
            if found.len() >= FOUND_MAX {
                looked.stop_behind(before, sweep);
                break;
            }
            before = open.as_ref();
            let (comparison, deposits) = self.compare(holder, native, reading.block.number, *balance).await?;
            match comparison {
                Comparison::Explained => {
                    if open.is_none() {
                        sweep.settle(holder.address, *balance);
                    }
                }
                Comparison::Surplus(surplus) => {
                    let expired = open.as_ref().filter(|open| open.expires_at < reading.block.time);
                    let early = match expired {
                        Some(open) => {
                            self.in_time(holder, open, surplus, &deposits, (native, reading.block, head), source)
                                .await?
                        }
                        None => None,
                    };
                    let (amount, at_expiry) = early.unwrap_or((Amount::ZERO, reading.block));
                    let rest = surplus.checked_sub(amount)?;
                    for (amount, block) in [(amount, at_expiry), (rest, reading.block)] {
                        if !amount.is_zero() {
                            found.push((passed_on(native, holder.address, block, amount), block));
                        }
                    }
                }
                Comparison::Shortfall { explained } => sweep.warn_of_shortfall(holder.address, *balance, explained),
            }
        }
        Ok((found, looked))
    }

    /// How much of a surplus was there when the invoice expired, with the last block before that. `None` when none was, or when
    /// no node can tell any more: then all of it counts from the block that was looked at.
    async fn in_time(
        &self,
        holder: &Holder,
        open: &OpenInvoice,
        surplus: Amount,
        deposits: &[Deposit],
        (native, block, head): (&AssetId, BlockRef, BlockNumber),
        source: &dyn ChainSource,
    ) -> Result<Option<(Amount, BlockRef)>, ScanError> {
        let Some(at_expiry) = self.last_until(open.expires_at, block, head).await? else { return Ok(None) };
        let balances = source.native_balances(at_expiry, &[holder.address]).await?;
        let balance = balances.first().copied().unwrap_or_default();
        let early = there_before(surplus, balance, deposits, native, at_expiry.number)?;
        let id = passed_on(native, holder.address, at_expiry, early).identity.deposit_id();
        // One block tells of an address once.
        let is_taken = deposits.iter().any(|known| known.id == id && known.state != DepositState::Orphaned);
        Ok((!early.is_zero() && !is_taken).then_some((early, at_expiry)))
    }

    /// The last block of the chain of `block` at or before `time`, if nodes still have its state.
    async fn last_until(
        &self,
        time: Timestamp,
        block: BlockRef,
        head: BlockNumber,
    ) -> Result<Option<BlockRef>, StoreError> {
        let mut below = block;
        // Ends where states are forgotten.
        while below.time > time {
            let Some(number) = below.number.previous() else { return Ok(None) };
            match self.store.block(&self.chain, number).await?.filter(|found| found.hash == below.parent) {
                Some(found) if is_recent(found, head) => below = found,
                _ => return Ok(None),
            }
        }
        Ok(Some(below))
    }
}

/// Whether nodes still have the state of a block.
fn is_recent(block: BlockRef, head: BlockNumber) -> bool {
    head.0.saturating_sub(block.number.0) <= STATE_BLOCKS_MAX
}

/// Whether the block of a reading is final. One that will never be is an answer to forget.
async fn is_final(reading: &Reading, at: &Position, source: &dyn ChainSource) -> Result<bool, ChainError> {
    let finalized = at.cursor.finalized;
    if reading.block.number > finalized.number {
        return Ok(false);
    }
    if reading.block == finalized {
        return Ok(true);
    }
    match source.final_block(reading.block.number).await? {
        Some(agreed) if agreed.hash == reading.block.hash => Ok(true),
        Some(_) => Err(ChainError::Inconsistent { reason: format!("block {} left the chain", reading.block.hash) }),
        None => Ok(false),
    }
}
