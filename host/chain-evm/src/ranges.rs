//! Long runs of final blocks: many blocks a request, several requests at once, one result in order.
//!
//! A run is cut into pieces whose size follows what the node takes. The pieces are read at the same time, and put together
//! only where each stands on the one before; a piece that is missing, refused or not linked ends the whole run, so that
//! nothing is ever left out in the middle. Two ways to read a piece: whole blocks, here, or logs alone, in `by_logs`.

mod by_logs;

use core::future::{Future, ready};
use core::pin::pin;
use core::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use tokio::time::sleep;
use xthonpay_domain::block::{BlockNumber, BlockRange};
use xthonpay_domain::transfer::{BlockTransfers, RangeTransfers};
use xthonpay_payments::port::chain::{ChainError, Verification};

pub(crate) use self::by_logs::in_agreement as logs_in_agreement;
use crate::blocks::{BlockFault, ReadBlocks, run_of};
use crate::decode::AssetIndex;
use crate::node::Node;
use crate::pace::{IN_FLIGHT_MAX, Pace};
use crate::pool::Asking;
use crate::proofs::Shown;
use crate::rpc::RpcError;

/// The most transfers that a run may hold; callers then ask for fewer blocks. Bounds the memory of an answer that nothing is
/// known about before its end is reached: some 80 MB, twice what full blocks of BNB Smart Chain make.
const RUN_TRANSFERS_MAX: usize = 400_000;

/// How often one piece is asked for again when the node is too busy. After that, another node is worth a try.
const BUSY_RETRIES_MAX: u32 = 4;

/// The first pause before that; each further one is twice as long. Tests do not wait.
const BUSY_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 200 });

/// "Limit exceeded": too many questions, or too large a one.
const CODE_LIMIT: i64 = -32005;

const STATUS_TOO_LARGE: u16 = 413;
const STATUSES_BUSY: [u16; 2] = [429, 503];

/// The transfers of a piece, and how large the answers were.
pub(crate) struct ReadRun {
    pub(crate) found: RangeTransfers,
    pub(crate) bytes: usize,
}

impl Node {
    /// The transfers of a run, from its whole blocks, each verified to `level`.
    ///
    /// # Errors
    /// As [`xthonpay_payments::port::chain::ChainSource::transfers_in`].
    pub(crate) async fn blocks_in(
        &self,
        assets: &AssetIndex,
        range: BlockRange,
        level: Verification,
    ) -> Result<RangeTransfers, ChainError> {
        let read = |piece| async move {
            let ReadBlocks { blocks, bytes } = self.read_blocks(assets, run_of(piece), level).await?;
            Ok(ReadRun { found: linked(piece, blocks)?, bytes })
        };
        in_order(range, &self.habits.blocks, read).await.map_err(|fault| self.faulted(fault))
    }
}

/// The question for a run of blocks, each verified as far as the node allows.
pub(crate) fn blocks_of(node: &Node, assets: AssetIndex, range: BlockRange) -> Asking<'_, Shown<RangeTransfers>> {
    Box::pin(async move {
        let level = node.level_for_content().await?;
        let content = node.blocks_in(&assets, range, level).await?;
        Ok(Shown { content, proven: level == Verification::Roots })
    })
}

/// Reads a run piece by piece, as many at once as the node takes.
pub(crate) async fn in_order<R>(
    range: BlockRange,
    pace: &Pace,
    read: impl Fn(BlockRange) -> R + Sync,
) -> Result<RangeTransfers, BlockFault>
where
    R: Future<Output = Result<ReadRun, BlockFault>> + Send,
{
    // A piece is cut when its turn comes, by what has been learned until then.
    let pieces = stream::unfold(Some(range), |rest| ready(rest.map(|rest| rest.split_first(pace.blocks()))));
    let mut found = pin!(pieces.map(|piece| at_this_pace(piece, pace, &read)).buffered(IN_FLIGHT_MAX));
    let mut whole: Option<RangeTransfers> = None;
    while let Some(piece) = found.next().await {
        whole = Some(joined(whole, piece?)?);
    }
    whole.ok_or(BlockFault::Missing(range.first()))
}

/// Reads a piece, in smaller pieces one after the other when it turns out to be too much.
async fn at_this_pace<R>(
    piece: BlockRange,
    pace: &Pace,
    read: &(impl Fn(BlockRange) -> R + Sync),
) -> Result<RangeTransfers, BlockFault>
where
    R: Future<Output = Result<ReadRun, BlockFault>> + Send,
{
    let mut whole: Option<RangeTransfers> = None;
    let (mut part, mut after) = (piece, None);
    let mut retries = 0;
    loop {
        let place = pace.place().await.ok_or(BlockFault::Interrupted)?;
        match read(part).await {
            Ok(ReadRun { found, bytes }) => {
                pace.answered(part.blocks(), bytes);
                let joined = joined(whole, found)?;
                let Some(rest) = after else { return Ok(joined) };
                whole = Some(joined);
                (part, after) = BlockRange::split_first(rest, pace.blocks());
                retries = 0;
            }
            Err(fault) => match trouble(&fault, part) {
                Trouble::TooMuch => {
                    pace.too_much(part.blocks());
                    drop(place);
                    let rest = BlockRange::new(part.first(), piece.last()).unwrap_or(part);
                    (part, after) = rest.split_first((part.blocks() / 2).min(pace.blocks()));
                }
                Trouble::TooMany if retries < BUSY_RETRIES_MAX => {
                    pace.too_many(place);
                    sleep(BUSY_PAUSE.saturating_mul(2_u32.saturating_pow(retries))).await;
                    retries = retries.saturating_add(1);
                }
                Trouble::TooMany | Trouble::Other => return Err(fault),
            },
        }
    }
}

