//! A second set of books, kept from what was really stored.
//!
//! Sees every changeset right after the store took it, applies it to plain maps, and holds it at once against the chain: no
//! posting above the agreed final height or while the chain is frozen, no deposit and no event twice, no final deposit that
//! changes, balances that equal the postings, and a cursor that moves along the chain. It decides by the chain itself and by
//! arithmetic of its own, never by the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::event::Event;
use xthonpay_domain::id::{DeliveryId, DepositId, EventId, InvoiceId, MerchantId, PostingId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::assessment::InvoiceState;
use xthonpay_domain::invoice::resolution::Choice;
use xthonpay_domain::ledger::{Account, Balance, Posting, Side};
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::Origin;
use xthonpay_payments::port::store::{Changeset, Cursor, Delivery, Merchant, OwnAddress, Write};
use xthonpay_tests::scripted_nodes::ScriptedNodes;

use crate::findings::{Findings, Kind};

/// Everything that was stored.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) merchants: BTreeMap<MerchantId, Merchant>,
    pub(crate) addresses: BTreeMap<Address, OwnAddress>,
    pub(crate) invoices: BTreeMap<InvoiceId, Invoice>,
    pub(crate) deposits: BTreeMap<DepositId, Deposit>,
    pub(crate) postings: BTreeMap<PostingId, Posting>,
    pub(crate) balances: BTreeMap<(MerchantId, AssetId), Balance>,
    pub(crate) events: BTreeMap<EventId, Event>,
    pub(crate) deliveries: BTreeMap<DeliveryId, Delivery>,
    pub(crate) routed: BTreeSet<EventId>,
    pub(crate) cursor: Option<Cursor>,
    /// What merchants decided, by invoice.
    pub(crate) decisions: BTreeMap<InvoiceId, Decisions>,
    /// Deposits that were credited on a chain whose finality broke afterwards: nothing is taken back for them.
    pub(crate) excused: BTreeMap<DepositId, Deposit>,
    /// Whether finality ever broke: the time of the chain went back with it.
    pub(crate) finality_broke: bool,
    /// The latest time that the final block of the cursor ever had.
    pub(crate) final_time: Timestamp,
    /// Whether a node ever hid transfers.
    pub(crate) hidden: bool,
    /// Changesets that were stored.
    pub(crate) commits: usize,
    pub(crate) findings: Findings,
}

/// What a merchant decided about an invoice so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Decisions {
    /// How often it was withdrawn: never more than once.
    pub(crate) cancelled: usize,
    /// How often it was resolved.
    pub(crate) resolved: usize,
    /// Whether it was ever accepted with what was there.
    pub(crate) accepted: bool,
}

/// Watches one deployment.
pub(crate) struct Witness {
    chain: Arc<ScriptedNodes>,
    /// Confirmations that every deposit needs besides finality.
    min_confirmations: u64,
    record: Mutex<Record>,
}

impl Witness {
    pub(crate) fn new(chain: Arc<ScriptedNodes>, min_confirmations: u64) -> Self {
        Self { chain, min_confirmations, record: Mutex::default() }
    }

    /// What is known so far.
    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A changeset was stored.
    pub(crate) fn stored(&self, changes: &Changeset) {
        let mut record = self.record();
        record.commits = record.commits.saturating_add(1);
        let frozen = record.cursor.as_ref().is_some_and(|cursor| cursor.frozen.is_some());
        for write in &changes.writes {
            record.apply(write);
            match write {
                Write::Post(posting) => self.judge_posting(posting, frozen, &mut record),
                Write::SetCursor(cursor) => self.judge_cursor(cursor, &mut record),
                _ => {}
            }
        }
        record.judge_balances(changes);
    }

