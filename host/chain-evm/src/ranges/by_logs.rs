//! Runs of blocks from their logs alone: the cheapest way to catch up, and the one that proves the least.
//!
//! A piece is one request for the headers of both its ends and the logs between them, so that the node shows in the same
//! breath that it has the last block; the blocks that hold transfers then show their headers. A node can still leave out
//! logs without a trace, which is why a quorum of at least two nodes must give the same answer. Movements of coins leave no
//! logs: this way is not open to a chain with a native asset.

use serde_json::json;
use tokio::time::Instant;
use xthonpay_domain::block::{BlockNumber, BlockRange, BlockRef};
use xthonpay_domain::transfer::{BlockTransfers, RangeTransfers};
use xthonpay_payments::port::chain::ChainError;

use super::{ReadRun, in_order};
use crate::agreement;
use crate::blocks::{BlockFault, beside_the_network, numbers};
use crate::decode::AssetIndex;
use crate::logs::{self, CALLS_PER_REQUEST, FilteredBlock, FoundLog};
use crate::node::health::Weight;
use crate::node::{Node, quantity};
use crate::pool::{Asking, Pool};
use crate::rpc::{Answer, Call, Exchange, RpcError};
use crate::wire::Header;

/// The transfers of a run by the logs of `quorum` nodes that all show the same.
///
/// `None` when too few others gave the same answer, or one gave another: then nothing may be concluded from the first.
pub(crate) async fn in_agreement(
    pool: &Pool,
    assets: &AssetIndex,
    range: BlockRange,
    quorum: usize,
) -> Result<Option<RangeTransfers>, ChainError> {
    let (first, found) = pool.ask_for_run(range.blocks(), |node| labelled(node, assets.clone(), range)).await?;
    let mut agreeing: usize = 1;
    for node in pool.nodes().iter().filter(|node| node.label() != first) {
        if agreeing >= quorum {
            break;
        }
        let Some(other) = further_answer(pool, node, assets, range).await else { continue };
        if other != found {
            let (one, two) = (first.as_str(), node.label());
            tracing::error!(chain = %pool.chain(), %range, one, two, "nodes show different logs: the blocks are read whole");
            return Ok(None);
        }
        agreeing = agreeing.saturating_add(1);
    }
    if agreeing >= quorum {
        return Ok(Some(found));
    }
    tracing::warn!(chain = %pool.chain(), %range, agreeing, quorum, "too few nodes show the logs: the blocks are read whole");
    Ok(None)
}

fn labelled(node: &Node, assets: AssetIndex, range: BlockRange) -> Asking<'_, (String, RangeTransfers)> {
    Box::pin(async move { Ok((node.label().to_owned(), node.logs_in(&assets, range).await?)) })
}

async fn further_answer(pool: &Pool, node: &Node, assets: &AssetIndex, range: BlockRange) -> Option<RangeTransfers> {
    node.conduct.admit().ok()?;
    let started = Instant::now();
    let answer = match pool.prove_chain(node).await {
        Ok(()) => node.logs_in(assets, range).await,
        Err(error) => Err(error),
    };
    match &answer {
        Ok(_) => node.conduct.answered(Weight::Heavy, started.elapsed()),
        Err(error) => node.conduct.disappointed(error),
    }
    answer.ok()
}

/// The two ends of a piece and the logs between them.
struct Piece {
    first: FilteredBlock,
    last: FilteredBlock,
    /// The logs, block by block in ascending order.
    groups: Vec<Vec<FoundLog>>,
    bytes: usize,
}

impl Node {
    /// The transfers of a run, from its logs.
    pub(crate) async fn logs_in(&self, assets: &AssetIndex, range: BlockRange) -> Result<RangeTransfers, ChainError> {
        let read = |piece| self.read_logs(assets, piece);
        in_order(range, &self.habits.logs, read).await.map_err(|fault| self.faulted(fault))
    }

