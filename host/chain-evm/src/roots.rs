//! Whether a block is the one that its hash names: the level of verification called "roots".
//!
//! The hash of a block covers its header, and the header covers every transaction and every receipt by a root each. All of
//! them are computed here anew, so that whoever agrees with others on a block's hash has agreed on everything inside: no
//! transfer can be hidden, added or changed. The encodings and the tries are alloy's.
//!
//! One member of a transaction is not covered: its sender follows from the signature, which is not recovered here because it
//! would cost ten times as much as all the rest. Nothing may be decided by the sender of coins; that of tokens is in the logs.
//!
//! Relies on `agreement`: the receipts are as many as the transactions, in their order, and each has a status.

use alloy_consensus::proofs::{ordered_trie_root_encoded, ordered_trie_root_with_encoder};
use alloy_consensus::{Eip658Value, Receipt as CountedReceipt, RlpEncodableReceipt as _};
use alloy_primitives::{Bloom, BloomInput, keccak256};
use alloy_rlp::{BufMut, Encodable};
use thiserror::Error;

use crate::wire::whole::{Unknown, Unproven};
use crate::wire::{Block, Fixed, Log, Quantity, Receipt};

/// Why a block is not proved. Positions count transactions of the block from 0.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum RootFault {
    /// The chain has transactions that Ethereum does not know; nothing is said about the block.
    #[error("cannot be verified by roots: transaction {position} has {unknown}")]
    UnknownTransaction { position: usize, unknown: Unknown },
    #[error("the hash of transaction {position} is not that of its content")]
    TransactionHash { position: usize },
    #[error("the transactions are not those of the header")]
    Transactions,
    #[error("the receipts are not those of the header")]
    Receipts,
    #[error("the bloom filter of the header is not that of the logs")]
    Bloom,
    #[error("the block's hash is not that of its header")]
    Header,
}

impl RootFault {
    /// Always `true`: another node, or this one later, may show the block as it is.
    pub(crate) fn is_transient(self) -> bool {
        true
    }

    /// Whether the chain cannot be verified by roots at all, as opposed to a block that is not what it says.
    pub(crate) fn is_unverifiable(self) -> bool {
        match self {
            Self::UnknownTransaction { .. } => true,
            Self::TransactionHash { .. } | Self::Transactions | Self::Receipts | Self::Bloom | Self::Header => false,
        }
    }
}

/// Proves that the block's hash covers the header, the transactions and the receipts. `kinds` are the types that the receipts
/// name.
pub(crate) fn prove(unproven: &Unproven, block: &Block, receipts: &[Receipt], kinds: &[u64]) -> Result<(), RootFault> {
    // What cannot be verified says so before anything else, since its other roots would differ too.
    transactions_match(unproven, block)?;
    let blooms: Vec<Bloom> = receipts.iter().map(bloom).collect();
    let rows: Vec<(&Receipt, u64, &Bloom)> =
        receipts.iter().zip(kinds).zip(&blooms).map(|((receipt, kind), bloom)| (receipt, *kind, bloom)).collect();
    let root = ordered_trie_root_with_encoder(&rows, |(receipt, kind, bloom), bytes| {
        encode_receipt(receipt, *kind, bloom, bytes);
    });
    if root != unproven.header.receipts_root {
        return Err(RootFault::Receipts);
    }
    let mut all = Bloom::ZERO;
    blooms.iter().for_each(|bloom| all.accrue_bloom(bloom));
    if all != unproven.header.logs_bloom {
        return Err(RootFault::Bloom);
    }
    // The last one, since it holds for any content that was wrongly told with it.
    if block.hash != Some(Fixed(unproven.header.hash_slow().0)) {
        return Err(RootFault::Header);
    }
    Ok(())
}

fn transactions_match(unproven: &Unproven, block: &Block) -> Result<(), RootFault> {
    let mut encoded = Vec::with_capacity(unproven.transactions.len());
    for (position, (signed, told)) in unproven.transactions.iter().zip(&block.transactions).enumerate() {
        let signed =
            signed.as_ref().map_err(|unknown| RootFault::UnknownTransaction { position, unknown: *unknown })?;
        let mut bytes = Vec::new();
        signed.encode(&mut bytes);
        // The root covers the content and not the hash that the node tells beside it, by which deposits are told apart.
        if keccak256(&bytes).0 != told.hash.0 {
            return Err(RootFault::TransactionHash { position });
        }
        encoded.push(bytes);
    }
    if ordered_trie_root_encoded(&encoded) == unproven.header.transactions_root {
        Ok(())
    } else {
        Err(RootFault::Transactions)
    }
}

