//! Whether a block and its receipts fit together.
//!
//! Nodes lag, cut answers short and mix up branches without saying so. A block is believed only when every part points at
//! every other; then a node can still invent a whole chain, but not hide or repeat one transfer inside a block it shows.
//! The roots of the header are not recomputed here.

use std::collections::HashSet;

use thiserror::Error;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::hash::BlockHash;
use xthonpay_domain::time::Timestamp;

use crate::wire::{Block, Fixed, Header, Log, Quantity, Receipt};

/// A check that an answer failed. Positions count transactions of the block from 0.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Contradiction {
    #[error("asked for block {asked}, got block {answered}")]
    OtherNumber { asked: u64, answered: u64 },
    #[error("the block has no {member}: it is not mined")]
    NotMined { member: &'static str },
    #[error("transaction {position} names another {member} than its block has")]
    ForeignTransaction { position: usize, member: &'static str },
    #[error("transaction {position} stands in the block twice")]
    RepeatedTransaction { position: usize },
    #[error("receipts not ready")]
    NoReceipts,
    #[error("{receipts} receipts for {transactions} transactions")]
    ReceiptCount { transactions: usize, receipts: usize },
    #[error("receipt {position} names another {member} than its block has")]
    ForeignReceipt { position: usize, member: &'static str },
    #[error("receipt {position} has no status of 0 or 1")]
    BadStatus { position: usize },
    #[error("receipt {position} has logs of a failed transaction")]
    LogsOfFailure { position: usize },
    #[error("a log in receipt {position} names another {member} than its block has")]
    ForeignLog { position: usize, member: &'static str },
    #[error("a log in receipt {position} is marked as removed")]
    RemovedLog { position: usize },
    #[error("the logs of receipt {position} are not numbered on from {expected}: one is missing or repeated")]
    LogGap { position: usize, expected: u64 },
    #[error("the gas of receipt {position} is below that of the receipt before")]
    GasDecreases { position: usize },
    #[error("the header counts {header} gas, the receipts {receipts}")]
    GasDiffers { header: u64, receipts: u64 },
}

impl Contradiction {
    /// Always `true`: a node that lags now may agree with itself later.
    pub(crate) fn is_transient(self) -> bool {
        true
    }
}

/// The place of a mined header, which must be `asked` when a number was asked for.
pub(crate) fn mined(header: &Header, asked: Option<BlockNumber>) -> Result<BlockRef, Contradiction> {
    place(header.number, header.hash, header.parent_hash, header.timestamp, asked)
}

/// The place of a block that fits together with its receipts.
pub(crate) fn agreed(block: &Block, receipts: &[Receipt], asked: BlockNumber) -> Result<BlockRef, Contradiction> {
    let place = place(block.number, block.hash, block.parent_hash, block.timestamp, Some(asked))?;
    transactions_belong(block, &place)?;
    if receipts.len() != block.transactions.len() {
        return Err(Contradiction::ReceiptCount { transactions: block.transactions.len(), receipts: receipts.len() });
    }
    receipts_belong(block, receipts, &place)?;
    logs_belong(receipts, &place)?;
    gas_adds_up(block, receipts)?;
    Ok(place)
}

fn place(
    number: Option<Quantity>,
    hash: Option<Fixed<32>>,
    parent: Fixed<32>,
    timestamp: Quantity,
    asked: Option<BlockNumber>,
) -> Result<BlockRef, Contradiction> {
    let Quantity(number) = number.ok_or(Contradiction::NotMined { member: "number" })?;
    let Fixed(hash) = hash.ok_or(Contradiction::NotMined { member: "hash" })?;
    if let Some(BlockNumber(asked)) = asked
        && asked != number
    {
        return Err(Contradiction::OtherNumber { asked, answered: number });
    }
    Ok(BlockRef {
        number: BlockNumber(number),
        hash: BlockHash::new(hash),
        parent: BlockHash::new(parent.0),
        time: Timestamp::from_secs(timestamp.0),
    })
}

/// Whether the transactions are those of this block, each once.
pub(crate) fn transactions_belong(block: &Block, place: &BlockRef) -> Result<(), Contradiction> {
    let mut seen = HashSet::with_capacity(block.transactions.len());
    for (position, tx) in block.transactions.iter().enumerate() {
        let foreign = |member| Err(Contradiction::ForeignTransaction { position, member });
        if tx.block_hash != Some(Fixed(*place.hash.as_bytes())) {
            return foreign("block hash");
        }
        if tx.block_number != Some(Quantity(place.number.0)) {
            return foreign("block number");
        }
        if !tx.transaction_index.is_some_and(|index| is_position(index, position)) {
            return foreign("index");
        }
        if !seen.insert(tx.hash) {
            return Err(Contradiction::RepeatedTransaction { position });
        }
    }
    Ok(())
}

fn receipts_belong(block: &Block, receipts: &[Receipt], place: &BlockRef) -> Result<(), Contradiction> {
    for (position, (receipt, tx)) in receipts.iter().zip(&block.transactions).enumerate() {
        let foreign = |member| Err(Contradiction::ForeignReceipt { position, member });
        if receipt.transaction_hash != tx.hash {
            return foreign("transaction");
        }
        if receipt.block_hash != Fixed(*place.hash.as_bytes()) {
            return foreign("block hash");
        }
        if receipt.block_number != Quantity(place.number.0) {
            return foreign("block number");
        }
        if !is_position(receipt.transaction_index, position) {
            return foreign("index");
        }
        match receipt.status {
            Some(Quantity(1)) => {}
            Some(Quantity(0)) if receipt.logs.is_empty() => {}
            Some(Quantity(0)) => return Err(Contradiction::LogsOfFailure { position }),
            _ => return Err(Contradiction::BadStatus { position }),
        }
    }
    Ok(())
}

/// Logs are numbered through the whole block from 0, so a repeated or silently dropped one leaves a gap.
fn logs_belong(receipts: &[Receipt], place: &BlockRef) -> Result<(), Contradiction> {
    let mut expected: u64 = 0;
    for (position, receipt) in receipts.iter().enumerate() {
        for log in &receipt.logs {
            log_belongs(log, receipt, place, position)?;
            if log.log_index != Some(Quantity(expected)) {
                return Err(Contradiction::LogGap { position, expected });
            }
            expected = expected.saturating_add(1);
        }
    }
    Ok(())
}

fn log_belongs(log: &Log, receipt: &Receipt, place: &BlockRef, position: usize) -> Result<(), Contradiction> {
    if log.removed {
        return Err(Contradiction::RemovedLog { position });
    }
    if log.block_hash != Some(Fixed(*place.hash.as_bytes())) {
        return Err(Contradiction::ForeignLog { position, member: "block hash" });
    }
    if log.transaction_hash != Some(receipt.transaction_hash) {
        return Err(Contradiction::ForeignLog { position, member: "transaction" });
    }
    Ok(())
}

fn gas_adds_up(block: &Block, receipts: &[Receipt]) -> Result<(), Contradiction> {
    let mut sum: u64 = 0;
    for (position, receipt) in receipts.iter().enumerate() {
        if receipt.cumulative_gas_used.0 < sum {
            return Err(Contradiction::GasDecreases { position });
        }
        sum = receipt.cumulative_gas_used.0;
    }
    // Holds for a block without transactions too: one that counts gas hides something.
    if sum == block.gas_used.0 {
        Ok(())
    } else {
        Err(Contradiction::GasDiffers { header: block.gas_used.0, receipts: sum })
    }
}

fn is_position(index: Quantity, position: usize) -> bool {
    usize::try_from(index.0) == Ok(position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Data, Transaction, Word};

    type Mutation = fn(&mut Block, &mut Vec<Receipt>);

    const ASKED: BlockNumber = BlockNumber(7);
    const HASH: Fixed<32> = Fixed([7; 32]);

    fn hash(byte: u8) -> Fixed<32> {
        Fixed([byte; 32])
    }

    fn log(tx: u8, index: u64) -> Log {
        Log {
            address: Fixed([1; 20]),
            topics: Vec::new(),
            data: Data(Vec::new()),
            block_hash: Some(HASH),
            transaction_hash: Some(hash(tx)),
            log_index: Some(Quantity(index)),
            removed: false,
        }
    }

    fn receipt(tx: u8, index: u64, gas: u64, logs: Vec<Log>) -> Receipt {
        Receipt {
            transaction_hash: hash(tx),
            transaction_index: Quantity(index),
            block_hash: HASH,
            block_number: Quantity(ASKED.0),
            status: Some(Quantity(1)),
            cumulative_gas_used: Quantity(gas),
            logs,
        }
    }

    fn transaction(tx: u8, index: u64) -> Transaction {
        Transaction {
            hash: hash(tx),
            block_hash: Some(HASH),
            block_number: Some(Quantity(ASKED.0)),
            transaction_index: Some(Quantity(index)),
            to: Some(Fixed([3; 20])),
            value: Word([0; 32]),
        }
    }

    fn sound() -> (Block, Vec<Receipt>) {
        let block = Block {
            number: Some(Quantity(ASKED.0)),
            hash: Some(HASH),
            parent_hash: hash(6),
            timestamp: Quantity(1_800_000_000),
            gas_used: Quantity(60),
            transactions: vec![transaction(10, 0), transaction(11, 1), transaction(12, 2)],
        };
        let receipts = vec![
            receipt(10, 0, 20, vec![log(10, 0), log(10, 1)]),
            receipt(11, 1, 40, Vec::new()),
            receipt(12, 2, 60, vec![log(12, 2)]),
        ];
        (block, receipts)
    }

    #[test]
    fn accepts_a_block_that_fits_its_receipts() {
        let (block, receipts) = sound();
        let place = agreed(&block, &receipts, ASKED).expect("sound");
        assert_eq!(place.number, ASKED);
        assert_eq!(place.hash, BlockHash::new([7; 32]));
        assert_eq!(place.parent, BlockHash::new([6; 32]));
        assert_eq!(place.time, Timestamp::from_secs(1_800_000_000));
    }

    #[test]
    fn refuses_every_single_contradiction() {
        use Contradiction as C;
        let table: [(Mutation, Contradiction); 29] = [
            (|b, _| b.number = Some(Quantity(8)), C::OtherNumber { asked: 7, answered: 8 }),
            (|b, _| b.number = None, C::NotMined { member: "number" }),
            (|b, _| b.hash = None, C::NotMined { member: "hash" }),
            (|b, _| b.hash = Some(hash(8)), C::ForeignTransaction { position: 0, member: "block hash" }),
            (|b, _| b.transactions[1].block_hash = None, C::ForeignTransaction { position: 1, member: "block hash" }),
            (
                |b, _| b.transactions[1].block_number = None,
                C::ForeignTransaction { position: 1, member: "block number" },
            ),
            (|b, _| b.transactions.swap(0, 1), C::ForeignTransaction { position: 0, member: "index" }),
            (|b, _| b.transactions[2].hash = hash(10), C::RepeatedTransaction { position: 2 }),
            (|_, r| r.clear(), C::ReceiptCount { transactions: 3, receipts: 0 }),
            (|_, r| r.truncate(2), C::ReceiptCount { transactions: 3, receipts: 2 }),
            (|_, r| r.push(r[2].clone()), C::ReceiptCount { transactions: 3, receipts: 4 }),
            (|b, _| b.transactions.truncate(2), C::ReceiptCount { transactions: 2, receipts: 3 }),
            (|_, r| r.swap(0, 1), C::ForeignReceipt { position: 0, member: "transaction" }),
            (|_, r| r[1].block_hash = hash(8), C::ForeignReceipt { position: 1, member: "block hash" }),
            (|_, r| r[1].block_number = Quantity(8), C::ForeignReceipt { position: 1, member: "block number" }),
            (|_, r| r[1].transaction_index = Quantity(2), C::ForeignReceipt { position: 1, member: "index" }),
            (|_, r| r[1].status = None, C::BadStatus { position: 1 }),
            (|_, r| r[1].status = Some(Quantity(2)), C::BadStatus { position: 1 }),
            (|_, r| r[2].status = Some(Quantity(0)), C::LogsOfFailure { position: 2 }),
            (|_, r| r[2].logs[0].removed = true, C::RemovedLog { position: 2 }),
            (|_, r| r[2].logs[0].block_hash = Some(hash(8)), C::ForeignLog { position: 2, member: "block hash" }),
            (
                |_, r| r[2].logs[0].transaction_hash = Some(hash(10)),
                C::ForeignLog { position: 2, member: "transaction" },
            ),
            (|_, r| r[0].logs.swap(0, 1), C::LogGap { position: 0, expected: 0 }),
            (|_, r| r[0].logs[1].log_index = None, C::LogGap { position: 0, expected: 1 }),
            (|_, r| r[0].logs[1].log_index = Some(Quantity(0)), C::LogGap { position: 0, expected: 1 }),
            (|_, r| r[0].logs.push(log(10, 1)), C::LogGap { position: 0, expected: 2 }),
            (|_, r| r[0].logs.truncate(1), C::LogGap { position: 2, expected: 1 }),
            (|_, r| r[1].cumulative_gas_used = Quantity(10), C::GasDecreases { position: 1 }),
            (|b, _| b.gas_used = Quantity(61), C::GasDiffers { header: 61, receipts: 60 }),
        ];
        for (mutate, expected) in table {
            let (mut block, mut receipts) = sound();
            mutate(&mut block, &mut receipts);
            let found = agreed(&block, &receipts, ASKED).expect_err(&expected.to_string());
            assert_eq!(found, expected);
            assert!(found.is_transient());
        }
    }

    #[test]
    fn an_empty_block_must_not_have_used_gas() {
        let (mut block, _) = sound();
        block.transactions.clear();
        assert!(matches!(agreed(&block, &[], ASKED), Err(Contradiction::GasDiffers { .. })));
        block.gas_used = Quantity(0);
        assert!(agreed(&block, &[], ASKED).is_ok());
    }
}
