//! What a block, a lost block and new finality mean for the records.
//!
//! Each function reads what it needs and returns one changeset with everything that belongs together; nothing is stored
//! here. If the records change before the changeset is stored, the store refuses it and the scanner starts over.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thiserror::Error;
use tracing::{error, warn};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, AmountError};
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::BlockRef;
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::event::{Event, EventKind};
use xthonpay_domain::id::{DepositId, EventId, InvoiceId, MerchantId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::ledger::{Balance, Posting, PostingError};
use xthonpay_domain::text::ChainName;
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::{BlockTransfers, Transfer};

use crate::catalog::Catalog;
use crate::delivery::audience::Audience;
use crate::delivery::listeners::{Listeners, Recording};
use crate::invoicing::address_indices::AddressIndices;
use crate::port::chain::ChainError;
use crate::port::clock::Clock;
use crate::port::store::{Changeset, CommitError, Cursor, OwnAddress, Store, StoreError, Write};
use crate::reassess::{NewFacts, reassess, record};
use crate::scanning::watch_set::WatchSet;
use crate::snapshot::{DepositEventData, PaymentSnapshot, to_json};

/// Deposits that are credited in one transaction, about three records each. Bounds its size; the rest follows in the next
/// one, which reads what belongs to an invoice anew: so there should not be many for the deposits of one block.
const CREDITS_PER_CHANGESET_MAX: usize = 500;

/// A step of a scanner that failed.
#[derive(Debug, Error)]
pub enum ScanError {
    /// The node did not answer usably.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The records were not stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// An amount left the range of 256 bits, or a balance would fall below zero.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// A posting could not be made.
    #[error(transparent)]
    Posting(#[from] PostingError),
    /// Going on could credit wrongly.
    #[error("frozen: {reason}")]
    Frozen {
        /// Why.
        reason: String,
    },
}

impl ScanError {
    /// Whether the same step may succeed later without a person.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Chain(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
            // The step reads the records again and decides anew.
            Self::Commit(error) => matches!(error, CommitError::Refused) || error.is_transient(),
            Self::Amount(_) | Self::Posting(_) | Self::Frozen { .. } => false,
        }
    }
}

/// How far a chain is processed, with the deposits that can still change.
#[derive(Clone, Debug)]
pub struct Position {
    /// The cursor as stored.
    pub cursor: Cursor,
    /// Every deposit of the chain that is seen and not final.
    pub seen: Vec<Deposit>,
}

/// Changes to store, and the position afterwards.
pub struct Step {
    /// What to store.
    pub changes: Changeset,
    /// The position once it is stored.
    pub after: Position,
    /// To be held until then: who hears of the events was asked.
    pub recording: Recording,
}

/// What the functions here work with.
#[derive(Clone)]
pub struct Books {
    /// The chain.
    pub chain: ChainName,
    /// Records to read.
    pub store: Arc<dyn Store>,
    /// Accepted assets.
    pub catalog: Arc<Catalog>,
    /// Addresses of ours.
    pub watch: Arc<WatchSet>,
    /// Whose the addresses are that are watched ahead of being given out.
    pub indices: Arc<AddressIndices>,
    /// Who hears of events.
    pub listeners: Arc<Listeners>,
    /// Time of the records.
    pub clock: Arc<dyn Clock>,
}

/// Deposits before and after, and what is to be told about them.
struct Touched {
    recording: Recording,
    deposits: BTreeMap<DepositId, Deposit>,
    /// Addresses that were looked up, or whose record is made by the same changeset.
    addresses: BTreeMap<Address, OwnAddress>,
    /// Invoices that were looked up: each is read once, however many deposits it has in a step.
    invoices: BTreeMap<InvoiceId, Invoice>,
    by_invoice: BTreeMap<InvoiceId, Vec<(EventKind, Deposit)>>,
}

