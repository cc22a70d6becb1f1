//! Blocks and logs of a node that offers no receipts of whole blocks: the level of verification called "logs".
//!
//! The logs of the configured tokens are asked for by the block's hash, and the bloom filter of the header says whether there
//! must be some: a node that knows a block and not yet its logs answers with none. Where the filter allows a transfer and no
//! log came, all logs of the block are asked for and must make exactly that filter. Whether a transaction that moves coins
//! succeeded is learned from its own receipt, so that with a native asset a block costs one question more for each of its
//! transactions that carry a value; without one it costs two questions.
//!
//! What a node can still do at this level: leave out some logs of a block and show others.

use alloy_primitives::{Bloom, BloomInput};
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;
use xthonpay_domain::address::Address;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::hash::TxHash;
use xthonpay_domain::transfer::{BlockTransfers, Transfer};
use xthonpay_payments::port::chain::{ChainError, Verification};

use crate::agreement::{self, Contradiction};
use crate::blocks::{BlockFault, ReadBlocks, Run};
use crate::decode::{self, AssetIndex, Movement, TRANSFER_TOPIC};
use crate::node::{Node, quantity};
use crate::roots;
use crate::rpc::{Answer, Call};
use crate::wire::{Block, Data, Fixed, Header, Quantity, Transaction};

/// Questions in one request: what nodes commonly accept.
pub(crate) const CALLS_PER_REQUEST: usize = 100;

/// Logs that do not fit their blocks or the question.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum LogFault {
    #[error("block {number} must hold logs by its bloom filter, and they did not come")]
    Missing { number: BlockNumber },
    #[error("a log of block {number} names another {member}")]
    Foreign { number: BlockNumber, member: &'static str },
    #[error("a log of block {number} is marked as removed")]
    Removed { number: BlockNumber },
    #[error("the logs of block {number} are not in the order of their numbers")]
    Order { number: BlockNumber },
    #[error("a log of block {number} was not asked for")]
    Unasked { number: BlockNumber },
    #[error("transaction {position} of block {number} has no receipt that fits it")]
    Receipt { number: BlockNumber, position: usize },
}

impl LogFault {
    /// Always `true`: a node that lags now may have the logs later.
    pub(crate) fn is_transient(self) -> bool {
        match self {
            Self::Missing { .. }
            | Self::Foreign { .. }
            | Self::Removed { .. }
            | Self::Order { .. }
            | Self::Unasked { .. }
            | Self::Receipt { .. } => true,
        }
    }
}

/// A log as `eth_getLogs` shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FoundLog {
    address: Fixed<20>,
    topics: Vec<Fixed<32>>,
    data: Data,
    block_hash: Fixed<32>,
    block_number: Quantity,
    transaction_hash: Fixed<32>,
    transaction_index: Quantity,
    log_index: Quantity,
    #[serde(default)]
    removed: bool,
}

impl FoundLog {
    pub(crate) fn number(&self) -> BlockNumber {
        BlockNumber(self.block_number.0)
    }
}

/// A header with its bloom filter, as a block shows them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FilteredHeader {
    number: Option<Quantity>,
    hash: Option<Fixed<32>>,
    parent_hash: Fixed<32>,
    timestamp: Quantity,
    logs_bloom: Fixed<256>,
}

/// What the receipt of one transaction says about it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    transaction_hash: Fixed<32>,
    block_hash: Fixed<32>,
    status: Option<Quantity>,
}

/// A header with its bloom filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FilteredBlock {
    pub(crate) place: BlockRef,
    bloom: Bloom,
}

impl FilteredBlock {
    /// The header in an answer, or `None` when the node does not have the block.
    pub(crate) fn read(answer: &Answer<'_>, asked: BlockNumber) -> Result<Option<Self>, BlockFault> {
        let Some(found) = answer.read::<Option<FilteredHeader>>()? else { return Ok(None) };
        let FilteredHeader { number, hash, parent_hash, timestamp, logs_bloom } = found;
        let header = Header { number, hash, parent_hash, timestamp };
        let place = agreement::mined(&header, Some(asked));
        let place = place.map_err(|contradiction| BlockFault::Contradiction { number: asked, contradiction })?;
        Ok(Some(Self { place, bloom: Bloom::new(logs_bloom.0) }))
    }

