//! Looking again at final blocks, at one transaction or at one address, on request.
//!
//! For the case that a deposit was passed over: a node that hid it, a chain that was configured too late. What is found
//! missing is recorded as seen, in a changeset that also moves the revision of the scanner's cursor; the scanner then reads
//! its position anew and credits through the one path that credits. Nothing is made that the chain does not show, nothing
//! above the scanner's own final block is touched, and what is known already stays as it is.

mod failure;
mod native_ceiling;
mod turns;

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::info;
use xthonpay_domain::access::Mode;
use xthonpay_domain::address::Address;
use xthonpay_domain::block::{BlockRange, BlockRef};
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::hash::TxHash;
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::text::ChainName;
use xthonpay_domain::transfer::{BlockTransfers, Transfer};

use crate::access::Principal;
use crate::catalog::mode_of;
use crate::port::chain::{ChainError, ChainSource, RANGE_BLOCKS_MAX};
use crate::port::store::{Changeset, CommitError, Cursor, StoreError, Write};
use crate::scanning::changes::{Books, Position, Step};
use crate::scanning::internal::{Comparison, Holder, passed_on};
use crate::wake::Wakeups;
pub use failure::RescanError;
use native_ceiling::Ceiling;
use turns::Turns;

/// The most blocks that one call looks at; callers ask again for what lies above.
pub const RESCAN_BLOCKS_MAX: u64 = RANGE_BLOCKS_MAX;
/// Missing deposits that are recorded in one transaction. Bounds its size.
const RECORDED_AT_ONCE: usize = 100;
/// How often a recording is decided anew because the scanner stored something in between. The scanner stores a few times a
/// second; one decision takes some milliseconds.
const TRIES_MAX: usize = 50;

/// What was found of one transfer to an address of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It was missing and is recorded now. The scanner credits it with its next step.
    Recorded(Deposit),
    /// It is recorded already.
    Known(Deposit),
    /// It is in a block that is not final yet, and not recorded. The scanner will find it by itself.
    Awaited {
        /// Whose.
        merchant: MerchantId,
        /// The transfer.
        transfer: Transfer,
    },
    /// Crediting it would exceed what the address has received.
    Refused {
        /// Whose.
        merchant: MerchantId,
        /// The transfer.
        transfer: Transfer,
        /// Why, as a sentence that names the deposit which holds the coins already.
        reason: String,
    },
}

impl Finding {
    /// What came of it, as one word: stable, used in answers.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Recorded(_) => "recorded",
            Self::Known(_) => "known",
            Self::Awaited { .. } => "awaited",
            Self::Refused { .. } => "refused",
        }
    }

    /// The owner of the address.
    #[must_use]
    pub fn merchant(&self) -> &MerchantId {
        match self {
            Self::Recorded(deposit) | Self::Known(deposit) => &deposit.merchant,
            Self::Awaited { merchant, .. } | Self::Refused { merchant, .. } => merchant,
        }
    }

    /// The transfer.
    #[must_use]
    pub fn transfer(&self) -> &Transfer {
        match self {
            Self::Recorded(deposit) | Self::Known(deposit) => &deposit.transfer,
            Self::Awaited { transfer, .. } | Self::Refused { transfer, .. } => transfer,
        }
    }
}

/// What a transaction holds for addresses of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionReport {
    /// The chain.
    pub chain: ChainName,
    /// The block that holds the transaction.
    pub block: BlockRef,
    /// Whether the scanner has passed the block as final. Before that nothing is recorded here.
    pub is_final: bool,
    /// One for each transfer to an address of ours.
    pub findings: Vec<Finding>,
}

/// What a run of blocks holds for addresses of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeReport {
    /// The chain.
    pub chain: ChainName,
    /// What was looked at.
    pub range: BlockRange,
    /// One for each transfer to an address of ours.
    pub findings: Vec<Finding>,
}

