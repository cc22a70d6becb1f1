//! The blocks: linking, finality, forks, and how many are kept.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sha2::{Digest, Sha256};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, AmountError};
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::hash::{BlockHash, TxHash};
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::{BlockTransfers, Origin, Transfer, TransferIdentity};
use xthonpay_payments::port::simulation::{FINAL_BEHIND, ForkRefused, Movement, Way};

use crate::assets::PAYER;

/// Blocks that are kept: four times as many as the highest number of confirmations that rules can ask for, so that a scanner
/// finds whatever it has not processed yet. Some 2 MB, three hours of the chain.
const BLOCKS_KEPT_MAX: usize = 4_000;
/// Movements of the native coin that balances are made of: about 6 MB. The oldest are forgotten first, when the invoices that
/// they paid are long closed and nobody reads their balances any more.
const COINS_KEPT_MAX: usize = 100_000;
/// What a block's time is above that of the block below at least, so that one can be made that comes after any other.
const TIME_STEP: Duration = Duration::from_millis(1);

/// One block.
#[derive(Clone, Debug)]
struct Block {
    at: BlockRef,
    movements: Vec<Movement>,
}

/// Native coins that came to an address.
#[derive(Clone, Copy, Debug)]
struct Coins {
    block: BlockNumber,
    to: Address,
    amount: Amount,
}

/// The chain's newest blocks.
pub(crate) struct Blocks {
    native: AssetId,
    /// The oldest first, each linked to the one before it; never empty.
    kept: VecDeque<Block>,
    /// The block with which this process began. It and all below it are final, whatever its depth.
    start: BlockNumber,
    /// What came in since then, the lowest block first.
    coins: VecDeque<Coins>,
    /// What addresses held then.
    before: BTreeMap<Address, Amount>,
    /// Blocks that were ever made here. Goes into their hashes, so that no two are the same.
    made: u64,
}

impl Blocks {
    /// A chain that goes on above `tip`, or begins with a first block at `now`.
    pub(crate) fn new(
        native: AssetId,
        tip: Option<BlockRef>,
        before: BTreeMap<Address, Amount>,
        now: Timestamp,
    ) -> Self {
        let at = tip.unwrap_or_else(|| first(now));
        let kept = VecDeque::from([Block { at, movements: Vec::new() }]);
        Self { native, kept, start: at.number, coins: VecDeque::new(), before, made: 0 }
    }

    /// The newest block.
    pub(crate) fn head(&self) -> BlockRef {
        self.kept.back().expect("there is always a block").at
    }

    /// The newest final block.
    pub(crate) fn finalized(&self) -> BlockRef {
        let number = self.finalized_number();
        self.kept_at(number).expect("the blocks above the final one are few").at
    }

    fn finalized_number(&self) -> BlockNumber {
        BlockNumber(self.head().number.0.saturating_sub(FINAL_BEHIND)).max(self.start)
    }

    /// The block at a height, if it is kept.
    pub(crate) fn at(&self, number: BlockNumber) -> Option<BlockRef> {
        self.kept_at(number).map(|block| block.at)
    }

    fn kept_at(&self, number: BlockNumber) -> Option<&Block> {
        let lowest = self.kept.front()?.at.number;
        let place = number.0.checked_sub(lowest.0)?;
        self.kept.get(usize::try_from(place).ok()?)
    }

    /// The block at a height with its transfers, if it is kept.
    pub(crate) fn transfers_at(&self, number: BlockNumber) -> Option<BlockTransfers> {
        Some(self.kept_at(number)?.transfers(&self.native))
    }

    /// The block with a transaction, and the transfers of that transaction alone.
    pub(crate) fn transfers_of(&self, tx: TxHash) -> Option<BlockTransfers> {
        let shows = |movement: &Movement| movement.way == Way::Transaction(tx);
        let block = self.kept.iter().find(|block| block.movements.iter().any(shows))?;
        let mut found = block.transfers(&self.native);
        found.transfers.retain(|transfer| transfer.identity.origin.tx() == Some(tx));
        Some(found)
    }