impl Touched {
    fn new(recording: Recording) -> Self {
        Self {
            recording,
            deposits: BTreeMap::new(),
            addresses: BTreeMap::new(),
            invoices: BTreeMap::new(),
            by_invoice: BTreeMap::new(),
        }
    }

    fn add(&mut self, deposit: Deposit, kind: EventKind) {
        if let Some(invoice) = &deposit.invoice {
            self.by_invoice.entry(invoice.clone()).or_default().push((kind, deposit.clone()));
        }
        self.deposits.insert(deposit.id.clone(), deposit);
    }
}

impl Books {
    /// A new block on top of the tip, with the transfers in it.
    ///
    /// # Errors
    /// [`ScanError`].
    pub async fn extend(&self, at: &Position, found: &BlockTransfers) -> Result<Step, ScanError> {
        self.reach(std::slice::from_ref(found)).await?;
        self.extend_run(at, std::slice::from_ref(found), found.block).await
    }

    /// A run of new blocks on top of the tip, of which `last` is the newest; those without transfers may be left out.
    ///
    /// # Errors
    /// [`ScanError`].
    pub(super) async fn extend_run(
        &self,
        at: &Position,
        found: &[BlockTransfers],
        last: BlockRef,
    ) -> Result<Step, ScanError> {
        let mut changes = Changeset::new();
        let mut touched = Touched::new(self.listeners.recording());
        for found in found {
            for transfer in self.ours(&found.transfers) {
                self.sight(transfer, found.block, &mut changes, &mut touched).await?;
            }
        }
        let below = found.iter().map(|found| found.block).filter(|block| block.number < last.number);
        for block in below.chain([last]) {
            changes.push(Write::PutBlock { chain: self.chain.clone(), block });
        }
        self.conclude(at, Cursor { tip: last, ..next_revision(&at.cursor) }, changes, touched).await
    }

    /// The tip left the chain: its deposits are orphaned and `parent` is the tip again.
    ///
    /// # Errors
    /// [`ScanError`].
    pub async fn retract(&self, at: &Position, parent: BlockRef) -> Result<Step, ScanError> {
        let lost: Vec<Deposit> =
            at.seen.iter().filter(|deposit| deposit.block.hash == at.cursor.tip.hash).cloned().collect();
        self.orphan(at, &lost, Cursor { tip: parent, ..next_revision(&at.cursor) }).await
    }

    /// The blocks of the `lost` deposits, which are all among the seen ones, left the chain, and `cursor` is where that leads.
    pub(super) async fn orphan(&self, at: &Position, lost: &[Deposit], cursor: Cursor) -> Result<Step, ScanError> {
        let mut changes = Changeset::new();
        let mut touched = Touched::new(self.listeners.recording());
        for before in lost {
            if let Some(after) = before.orphaned() {
                changes.push(update(before, &after));
                touched.add(after, EventKind::PaymentReorged);
            }
        }
        self.conclude(at, cursor, changes, touched).await
    }

    /// `finalized` is the newest final block at or below the tip: credits what has become final, at most a bounded number of
    /// deposits at a time. `None` when nothing changes.
    ///
    /// # Errors
    /// [`ScanError`].
    pub async fn finalise(&self, at: &Position, finalized: BlockRef) -> Result<Option<Step>, ScanError> {
        let mut creditable: Vec<&Deposit> =
            at.seen.iter().filter(|deposit| deposit.is_creditable(&finalized, &at.cursor.tip)).collect();
        // An invoice is assessed once for all of its deposits in a changeset.
        creditable.sort_by_key(|deposit| &deposit.invoice);
        let advances = finalized.number > at.cursor.finalized.number;
        if creditable.is_empty() && !advances {
            return Ok(None);
        }
        let mut changes = Changeset::new();
        let mut touched = Touched::new(self.listeners.recording());
        let mut balances = BTreeMap::new();
        let now = self.clock.now();
        for before in creditable.iter().take(CREDITS_PER_CHANGESET_MAX) {
            let Some(after) = before.finalised() else { continue };
            changes.push(update(before, &after));
            self.credit(&after, now, &mut balances, &mut changes, &mut touched).await?;
        }
        for ((merchant, asset), (balance, from_revision)) in balances {
            changes.push(Write::SetBalance { merchant, asset, balance, from_revision });
        }
        // The mark moves only when everything below it is credited.
        let complete = creditable.len() <= CREDITS_PER_CHANGESET_MAX;
        let reached = if complete && advances { finalized } else { at.cursor.finalized };
        let cursor = Cursor { finalized: reached, ..next_revision(&at.cursor) };
        self.conclude(at, cursor, changes, touched).await.map(Some)
    }