/// A chain that can be looked at again.
#[derive(Clone)]
pub struct RescannedChain {
    /// Its nodes.
    pub source: Arc<dyn ChainSource>,
    /// Its records.
    pub books: Books,
}

/// Looks again at what the scanners have passed.
#[derive(Clone)]
pub struct Rescan {
    chains: Arc<BTreeMap<ChainName, RescannedChain>>,
    wakeups: Wakeups,
    turns: Turns,
}

impl Rescan {
    /// A rescan of these chains.
    #[must_use]
    pub fn new(chains: impl IntoIterator<Item = RescannedChain>, wakeups: Wakeups) -> Self {
        let chains = chains.into_iter().map(|chain| (chain.books.chain.clone(), chain)).collect();
        Self { chains: Arc::new(chains), wakeups, turns: Turns::default() }
    }

    /// Looks at one transaction for a merchant: reports what belongs to that merchant. One at a time for each merchant.
    ///
    /// # Errors
    /// [`RescanError`]; [`RescanError::UnknownTransaction`] also where the transaction pays nothing to the merchant, so that
    /// nobody learns which addresses are ours.
    pub async fn for_merchant(
        &self,
        caller: &Principal,
        chain: Option<&ChainName>,
        tx: TxHash,
    ) -> Result<TransactionReport, RescanError> {
        let merchant = caller.merchant();
        let looked_at = self.chain_in(caller.mode(), chain)?;
        let _turn = self.turns.take(merchant).ok_or(RescanError::Busy)?;
        if let Some(used) = caller.used_signature.clone() {
            let committed = looked_at.books.store.commit(Changeset::new().with(Write::UseSignature(used))).await;
            committed.map_err(|error| match error {
                CommitError::Refused => RescanError::SignatureReplayed,
                CommitError::Store(error) => error.into(),
            })?;
        }
        let mut report = self.look_up(looked_at, tx).await?;
        report.findings.retain(|finding| finding.merchant() == merchant);
        if report.findings.is_empty() {
            return Err(RescanError::UnknownTransaction { chain: report.chain, tx });
        }
        Ok(report)
    }

    /// Looks at one transaction.
    ///
    /// # Errors
    /// [`RescanError`].
    pub async fn transaction(&self, chain: Option<&ChainName>, tx: TxHash) -> Result<TransactionReport, RescanError> {
        self.look_up(self.chain(chain)?, tx).await
    }

    /// Looks at a run of at most [`RESCAN_BLOCKS_MAX`] final blocks.
    ///
    /// # Errors
    /// [`RescanError`].
    pub async fn range(&self, chain: Option<&ChainName>, range: BlockRange) -> Result<RangeReport, RescanError> {
        let chain = self.chain(chain)?;
        if range.blocks() > RESCAN_BLOCKS_MAX {
            return Err(RescanError::RangeTooLarge { blocks: range.blocks() });
        }
        let finalized = chain.cursor().await?.finalized.number;
        if range.last() > finalized {
            return Err(RescanError::NotFinal { last: range.last(), finalized });
        }
        let found = chain.source.transfers_in(range).await?;
        // The blocks of a run are linked, so the last one vouches for all.
        chain.check_final(found.last).await?;
        let findings = self.record_missing(chain, &found.blocks).await?;
        Ok(RangeReport { chain: chain.books.chain.clone(), range, findings })
    }

