//! What is inside a block: transactions and receipts as JSON, and the roots over them.
//!
//! Nothing in it depends on the block around it but the hash and number that the node writes beside everything, so that one
//! body can stand in many blocks. Signatures are numbers without a key behind them; nobody checks them.

use alloy_consensus::proofs::calculate_receipt_root;
use alloy_consensus::transaction::to_eip155_value;
use alloy_consensus::{Eip658Value, Receipt, ReceiptEnvelope, Signed, TxEip1559, TxEip2930, TxLegacy, TxType, proofs};
use alloy_primitives::{B256, Bloom, Bytes, Log, Signature, TxKind, U256, hex, keccak256};
use serde_json::{Value, json};
use xthonpay_domain::address::Address;

use super::chain::CHAIN_ID;
use super::template::{HASH, NUMBER, Template};

const GAS_PER_TRANSACTION: u64 = 60_000;
const GAS_PRICE: u128 = 50_000_000;

/// A transaction to be put into a block.
#[derive(Clone, Debug)]
pub struct CannedTx {
    /// Its type: 0, 1 or 2; others count as 2.
    pub kind: u8,
    /// Tells it apart from others: its nonce.
    pub nonce: u64,
    /// Who sends it.
    pub from: Address,
    /// Where it goes; `None` creates a contract.
    pub to: Option<Address>,
    /// The coins that it moves, in base units.
    pub value: u128,
    /// Its call data.
    pub input: Vec<u8>,
    /// Whether it was executed without reverting; a failed one leaves no logs.
    pub succeeded: bool,
    /// The logs that it leaves.
    pub logs: Vec<CannedLog>,
}

/// A log to be left by a transaction.
#[derive(Clone, Debug)]
pub struct CannedLog {
    /// The contract.
    pub address: Address,
    /// The topics, the event's first.
    pub topics: Vec<[u8; 32]>,
    /// The data.
    pub data: Vec<u8>,
}

/// A log as the node filters it.
pub(super) struct FiledLog {
    pub(super) address: [u8; 20],
    pub(super) topic: Option<[u8; 32]>,
    pub(super) text: Template,
}

/// A body in the form that is served.
pub(super) struct Body {
    pub(super) transactions_root: B256,
    pub(super) receipts_root: B256,
    pub(super) bloom: Bloom,
    pub(super) gas_used: u64,
    pub(super) hashes: Vec<B256>,
    /// The hashes as a list in JSON.
    pub(super) hash_list: String,
    pub(super) transactions: Template,
    pub(super) receipts: Vec<Template>,
    pub(super) logs: Vec<FiledLog>,
}

/// Something whose bytes are known.
struct Encoded {
    bytes: Vec<u8>,
    hash: B256,
    signature: Signature,
}

impl Body {
    /// The body of these transactions.
    pub(super) fn new(txs: &[CannedTx]) -> Self {
        let encoded: Vec<Encoded> = txs.iter().map(encode).collect();
        let raw: Vec<&[u8]> = encoded.iter().map(|tx| tx.bytes.as_slice()).collect();
        let receipts: Vec<ReceiptEnvelope> = txs.iter().zip(1..).map(|(tx, count)| receipt(tx, count)).collect();
        let mut bloom = Bloom::ZERO;
        receipts.iter().for_each(|receipt| bloom.accrue_bloom(receipt.logs_bloom()));
        let mut body = Self {
            transactions_root: proofs::ordered_trie_root_encoded(&raw),
            receipts_root: calculate_receipt_root(&receipts),
            bloom,
            gas_used: gas_after(txs.len()),
            hashes: encoded.iter().map(|tx| tx.hash).collect(),
            hash_list: json!(encoded.iter().map(|tx| tx.hash.to_string()).collect::<Vec<_>>()).to_string(),
            transactions: Template::new(""),
            receipts: Vec::new(),
            logs: Vec::new(),
        };
        let texts: Vec<Value> =
            txs.iter().zip(&encoded).enumerate().map(|(at, (tx, of))| in_json(at, tx, of)).collect();
        body.transactions = Template::new(&json!(texts).to_string());
        let mut log_index = 0;
        for (at, ((tx, of), receipt)) in txs.iter().zip(&encoded).zip(&receipts).enumerate() {
            let mut logs = Vec::new();
            for log in left_by(tx) {
                let text = log_in_json(log, log_index, at, of.hash);
                log_index += 1;
                body.logs.push(FiledLog {
                    address: *log.address.as_bytes(),
                    topic: log.topics.first().copied(),
                    text: Template::new(&text.to_string()),
                });
                logs.push(text);
            }
            let text = receipt_in_json(at, tx, of.hash, receipt.logs_bloom(), &logs);
            body.receipts.push(Template::new(&text.to_string()));
        }
        body
    }
}

/// The logs of a transaction that succeeded.
fn left_by(tx: &CannedTx) -> &[CannedLog] {
    if tx.succeeded { &tx.logs } else { &[] }
}

fn gas_after(transactions: usize) -> u64 {
    u64::try_from(transactions).unwrap_or(u64::MAX).saturating_mul(GAS_PER_TRANSACTION)
}

