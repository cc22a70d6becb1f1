//! Blocks: mining, time, reorganisations, and what became of a transaction.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use xthonpay_domain::address::Address;
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::hash::{BlockHash, TxHash};
use xthonpay_domain::time::Timestamp;

use super::{TestChain, quantity, text};
use crate::chain::rpc::BoxError;

/// Enough for a block every few seconds on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What became of a transaction.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The transaction.
    pub tx: TxHash,
    /// Whether it was executed without reverting.
    pub succeeded: bool,
    /// Its block's number.
    pub number: BlockNumber,
    /// Its block's hash.
    pub block: BlockHash,
    /// The contract that it created.
    pub created: Option<Address>,
    /// How many logs it left.
    pub logs: usize,
}

impl TestChain {
    /// Mines `count` blocks at once; the first takes what waits in the pool.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn mine(&self, count: u64) -> Result<(), BoxError> {
        self.rpc.call("anvil_mine", json!([quantity(count)])).await.map(drop)
    }

    /// Ends interval mining for good: from now on blocks come by [`Self::mine`] alone. Returns the head at which it stopped.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn stop_mining(&self) -> Result<BlockNumber, BoxError> {
        self.rpc.call("anvil_setIntervalMining", json!([0])).await?;
        self.head().await
    }

    /// Replaces the newest `depth` blocks by as many empty ones. Their transactions are gone, from the pool too.
    ///
    /// # Errors
    /// When the node refuses, as when `depth` reaches below the genesis block.
    pub async fn reorg(&self, depth: u64) -> Result<(), BoxError> {
        self.reorg_with(depth, &[]).await
    }

    /// Replaces the newest `depth` blocks. Each of `transactions` is mined again in the new block with that offset from the
    /// fork, from 0: raw text keeps the transaction's hash, an object is a new transaction.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn reorg_with(&self, depth: u64, transactions: &[(Value, u64)]) -> Result<(), BoxError> {
        let placed: Vec<Value> = transactions.iter().map(|(transaction, place)| json!([transaction, place])).collect();
        self.rpc.call("anvil_reorg", json!([depth, placed])).await.map(drop)
    }

    /// The newest block.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn head(&self) -> Result<BlockNumber, BoxError> {
        self.tagged("latest").await
    }

    /// The newest block that the node calls final: two below the head.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn finalized(&self) -> Result<BlockNumber, BoxError> {
        self.tagged("finalized").await
    }

    /// The hash of a block.
    ///
    /// # Errors
    /// When the node does not have it.
    pub async fn block_hash(&self, number: BlockNumber) -> Result<BlockHash, BoxError> {
        let block = self.block(&quantity(number.0)).await?;
        Ok(text(&block["hash"])?.parse()?)
    }

    /// The time that a block's header states.
    ///
    /// # Errors
    /// When the node does not have it.
    pub async fn block_time(&self, number: BlockNumber) -> Result<Timestamp, BoxError> {
        let block = self.block(&quantity(number.0)).await?;
        Ok(Timestamp::from_secs(number_in(&block["timestamp"])?))
    }

    /// Moves the clock of all blocks to come; whole seconds.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn increase_time(&self, by: Duration) -> Result<(), BoxError> {
        self.rpc.call("evm_increaseTime", json!([by.as_secs()])).await.map(drop)
    }

    /// Sets the time of the next block, which must be later than the newest one's; whole seconds.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn set_next_block_timestamp(&self, time: Timestamp) -> Result<(), BoxError> {
        self.rpc.call("evm_setNextBlockTimestamp", json!([time.as_secs()])).await.map(drop)
    }

    /// Waits until a block is at least this high.
    ///
    /// # Errors
    /// When that takes longer than 30 s.
    pub async fn wait_head(&self, number: BlockNumber) -> Result<(), BoxError> {
        let started = Instant::now();
        while self.head().await? < number {
            if started.elapsed() > WAIT_MAX {
                return Err(format!("no block {number} after {WAIT_MAX:?}").into());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// What became of a transaction, or `None` while no block has it.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn receipt(&self, tx: TxHash) -> Result<Option<Receipt>, BoxError> {
        let answer = self.rpc.call("eth_getTransactionReceipt", json!([tx.to_string()])).await?;
        Option::<WireReceipt>::deserialize(answer)?.map(Receipt::try_from).transpose()
    }

    /// Waits until a block has the transaction. It may have failed: see [`Receipt::succeeded`].
    ///
    /// # Errors
    /// When no block has it after 30 s.
    pub async fn wait_receipt(&self, tx: TxHash) -> Result<Receipt, BoxError> {
        let started = Instant::now();
        while started.elapsed() < WAIT_MAX {
            if let Some(receipt) = self.receipt(tx).await? {
                return Ok(receipt);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Err(format!("no block has {tx} after {WAIT_MAX:?}").into())
    }

    async fn tagged(&self, tag: &str) -> Result<BlockNumber, BoxError> {
        let block = self.block(tag).await?;
        Ok(BlockNumber(number_in(&block["number"])?))
    }

    async fn block(&self, block: &str) -> Result<Value, BoxError> {
        self.rpc.call("eth_getBlockByNumber", json!([block, false])).await
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireReceipt {
    transaction_hash: String,
    status: String,
    block_number: Value,
    block_hash: String,
    contract_address: Option<String>,
    logs: Vec<Value>,
}

impl TryFrom<WireReceipt> for Receipt {
    type Error = BoxError;

    fn try_from(wire: WireReceipt) -> Result<Self, BoxError> {
        Ok(Self {
            tx: wire.transaction_hash.parse()?,
            succeeded: wire.status == "0x1",
            number: BlockNumber(number_in(&wire.block_number)?),
            block: wire.block_hash.parse()?,
            created: wire.contract_address.map(|text| text.parse()).transpose()?,
            logs: wire.logs.len(),
        })
    }
}

fn number_in(value: &Value) -> Result<u64, BoxError> {
    let digits = text(value)?.trim_start_matches("0x");
    Ok(u64::from_str_radix(digits, 16)?)
}