    /// Reads the balance of an address of ours in the native coin and records what no known deposit explains; `None` when
    /// all is explained. For invoices that are no longer open, whose balances nobody reads by himself, and for merchants'
    /// deposit addresses whose turn has not come.
    ///
    /// # Errors
    /// [`RescanError`].
    pub async fn address(&self, chain: Option<&ChainName>, address: Address) -> Result<Option<Deposit>, RescanError> {
        let chain = self.chain(chain)?;
        let books = &chain.books;
        let native = books.native().ok_or_else(|| RescanError::NoNativeAsset { chain: books.chain.clone() })?;
        let own = books.store.address(&address).await?;
        let holder = Holder::from(&own.ok_or(RescanError::UnknownAddress { address })?);
        let block = chain.cursor().await?.finalized;
        let balances = chain.source.native_balances(block, &[address]).await?;
        let Some(balance) = balances.first().copied() else {
            return Err(ChainError::Inconsistent { reason: "no balance for one address".to_owned() }.into());
        };
        for _ in 0..TRIES_MAX {
            let cursor = chain.cursor().await?;
            let (comparison, _) = books.compare(&holder, &native, block.number, balance).await?;
            let Comparison::Surplus(surplus) = comparison else { return Ok(None) };
            let missed = passed_on(&native, address, block, surplus);
            let at = Position { cursor, seen: Vec::new() };
            let Some(step) = books.amend(&at, &[(&missed, block)]).await? else { return Ok(None) };
            if let Some(recorded) = self.commit(chain, step).await? {
                return Ok(recorded.into_iter().next());
            }
        }
        Err(RescanError::Overtaken)
    }

    /// The chain of this name, whatever its mode, or the only one with real money.
    fn chain(&self, name: Option<&ChainName>) -> Result<&RescannedChain, RescanError> {
        self.chain_in(name.map_or(Mode::Live, mode_of), name)
    }

    /// The chain of this name, or the only one, among those of a mode.
    fn chain_in(&self, mode: Mode, name: Option<&ChainName>) -> Result<&RescannedChain, RescanError> {
        let in_mode = || self.chains.iter().filter(|(chain, _)| mode_of(chain) == mode);
        let known = || in_mode().map(|(chain, _)| chain.to_string()).collect::<Vec<_>>().join(", ");
        if let Some(name) = name {
            let found = in_mode().find(|(chain, _)| *chain == name);
            let unknown = || RescanError::UnknownChain { name: name.clone(), known: known() };
            return found.map(|(_, found)| found).ok_or_else(unknown);
        }
        let mut chains = in_mode();
        match (chains.next(), chains.next()) {
            (Some((_, only)), None) => Ok(only),
            _ => Err(RescanError::ChainNotNamed { known: known() }),
        }
    }

    async fn look_up(&self, chain: &RescannedChain, tx: TxHash) -> Result<TransactionReport, RescanError> {
        let found = chain.source.transfers_of(tx).await?;
        let name = chain.books.chain.clone();
        let found = found.ok_or_else(|| RescanError::UnknownTransaction { chain: name.clone(), tx })?;
        let is_final = found.block.number <= chain.cursor().await?.finalized.number;
        let findings = if is_final {
            chain.check_final(found.block).await?;
            self.record_missing(chain, std::slice::from_ref(&found)).await?
        } else {
            chain.awaited(&found).await?
        };
        Ok(TransactionReport { chain: name, block: found.block, is_final, findings })
    }

    /// Records what is missing of agreed final blocks.
    async fn record_missing(
        &self,
        chain: &RescannedChain,
        blocks: &[BlockTransfers],
    ) -> Result<Vec<Finding>, RescanError> {
        let of_block = |found| ours(&chain.books, found);
        let transfers: Vec<(Transfer, BlockRef)> = blocks.iter().flat_map(of_block).collect();
        let mut findings = Vec::with_capacity(transfers.len());
        for some in transfers.chunks(RECORDED_AT_ONCE) {
            findings.extend(self.record_some(chain, some).await?);
        }
        Ok(findings)
    }