    /// Puts a block on top.
    pub(crate) fn mine(&mut self, movements: &[Movement], now: Timestamp) -> BlockRef {
        let below = self.head();
        let number = below.number.next().expect("a chain of 2^64 blocks is never reached");
        let time = now.max(below.time.after(TIME_STEP));
        self.made = self.made.saturating_add(1);
        let hash = hash(number, below.hash, time, self.made, movements);
        let at = BlockRef { number, hash, parent: below.hash, time };
        let in_coins = movements.iter().filter(|movement| movement.asset == self.native);
        self.coins.extend(in_coins.map(|movement| Coins { block: number, to: movement.to, amount: movement.amount }));
        self.kept.push_back(Block { at, movements: movements.to_vec() });
        self.forget();
        at
    }

    /// Replaces the blocks from `from` on by others, one more than there were.
    pub(crate) fn fork(&mut self, from: BlockNumber, without: TxHash, now: Timestamp) -> Result<BlockRef, ForkRefused> {
        if from <= self.finalized_number() || from > self.head().number {
            return Err(ForkRefused { from });
        }
        let is_below = |block: &Block| block.at.number < from;
        let replaced = self.kept.split_off(self.kept.partition_point(is_below));
        self.coins.truncate(self.coins.partition_point(|coins| coins.block < from));
        let movements = replaced.iter().flat_map(|block| block.movements.iter());
        let again: Vec<Movement> =
            movements.filter(|movement| movement.way != Way::Transaction(without)).cloned().collect();
        let mut head = self.mine(&again, now);
        for _ in replaced {
            head = self.mine(&[], now);
        }
        Ok(head)
    }

    /// What addresses hold of the native coin at a block of this process.
    pub(crate) fn balances(&self, at: BlockNumber, addresses: &[Address]) -> Result<Vec<Amount>, AmountError> {
        let mut held: BTreeMap<Address, Amount> =
            addresses.iter().map(|address| (*address, self.before.get(address).copied().unwrap_or_default())).collect();
        for coins in self.coins.iter().take_while(|coins| coins.block <= at) {
            if let Some(held) = held.get_mut(&coins.to) {
                *held = held.checked_add(coins.amount)?;
            }
        }
        Ok(addresses.iter().map(|address| held.get(address).copied().unwrap_or_default()).collect())
    }

    /// Drops what is more than is kept, the oldest first.
    fn forget(&mut self) {
        if self.kept.len() > BLOCKS_KEPT_MAX {
            self.kept.pop_front();
        }
        while self.coins.len() > COINS_KEPT_MAX {
            self.coins.pop_front();
        }
    }
}

impl Block {
    /// The block as a scanner sees it.
    fn transfers(&self, native: &AssetId) -> BlockTransfers {
        let transfer = |movement: &Movement| match movement.way {
            Way::PassedOn => None,
            Way::Transaction(tx) => Some(Transfer {
                identity: TransferIdentity {
                    asset: movement.asset.clone(),
                    to: movement.to,
                    // Every movement has a transaction of its own.
                    origin: Origin::Transaction { tx, nth: 0 },
                },
                // Nothing proves who sent the chain's own coin.
                from: (movement.asset != *native).then_some(PAYER),
                amount: movement.amount,
            }),
        };
        BlockTransfers { block: self.at, transfers: self.movements.iter().filter_map(transfer).collect() }
    }
}

/// The lowest block.
fn first(now: Timestamp) -> BlockRef {
    let (number, parent) = (BlockNumber(0), BlockHash::new([0; 32]));
    BlockRef { number, hash: hash(number, parent, now, 0, &[]), parent, time: now }
}

/// A hash over all that makes a block what it is.
fn hash(number: BlockNumber, parent: BlockHash, time: Timestamp, made: u64, movements: &[Movement]) -> BlockHash {
    let mut hasher = Sha256::new();
    hasher.update("xthonpay simulated block");
    hasher.update(parent.as_bytes());
    for count in [number.0, time.as_millis(), made] {
        hasher.update(count.to_be_bytes());
    }
    for movement in movements {
        hasher.update(movement.to.as_bytes());
        hasher.update(movement.amount.to_be_bytes());
        if let Way::Transaction(tx) = movement.way {
            hasher.update(tx.as_bytes());
        }
    }
    BlockHash::new(hasher.finalize().into())
}