fn encode_receipt(receipt: &Receipt, kind: u64, bloom: &Bloom, bytes: &mut Vec<u8>) {
    match u8::try_from(kind) {
        // Receipts of the first type carry no type.
        Ok(0) => {}
        Ok(kind) => bytes.push(kind),
        // No such type exists, and no root fits it.
        Err(_) => bytes.push(u8::MAX),
    }
    let counted = CountedReceipt {
        status: Eip658Value::Eip658(receipt.status == Some(Quantity(1))),
        cumulative_gas_used: receipt.cumulative_gas_used.0,
        logs: receipt.logs.iter().map(EncodedLog).collect(),
    };
    counted.rlp_encode_with_bloom(bloom, bytes);
}

/// The bloom filter of a receipt's logs.
pub(crate) fn bloom(receipt: &Receipt) -> Bloom {
    let mut bloom = Bloom::ZERO;
    receipt.logs.iter().for_each(|log| accrue(&mut bloom, &log.address, &log.topics));
    bloom
}

/// Adds a log to a bloom filter.
pub(crate) fn accrue(bloom: &mut Bloom, address: &Fixed<20>, topics: &[Fixed<32>]) {
    bloom.accrue(BloomInput::Raw(&address.0));
    topics.iter().for_each(|topic| bloom.accrue(BloomInput::Raw(&topic.0)));
}

/// A log as a receipt's encoding holds it: the list of its address, the list of its topics, and its data.
struct EncodedLog<'a>(&'a Log);

impl EncodedLog<'_> {
    fn topics_length(&self) -> usize {
        // A topic is 32 bytes behind one byte that says so.
        self.0.topics.len().saturating_mul(33)
    }

    fn header(&self) -> alloy_rlp::Header {
        let topics = alloy_rlp::Header { list: true, payload_length: self.topics_length() }.length_with_payload();
        let payload =
            self.0.address.0.length().saturating_add(topics).saturating_add(self.0.data.0.as_slice().length());
        alloy_rlp::Header { list: true, payload_length: payload }
    }
}

impl Encodable for EncodedLog<'_> {
    fn encode(&self, out: &mut dyn BufMut) {
        self.header().encode(out);
        self.0.address.0.encode(out);
        alloy_rlp::Header { list: true, payload_length: self.topics_length() }.encode(out);
        self.0.topics.iter().for_each(|topic| topic.0.encode(out));
        self.0.data.0.as_slice().encode(out);
    }

    fn length(&self) -> usize {
        self.header().length_with_payload()
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, Bytes, Log as PrimitiveLog};

    use super::*;
    use crate::wire::Data;

    #[test]
    fn a_log_is_encoded_as_alloy_encodes_its_own() {
        for (topics, data) in [(0, 0), (1, 1), (3, 32), (4, 55), (2, 56), (1, 700)] {
            let log = Log {
                address: Fixed([7; 20]),
                topics: vec![Fixed([9; 32]); topics],
                data: Data(vec![0x11; data]),
                block_hash: None,
                transaction_hash: None,
                log_index: None,
                removed: false,
            };
            let theirs = PrimitiveLog::new_unchecked(
                Address::new([7; 20]),
                vec![B256::new([9; 32]); topics],
                Bytes::from(vec![0x11; data]),
            );
            assert_eq!(
                alloy_rlp::encode(EncodedLog(&log)),
                alloy_rlp::encode(&theirs),
                "{topics} topics, {data} bytes"
            );
            let mut bloom = Bloom::ZERO;
            accrue(&mut bloom, &log.address, &log.topics);
            assert_eq!(bloom, [theirs].iter().collect::<Bloom>());
        }
    }

    #[test]
    fn only_unknown_transactions_mean_that_a_chain_has_other_roots() {
        let unknown = RootFault::UnknownTransaction { position: 0, unknown: Unknown::Type(5) };
        assert!(unknown.is_unverifiable() && unknown.is_transient());
        assert_eq!(unknown.to_string(), "cannot be verified by roots: transaction 0 has the unknown type 0x5");
        for fault in [RootFault::Transactions, RootFault::Receipts, RootFault::Bloom, RootFault::Header] {
            assert!(!fault.is_unverifiable() && fault.is_transient());
        }
    }
}