    async fn record_some(
        &self,
        chain: &RescannedChain,
        transfers: &[(Transfer, BlockRef)],
    ) -> Result<Vec<Finding>, RescanError> {
        let ceiling = Ceiling::read(chain, transfers).await?;
        for _ in 0..TRIES_MAX {
            // Read first: whatever else is decided here is stored only if nothing was recorded since.
            let at = Position { cursor: chain.cursor().await?, seen: Vec::new() };
            let mut ceiling = ceiling.clone();
            let mut findings = Vec::new();
            let mut missed = Vec::new();
            for (transfer, block) in transfers {
                match chain.known(transfer, *block).await? {
                    Some(deposit) => findings.push(Finding::Known(deposit)),
                    None => match ceiling.admit(chain, transfer).await? {
                        Ok(()) => missed.push((transfer, *block)),
                        Err((merchant, reason)) => {
                            findings.push(Finding::Refused { merchant, transfer: transfer.clone(), reason });
                        }
                    },
                }
            }
            let Some(step) = chain.books.amend(&at, &missed).await? else { return Ok(findings) };
            if let Some(recorded) = self.commit(chain, step).await? {
                findings.extend(recorded.into_iter().map(Finding::Recorded));
                return Ok(findings);
            }
        }
        Err(RescanError::Overtaken)
    }

    /// Stores a step and returns the deposits that it made, or `None` when the records changed in the meantime.
    async fn commit(&self, chain: &RescannedChain, step: Step) -> Result<Option<Vec<Deposit>>, RescanError> {
        match chain.books.store.commit(step.changes).await {
            Ok(()) => {}
            Err(CommitError::Refused) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        self.wakeups.routing.notify_one();
        for deposit in &step.after.seen {
            info!(chain = %chain.books.chain, deposit = %deposit.id, merchant = %deposit.merchant, "a deposit that was missing is recorded");
        }
        Ok(Some(step.after.seen))
    }
}

impl RescannedChain {
    /// Where the scanner stands; refuses a chain that must not be touched.
    async fn cursor(&self) -> Result<Cursor, RescanError> {
        let chain = || self.books.chain.clone();
        let cursor = self.books.store.cursor(&self.books.chain).await?;
        let cursor = cursor.ok_or_else(|| RescanError::NotBegun { chain: chain() })?;
        match &cursor.frozen {
            Some(freeze) => Err(RescanError::Frozen { chain: chain(), reason: freeze.reason.clone() }),
            None => Ok(cursor),
        }
    }

    /// Refuses a block that is not agreed.
    async fn check_final(&self, block: BlockRef) -> Result<(), RescanError> {
        let disputed = |reason| Err(RescanError::Disputed { number: block.number, reason });
        match self.source.final_block(block.number).await? {
            None => disputed("is not known to enough nodes"),
            Some(agreed) if agreed.hash != block.hash => disputed("is not the one that the nodes agree on"),
            Some(_) => Ok(()),
        }
    }

    /// The deposit of a transfer, if nothing is missing of it.
    async fn known(&self, transfer: &Transfer, block: BlockRef) -> Result<Option<Deposit>, StoreError> {
        let stored = self.books.store.deposit(&transfer.identity.deposit_id()).await?;
        Ok(stored.filter(|deposit| match deposit.state {
            DepositState::Final => true,
            DepositState::Seen => deposit.block.hash == block.hash,
            DepositState::Orphaned => false,
        }))
    }

    /// What a block that is not final holds.
    async fn awaited(&self, found: &BlockTransfers) -> Result<Vec<Finding>, RescanError> {
        let mut findings = Vec::new();
        for (transfer, block) in ours(&self.books, found) {
            if let Some(deposit) = self.known(&transfer, block).await? {
                findings.push(Finding::Known(deposit));
            } else if let Some(own) = self.books.store.address(&transfer.identity.to).await? {
                findings.push(Finding::Awaited { merchant: own.merchant, transfer });
            }
        }
        Ok(findings)
    }
}

/// The transfers of a block to addresses of ours, with the block.
fn ours(books: &Books, found: &BlockTransfers) -> Vec<(Transfer, BlockRef)> {
    books.ours(&found.transfers).map(|transfer| (transfer.clone(), found.block)).collect()
}