    /// A posting is only for what is final now, on the chain as it really is.
    fn judge_posting(&self, posting: &Posting, frozen: bool, record: &mut Record) {
        let cause = posting.cause().to_owned();
        record.findings.expect(!frozen, Kind::Premature, || format!("{cause} was posted while the chain is frozen"));
        let Some(deposit) = cause.parse().ok().and_then(|id: DepositId| record.deposits.get(&id)).cloned() else {
            return record.findings.add(Kind::Doubled, format!("{cause} was posted without a deposit"));
        };
        let is_final = deposit.block.number <= self.chain.finalized_number();
        record.findings.expect(is_final, Kind::Premature, || {
            format!("{cause} of block {} was credited before it was final", deposit.block.number)
        });
        let tip = record.cursor.as_ref().map(|cursor| cursor.tip.number);
        let confirmations = tip.map_or(0, |tip| deposit.block.number.confirmations(tip));
        record.findings.expect(confirmations >= self.min_confirmations, Kind::Premature, || {
            format!("{cause} was credited with {confirmations} confirmations")
        });
        let mined = self.chain.block_at(deposit.block.number);
        let on_chain = match deposit.transfer.identity.origin {
            Origin::Transaction { .. } => mined.is_some_and(|mined| mined.found.transfers.contains(&deposit.transfer)),
            // Whether the balances bear it is seen at the end, when all of them are known.
            Origin::Balance { .. } => mined.is_some_and(|mined| mined.found.block.hash == deposit.block.hash),
        };
        record.findings.expect(on_chain, Kind::Premature, || {
            format!("{cause} was credited, and block {} of the chain does not hold it", deposit.block.number)
        });
    }

    fn judge_cursor(&self, next: &Cursor, record: &mut Record) {
        let before = record.cursor.replace(next.clone());
        let finalized = next.finalized;
        record.final_time = record.final_time.max(finalized.time);
        let moved = before.as_ref().is_none_or(|before| before.finalized != finalized);
        let agreed = finalized.number <= self.chain.finalized_number()
            && self.chain.block_at(finalized.number).is_some_and(|mined| mined.found.block.hash == finalized.hash);
        record.findings.expect(!moved || agreed, Kind::Premature, || {
            format!("the final mark went to block {} {}, which is not final", finalized.number, finalized.hash)
        });
        let Some(before) = before else { return };
        let resumed = before.frozen.is_some() && next.frozen.is_none();
        let findings = &mut record.findings;
        findings.expect(next.revision == before.revision.saturating_add(1), Kind::Wrong, || {
            format!("the cursor went from revision {} to {}", before.revision, next.revision)
        });
        findings.expect(resumed || finalized.number >= before.finalized.number, Kind::Wrong, || {
            format!("the final mark went back from block {} to {}", before.finalized.number, finalized.number)
        });
        let (from, to) = (before.tip, next.tip);
        // One block up by its parent, one block back by its parent, a run of final blocks, or an operator's word.
        let linked = to == from || to.parent == from.hash || to.hash == from.parent;
        let run = to.number > from.number && to.number <= self.chain.finalized_number();
        findings.expect(linked || run || resumed, Kind::Wrong, || {
            format!("the tip went from block {} {} to {} {}", from.number, from.hash, to.number, to.hash)
        });
        findings.expect(finalized.number <= to.number, Kind::Wrong, || "the final mark is above the tip".to_owned());
    }
}

impl Record {
    fn apply(&mut self, write: &Write) {
        match write {
            Write::CreateMerchant(merchant) => {
                self.merchants.insert(merchant.id.clone(), merchant.clone());
            }
            Write::CreateAddress(own) => {
                let known = self.addresses.insert(own.address, own.clone());
                self.findings.expect(known.is_none(), Kind::Wrong, || format!("{} was given out twice", own.address));
            }
            Write::CreateInvoice(invoice) | Write::UpdateInvoice(invoice) => {
                let before = self.invoices.insert(invoice.id.clone(), Invoice::clone(invoice));
                self.judge_decision(before.as_ref(), invoice);
            }
            Write::CreateDeposit(deposit) => {
                let known = self.deposits.insert(deposit.id.clone(), deposit.clone());
                self.findings.expect(known.is_none(), Kind::Doubled, || format!("{} was made twice", deposit.id));
            }
            Write::UpdateDeposit { after, .. } => {
                let before = self.deposits.insert(after.id.clone(), Deposit::clone(after));
                let was_final = before.is_none_or(|before| before.state == DepositState::Final);
                self.findings.expect(!was_final, Kind::Wrong, || format!("{} changed when it was final", after.id));
            }
            Write::Post(posting) => {
                let twice = self.postings.values().any(|known| known.cause() == posting.cause());
                self.postings.insert(posting.id().clone(), posting.clone());
                self.findings.expect(!twice, Kind::Doubled, || format!("{} was posted twice", posting.cause()));
            }
            Write::SetBalance { merchant, asset, balance, .. } => {
                self.balances.insert((merchant.clone(), asset.clone()), *balance);
            }
            Write::CreateEvent(event) => {
                let known = self.events.insert(event.id.clone(), event.clone());
                self.findings.expect(known.is_none(), Kind::Doubled, || format!("{} was told twice", event.id));
            }
            Write::CreateDelivery(delivery) | Write::UpdateDelivery(delivery) => {
                self.deliveries.insert(delivery.id.clone(), Delivery::clone(delivery));
            }
            Write::MarkRouted(event) => {
                self.routed.insert(event.clone());
            }
            Write::CreateKey(_)
            | Write::UpdateKey(_)
            | Write::NoteKeyUse { .. }
            | Write::CreateEndpoint(_)
            | Write::UpdateEndpoint(_)
            | Write::PutItem(_)
            | Write::RecordAttestation(_)
            | Write::KeepAnswer(_)
            | Write::PutBlock { .. }
            | Write::SetCursor(_)
            | Write::UseSignature(_) => {}
        }
    }