    /// Whether the filter allows a transfer of a configured token in the block.
    pub(crate) fn may_hold_transfers(&self, assets: &AssetIndex) -> bool {
        let contains = |bytes: &[u8]| self.bloom.contains_input(BloomInput::Raw(bytes));
        contains(&TRANSFER_TOPIC.0) && assets.tokens().any(|token| contains(token.as_bytes()))
    }

    /// Whether these are all logs of the block, as far as the filter tells.
    fn is_made_of(&self, logs: &[FoundLog]) -> bool {
        let mut bloom = Bloom::ZERO;
        logs.iter().for_each(|log| roots::accrue(&mut bloom, &log.address, &log.topics));
        bloom == self.bloom
    }
}

/// One block on its way through the questions about it.
struct Candidate {
    header: FilteredBlock,
    /// The transactions that may move coins.
    paying: Vec<Transaction>,
    logs: Vec<FoundLog>,
    /// Whether each of `paying` succeeded.
    succeeded: Vec<bool>,
}

impl Node {
    /// Whether the node offers the logs of a block: all that the level needs.
    pub(crate) async fn probe_logs(&self, number: BlockNumber) -> Result<Verification, ChainError> {
        let answer = self.ask_for_logs_of_nobody(number).await;
        answer.map(|()| Verification::Logs).map_err(|fault| self.faulted(fault))
    }

    /// Asks as for any block, but for a contract that nobody has: the answer is small, whatever the block holds.
    async fn ask_for_logs_of_nobody(&self, number: BlockNumber) -> Result<(), BlockFault> {
        let nothing = AssetIndex::default();
        let (candidates, _) = self.candidates(&nothing, number.0..=number.0).await?;
        let candidate = candidates.into_iter().next().flatten().ok_or(BlockFault::Missing(number))?;
        let mut filter = logs_of(&candidate.header.place, Some(&nothing));
        filter["address"] = json!([Address::ZERO.to_lower_hex()]);
        let exchange = self.rpc.ask(&[Call::new("eth_getLogs", json!([filter]))]).await?;
        let [logs] = exchange.exactly()?;
        are_of_block(&logs?.read::<Vec<FoundLog>>()?, &candidate.header.place)?;
        Ok(())
    }

