//! A chain that does what a test says: mines, forks, becomes final, hides blocks, fails.
//!
//! The script may break every promise of a real chain; the answers are always those of the state at that moment. Time passes
//! with blocks only.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRange, BlockRef};
use xthonpay_domain::hash::{BlockHash, TxHash};
use xthonpay_domain::text::ChainName;
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::{BlockTransfers, Origin, RangeTransfers, Transfer, TransferIdentity};
use xthonpay_payments::port::chain::{ChainError, ChainSource, SourceReport};

/// The time between two blocks unless the script lets more pass: that of BNB Smart Chain.
pub const BLOCK_TIME: Duration = Duration::from_millis(450);

/// What a unit of gas costs on every scripted chain, in base units.
pub(crate) const GAS_PRICE: u128 = 50_000_000;
/// The sender of every payment.
pub const PAYER: Address = Address::new([0x11; 20]);

/// What a node was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The self check.
    SelfCheck,
    /// The newest block's number.
    Head,
    /// The newest final block.
    Finalized,
    /// A block.
    Block(BlockNumber),
    /// The agreed block at a height that is final.
    FinalBlock(BlockNumber),
    /// A block with its transfers.
    Transfers(BlockNumber),
    /// A run of blocks with their transfers.
    Range(BlockRange),
    /// One transaction.
    Transaction(TxHash),
    /// Balances at a block.
    Balances(BlockNumber),
}

type Fault = Box<dyn FnMut(Question) -> Option<ChainError> + Send>;

/// A chain under a script.
pub struct ScriptedChain {
    name: ChainName,
    state: Mutex<State>,
    /// Wakes whoever waits for announcements.
    news: Notify,
}

struct State {
    /// The canonical chain from block 0 on.
    blocks: Vec<BlockTransfers>,
    finalized: BlockNumber,
    /// Time that passes before the next block.
    pause: Duration,
    /// Tells blocks of the same height apart.
    branch: u64,
    transactions: u64,
    announced_head: Option<BlockNumber>,
    called_final: Option<BlockRef>,
    /// What the nodes agree on at these heights, in place of the chain's own blocks.
    agreed: BTreeMap<BlockNumber, Option<BlockRef>>,
    /// Transfers that are answered in place of the chain's own.
    lies: BTreeMap<BlockNumber, BlockTransfers>,
    /// Native coins that contracts passed on, which no transfer shows: receiver, block and amount.
    passed_on: Vec<(Address, BlockHash, Amount)>,
    /// The native asset, once a payment in it was made or coins were passed on.
    native: Option<AssetId>,
    fault: Option<Fault>,
}