    /// Transfers of final blocks that were passed over, each with its block: they become seen, and what is final is credited
    /// in the same way as all else. `None` when all of them are known.
    ///
    /// # Errors
    /// [`ScanError`].
    pub(super) async fn amend(
        &self,
        at: &Position,
        missed: &[(&Transfer, BlockRef)],
    ) -> Result<Option<Step>, ScanError> {
        let mut changes = Changeset::new();
        let mut touched = Touched::new(self.listeners.recording());
        for (transfer, block) in missed {
            self.sight(transfer, *block, &mut changes, &mut touched).await?;
        }
        if touched.deposits.is_empty() {
            return Ok(None);
        }
        self.conclude(at, next_revision(&at.cursor), changes, touched).await.map(Some)
    }

    /// What belongs to every step besides its own changes: the invoices that it touched, and where it leads. Deposits that
    /// are merely seen are carried on.
    async fn conclude(
        &self,
        at: &Position,
        cursor: Cursor,
        mut changes: Changeset,
        mut touched: Touched,
    ) -> Result<Step, ScanError> {
        self.reassess_touched(&mut touched, cursor.finalized.time, &mut changes).await?;
        changes.push(Write::SetCursor(cursor.clone()));
        let mut seen = replace(&at.seen, touched.deposits.into_values());
        seen.retain(|deposit| deposit.state == DepositState::Seen);
        Ok(Step { changes, after: Position { cursor, seen }, recording: touched.recording })
    }