    /// A merchant cancels only what nobody paid, and decides about what is final and nothing else.
    fn judge_decision(&mut self, before: Option<&Invoice>, after: &Invoice) {
        let id = &after.id;
        let paid = self.deposits.values().filter(|deposit| {
            let identity = &deposit.transfer.identity;
            identity.to == after.address && identity.asset == after.terms.asset
        });
        let paid: Vec<&Deposit> = paid.collect();
        let is_cancelled = after.assessment.state == InvoiceState::Cancelled;
        let was_cancelled = before.is_some_and(|before| before.assessment.state == InvoiceState::Cancelled);
        let made = self.decisions.entry(id.clone()).or_default();
        if is_cancelled && !was_cancelled {
            made.cancelled = made.cancelled.saturating_add(1);
            let untouched = paid.iter().all(|deposit| deposit.state == DepositState::Orphaned);
            self.findings.expect(untouched, Kind::Wrong, || format!("{id} was cancelled with money on it"));
        }
        let resolution = after.resolution.as_ref();
        if resolution == before.and_then(|before| before.resolution.as_ref()) {
            return;
        }
        made.resolved = made.resolved.saturating_add(1);
        let Some(resolution) = resolution else {
            return self.findings.add(Kind::Lost, format!("what was decided about {id} is gone"));
        };
        made.accepted |= resolution.choice == Choice::Accept;
        let is_final = paid.iter().filter(|deposit| deposit.state == DepositState::Final);
        let sum = Amount::sum(is_final.map(|deposit| deposit.transfer.amount)).unwrap_or(Amount::MAX);
        self.findings.expect(resolution.judged == sum, Kind::Premature, || {
            format!("{id} was decided about with {} of which {sum} is final", resolution.judged)
        });
        let takes_something = match &resolution.choice {
            Choice::Accept => !sum.is_zero(),
            Choice::Refund { amount, .. } => !amount.is_zero() && *amount <= sum,
            Choice::Ignore => true,
        };
        self.findings.expect(takes_something, Kind::Wrong, || format!("{id}: {resolution:?} about {sum}"));
    }

    /// The balances that a changeset touches are the sums of the postings.
    fn judge_balances(&mut self, changes: &Changeset) {
        let posts = changes.writes.iter().any(|write| matches!(write, Write::Post(_) | Write::SetBalance { .. }));
        if posts {
            let sums = self.sums();
            let stored: BTreeMap<_, _> =
                self.balances.iter().filter(|(_, balance)| **balance != Balance::default()).collect();
            let equal = stored.len() == sums.len()
                && stored.iter().all(|(key, balance)| sums.get(*key) == Some(&balance.available));
            self.findings.expect(equal, Kind::Wrong, || {
                format!("the balances {stored:?} are not the sums of the postings {sums:?}")
            });
        }
    }

    /// What merchants have by the postings, computed without the domain's own rule; nothing is spent here.
    pub(crate) fn sums(&self) -> BTreeMap<(MerchantId, AssetId), Amount> {
        let mut sums: BTreeMap<(MerchantId, AssetId), Amount> = BTreeMap::new();
        for line in self.postings.values().flat_map(Posting::lines).filter(|line| line.side == Side::Credit) {
            if let Account::MerchantAvailable(merchant) = &line.account {
                let sum = sums.entry((merchant.clone(), line.asset.clone())).or_default();
                *sum = sum.checked_add(line.amount).unwrap_or(Amount::MAX);
            }
        }
        sums
    }

    /// Deposits that are credited or set aside.
    pub(crate) fn final_deposits(&self) -> impl Iterator<Item = &Deposit> {
        self.deposits.values().filter(|deposit| deposit.state == DepositState::Final)
    }
}
