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
use crate::proofs::Shown;
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
pub(crate) fn transfers_of(node: &Node, assets: AssetIndex, tx: TxHash) -> Asking<'_, Shown<Option<BlockTransfers>>> {
    Box::pin(async move { node.transfers_of(&assets, tx).await })
}

/// The answers that may be believed: what cannot be proved takes the same word of `quorum` nodes.
pub(crate) fn confirmed(
    answers: Vec<Result<Shown<Option<BlockTransfers>>, ChainError>>,
    quorum: usize,
) -> Vec<Result<Option<BlockTransfers>, ChainError>> {
    let same = |found: &BlockTransfers| {
        answers.iter().flatten().filter(|other| other.content.as_ref() == Some(found)).count() >= quorum
    };
    let alone: Vec<bool> = answers
        .iter()
        .map(|answer| match answer {
            Ok(Shown { content: Some(found), proven: false }) => !same(found),
            Ok(_) | Err(_) => false,
        })
        .collect();
    let judged = answers.into_iter().zip(alone).map(|(answer, alone)| match answer {
        Ok(_) if alone => {
            let reason = format!("a transaction that cannot be proved takes the word of {quorum} nodes");
            Err(ChainError::Unavailable { reason })
        }
        answer => answer.map(|shown| shown.content),
    });
    judged.collect()
}

/// What nodes together say about a transaction, of which `believed` could be asked at best.
///
/// # Errors
/// [`ChainError::Unavailable`] when no node knows it and some did not answer, since they might.
pub(crate) fn told(
    answers: impl IntoIterator<Item = Result<Option<BlockTransfers>, ChainError>>,
    believed: usize,
) -> Result<Option<BlockTransfers>, ChainError> {
    let (mut unknown, mut failure): (usize, _) = (0, None);
    for answer in answers {
        match answer {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => unknown = unknown.saturating_add(1),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        Some(error) if unknown == 0 => Err(error),
        Some(error) => {
            let reason = format!("unknown to {unknown} nodes, and not every node answered: {error}");
            Err(ChainError::Unavailable { reason })
        }
        None if unknown > 0 && unknown >= believed => Ok(None),
        None => {
            let reason =
                format!("{unknown} of {believed} nodes could be asked for the transaction, and do not know it");
            Err(ChainError::Unavailable { reason })
        }
    }
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
    ) -> Result<Shown<Option<BlockTransfers>>, ChainError> {
        let Some((number, hash)) = self.whereabouts(tx).await? else {
            return Ok(Shown { content: None, proven: false });
        };
        let level = self.level_for_content().await?;
        let block = self.verified_block(assets, number, level).await?;
        // Between the two questions the chain may have changed its mind.
        let Some(mut block) = block.filter(|block| block.block.hash == hash) else {
            return Err(self.unavailable(&format!("block {number} was replaced while it was looked at")));
        };
        block.transfers.retain(|transfer| transfer.identity.origin.tx() == Some(tx));
        Ok(Shown { content: Some(block), proven: level == Verification::Roots })
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

#[cfg(test)]
mod tests {
    use xthonpay_domain::block::BlockRef;
    use xthonpay_domain::time::Timestamp;

    use super::*;

    fn found() -> BlockTransfers {
        let hash = BlockHash::new([1; 32]);
        let block = BlockRef { number: BlockNumber(1), hash, parent: hash, time: Timestamp::EPOCH };
        BlockTransfers { block, transfers: Vec::new() }
    }

    #[test]
    fn what_one_node_cannot_prove_takes_a_second_one() {
        let shown = |proven| Ok(Shown { content: Some(found()), proven });
        let nothing = || Ok(Shown { content: None, proven: false });
        assert_eq!(confirmed(vec![nothing(), shown(true)], 2), [Ok(None), Ok(Some(found()))]);
        assert_eq!(confirmed(vec![shown(false)], 1), [Ok(Some(found()))]);
        assert_eq!(confirmed(vec![shown(false), shown(false)], 2), [Ok(Some(found())), Ok(Some(found()))]);
        let alone = confirmed(vec![shown(false), nothing()], 2);
        assert!(matches!(alone.as_slice(), [Err(ChainError::Unavailable { .. }), Ok(None)]), "{alone:?}");
    }

    #[test]
    fn a_transaction_is_unknown_only_when_every_node_says_so() {
        let down = || ChainError::Unavailable { reason: "down".to_owned() };
        let unsupported = || ChainError::Mismatch { reason: "no such method".to_owned() };
        assert_eq!(told([Ok(None), Ok(None)], 2), Ok(None));
        assert_eq!(told([Ok(None), Err(down()), Ok(Some(found()))], 3), Ok(Some(found())));
        assert_eq!(told([Err(unsupported())], 1), Err(unsupported()));
        for (answers, believed) in [
            (vec![Ok(None), Err(down())], 2),
            (vec![Err(unsupported()), Ok(None)], 2),
            // One rests and was not asked.
            (vec![Ok(None)], 2),
            (Vec::new(), 2),
        ] {
            let answer = told(answers.clone(), believed);
            assert!(matches!(answer, Err(ChainError::Unavailable { .. })), "{answers:?}: {answer:?}");
        }
    }
}