impl ScriptedChain {
    /// A chain of one block, which is final.
    #[must_use]
    pub fn new(name: ChainName, genesis: Timestamp) -> Self {
        let block = BlockRef {
            number: BlockNumber(0),
            hash: block_hash(BlockNumber(0), 0),
            parent: BlockHash::new([0; 32]),
            time: genesis,
        };
        let state = State {
            blocks: vec![BlockTransfers { block, transfers: Vec::new() }],
            finalized: BlockNumber(0),
            pause: BLOCK_TIME,
            branch: 0,
            transactions: 0,
            announced_head: None,
            called_final: None,
            agreed: BTreeMap::new(),
            lies: BTreeMap::new(),
            passed_on: Vec::new(),
            native: None,
            fault: None,
        };
        Self { name, state: Mutex::new(state), news: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A payment in a transaction of its own, for a block that is still to be mined.
    #[must_use]
    pub fn payment(&self, asset: &AssetId, to: Address, units: u128) -> Transfer {
        let mut state = self.state();
        state.transactions = state.transactions.saturating_add(1);
        let tx = TxHash::new(numbered(0xaa, state.transactions, 0));
        let identity = TransferIdentity { asset: asset.clone(), to, origin: Origin::Transaction { tx, nth: 0 } };
        Transfer { identity, from: Some(PAYER), amount: Amount::from_units(units) }
    }

    /// Mines a block with these transfers.
    pub fn mine(&self, transfers: &[Transfer]) -> BlockRef {
        let mut state = self.state();
        let parent = state.tip();
        let number = BlockNumber(parent.number.0.saturating_add(1));
        let block = BlockRef {
            number,
            hash: block_hash(number, state.branch),
            parent: parent.hash,
            time: parent.time.after(state.pause),
        };
        state.pause = BLOCK_TIME;
        state.blocks.push(BlockTransfers { block, transfers: transfers.to_vec() });
        block
    }

    /// Mines a block in which a contract passes on `units` of the native coin to `to`: only the balance shows it.
    pub fn mine_passing_on(&self, native: &AssetId, to: Address, units: u128) -> BlockRef {
        let block = self.mine(&[]);
        let mut state = self.state();
        state.native = Some(native.clone());
        state.passed_on.push((to, block.hash, Amount::from_units(units)));
        block
    }

    /// Names the native asset, whose transfers count for balances.
    pub fn set_native(&self, native: &AssetId) {
        self.state().native = Some(native.clone());
    }

    /// Mines empty blocks.
    pub fn mine_empty(&self, count: usize) -> BlockRef {
        (0..count).for_each(|_| {
            self.mine(&[]);
        });
        self.tip()
    }

    /// Lets the next block have the time `time`, or that of its parent if it is later.
    pub fn wait_until(&self, time: Timestamp) {
        let mut state = self.state();
        state.pause = time.since(state.tip().time);
    }

    /// Makes everything up to `depth` blocks below the newest one final; never takes finality back.
    pub fn finalise_below(&self, depth: u64) -> BlockRef {
        let mut state = self.state();
        let number = BlockNumber(state.tip().number.0.saturating_sub(depth));
        state.finalized = state.finalized.max(number);
        state.at(state.finalized).map_or_else(|| state.tip(), |found| found.block)
    }

    /// Makes the whole chain final.
    pub fn finalise(&self) -> BlockRef {
        self.finalise_below(0)
    }

    /// Takes away the newest `depth` blocks, final or not; what is mined next has other hashes. Returns what was in them.
    pub fn fork(&self, depth: usize) -> Vec<BlockTransfers> {
        let mut state = self.state();
        let keep = state.blocks.len().saturating_sub(depth).max(1);
        state.branch = state.branch.saturating_add(1);
        state.blocks.split_off(keep)
    }

    /// Tells whoever waits for announcements that there is a new block; nobody is told otherwise.
    pub fn spread_the_news(&self) {
        self.news.notify_one();
    }

    /// Announces a head whatever blocks there are; `None` announces the newest one again.
    pub fn announce(&self, head: Option<u64>) {
        self.state().announced_head = head.map(BlockNumber);
    }

    /// Calls this block final whatever is; `None` calls what is final so again.
    pub fn call_final(&self, block: Option<BlockRef>) {
        self.state().called_final = block;
    }

    /// Lets the nodes agree on `block` at this height, or on none, whatever the one that answers all else shows.
    pub fn agree_on(&self, number: BlockNumber, block: Option<BlockRef>) {
        self.state().agreed.insert(number, block);
    }

    /// Answers the question for the transfers of a block with `found` from now on; the block itself is answered as it is.
    pub fn lie_about(&self, number: BlockNumber, found: BlockTransfers) {
        self.state().lies.insert(number, found);
    }

    /// Answers as the chain is again.
    pub fn be_honest(&self) {
        self.state().lies.clear();
        self.state().agreed.clear();
    }

    /// Asks `fault` at every question whether to fail.
    pub fn fail_when(&self, fault: impl FnMut(Question) -> Option<ChainError> + Send + 'static) {
        self.state().fault = Some(Box::new(fault));
    }

    /// Fails no more.
    pub fn recover(&self) {
        self.state().fault = None;
    }

    /// The newest block.
    #[must_use]
    pub fn tip(&self) -> BlockRef {
        self.state().tip()
    }

    /// The newest final block's number.
    #[must_use]
    pub fn finalized_number(&self) -> BlockNumber {
        self.state().finalized
    }

    /// The canonical chain from block 0 on.
    #[must_use]
    pub fn blocks(&self) -> Vec<BlockTransfers> {
        self.state().blocks.clone()
    }

    fn ask(&self, question: Question) -> Result<MutexGuard<'_, State>, ChainError> {
        let mut state = self.state();
        match state.fault.as_mut().and_then(|fault| fault(question)) {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }
}

/// The failure of a node that gives no answer.
#[must_use]
pub fn no_answer() -> ChainError {
    ChainError::Unavailable { reason: "scripted".to_owned() }
}

impl State {
    fn tip(&self) -> BlockRef {
        // Block 0 is never taken away.
        self.blocks.last().expect("a chain has a first block").block
    }

    fn at(&self, number: BlockNumber) -> Option<&BlockTransfers> {
        self.blocks.get(usize::try_from(number.0).ok()?)
    }
}

impl State {
    /// What an address holds of an asset after a block.
    fn balance(&self, asset: Option<&AssetId>, address: &Address, at: BlockNumber) -> Result<Amount, ChainError> {
        let until = self.blocks.iter().take_while(|found| found.block.number <= at);
        let shown = until.flat_map(|found| {
            let of_asset = found.transfers.iter().filter(|transfer| Some(&transfer.identity.asset) == asset);
            let transfers =
                of_asset.filter(|transfer| transfer.identity.to == *address).map(|transfer| transfer.amount);
            let hides = asset == self.native.as_ref();
            let hidden = self.passed_on.iter().filter(move |(_, block, _)| hides && *block == found.block.hash);
            let hidden = hidden.filter(|(to, _, _)| to == address).map(|(_, _, amount)| *amount);
            transfers.chain(hidden).collect::<Vec<_>>()
        });
        let sum = shown.into_iter().try_fold(Amount::ZERO, Amount::checked_add);
        sum.map_err(|_| ChainError::Inconsistent { reason: "more than there can be".to_owned() })
    }
}

fn block_hash(number: BlockNumber, branch: u64) -> BlockHash {
    BlockHash::new(numbered(0xbb, number.0, branch))
}

/// Thirty-two bytes that tell two numbers.
pub(crate) fn numbered(kind: u8, one: u64, other: u64) -> [u8; 32] {
    let mut bytes = [kind; 32];
    let numbers = one.to_be_bytes().into_iter().chain(other.to_be_bytes());
    bytes.iter_mut().rev().zip(numbers).for_each(|(byte, value)| *byte = value);
    bytes
}

impl ScriptedChain {
    /// What addresses hold of an asset after a block of the chain.
    fn balances(
        &self,
        block: BlockRef,
        asset: Option<&AssetId>,
        addresses: &[Address],
    ) -> Result<Vec<Amount>, ChainError> {
        let state = self.ask(Question::Balances(block.number))?;
        if state.at(block.number).is_none_or(|found| found.block != block) {
            return Err(ChainError::Unavailable { reason: format!("the state of block {} is unknown", block.hash) });
        }
        addresses.iter().map(|address| state.balance(asset, address, block.number)).collect()
    }
}

#[async_trait]
impl ChainSource for ScriptedChain {
    fn name(&self) -> &ChainName {
        &self.name
    }

    async fn self_check(&self) -> Result<(), ChainError> {
        self.ask(Question::SelfCheck).map(|_| ())
    }

    async fn gas_price(&self) -> Result<Amount, ChainError> {
        drop(self.ask(Question::Head)?);
        Ok(Amount::from_units(GAS_PRICE))
    }

    async fn head(&self) -> Result<BlockNumber, ChainError> {
        let state = self.ask(Question::Head)?;
        Ok(state.announced_head.unwrap_or_else(|| state.tip().number))
    }

    async fn finalized(&self) -> Result<BlockRef, ChainError> {
        let state = self.ask(Question::Finalized)?;
        // A chain that forked below its final block has another block at that height, or none.
        let newest = || state.at(state.finalized).map_or_else(|| state.tip(), |found| found.block);
        Ok(state.called_final.unwrap_or_else(newest))
    }

    async fn block(&self, number: BlockNumber) -> Result<Option<BlockRef>, ChainError> {
        Ok(self.ask(Question::Block(number))?.at(number).map(|found| found.block))
    }

    async fn transfers(&self, number: BlockNumber) -> Result<Option<BlockTransfers>, ChainError> {
        let state = self.ask(Question::Transfers(number))?;
        Ok(state.lies.get(&number).or_else(|| state.at(number)).cloned())
    }

    async fn final_block(&self, number: BlockNumber) -> Result<Option<BlockRef>, ChainError> {
        let state = self.ask(Question::FinalBlock(number))?;
        if let Some(agreed) = state.agreed.get(&number) {
            return Ok(*agreed);
        }
        let called = state.called_final.filter(|block| block.number == number);
        Ok(called.or_else(|| state.at(number).map(|found| found.block)))
    }

    async fn transfers_in(&self, range: BlockRange) -> Result<RangeTransfers, ChainError> {
        let state = self.ask(Question::Range(range))?;
        let shown = |number| state.lies.get(&number).or_else(|| state.at(number));
        let missing = || ChainError::Unavailable { reason: format!("a block of {range} is missing") };
        let first = shown(range.first()).ok_or_else(missing)?;
        let last = shown(range.last()).ok_or_else(missing)?;
        let numbers = range.first().0..=range.last().0;
        let blocks = numbers.filter_map(|number| shown(BlockNumber(number)).cloned());
        Ok(RangeTransfers {
            parent: first.block.parent,
            blocks: blocks.filter(|found| !found.transfers.is_empty()).collect(),
            last: last.block,
        })
    }

    async fn transfers_of(&self, tx: TxHash) -> Result<Option<BlockTransfers>, ChainError> {
        let state = self.ask(Question::Transaction(tx))?;
        let of_tx = |transfer: &&Transfer| transfer.identity.origin.tx() == Some(tx);
        let found = state.blocks.iter().find(|found| found.transfers.iter().any(|transfer| of_tx(&transfer)));
        Ok(found.map(|found| BlockTransfers {
            block: found.block,
            transfers: found.transfers.iter().filter(of_tx).cloned().collect(),
        }))
    }

    async fn native_balances(&self, block: BlockRef, addresses: &[Address]) -> Result<Vec<Amount>, ChainError> {
        let native = self.state().native.clone();
        self.balances(block, native.as_ref(), addresses)
    }

    async fn token_balances(
        &self,
        block: BlockRef,
        token: &AssetId,
        addresses: &[Address],
    ) -> Result<Vec<Amount>, ChainError> {
        self.balances(block, Some(token), addresses)
    }

    async fn announced(&self) {
        self.news.notified().await;
    }

    fn report(&self) -> SourceReport {
        SourceReport { quorum: 1, ..SourceReport::default() }
    }
}