/// What a fault says about the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Half of it may be answered.
    TooMuch,
    /// It may be answered a little later.
    TooMany,
    /// Nothing.
    Other,
}

/// Nodes have no common word for a range, a batch or an answer that is too large: codes differ and texts are no contract. So
/// whatever a node refuses is asked for in halves, down to a single block, whose refusal then means what it says.
fn trouble(fault: &BlockFault, piece: BlockRange) -> Trouble {
    let several = piece.blocks() > 1;
    match fault {
        BlockFault::Rpc(RpcError::TimedOut(_) | RpcError::BodyTooLarge | RpcError::Refused { .. }) if several => {
            Trouble::TooMuch
        }
        BlockFault::Rpc(RpcError::Status(STATUS_TOO_LARGE)) if several => Trouble::TooMuch,
        BlockFault::Rpc(RpcError::Refused { code: CODE_LIMIT, .. }) => Trouble::TooMany,
        BlockFault::Rpc(RpcError::Status(status)) if STATUSES_BUSY.contains(status) => Trouble::TooMany,
        _ => Trouble::Other,
    }
}

/// The blocks of a piece, which must all be there and stand on each other.
fn linked(piece: BlockRange, blocks: Vec<Option<BlockTransfers>>) -> Result<RangeTransfers, BlockFault> {
    let mut whole: Option<RangeTransfers> = None;
    let mut blocks = blocks.into_iter();
    for number in run_of(piece) {
        let found = blocks.next().flatten().ok_or(BlockFault::Missing(BlockNumber(number)))?;
        let (parent, last) = (found.block.parent, found.block);
        let blocks = if found.transfers.is_empty() { Vec::new() } else { vec![found] };
        whole = Some(joined(whole, RangeTransfers { parent, blocks, last })?);
    }
    whole.ok_or(BlockFault::Missing(piece.first()))
}

