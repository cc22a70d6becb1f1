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

/// How many times longer than usual one request about such a block may take: the node reads as much as for a hundred others.
const LARGE_BLOCK_PATIENCE: u32 = 3;

const STATUS_TOO_LARGE: u16 = 413;

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

/// Whether a question may have been too much for one answer. Nodes have no common word for it: some cut off the connection
/// or run out of time, some answer the rest of a batch with an error of their own. A smaller question will tell.
pub(crate) fn is_too_much(error: &RpcError) -> bool {
    match error {
        RpcError::BodyTooLarge | RpcError::TimedOut(_) | RpcError::Refused { .. } => true,
        RpcError::Status(status) => *status == STATUS_TOO_LARGE,
        RpcError::Broken(_)
        | RpcError::NotJsonRpc(_)
        | RpcError::WrongIds(_)
        | RpcError::Unsupported { .. }
        | RpcError::Malformed { .. } => false,
    }
}

impl Node {
    /// A block with its transfers, like [`Node::read_blocks`], in many small requests.
    pub(crate) async fn read_large_block(
        &self,
        assets: &AssetIndex,
        number: BlockNumber,
        level: Verification,
    ) -> Result<ReadBlocks, BlockFault> {
        tracing::warn!(node = self.label(), %number, "a block does not come in one answer and is read in parts");
        let of_block = Call::new("eth_getBlockByNumber", json!([quantity(number), true]));
        let exchange = self.rpc.ask_patiently(&[of_block], LARGE_BLOCK_PATIENCE).await?;
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
            let (found, size_of_answer) = match self.some_receipts(&calls).await {
                Err(error) if part.len() > 1 && is_too_much(&error) => {
                    size = part.len() / 2;
                    continue;
                }
                asked => asked?,
            };
            *bytes = bytes.saturating_add(size_of_answer);
            if *bytes > LARGE_BLOCK_BYTES_MAX {
                return Err(RpcError::BodyTooLarge.into());
            }
            for receipt in found {
                let missing = BlockFault::Contradiction { number, contradiction: Contradiction::NoReceipts };
                receipts.push(receipt.ok_or(missing)?);
            }
            rest = behind;
        }
        Ok(receipts)
    }

    /// What one request brings, all of it or nothing, and how large it is.
    async fn some_receipts<R: DeserializeOwned>(&self, calls: &[Call]) -> Result<(Vec<Option<R>>, usize), RpcError> {
        let exchange = self.rpc.ask_patiently(calls, LARGE_BLOCK_PATIENCE).await?;
        let receipts = exchange.answers()?.into_iter().map(|answer| answer?.read::<Option<R>>());
        Ok((receipts.collect::<Result<_, _>>()?, exchange.bytes()))
    }
}
