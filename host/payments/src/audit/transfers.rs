//! I3 on the chain: every transfer to an address of ours has its deposit, and every deposit its transfer.
//!
//! One direction reads the chain, run by run, and looks each transfer up in the store. For the other, deposits are counted:
//! where each transfer found its own deposit and there are no more deposits than transfers, no deposit is without one. Only
//! where the numbers differ is every deposit looked up on the chain.

use xthonpay_domain::block::{BlockNumber, BlockRange, BlockRef};
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::hash::BlockHash;
use xthonpay_domain::text::ChainName;
use xthonpay_domain::transfer::{BlockTransfers, RangeTransfers, Transfer};

use super::pace::Pace;
use super::report::{Findings, Invariant, count};
use super::{Audit, AuditError, BLOCKS_DEFAULT, Chain, From};
use crate::port::chain::{ChainError, ChainSource};
use crate::port::store::{Cursor, READ_LIMIT_MAX, StoreError};
use crate::scanning::beginning::{CLOCK_MARGIN, earlier, newest_before};
use crate::scanning::watch_set::WatchSet;

/// Blocks that are read at once: some 10 MB where every block holds a hundred transfers.
const BLOCKS_AT_ONCE: u64 = 500;

/// Transfers that are looked at again at once. Bounds the memory.
const SUSPECTS_MAX: usize = 1_000;
/// Steps within which a scanner credits what has become final, 100 deposits each.
const STEPS_TO_CREDIT: u64 = 3;

/// The lowest block that can hold a transfer: the genesis block has no transaction.
const BLOCK_FIRST: BlockNumber = BlockNumber(1);

/// Something wrong about a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Misrecorded {
    /// It is not credited, and how it can be. More is there than was credited, so nothing has to stop for it.
    Uncredited(String),
    /// It is credited as something else.
    Differently(String),
}

/// What is wrong with what is stored of a transfer in a final block.
fn misrecorded(
    transfer: &Transfer,
    block: &BlockRef,
    stored: Option<&Deposit>,
    cursor: &Cursor,
) -> Option<Misrecorded> {
    let uncredited = |what| Some(Misrecorded::Uncredited(what));
    let differently = |what| Some(Misrecorded::Differently(what));
    let Some(deposit) = stored else {
        return uncredited(format!(
            "it has no deposit; run `xthonpay rescan --from {0} --to {0}`, which says so if its coins are credited already",
            block.number
        ));
    };
    let id = &deposit.id;
    if deposit.transfer.amount != transfer.amount {
        return differently(format!(
            "deposit {id} has the amount {}; correct it by a posting",
            deposit.transfer.amount
        ));
    }
    if deposit.block.hash != block.hash {
        return differently(format!(
            "deposit {id} is recorded in block {} {}",
            deposit.block.number, deposit.block.hash
        ));
    }
    match deposit.state {
        DepositState::Final => None,
        // It may still await confirmations.
        DepositState::Seen if !deposit.is_creditable(&cursor.finalized, &cursor.tip) => None,
        DepositState::Seen => {
            uncredited(format!("deposit {id} is not credited; restart the host, and if that does not help rescan"))
        }
        DepositState::Orphaned => {
            uncredited(format!("deposit {id} is recorded as gone from the chain; rescan the block"))
        }
    }
}

/// What is wrong with a deposit whose transaction the chain shows like this.
fn unfounded(deposit: &Deposit, shown: Option<&BlockTransfers>) -> Option<&'static str> {
    let Some(shown) = shown else {
        return Some("its transaction is not on the chain; stop withdrawals and find out why it was believed");
    };
    let same = |transfer: &&Transfer| transfer.identity == deposit.transfer.identity;
    match shown.transfers.iter().find(same) {
        None => Some("its transaction does not make this transfer; stop withdrawals and correct it by a posting"),
        Some(transfer) if transfer.amount != deposit.transfer.amount => {
            Some("its transaction moves another amount; stop withdrawals and correct it by a posting")
        }
        Some(_) if shown.block.hash != deposit.block.hash => Some("its transaction is in another block"),
        Some(_) => None,
    }
}