    /// The blocks of a run with their transfers, from their logs.
    pub(crate) async fn read_logged_blocks(&self, assets: &AssetIndex, run: Run) -> Result<ReadBlocks, BlockFault> {
        let (mut candidates, mut bytes) = self.candidates(assets, run).await?;
        bytes = bytes.saturating_add(self.ask_for_logs(assets, &mut candidates).await?);
        bytes = bytes.saturating_add(self.ask_for_outcomes(&mut candidates).await?);
        let mut blocks = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            let Some(candidate) = candidate else {
                blocks.push(None);
                continue;
            };
            if candidate.logs.is_empty() && candidate.header.may_hold_transfers(assets) {
                self.prove_absence(&candidate.header, assets).await?;
            }
            blocks.push(Some(BlockTransfers {
                block: candidate.header.place,
                transfers: transfers_of(assets, &candidate),
            }));
        }
        Ok(ReadBlocks { blocks, bytes })
    }

    async fn candidates(&self, assets: &AssetIndex, run: Run) -> Result<(Vec<Option<Candidate>>, usize), BlockFault> {
        let whole = assets.has_native();
        let asked = |number| Call::new("eth_getBlockByNumber", json!([quantity(BlockNumber(number)), whole]));
        let exchange = self.rpc.ask(&run.clone().map(asked).collect::<Vec<_>>()).await?;
        let mut candidates = Vec::new();
        for (number, answer) in run.zip(exchange.answers()?) {
            let answer = answer?;
            let Some(header) = FilteredBlock::read(&answer, BlockNumber(number))? else {
                candidates.push(None);
                continue;
            };
            let paying = if whole { paying(&answer, &header)? } else { Vec::new() };
            candidates.push(Some(Candidate { header, paying, logs: Vec::new(), succeeded: Vec::new() }));
        }
        Ok((candidates, exchange.bytes()))
    }

    async fn ask_for_logs(
        &self,
        assets: &AssetIndex,
        candidates: &mut [Option<Candidate>],
    ) -> Result<usize, BlockFault> {
        let mut bytes: usize = 0;
        // An empty list of contracts would mean every contract.
        if assets.tokens().next().is_none() {
            return Ok(bytes);
        }
        let mut present: Vec<&mut Candidate> = candidates.iter_mut().flatten().collect();
        for some in present.chunks_mut(CALLS_PER_REQUEST) {
            let of = |candidate: &&mut Candidate| {
                Call::new("eth_getLogs", json!([logs_of(&candidate.header.place, Some(assets))]))
            };
            let exchange = self.rpc.ask(&some.iter().map(of).collect::<Vec<_>>()).await?;
            for (candidate, answer) in some.iter_mut().zip(exchange.answers()?) {
                let logs = answer?.read::<Vec<FoundLog>>()?;
                are_of_block(&logs, &candidate.header.place)?;
                are_asked_for(&logs, assets)?;
                candidate.logs = logs;
            }
            bytes = bytes.saturating_add(exchange.bytes());
        }
        Ok(bytes)
    }

    async fn ask_for_outcomes(&self, candidates: &mut [Option<Candidate>]) -> Result<usize, BlockFault> {
        let mut bytes: usize = 0;
        for candidate in candidates.iter_mut().flatten() {
            let place = candidate.header.place;
            for some in candidate.paying.chunks(CALLS_PER_REQUEST) {
                let of = |tx: &Transaction| {
                    Call::new("eth_getTransactionReceipt", json!([TxHash::new(tx.hash.0).to_string()]))
                };
                let exchange = self.rpc.ask(&some.iter().map(of).collect::<Vec<_>>()).await?;
                for (tx, answer) in some.iter().zip(exchange.answers()?) {
                    let outcome = answer?.read::<Option<Outcome>>()?;
                    candidate.succeeded.push(succeeded(tx, outcome.as_ref(), &place)?);
                }
                bytes = bytes.saturating_add(exchange.bytes());
            }
        }
        Ok(bytes)
    }

    /// Makes sure that a block holds no transfer although its filter allows one: tokens and topics of other logs can make the
    /// same filter, and a node that has no logs yet makes an empty one.
    pub(crate) async fn prove_absence(&self, block: &FilteredBlock, assets: &AssetIndex) -> Result<(), BlockFault> {
        let exchange = self.rpc.ask(&[Call::new("eth_getLogs", json!([logs_of(&block.place, None)]))]).await?;
        let [logs] = exchange.exactly()?;
        let logs = logs?.read::<Vec<FoundLog>>()?;
        are_of_block(&logs, &block.place)?;
        if block.is_made_of(&logs) && logged_transfers(assets, &logs).is_empty() {
            Ok(())
        } else {
            Err(LogFault::Missing { number: block.place.number }.into())
        }
    }
}

/// The filter for the logs of a block: the transfers of configured tokens, or all of them.
fn logs_of(place: &BlockRef, assets: Option<&AssetIndex>) -> Value {
    let mut filter = assets.map_or_else(|| json!({}), transfers_filter);
    filter["blockHash"] = json!(place.hash.to_string());
    filter
}

/// The filter for transfers of configured tokens, of no block yet.
pub(crate) fn transfers_filter(assets: &AssetIndex) -> Value {
    let tokens: Vec<String> = assets.tokens().map(|token| token.to_lower_hex()).collect();
    json!({"address": tokens, "topics": [format!("0x{}", hex::encode(TRANSFER_TOPIC.0))]})
}

/// The transactions of a block that may move coins.
fn paying(answer: &Answer<'_>, header: &FilteredBlock) -> Result<Vec<Transaction>, BlockFault> {
    let block = answer.read::<Block>()?;
    let number = header.place.number;
    agreement::transactions_belong(&block, &header.place)
        .map_err(|contradiction| BlockFault::Contradiction { number, contradiction })?;
    let pays = |tx: &Transaction| tx.to.is_some() && tx.value.0 != [0; 32];
    Ok(block.transactions.into_iter().filter(pays).collect())
}

fn succeeded(tx: &Transaction, outcome: Option<&Outcome>, place: &BlockRef) -> Result<bool, BlockFault> {
    let number = place.number;
    let contradicts = |contradiction| BlockFault::Contradiction { number, contradiction };
    let outcome = outcome.ok_or_else(|| contradicts(Contradiction::NoReceipts))?;
    let position = tx.transaction_index.and_then(|index| usize::try_from(index.0).ok()).unwrap_or_default();
    let fits = outcome.transaction_hash == tx.hash && outcome.block_hash.0 == *place.hash.as_bytes();
    match outcome.status {
        Some(Quantity(status @ (0 | 1))) if fits => Ok(status == 1),
        _ => Err(LogFault::Receipt { number, position }.into()),
    }
}

