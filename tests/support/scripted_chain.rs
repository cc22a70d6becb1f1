//! A chain that does what a test says: mines, forks, becomes final, hides blocks, fails.
//!
//! The script may break every promise of a real chain; the answers are always those of the state at that moment. Time passes
//! with blocks only.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::hash::{BlockHash, TxHash};
use xthonpay_domain::text::ChainName;
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::{BlockTransfers, Transfer, TransferIdentity};
use xthonpay_payments::port::chain::{ChainError, ChainSource};

/// The time between two blocks unless the script lets more pass: that of BNB Smart Chain.
pub const BLOCK_TIME: Duration = Duration::from_millis(450);

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
    /// A block with its transfers.
    Transfers(BlockNumber),
}

type Fault = Box<dyn FnMut(Question) -> Option<ChainError> + Send>;

/// A chain under a script.
pub struct ScriptedChain {
    name: ChainName,
    state: Mutex<State>,
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
    /// Transfers that are answered in place of the chain's own.
    lies: BTreeMap<BlockNumber, BlockTransfers>,
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
            lies: BTreeMap::new(),
            fault: None,
        };
        Self { name, state: Mutex::new(state) }
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
        let identity = TransferIdentity { asset: asset.clone(), tx, to, nth: 0 };
        Transfer { identity, from: PAYER, amount: Amount::from_units(units) }
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

    /// Announces a head whatever blocks there are; `None` announces the newest one again.
    pub fn announce(&self, head: Option<u64>) {
        self.state().announced_head = head.map(BlockNumber);
    }

    /// Calls this block final whatever is; `None` calls what is final so again.
    pub fn call_final(&self, block: Option<BlockRef>) {
        self.state().called_final = block;
    }

    /// Answers the question for the transfers of a block with `found` from now on; the block itself is answered as it is.
    pub fn lie_about(&self, number: BlockNumber, found: BlockTransfers) {
        self.state().lies.insert(number, found);
    }

    /// Answers as the chain is again.
    pub fn be_honest(&self) {
        self.state().lies.clear();
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

fn block_hash(number: BlockNumber, branch: u64) -> BlockHash {
    BlockHash::new(numbered(0xbb, number.0, branch))
}

/// Thirty-two bytes that tell two numbers.
fn numbered(kind: u8, one: u64, other: u64) -> [u8; 32] {
    let mut bytes = [kind; 32];
    let numbers = one.to_be_bytes().into_iter().chain(other.to_be_bytes());
    bytes.iter_mut().rev().zip(numbers).for_each(|(byte, value)| *byte = value);
    bytes
}

#[async_trait]
impl ChainSource for ScriptedChain {
    fn name(&self) -> &ChainName {
        &self.name
    }

    async fn self_check(&self) -> Result<(), ChainError> {
        self.ask(Question::SelfCheck).map(|_| ())
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
}