/// Deposits that a run of blocks must account for.
struct InRange<'a> {
    chain: &'a ChainName,
    range: BlockRange,
}

impl InRange<'_> {
    /// Whether the deposit is final, and was found in a transaction of these blocks.
    fn holds(&self, deposit: &Deposit) -> bool {
        let identity = &deposit.transfer.identity;
        let number = deposit.block.number;
        identity.asset.chain == *self.chain
            && deposit.state == DepositState::Final
            && identity.origin.tx().is_some()
            && (self.range.first()..=self.range.last()).contains(&number)
    }
}

impl Audit {
    /// Holds the transfers of a chain's final blocks and the deposits in them against each other.
    pub(super) async fn transfers(
        &self,
        chain: &Chain<'_>,
        from: From,
        findings: &mut Findings,
        pace: &mut Pace<'_>,
    ) -> Result<(), AuditError> {
        let name = &chain.cursor.chain;
        let first = self.first_block(chain, from).await?;
        let Some(range) = BlockRange::new(first, chain.cursor.finalized.number) else {
            findings.omit(format!("I3: no final block of {name} from {first} on"), false);
            return Ok(());
        };
        if let Some(audited) = findings.chain(name) {
            audited.from = Some(range.first().0);
        }
        if from != From::Beginning && range.first() > BLOCK_FIRST {
            let below = format!("I3: transfers of {name} below block {}; audit with --full for all", range.first());
            findings.omit(below, false);
        }
        let within = InRange { chain: name, range };
        let accounted = self.every_transfer(chain, range, findings, pace).await?;
        if self.count_deposits(&within).await? > accounted {
            self.every_deposit(chain.source, &within, findings, pace).await?;
        }
        Ok(())
    }

    /// Where to begin.
    async fn first_block(&self, chain: &Chain<'_>, from: From) -> Result<BlockNumber, AuditError> {
        let finalized = chain.cursor.finalized;
        let first = match from {
            From::Recent => BlockNumber(finalized.number.0.saturating_sub(BLOCKS_DEFAULT).saturating_add(1)),
            From::Block(number) => number,
            From::Beginning => match self.oldest_merchant().await? {
                Some(made_at) => newest_before(chain.source, finalized, earlier(made_at, CLOCK_MARGIN)).await?.number,
                None => finalized.number,
            },
        };
        Ok(first.max(BLOCK_FIRST))
    }

    /// When the first merchant was made; before that no address of ours was known to anybody.
    async fn oldest_merchant(&self) -> Result<Option<xthonpay_domain::time::Timestamp>, StoreError> {
        let (mut oldest, mut after) = (None, None);
        loop {
            let page = self.store.merchants(after.as_ref(), READ_LIMIT_MAX).await?;
            let Some(last) = page.last() else { return Ok(oldest) };
            after = Some(last.id.clone());
            let of_page = page.iter().map(|merchant| merchant.created_at).min();
            oldest = [oldest, of_page].into_iter().flatten().min();
        }
    }

    /// Looks up the deposit of every transfer; returns how many have one that is final.
    async fn every_transfer(
        &self,
        chain: &Chain<'_>,
        range: BlockRange,
        findings: &mut Findings,
        pace: &mut Pace<'_>,
    ) -> Result<u64, AuditError> {
        // Of its own: an address that the host has forgotten to watch is what this is to find.
        let ours = WatchSet::default();
        ours.load(self.store.as_ref()).await?;
        let (mut rest, mut below, mut accounted) = (Some(range), None, 0);
        let mut suspects = Vec::new();
        while let Some(left) = rest {
            let (part, more) = left.split_first(BLOCKS_AT_ONCE);
            let found = agreed_run(chain.source, part, below).await?;
            for of_block in &found.blocks {
                for transfer in of_block.transfers.iter().filter(|transfer| !transfer.amount.is_zero()) {
                    if ours.contains(&transfer.identity.to) {
                        count(&mut findings.checked.chain_transfers);
                        if self.transfer(chain, transfer, &of_block.block, &mut accounted).await?.is_none() {
                            continue;
                        }
                        suspects.push((transfer.clone(), of_block.block));
                        if suspects.len() >= SUSPECTS_MAX {
                            self.look_again(chain, &mut suspects, &mut accounted, findings).await?;
                        }
                    }
                }
            }
            let checked = &mut findings.checked.chain_blocks;
            *checked = checked.saturating_add(part.blocks());
            pace.tell(|| {
                format!("chain {}: blocks up to {} of {} read", chain.cursor.chain, part.last(), range.last())
            });
            (rest, below) = (more, Some(found.last.hash));
        }
        self.look_again(chain, &mut suspects, &mut accounted, findings).await?;
        Ok(accounted)
    }

