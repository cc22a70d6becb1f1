//! The answers to a scanner, as if a node gave them: one that knows every block and is never wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRange, BlockRef};
use xthonpay_domain::hash::TxHash;
use xthonpay_domain::text::ChainName;
use xthonpay_domain::transfer::{BlockTransfers, RangeTransfers};
use xthonpay_payments::catalog::simulated_chain;
use xthonpay_payments::port::chain::{ChainError, ChainSource, NodeReport, SourceReport};
use xthonpay_payments::port::clock::Clock;
use xthonpay_payments::port::simulation::{BlockMaker, ForkRefused, Movement};

use crate::assets::native;
use crate::blocks::Blocks;

/// What the node is called in reports.
const NODE: &str = "in memory";

/// What a unit of gas costs: the least that BNB Smart Chain takes, 0.05 gwei.
const GAS_PRICE: u128 = 50_000_000;

/// What an earlier process left of the chain.
#[derive(Clone, Debug, Default)]
pub struct Beginning {
    /// The block that its scanner had processed last; `None` for a chain that begins now.
    pub tip: Option<BlockRef>,
    /// What addresses hold of the native coin. Only asked for those of open invoices: any other may be left out.
    pub coins: BTreeMap<Address, Amount>,
}

/// The simulated chain.
pub struct SimulatedChain {
    name: ChainName,
    clock: Arc<dyn Clock>,
    blocks: Mutex<Blocks>,
    /// Wakes the scanner.
    news: Notify,
}

impl SimulatedChain {
    /// The chain as it goes on from what was left of it.
    #[must_use]
    pub fn new(beginning: Beginning, clock: Arc<dyn Clock>) -> Self {
        let blocks = Blocks::new(native(), beginning.tip, beginning.coins, clock.now());
        Self { name: simulated_chain(), clock, blocks: Mutex::new(blocks), news: Notify::new() }
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        // Nothing that changes the blocks can break off in between.
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlockMaker for SimulatedChain {
    fn tip(&self) -> BlockRef {
        self.blocks().head()
    }

    fn mine(&self, movements: &[Movement]) -> BlockRef {
        let head = self.blocks().mine(movements, self.clock.now());
        self.news.notify_one();
        head
    }

    fn fork(&self, from: BlockNumber, without: TxHash) -> Result<BlockRef, ForkRefused> {
        let head = self.blocks().fork(from, without, self.clock.now())?;
        self.news.notify_one();
        Ok(head)
    }
}

#[async_trait]
impl ChainSource for SimulatedChain {
    fn name(&self) -> &ChainName {
        &self.name
    }

    async fn self_check(&self) -> Result<(), ChainError> {
        Ok(())
    }

    async fn gas_price(&self) -> Result<Amount, ChainError> {
        Ok(Amount::from_units(GAS_PRICE))
    }

    async fn head(&self) -> Result<BlockNumber, ChainError> {
        Ok(self.blocks().head().number)
    }

    async fn finalized(&self) -> Result<BlockRef, ChainError> {
        Ok(self.blocks().finalized())
    }

    async fn final_block(&self, number: BlockNumber) -> Result<Option<BlockRef>, ChainError> {
        let blocks = self.blocks();
        Ok(blocks.at(number).filter(|_| number <= blocks.finalized().number))
    }

    async fn block(&self, number: BlockNumber) -> Result<Option<BlockRef>, ChainError> {
        Ok(self.blocks().at(number))
    }

    async fn transfers(&self, number: BlockNumber) -> Result<Option<BlockTransfers>, ChainError> {
        Ok(self.blocks().transfers_at(number))
    }

    async fn transfers_in(&self, range: BlockRange) -> Result<RangeTransfers, ChainError> {
        let blocks = self.blocks();
        let block = |number| blocks.at(BlockNumber(number)).ok_or_else(|| missing(BlockNumber(number)));
        let (parent, last) = (block(range.first().0)?.parent, block(range.last().0)?);
        let found = (range.first().0..=range.last().0).filter_map(|number| blocks.transfers_at(BlockNumber(number)));
        let found = found.filter(|found| !found.transfers.is_empty()).collect();
        Ok(RangeTransfers { parent, blocks: found, last })
    }

    async fn transfers_of(&self, tx: TxHash) -> Result<Option<BlockTransfers>, ChainError> {
        Ok(self.blocks().transfers_of(tx))
    }

    async fn native_balances(&self, block: BlockRef, addresses: &[Address]) -> Result<Vec<Amount>, ChainError> {
        let blocks = self.blocks();
        if blocks.at(block.number) != Some(block) {
            return Err(missing(block.number));
        }
        let balances = blocks.balances(block.number, addresses);
        balances.map_err(|error| ChainError::Inconsistent { reason: format!("a balance: {error}") })
    }

    /// Never answered: no scanner asks for them, and the chain forgets what was paid before a restart.
    async fn token_balances(
        &self,
        _block: BlockRef,
        token: &AssetId,
        _addresses: &[Address],
    ) -> Result<Vec<Amount>, ChainError> {
        Err(ChainError::Unavailable { reason: format!("the simulated chain keeps no balances of {token}") })
    }

    async fn announced(&self) {
        self.news.notified().await;
    }

    fn report(&self) -> SourceReport {
        let blocks = self.blocks();
        let (head, finalized) = (blocks.head().number, blocks.finalized().number);
        SourceReport {
            nodes: vec![NodeReport {
                label: NODE.to_owned(),
                primary: true,
                problem: None,
                verification: None,
                head: Some(head),
                finalized: Some(finalized),
                announces: Some(true),
            }],
            head: Some(head),
            quorum: 1,
            disagreement: None,
            finality_by_depth: false,
        }
    }
}

fn missing(number: BlockNumber) -> ChainError {
    ChainError::Unavailable { reason: format!("block {number} is not kept") }
}
