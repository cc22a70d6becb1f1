//! A block whose receipts do not fit into one answer.
//!
//! Whoever pays for it can fill a block with logs that make tens of megabytes of JSON: a few dollars on a cheap chain. Such a
//! block must stop nobody, and it must not be read with less care either. So its receipts are asked for one transaction at a
//! time, all from the same node, and block and receipts are then verified like any others.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::transfer::BlockTransfers;
use xthonpay_payments::port::chain::Verification;

use crate::agreement::Contradiction;
use crate::blocks::{BlockFault, ReadBlocks, agree_block, beside_the_network, prove_block};
use crate::decode::AssetIndex;
use crate::node::{Node, quantity};
use crate::rpc::{Call, RpcError};
use crate::wire::whole::{WholeBlock, WholeReceipt};
use crate::wire::{Block, Fixed, Receipt};

/// Receipts in the first request.
const RECEIPTS_PER_REQUEST: usize = 64;

/// The most that all answers about one block may hold together. A block of BNB Smart Chain that is full of the cheapest logs
/// makes about 90 MB; a hostile node could send more for as long as it is asked.
const LARGE_BLOCK_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The hashes of a block's transactions.
#[derive(Deserialize)]
struct Listed {
    transactions: Vec<ListedTransaction>,
}

#[derive(Deserialize)]
struct ListedTransaction {
    hash: Fixed<32>,
}

impl Node {
    /// A block with its transfers, like [`Node::read_blocks`], in many small requests.
    pub(crate) async fn read_large_block(
        &self,
        assets: &AssetIndex,
        number: BlockNumber,
        level: Verification,
    ) -> Result<ReadBlocks, BlockFault> {
        tracing::warn!(node = self.label(), %number, "a block does not fit into one answer and is read in parts");
        let exchange = self.rpc.ask(&[Call::new("eth_getBlockByNumber", json!([quantity(number), true]))]).await?;
        let [block] = exchange.exactly()?;
        let Some(Listed { transactions }) = block?.read::<Option<Listed>>()? else {
            return Ok(ReadBlocks { blocks: vec![None], bytes: exchange.bytes() });
        };
        let assets = assets.clone();
        let mut bytes = exchange.bytes();
        let found = if level == Verification::Roots {
            let receipts: Vec<WholeReceipt> = self.receipts_of(number, &transactions, &mut bytes).await?;
            beside_the_network(move || -> Result<BlockTransfers, BlockFault> {
                let [block] = exchange.exactly()?;
                prove_block(number, block?.read::<WholeBlock>()?, receipts, &assets)
            })
            .await?
        } else {
            let receipts: Vec<Receipt> = self.receipts_of(number, &transactions, &mut bytes).await?;
            beside_the_network(move || -> Result<BlockTransfers, BlockFault> {
                let [block] = exchange.exactly()?;
                agree_block(number, &block?.read::<Block>()?, &receipts, &assets)
            })
            .await?
        };
        Ok(ReadBlocks { blocks: vec![Some(found?)], bytes })
    }

    /// The receipts of these transactions in their order, in requests that shrink until their answers fit.
    async fn receipts_of<R: DeserializeOwned>(
        &self,
        number: BlockNumber,
        transactions: &[ListedTransaction],
        bytes: &mut usize,
    ) -> Result<Vec<R>, BlockFault> {
        let call = |tx: &ListedTransaction| {
            Call::new("eth_getTransactionReceipt", json!([format!("0x{}", hex::encode(tx.hash.0))]))
        };
        let mut receipts = Vec::with_capacity(transactions.len());
        let mut size = RECEIPTS_PER_REQUEST;
        let mut rest = transactions;
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(size.min(rest.len()));
            let calls: Vec<Call> = part.iter().map(call).collect();
            let exchange = match self.rpc.ask(&calls).await {
                Err(RpcError::BodyTooLarge) if part.len() > 1 => {
                    size = part.len() / 2;
                    continue;
                }
                asked => asked?,
            };
            *bytes = bytes.saturating_add(exchange.bytes());
            if *bytes > LARGE_BLOCK_BYTES_MAX {
                return Err(RpcError::BodyTooLarge.into());
            }
            for answer in exchange.answers()? {
                let missing = BlockFault::Contradiction { number, contradiction: Contradiction::NoReceipts };
                receipts.push(answer?.read::<Option<R>>()?.ok_or(missing)?);
            }
            rest = behind;
        }
        Ok(receipts)
    }
}