    /// Tells what is wrong with these transfers, as far as a running host does not put it right within a moment: what it has
    /// processed as final is credited with its next step.
    async fn look_again(
        &self,
        chain: &Chain<'_>,
        suspects: &mut Vec<(Transfer, BlockRef)>,
        accounted: &mut u64,
        findings: &mut Findings,
    ) -> Result<(), AuditError> {
        let name = &chain.cursor.chain;
        if suspects.is_empty() {
            return Ok(());
        }
        if let Some(now) = self.store.cursor(name).await? {
            let steps = now.revision.saturating_add(STEPS_TO_CREDIT);
            self.wait_for(name, |cursor| cursor.revision >= steps).await?;
        }
        for (transfer, block) in suspects.drain(..) {
            let Some(wrong) = self.transfer(chain, &transfer, &block, accounted).await? else { continue };
            let identity = &transfer.identity;
            let tx = identity.origin.tx().map_or_else(|| "no transaction".to_owned(), |tx| tx.to_string());
            let subject = format!("{} {} to {} in {tx}", transfer.amount, identity.asset, identity.to);
            match wrong {
                Misrecorded::Uncredited(detail) => findings.breach(Invariant::Deposits, None, subject, detail),
                Misrecorded::Differently(detail) => findings.breach(Invariant::Deposits, Some(name), subject, detail),
            }
        }
        Ok(())
    }

    /// Looks up the deposit of a transfer, counts it if it is final, and says what is wrong with it.
    async fn transfer(
        &self,
        chain: &Chain<'_>,
        transfer: &Transfer,
        block: &BlockRef,
        accounted: &mut u64,
    ) -> Result<Option<Misrecorded>, AuditError> {
        let stored = self.store.deposit(&transfer.identity.deposit_id()).await?;
        if stored
            .as_ref()
            .is_some_and(|deposit| deposit.state == DepositState::Final && deposit.block.hash == block.hash)
        {
            count(accounted);
        }
        Ok(misrecorded(transfer, block, stored.as_ref(), &chain.cursor))
    }

    async fn count_deposits(&self, within: &InRange<'_>) -> Result<u64, StoreError> {
        let (mut counted, mut after) = (0_u64, None);
        loop {
            let page = self.store.deposits(after.as_ref(), READ_LIMIT_MAX).await?;
            let Some(last) = page.last() else { return Ok(counted) };
            after = Some(last.id.clone());
            page.iter().filter(|deposit| within.holds(deposit)).for_each(|_| count(&mut counted));
        }
    }

    /// Looks up the transaction of every deposit.
    async fn every_deposit(
        &self,
        source: &dyn ChainSource,
        within: &InRange<'_>,
        findings: &mut Findings,
        pace: &mut Pace<'_>,
    ) -> Result<(), AuditError> {
        let mut after = None;
        loop {
            let page = self.store.deposits(after.as_ref(), READ_LIMIT_MAX).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id.clone());
            for deposit in page.iter().filter(|deposit| within.holds(deposit)) {
                let Some(tx) = deposit.transfer.identity.origin.tx() else { continue };
                let shown = source.transfers_of(tx).await?;
                if let Some(detail) = unfounded(deposit, shown.as_ref()) {
                    findings.breach(Invariant::Deposits, Some(within.chain), &deposit.id, detail);
                }
                pace.tell(|| format!("chain {}: looking up each deposit", within.chain));
            }
        }
    }
}