    /// Moves the gaps of addresses that are watched ahead as far as payments in these blocks reach, in whichever order they
    /// stand there: each payment to an address ahead makes more addresses ours, and so perhaps more of these payments.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn reach(&self, found: &[BlockTransfers]) -> Result<(), StoreError> {
        let mut known = BTreeSet::new();
        loop {
            let mut moved = false;
            for transfer in found.iter().flat_map(|found| self.ours(&found.transfers)) {
                let to = &transfer.identity.to;
                if self.indices.is_ahead(to) && known.insert(*to) && self.store.address(to).await?.is_none() {
                    moved |= self.indices.claim(to).await.is_some();
                }
            }
            if !moved {
                return Ok(());
            }
        }
    }

    /// Those among a block's transfers that may be deposits.
    pub(super) fn ours<'a>(&self, transfers: &'a [Transfer]) -> impl Iterator<Item = &'a Transfer> {
        // A transfer of nothing is no deposit and could never be posted; sources leave it out, and it must not stop the chain.
        transfers.iter().filter(|transfer| !transfer.amount.is_zero() && self.watch.contains(&transfer.identity.to))
    }

    /// One transfer to an address of ours in a block.
    async fn sight(
        &self,
        transfer: &Transfer,
        block: BlockRef,
        changes: &mut Changeset,
        touched: &mut Touched,
    ) -> Result<(), ScanError> {
        let id = transfer.identity.deposit_id();
        if touched.deposits.contains_key(&id) {
            let reason = format!(
                "block {} names one transfer twice: {:?} to {}",
                block.hash, transfer.identity.origin, transfer.identity.to
            );
            return Err(ChainError::Inconsistent { reason }.into());
        }
        let before = self.store.deposit(&id).await?;
        if let Some(before) = before {
            if let Some(after) = before.sighted_again(transfer, block) {
                changes.push(update(&before, &after));
                touched.add(after, EventKind::PaymentDetected);
            }
            return Ok(());
        }
        let Some(own) = self.owner(&transfer.identity.to, changes, touched).await? else {
            // Watched for a record that was never made. Nobody was told the address, so this is not a payment; and it must not
            // stop the chain, since whoever knows the derivation path can send to it.
            warn!(to = %transfer.identity.to, origin = ?transfer.identity.origin, "a transfer to an address of ours that was never given out");
            return Ok(());
        };
        let floor = self.catalog.chain(&self.chain).map_or(1, |terms| terms.min_confirmations);
        let confirmations = match &own.invoice {
            Some(invoice) => self.invoice(invoice, touched).await?.terms.confirmations.max(floor),
            None => floor,
        };
        let deposit = Deposit::seen(transfer.clone(), block, own.merchant, own.invoice, confirmations);
        changes.push(Write::CreateDeposit(deposit.clone()));
        touched.add(deposit, EventKind::PaymentDetected);
        Ok(())
    }

    /// What an address is for. An address that is watched ahead and has no record gets one now: it was given out by a
    /// deployment whose store was restored from an older backup, so its deposits are the merchant's and no invoice's.
    async fn owner(
        &self,
        address: &Address,
        changes: &mut Changeset,
        touched: &mut Touched,
    ) -> Result<Option<OwnAddress>, ScanError> {
        if let Some(own) = touched.addresses.get(address) {
            return Ok(Some(own.clone()));
        }
        if let Some(own) = self.store.address(address).await? {
            touched.addresses.insert(*address, own.clone());
            return Ok(Some(own));
        }
        let Some((merchant, index)) = self.indices.claim(address).await else { return Ok(None) };
        warn!(%address, %merchant, index, "a payment to an address that this store never gave out; credited without an invoice");
        let own = OwnAddress { address: *address, merchant, invoice: None, index };
        changes.push(Write::CreateAddress(own.clone()));
        touched.addresses.insert(*address, own.clone());
        Ok(Some(own))
    }

    /// The postings, balances and events of a deposit that has become final.
    async fn credit(
        &self,
        deposit: &Deposit,
        now: Timestamp,
        balances: &mut BTreeMap<(MerchantId, AssetId), (Balance, u64)>,
        changes: &mut Changeset,
        touched: &mut Touched,
    ) -> Result<(), ScanError> {
        let asset = &deposit.transfer.identity.asset;
        let asked = match &deposit.invoice {
            Some(invoice) => self.invoice(invoice, touched).await?.terms.asset == *asset,
            None => true,
        };
        let plausible = deposit.transfer.amount <= Amount::PAYMENT_MAX;
        let expected = asked && plausible;
        if expected {
            let posting = Posting::credit_deposit(deposit, now)?;
            let key = (deposit.merchant.clone(), asset.clone());
            let (balance, revision) = match balances.get(&key) {
                Some(known) => *known,
                None => self.store.balance(&deposit.merchant, asset).await?,
            };
            balances.insert(key, (balance.apply(&posting, &deposit.merchant, asset)?, revision));
            changes.push(Write::Post(posting));
            if deposit.invoice.is_none() {
                let event = self.deposit_event(deposit, EventKind::DepositCredited, now);
                Audience::of_merchant(&deposit.merchant, &self.listeners).record(changes, event);
            }
        } else {
            if plausible {
                warn!(deposit = %deposit.id, asset = %asset, "an invoice's address received another asset; set aside");
            } else {
                error!(
                    deposit = %deposit.id,
                    asset = %asset,
                    amount = %deposit.transfer.amount,
                    "more than any asset has was paid: whoever likes can mint this one, so it should leave the config; set aside"
                );
            }
            changes.push(Write::Post(Posting::suspend_deposit(deposit, now)?));
            let event = self.deposit_event(deposit, EventKind::DepositUnattributed, now);
            let audience = match &deposit.invoice {
                Some(invoice) => Audience::of(self.invoice(invoice, touched).await?, &self.listeners),
                None => Audience::of_merchant(&deposit.merchant, &self.listeners),
            };
            audience.record(changes, event);
        }
        touched.add(deposit.clone(), EventKind::PaymentConfirmed);
        Ok(())
    }

    /// The next revision of every invoice that the deposits touch.
    async fn reassess_touched(
        &self,
        touched: &mut Touched,
        finalized_time: Timestamp,
        changes: &mut Changeset,
    ) -> Result<(), ScanError> {
        for (id, payment_events) in &std::mem::take(&mut touched.by_invoice) {
            let invoice = self.invoice(id, touched).await?.clone();
            let stored = self.store.deposits_of_invoice(id).await?;
            let of_invoice = touched.deposits.values().filter(|deposit| deposit.invoice.as_ref() == Some(id));
            let deposits = replace(&stored, of_invoice.cloned());
            let at = self.clock.now();
            // An address is the same on every chain: what arrives here can belong to an invoice of another one, whose expiry
            // follows the time of that one.
            let asset_chain = &invoice.terms.asset.chain;
            let finalized_time = if *asset_chain == self.chain {
                finalized_time
            } else {
                self.store.cursor(asset_chain).await?.map_or(Timestamp::EPOCH, |cursor| cursor.finalized.time)
            };
            // Whether an open invoice in a native coin has expired is for the settlement to say, which knows how far balances
            // were looked at.
            let is_left_open = invoice.assessment.state.awaits_expiry() && self.catalog.is_native(&invoice.terms.asset);
            let finalized_time =
                if is_left_open { finalized_time.min(invoice.terms.expires_at) } else { finalized_time };
            let facts =
                NewFacts { deposits: &deposits, payment_events, ruling: None, decision: None, finalized_time, at };
            if let Some((next, events)) = reassess(&invoice, facts, self.catalog.as_ref())? {
                record(changes, next, events, &self.listeners);
            }
        }
        Ok(())
    }

    async fn invoice<'t>(&self, id: &InvoiceId, touched: &'t mut Touched) -> Result<&'t Invoice, StoreError> {
        match touched.invoices.entry(id.clone()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let found = self.store.invoice(id).await?;
                Ok(place.insert(found.ok_or_else(|| StoreError::Damaged {
                    table: "invoice",
                    reason: format!("{id} has an address but no record"),
                })?))
            }
        }
    }

    fn deposit_event(&self, deposit: &Deposit, kind: EventKind, at: Timestamp) -> Event {
        Event {
            id: EventId::from_fact(&[deposit.id.as_str(), kind.name()]),
            kind,
            at,
            merchant: deposit.merchant.clone(),
            invoice: deposit.invoice.clone(),
            deposit: Some(deposit.id.clone()),
            // Not one of the invoice's own numbered events.
            sequence: 0,
            data_json: to_json(&DepositEventData { deposit: PaymentSnapshot::new(deposit, self.catalog.as_ref()) }),
        }
    }
}

fn update(before: &Deposit, after: &Deposit) -> Write {
    Write::UpdateDeposit { before: Box::new(before.clone()), after: Box::new(after.clone()) }
}

pub(super) fn next_revision(cursor: &Cursor) -> Cursor {
    Cursor { revision: cursor.revision.saturating_add(1), ..cursor.clone() }
}

/// `known` with `newer` in place of, or besides, the deposits of the same id.
fn replace(known: &[Deposit], newer: impl IntoIterator<Item = Deposit>) -> Vec<Deposit> {
    let mut all: BTreeMap<DepositId, Deposit> =
        known.iter().map(|deposit| (deposit.id.clone(), deposit.clone())).collect();
    all.extend(newer.into_iter().map(|deposit| (deposit.id.clone(), deposit)));
    all.into_values().collect()
}