/// Whether logs are of this block, in their order and none twice.
pub(crate) fn are_of_block(logs: &[FoundLog], place: &BlockRef) -> Result<(), LogFault> {
    let number = place.number;
    let mut last: Option<(u64, u64)> = None;
    for log in logs {
        if log.removed {
            return Err(LogFault::Removed { number });
        }
        if log.block_hash.0 != *place.hash.as_bytes() {
            return Err(LogFault::Foreign { number, member: "block hash" });
        }
        if log.number() != number {
            return Err(LogFault::Foreign { number, member: "block number" });
        }
        // Logs of a later transaction have higher numbers.
        let (tx, index) = (log.transaction_index.0, log.log_index.0);
        if last.is_some_and(|(last_tx, last_index)| tx < last_tx || index <= last_index) {
            return Err(LogFault::Order { number });
        }
        last = Some((tx, index));
    }
    // One transaction has one index, and the other way round.
    let mixed = |pair: &[FoundLog]| match pair {
        [a, b] => (a.transaction_hash == b.transaction_hash) != (a.transaction_index == b.transaction_index),
        _ => false,
    };
    if logs.windows(2).any(mixed) {
        return Err(LogFault::Foreign { number, member: "transaction" });
    }
    Ok(())
}

/// Whether logs are of these blocks, in ascending order of the blocks.
pub(crate) fn are_within(logs: &[FoundLog], run: Run) -> Result<(), LogFault> {
    let mut last = *run.start();
    for log in logs {
        let number = log.number();
        if !run.contains(&number.0) {
            return Err(LogFault::Unasked { number });
        }
        if number.0 < last {
            return Err(LogFault::Order { number });
        }
        last = number.0;
    }
    Ok(())
}

/// Whether the node filtered as it was asked to. One that ignores the filter may have cut the answer for its size.
pub(crate) fn are_asked_for(logs: &[FoundLog], assets: &AssetIndex) -> Result<(), LogFault> {
    let asked = |log: &&FoundLog| {
        log.topics.first() == Some(&TRANSFER_TOPIC) && assets.tokens().any(|token| *token.as_bytes() == log.address.0)
    };
    match logs.iter().find(|log| !asked(log)) {
        Some(log) => Err(LogFault::Unasked { number: log.number() }),
        None => Ok(()),
    }
}

/// The transfers in the logs of one block.
pub(crate) fn logged_transfers(assets: &AssetIndex, logs: &[FoundLog]) -> Vec<Transfer> {
    let by_transaction = logs.chunk_by(|a, b| a.transaction_hash == b.transaction_hash);
    by_transaction.flat_map(|logs| transfers_of_logs(assets, logs)).collect()
}

fn transfers_of_logs(assets: &AssetIndex, logs: &[FoundLog]) -> Vec<Transfer> {
    let Some(first) = logs.first() else { return Vec::new() };
    decode::numbered(TxHash::new(first.transaction_hash.0), movements(assets, logs))
}

fn movements<'a>(assets: &'a AssetIndex, logs: &'a [FoundLog]) -> impl Iterator<Item = Movement<'a>> {
    logs.iter().filter_map(|log| decode::token_movement(assets, &log.address, &log.topics, &log.data))
}

/// The transfers of a block in the order of execution: transaction by transaction, its own value first.
fn transfers_of(assets: &AssetIndex, candidate: &Candidate) -> Vec<Transfer> {
    let index = |tx: &Transaction| tx.transaction_index.map_or(u64::MAX, |Quantity(index)| index);
    let paid = candidate.paying.iter().zip(&candidate.succeeded).filter(|(_, succeeded)| **succeeded);
    let paid = paid.map(|(tx, _)| {
        let movements = decode::native_movement(assets, tx).into_iter();
        (index(tx), decode::numbered(TxHash::new(tx.hash.0), movements))
    });
    let logged = candidate.logs.chunk_by(|a, b| a.transaction_hash == b.transaction_hash).map(|logs| {
        let index = logs.first().map_or(u64::MAX, |log| log.transaction_index.0);
        (index, transfers_of_logs(assets, logs))
    });
    // Coins and tokens are numbered apart, so that putting their lists together changes no number.
    let mut all: Vec<(u64, Vec<Transfer>)> = paid.chain(logged).collect();
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().flat_map(|(_, transfers)| transfers).collect()
}