/// The transfers of a run whose last block the nodes agree on, and which stands on the block `below`.
async fn agreed_run(
    source: &dyn ChainSource,
    run: BlockRange,
    below: Option<BlockHash>,
) -> Result<RangeTransfers, ChainError> {
    let found = source.transfers_in(run).await?;
    let agreed = source.final_block(run.last()).await?;
    let agreed = agreed.ok_or_else(|| ChainError::Unavailable {
        reason: format!("the nodes do not agree on block {} yet", run.last()),
    })?;
    if agreed.hash != found.last.hash || below.is_some_and(|below| below != found.parent) {
        return Err(ChainError::Inconsistent { reason: format!("the blocks {run} are not those of the final chain") });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use xthonpay_domain::address::Address;
    use xthonpay_domain::amount::Amount;
    use xthonpay_domain::hash::TxHash;
    use xthonpay_domain::id::{ID_BYTES, MerchantId};
    use xthonpay_domain::time::Timestamp;
    use xthonpay_domain::transfer::{Origin, TransferIdentity};

    use super::*;

    fn block(number: u8) -> BlockRef {
        BlockRef {
            number: BlockNumber(number.into()),
            hash: BlockHash::new([number; 32]),
            parent: BlockHash::new([number.saturating_sub(1); 32]),
            time: Timestamp::EPOCH,
        }
    }

    fn transfer(units: u128) -> Transfer {
        let asset = "bsc:USDT".parse().expect("well formed");
        let origin = Origin::Transaction { tx: TxHash::new([7; 32]), nth: 0 };
        let identity = TransferIdentity { asset, to: Address::new([1; 20]), origin };
        Transfer { identity, from: None, amount: Amount::from_units(units) }
    }

    fn deposit(units: u128, number: u8) -> Deposit {
        Deposit::seen(transfer(units), block(number), MerchantId::from_random([1; ID_BYTES]), None, 3)
    }

    fn done(units: u128, number: u8) -> Deposit {
        deposit(units, number).finalised().expect("seen")
    }

    #[test]
    fn a_transfer_has_one_deposit_that_is_like_it() {
        let chain: ChainName = "bsc".parse().expect("well formed");
        let at = |tip, finalized| Cursor {
            chain: chain.clone(),
            tip: block(tip),
            finalized: block(finalized),
            frozen: None,
            revision: 1,
        };
        let gone = deposit(5, 10).orphaned().expect("seen");
        // What is stored, the cursor, and a part of what is told.
        let cases = [
            (Some(done(5, 10)), at(12, 11), None),
            (None, at(12, 11), Some("no deposit")),
            (Some(done(6, 10)), at(12, 11), Some("the amount 6")),
            (Some(done(5, 9)), at(12, 11), Some("in block 9")),
            (Some(deposit(5, 10)), at(11, 11), None),
            (Some(deposit(5, 10)), at(12, 11), Some("not credited")),
            (Some(gone), at(12, 11), Some("gone from the chain")),
        ];
        for (stored, cursor, told) in cases {
            let found = misrecorded(&transfer(5), &block(10), stored.as_ref(), &cursor);
            let fits = match (&found, told) {
                (Some(Misrecorded::Uncredited(found) | Misrecorded::Differently(found)), Some(told)) => {
                    found.contains(told)
                }
                (None, None) => true,
                _ => false,
            };
            assert!(fits, "{stored:?} {cursor:?}: {found:?}");
        }
    }

    #[test]
    fn a_deposit_has_one_transfer_that_is_like_it() {
        let shown = |units, number| BlockTransfers { block: block(number), transfers: vec![transfer(units)] };
        let empty = BlockTransfers { block: block(10), transfers: Vec::new() };
        assert_eq!(unfounded(&done(5, 10), Some(&shown(5, 10))), None);
        for wrong in [None, Some(empty), Some(shown(6, 10)), Some(shown(5, 11))] {
            assert!(unfounded(&done(5, 10), wrong.as_ref()).is_some(), "{wrong:?}");
        }
    }
}
