//! Blocks and receipts with everything that the roots of a header cover.
//!
//! For nodes whose blocks are verified by roots; all others are read with the smaller shapes of the parent module. Each value
//! here is read once: what is verified is also what is decoded. A block splits into the part that only the proof needs and
//! the part that agreement and decoding need. What was signed is put together in `signed`.

mod signed;

use alloy_consensus::Header;
use alloy_primitives::{Address, B64, B256, Bloom, Bytes, U256};
use serde::Deserialize;

pub(crate) use self::signed::{SignedTransaction, Unknown};
use super::{Data, Fixed, FromHex, HexFault, Log, Quantity, Word};

/// A number up to 2^128 - 1: prices of gas, and the `v` of a signature, which holds a chain id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wide(pub(crate) u128);

impl FromHex for Wide {
    fn from_hex(text: &str) -> Result<Self, HexFault> {
        u128::from_str_radix(super::quantity_digits(text)?, 16).map(Self).map_err(|_| HexFault::OutOfRange)
    }
}

super::deserialize_from_hex! {
    () Wide;
}

/// A block with its whole header and whole transactions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WholeBlock {
    number: Option<Quantity>,
    hash: Option<Fixed<32>>,
    parent_hash: Fixed<32>,
    #[serde(rename = "sha3Uncles")]
    uncles_hash: Fixed<32>,
    miner: Fixed<20>,
    state_root: Fixed<32>,
    transactions_root: Fixed<32>,
    receipts_root: Fixed<32>,
    logs_bloom: Fixed<256>,
    difficulty: Word,
    gas_limit: Quantity,
    gas_used: Quantity,
    timestamp: Quantity,
    extra_data: Data,
    mix_hash: Fixed<32>,
    nonce: Fixed<8>,
    // Each fork of Ethereum adds members behind the ones before.
    base_fee_per_gas: Option<Quantity>,
    withdrawals_root: Option<Fixed<32>>,
    blob_gas_used: Option<Quantity>,
    excess_blob_gas: Option<Quantity>,
    parent_beacon_block_root: Option<Fixed<32>>,
    requests_hash: Option<Fixed<32>>,
    block_access_list_hash: Option<Fixed<32>>,
    slot_number: Option<Quantity>,
    transactions: Vec<WholeTransaction>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WholeTransaction {
    hash: Fixed<32>,
    block_hash: Option<Fixed<32>>,
    block_number: Option<Quantity>,
    transaction_index: Option<Quantity>,
    to: Option<Fixed<20>>,
    value: Word,
    /// Absent where a node knows no other type than the first one.
    #[serde(rename = "type")]
    kind: Option<Quantity>,
    chain_id: Option<Quantity>,
    nonce: Quantity,
    gas: Quantity,
    gas_price: Option<Wide>,
    max_fee_per_gas: Option<Wide>,
    max_priority_fee_per_gas: Option<Wide>,
    max_fee_per_blob_gas: Option<Wide>,
    input: Data,
    access_list: Option<Vec<AccessedSlots>>,
    blob_versioned_hashes: Option<Vec<Fixed<32>>>,
    authorization_list: Option<Vec<Delegation>>,
    v: Option<Wide>,
    y_parity: Option<Quantity>,
    r: Option<Word>,
    s: Option<Word>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessedSlots {
    address: Fixed<20>,
    storage_keys: Vec<Fixed<32>>,
}

/// An account's permission to run the code of another address.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delegation {
    chain_id: Word,
    address: Fixed<20>,
    nonce: Quantity,
    y_parity: Quantity,
    r: Word,
    s: Word,
}

/// A receipt with its type.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WholeReceipt {
    #[serde(rename = "type")]
    kind: Option<Quantity>,
    transaction_hash: Fixed<32>,
    transaction_index: Quantity,
    block_hash: Fixed<32>,
    block_number: Quantity,
    status: Option<Quantity>,
    cumulative_gas_used: Quantity,
    logs: Vec<Log>,
}