fn encode(tx: &CannedTx) -> Encoded {
    let seed = keccak256(tx.nonce.to_be_bytes());
    // Below the order of the curve, as every signature is.
    let half = U256::from_be_bytes(seed.0) >> 1;
    let signature = Signature::new(half, half >> 1, tx.nonce % 2 == 1);
    let to = tx.to.map_or(TxKind::Create, |to| TxKind::Call((*to.as_bytes()).into()));
    let (value, input, nonce) = (U256::from(tx.value), Bytes::from(tx.input.clone()), tx.nonce);
    let mut bytes = Vec::new();
    match tx.kind {
        0 => {
            let chain_id = Some(CHAIN_ID);
            let tx =
                TxLegacy { chain_id, nonce, gas_price: GAS_PRICE, gas_limit: GAS_PER_TRANSACTION, to, value, input };
            Signed::new_unhashed(tx, signature).eip2718_encode(&mut bytes);
        }
        1 => {
            let tx = TxEip2930 {
                chain_id: CHAIN_ID,
                nonce,
                gas_price: GAS_PRICE,
                gas_limit: GAS_PER_TRANSACTION,
                to,
                value,
                access_list: Default::default(),
                input,
            };
            Signed::new_unhashed(tx, signature).eip2718_encode(&mut bytes);
        }
        _ => {
            let tx = TxEip1559 {
                chain_id: CHAIN_ID,
                nonce,
                gas_limit: GAS_PER_TRANSACTION,
                max_fee_per_gas: GAS_PRICE,
                max_priority_fee_per_gas: GAS_PRICE,
                to,
                value,
                access_list: Default::default(),
                input,
            };
            Signed::new_unhashed(tx, signature).eip2718_encode(&mut bytes);
        }
    }
    Encoded { hash: keccak256(&bytes), bytes, signature }
}

fn receipt(tx: &CannedTx, count: usize) -> ReceiptEnvelope {
    let log = |log: &CannedLog| {
        let topics = log.topics.iter().copied().map(B256::new).collect();
        Log::new_unchecked((*log.address.as_bytes()).into(), topics, log.data.clone().into())
    };
    let receipt = Receipt {
        status: Eip658Value::Eip658(tx.succeeded),
        cumulative_gas_used: gas_after(count),
        logs: left_by(tx).iter().map(log).collect(),
    };
    let kind = TxType::try_from(tx.kind.min(2)).unwrap_or(TxType::Eip1559);
    ReceiptEnvelope::from_typed(kind, receipt.with_bloom())
}

fn in_json(at: usize, tx: &CannedTx, of: &Encoded) -> Value {
    let mut text = json!({
        "blockHash": HASH, "blockNumber": NUMBER, "from": tx.from.to_lower_hex(),
        "gas": quantity(GAS_PER_TRANSACTION), "gasPrice": quantity(GAS_PRICE), "hash": of.hash.to_string(),
        "input": data(&tx.input), "nonce": quantity(tx.nonce), "to": tx.to.map(|to| to.to_lower_hex()),
        "transactionIndex": quantity(at), "value": quantity(tx.value), "type": quantity(tx.kind.min(2)),
        "chainId": quantity(CHAIN_ID), "r": quantity(of.signature.r()), "s": quantity(of.signature.s()),
    });
    let odd = of.signature.v();
    if tx.kind == 0 {
        text["v"] = json!(quantity(to_eip155_value(odd, Some(CHAIN_ID))));
        return text;
    }
    text["v"] = json!(quantity(u8::from(odd)));
    text["yParity"] = json!(quantity(u8::from(odd)));
    text["accessList"] = json!([]);
    if tx.kind >= 2 {
        text["maxFeePerGas"] = json!(quantity(GAS_PRICE));
        text["maxPriorityFeePerGas"] = json!(quantity(GAS_PRICE));
    }
    text
}

fn log_in_json(log: &CannedLog, log_index: usize, at: usize, tx: B256) -> Value {
    let topics: Vec<String> = log.topics.iter().map(|topic| data(topic)).collect();
    json!({
        "address": log.address.to_lower_hex(), "topics": topics, "data": data(&log.data), "blockNumber": NUMBER,
        "transactionHash": tx.to_string(), "transactionIndex": quantity(at), "blockHash": HASH,
        "logIndex": quantity(log_index), "removed": false,
    })
}

fn receipt_in_json(at: usize, tx: &CannedTx, hash: B256, bloom: &Bloom, logs: &[Value]) -> Value {
    json!({
        "blockHash": HASH, "blockNumber": NUMBER, "contractAddress": Value::Null,
        "cumulativeGasUsed": quantity(gas_after(at + 1)), "effectiveGasPrice": quantity(GAS_PRICE),
        "from": tx.from.to_lower_hex(), "gasUsed": quantity(GAS_PER_TRANSACTION), "logs": logs,
        "logsBloom": bloom.to_string(), "status": quantity(u8::from(tx.succeeded)),
        "to": tx.to.map(|to| to.to_lower_hex()), "transactionHash": hash.to_string(),
        "transactionIndex": quantity(at), "type": quantity(tx.kind.min(2)),
    })
}

fn quantity(number: impl core::fmt::LowerHex) -> String {
    format!("{number:#x}")
}

fn data(bytes: &[u8]) -> String {
    hex::encode_prefixed(bytes)
}