    async fn read_logs(&self, assets: &AssetIndex, range: BlockRange) -> Result<ReadRun, BlockFault> {
        let mut piece = self.ask_for_ends(assets, range).await?;
        let ends = [piece.first, piece.last];
        for end in &ends {
            let empty = !piece.groups.iter().any(|logs| number_of(logs) == Some(end.place.number));
            if empty && end.may_hold_transfers(assets) {
                self.prove_absence(end, assets).await?;
            }
        }
        let wanted: Vec<BlockNumber> = piece.groups.iter().filter_map(|logs| number_of(logs)).collect();
        let (places, bytes) = self.places(&wanted, &ends).await?;
        piece.bytes = piece.bytes.saturating_add(bytes);
        let mut blocks = Vec::with_capacity(places.len());
        for (block, logs) in places.into_iter().zip(&piece.groups) {
            logs::are_of_block(logs, &block)?;
            let transfers = logs::logged_transfers(assets, logs);
            // Logs that are no transfers, such as those of nothing, leave the block out.
            if !transfers.is_empty() {
                blocks.push(BlockTransfers { block, transfers });
            }
        }
        let found = RangeTransfers { parent: piece.first.place.parent, blocks, last: piece.last.place };
        Ok(ReadRun { found, bytes: piece.bytes })
    }

    async fn ask_for_ends(&self, assets: &AssetIndex, range: BlockRange) -> Result<Piece, BlockFault> {
        let header = |number| Call::new("eth_getBlockByNumber", json!([quantity(number), false]));
        let mut filter = logs::transfers_filter(assets);
        filter["fromBlock"] = json!(quantity(range.first()));
        filter["toBlock"] = json!(quantity(range.last()));
        let of_logs = Call::new("eth_getLogs", json!([filter]));
        let exchange = self.rpc.ask(&[header(range.first()), of_logs, header(range.last())]).await?;
        let assets = assets.clone();
        beside_the_network(move || read_piece(&exchange, &assets, range)).await.and_then(|piece| piece)
    }

    /// The places of blocks, in their order; those of the ends are known already.
    async fn places(
        &self,
        wanted: &[BlockNumber],
        ends: &[FilteredBlock; 2],
    ) -> Result<(Vec<BlockRef>, usize), BlockFault> {
        let known = |number: BlockNumber| ends.iter().map(|end| end.place).find(|place| place.number == number);
        let missing: Vec<BlockNumber> = wanted.iter().copied().filter(|number| known(*number).is_none()).collect();
        let (mut fetched, mut bytes) = (Vec::with_capacity(missing.len()), 0_usize);
        for some in missing.chunks(CALLS_PER_REQUEST) {
            let header = |number: &BlockNumber| Call::new("eth_getBlockByNumber", json!([quantity(*number), false]));
            let exchange = self.rpc.ask(&some.iter().map(header).collect::<Vec<_>>()).await?;
            bytes = bytes.saturating_add(exchange.bytes());
            let some = some.to_vec();
            fetched.extend(beside_the_network(move || read_places(&exchange, &some)).await.and_then(|places| places)?);
        }
        let mut fetched = fetched.into_iter();
        let places = wanted.iter().filter_map(|number| known(*number).or_else(|| fetched.next())).collect();
        Ok((places, bytes))
    }
}

fn read_piece(exchange: &Exchange, assets: &AssetIndex, range: BlockRange) -> Result<Piece, BlockFault> {
    let [first, logs, last] = exchange.exactly()?;
    let header =
        |answer: Result<_, RpcError>, number| FilteredBlock::read(&answer?, number)?.ok_or(BlockFault::Missing(number));
    // Without the last block, the node may have cut the range at its own head and not said so.
    let last = header(last, range.last())?;
    let first = header(first, range.first())?;
    let logs = logs?.read::<Vec<FoundLog>>()?;
    logs::are_asked_for(&logs, assets)?;
    logs::are_within(&logs, numbers(range.first(), range.last()))?;
    let groups = logs.chunk_by(|a, b| a.number() == b.number()).map(<[FoundLog]>::to_vec).collect();
    Ok(Piece { first, last, groups, bytes: exchange.bytes() })
}

fn read_places(exchange: &Exchange, asked: &[BlockNumber]) -> Result<Vec<BlockRef>, BlockFault> {
    let place = |(number, answer): (&BlockNumber, Result<Answer<'_>, RpcError>)| {
        let header = answer?.read::<Option<Header>>()?.ok_or(BlockFault::Missing(*number))?;
        let place = agreement::mined(&header, Some(*number));
        place.map_err(|contradiction| BlockFault::Contradiction { number: *number, contradiction })
    };
    asked.iter().zip(exchange.answers()?).map(place).collect()
}

fn number_of(logs: &[FoundLog]) -> Option<BlockNumber> {
    logs.first().map(FoundLog::number)
}
