//! The transfers of one transaction, with the whole block around them.
//!
//! A receipt alone proves nothing; it only says where to look. The block is read and verified like any other, and the
//! transfers of the one transaction are taken out of it, so that their numbers are those that a scan of the block gives.

use serde::Deserialize;
use serde_json::json;
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::hash::{BlockHash, TxHash};
use xthonpay_domain::transfer::BlockTransfers;
use xthonpay_payments::port::chain::{ChainError, Verification};

use crate::decode::AssetIndex;
use crate::node::Node;
use crate::pool::Asking;
use crate::rpc::Call;
use crate::wire::{Fixed, Quantity};

/// Where a receipt says that its transaction is; without a block while it waits.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Whereabouts {
    transaction_hash: Fixed<32>,
    block_number: Option<Quantity>,
    block_hash: Option<Fixed<32>>,
}

/// The question for one transaction, its block verified as far as the node allows.
pub(crate) fn transfers_of(node: &Node, assets: AssetIndex, tx: TxHash) -> Asking<'_, Option<BlockTransfers>> {
    Box::pin(async move { node.transfers_of(&assets, tx, node.level().await?).await })
}

impl Node {
    /// The transfers of a transaction with the block that holds it; `None` when the node does not know it as mined.
    ///
    /// # Errors
    /// [`ChainError::Inconsistent`] when the block does not hold what the receipt says; as
    /// [`Node::verified_block`] otherwise.
    pub(crate) async fn transfers_of(
        &self,
        assets: &AssetIndex,
        tx: TxHash,
        level: Verification,
    ) -> Result<Option<BlockTransfers>, ChainError> {
        let Some((number, hash)) = self.whereabouts(tx).await? else { return Ok(None) };
        let block = self.verified_block(assets, number, level).await?;
        // Between the two questions the chain may have changed its mind.
        let Some(mut block) = block.filter(|block| block.block.hash == hash) else {
            return Err(self.unavailable(&format!("block {number} was replaced while it was looked at")));
        };
        block.transfers.retain(|transfer| transfer.identity.origin.tx() == Some(tx));
        Ok(Some(block))
    }

    async fn whereabouts(&self, tx: TxHash) -> Result<Option<(BlockNumber, BlockHash)>, ChainError> {
        let asked = async {
            let exchange = self.rpc.ask(&[Call::new("eth_getTransactionReceipt", json!([tx.to_string()]))]).await?;
            let [receipt] = exchange.exactly()?;
            receipt?.read::<Option<Whereabouts>>()
        };
        let Some(found) = asked.await.map_err(|error| self.failed(error))? else { return Ok(None) };
        if found.transaction_hash.0 != *tx.as_bytes() {
            let reason = format!("{}: the receipt of {tx} is that of another transaction", self.label());
            return Err(ChainError::Inconsistent { reason });
        }
        let place = found.block_number.zip(found.block_hash);
        Ok(place.map(|(Quantity(number), Fixed(hash))| (BlockNumber(number), BlockHash::new(hash))))
    }
}