/// What only the proof needs of a block.
#[derive(Debug)]
pub(crate) struct Unproven {
    /// The header as its hash covers it.
    pub(crate) header: Header,
    /// The transactions as they were signed, in the order of the block.
    pub(crate) transactions: Vec<Result<SignedTransaction, Unknown>>,
}

impl WholeBlock {
    /// The block as agreement and decoding need it, and the rest.
    pub(crate) fn split(self) -> (super::Block, Unproven) {
        let header = Header {
            parent_hash: word(self.parent_hash),
            ommers_hash: word(self.uncles_hash),
            beneficiary: address(self.miner),
            state_root: word(self.state_root),
            transactions_root: word(self.transactions_root),
            receipts_root: word(self.receipts_root),
            logs_bloom: Bloom::new(self.logs_bloom.0),
            difficulty: number(self.difficulty),
            number: self.number.map_or(0, |Quantity(number)| number),
            gas_limit: self.gas_limit.0,
            gas_used: self.gas_used.0,
            timestamp: self.timestamp.0,
            extra_data: bytes(self.extra_data),
            mix_hash: word(self.mix_hash),
            nonce: B64::new(self.nonce.0),
            base_fee_per_gas: self.base_fee_per_gas.map(|fee| fee.0),
            withdrawals_root: self.withdrawals_root.map(word),
            blob_gas_used: self.blob_gas_used.map(|gas| gas.0),
            excess_blob_gas: self.excess_blob_gas.map(|gas| gas.0),
            parent_beacon_block_root: self.parent_beacon_block_root.map(word),
            requests_hash: self.requests_hash.map(word),
            block_access_list_hash: self.block_access_list_hash.map(word),
            slot_number: self.slot_number.map(|slot| slot.0),
        };
        let (brief, signed) = self.transactions.into_iter().map(WholeTransaction::split).unzip();
        let block = super::Block {
            number: self.number,
            hash: self.hash,
            parent_hash: self.parent_hash,
            timestamp: self.timestamp,
            gas_used: self.gas_used,
            transactions: brief,
        };
        (block, Unproven { header, transactions: signed })
    }
}

impl WholeReceipt {
    /// The receipt as agreement and decoding need it, and its type.
    pub(crate) fn split(self) -> (super::Receipt, u64) {
        let receipt = super::Receipt {
            transaction_hash: self.transaction_hash,
            transaction_index: self.transaction_index,
            block_hash: self.block_hash,
            block_number: self.block_number,
            status: self.status,
            cumulative_gas_used: self.cumulative_gas_used,
            logs: self.logs,
        };
        (receipt, self.kind.map_or(0, |Quantity(kind)| kind))
    }
}

impl WholeTransaction {
    fn split(self) -> (super::Transaction, Result<SignedTransaction, Unknown>) {
        let brief = super::Transaction {
            hash: self.hash,
            block_hash: self.block_hash,
            block_number: self.block_number,
            transaction_index: self.transaction_index,
            to: self.to,
            value: self.value,
        };
        (brief, self.signed())
    }
}

fn address(Fixed(bytes): Fixed<20>) -> Address {
    Address::new(bytes)
}

fn word(Fixed(bytes): Fixed<32>) -> B256 {
    B256::new(bytes)
}

fn number(Word(bytes): Word) -> U256 {
    U256::from_be_bytes(bytes)
}

fn bytes(Data(bytes): Data) -> Bytes {
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_prices_to_the_letter() {
        assert_eq!(Wide::from_hex("0xffffffffffffffffffffffffffffffff"), Ok(Wide(u128::MAX)));
        assert_eq!(Wide::from_hex("0x100000000000000000000000000000000"), Err(HexFault::OutOfRange));
        assert_eq!(Wide::from_hex("0x01"), Err(HexFault::LeadingZero));
    }
}