/// A run and the one that stands on it.
pub(crate) fn joined(lower: Option<RangeTransfers>, mut upper: RangeTransfers) -> Result<RangeTransfers, BlockFault> {
    let Some(mut lower) = lower else { return Ok(upper) };
    if upper.parent != lower.last.hash {
        return Err(BlockFault::NotLinked(lower.last.number.next().unwrap_or(upper.last.number)));
    }
    let transfers = |run: &RangeTransfers| run.blocks.iter().map(|block| block.transfers.len()).sum::<usize>();
    if transfers(&lower).saturating_add(transfers(&upper)) > RUN_TRANSFERS_MAX {
        return Err(BlockFault::TooManyTransfers(upper.last.number));
    }
    lower.blocks.append(&mut upper.blocks);
    lower.last = upper.last;
    Ok(lower)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use xthonpay_domain::address::Address;
    use xthonpay_domain::amount::Amount;
    use xthonpay_domain::block::BlockRef;
    use xthonpay_domain::hash::BlockHash;
    use xthonpay_domain::time::Timestamp;
    use xthonpay_domain::transfer::{Origin, Transfer, TransferIdentity};

    use super::*;
    use crate::pace::Habits;

    fn range(first: u64, last: u64) -> BlockRange {
        BlockRange::new(BlockNumber(first), BlockNumber(last)).expect("in order")
    }

    fn hash(number: u64) -> BlockHash {
        let mut hash = [0; 32];
        hash[24..].copy_from_slice(&number.to_be_bytes());
        BlockHash::new(hash)
    }

    fn piece(piece: BlockRange) -> ReadRun {
        let last = BlockRef {
            number: piece.last(),
            hash: hash(piece.last().0),
            parent: hash(piece.last().0 - 1),
            time: Timestamp::EPOCH,
        };
        ReadRun { found: RangeTransfers { parent: hash(piece.first().0 - 1), blocks: Vec::new(), last }, bytes: 1 }
    }

    fn refused() -> BlockFault {
        BlockFault::Rpc(RpcError::Refused { method: "eth_getLogs", code: -32602, message: String::new() })
    }

    #[tokio::test]
    async fn pieces_shrink_until_they_are_answered_and_nothing_is_left_out() {
        let habits = Habits::new();
        let answered = Mutex::new(Vec::new());
        let whole = in_order(range(1, 1_000), &habits.logs, |part| {
            let answered = &answered;
            async move {
                if part.blocks() > 37 {
                    return Err(refused());
                }
                answered.lock().expect("not poisoned").push(part);
                Ok(piece(part))
            }
        })
        .await
        .expect("answered");
        assert_eq!((whole.parent, whole.last.number), (hash(0), BlockNumber(1_000)));
        let mut answered = answered.into_inner().expect("not poisoned");
        answered.sort_by_key(|part| part.first());
        let mut next = 1;
        for part in answered {
            assert_eq!(part.first().0, next);
            next = part.last().0 + 1;
        }
        assert_eq!(next, 1_001);
        assert!(habits.logs.blocks() <= 50, "the next run begins with what was learned: {}", habits.logs.blocks());
    }

    #[tokio::test]
    async fn a_busy_node_is_asked_again_and_not_for_ever() {
        for (failures, expected) in [(3_u32, true), (u32::MAX, false)] {
            let habits = Habits::new();
            let left = Mutex::new(failures);
            let answer = in_order(range(1, 10), &habits.logs, |part| {
                let left = &left;
                async move {
                    let mut left = left.lock().expect("not poisoned");
                    if *left > 0 {
                        *left -= 1;
                        return Err(BlockFault::Rpc(RpcError::Status(429)));
                    }
                    Ok(piece(part))
                }
            })
            .await;
            assert_eq!(answer.is_ok(), expected);
        }
    }

    #[tokio::test]
    async fn pieces_that_do_not_stand_on_each_other_are_no_run() {
        let habits = Habits::new();
        let answer = in_order(range(1, 1_000), &habits.logs, |part| async move {
            let mut read = piece(part);
            if part.first() > BlockNumber(500) {
                read.found.parent = hash(7);
            }
            Ok(read)
        })
        .await;
        assert!(matches!(answer, Err(BlockFault::NotLinked(_))));
    }

    #[test]
    fn a_run_that_holds_more_than_there_is_room_for_ends_early() {
        let transfers = |count: usize| {
            let transfer = Transfer {
                identity: TransferIdentity {
                    asset: "bsc:USDT".parse().expect("an asset id"),
                    origin: Origin::Balance { block: BlockNumber(1) },
                    to: Address::new([1; 20]),
                },
                from: None,
                amount: Amount::from_units(1),
            };
            vec![transfer; count]
        };
        let run = |number: u64, count: usize| {
            let mut run = piece(range(number, number)).found;
            run.blocks.push(BlockTransfers { block: run.last, transfers: transfers(count) });
            run
        };
        let half = RUN_TRANSFERS_MAX / 2;
        assert!(joined(Some(run(1, half)), run(2, half)).is_ok());
        let fault = joined(Some(run(1, half)), run(2, half + 1)).expect_err("one too many");
        assert!(matches!(fault, BlockFault::TooManyTransfers(BlockNumber(2))) && fault.is_transient());
    }

    #[test]
    fn a_refused_block_is_refused_and_a_limit_is_waited_for() {
        let limit =
            || BlockFault::Rpc(RpcError::Refused { method: "eth_getLogs", code: CODE_LIMIT, message: String::new() });
        assert_eq!(trouble(&refused(), range(1, 2)), Trouble::TooMuch);
        assert_eq!(trouble(&refused(), range(1, 1)), Trouble::Other);
        assert_eq!(trouble(&limit(), range(1, 2)), Trouble::TooMuch);
        assert_eq!(trouble(&limit(), range(1, 1)), Trouble::TooMany);
        assert_eq!(trouble(&BlockFault::Missing(BlockNumber(1)), range(1, 2)), Trouble::Other);
        assert_eq!(trouble(&BlockFault::Rpc(RpcError::BodyTooLarge), range(1, 2)), Trouble::TooMuch);
        assert_eq!(trouble(&BlockFault::Rpc(RpcError::Status(503)), range(1, 2)), Trouble::TooMany);
        assert_eq!(trouble(&BlockFault::Rpc(RpcError::Status(500)), range(1, 2)), Trouble::Other);
    }

    #[test]
    fn a_block_that_is_missing_in_the_middle_is_named() {
        let block = |number: u64| {
            let block = BlockRef {
                number: BlockNumber(number),
                hash: hash(number),
                parent: hash(number - 1),
                time: Timestamp::EPOCH,
            };
            Some(BlockTransfers { block, transfers: Vec::new() })
        };
        let whole = linked(range(1, 3), vec![block(1), block(2), block(3)]).expect("linked");
        assert_eq!((whole.parent, whole.last.hash, whole.blocks.len()), (hash(0), hash(3), 0));
        let missing = linked(range(1, 3), vec![block(1), None, block(3)]);
        assert!(matches!(missing, Err(BlockFault::Missing(BlockNumber(2)))));
        let short = linked(range(1, 3), vec![block(1), block(2)]);
        assert!(matches!(short, Err(BlockFault::Missing(BlockNumber(3)))));
    }
}
