//! Transfers that never happened, put into blocks that exist.
//!
//! Counts, positions and gas add up, so that only the roots of the header, or another node, tell that it is a lie. The same
//! block always shows the same lie.

use alloy_primitives::keccak256;
use serde_json::{Value, json};

use super::branch::{number, quantity};
use super::fault::Invention;
use crate::chain::Word;

const GAS: u64 = 51_000;

/// The first topic of every transfer of a token.
const TRANSFER: &str = "Transfer(address,address,uint256)";

/// Adds the transaction to a block, given with whole transactions or with their hashes.
pub(super) fn into_block(invention: &Invention, block: &mut Value) {
    let Some(hash) = block["hash"].as_str().map(ToOwned::to_owned) else { return };
    let (at, count) = (block["number"].clone(), count(&block["transactions"]));
    let gas = number(&block["gasUsed"]).unwrap_or(0);
    block["gasUsed"] = json!(quantity(gas.saturating_add(GAS)));
    let Some(transactions) = block["transactions"].as_array_mut() else { return };
    let tx = tx_hash(invention, &hash);
    if transactions.first().is_some_and(Value::is_string) {
        return transactions.push(json!(tx));
    }
    let data = Word::from(invention.amount).0;
    transactions.push(json!({
        "type": "0x0", "hash": tx, "blockHash": hash, "blockNumber": at, "transactionIndex": quantity(count),
        "from": payer(), "to": invention.token.to_lower_hex(), "value": "0x0", "nonce": "0x7", "gas": quantity(GAS),
        "gasPrice": "0x0", "chainId": "0x38", "input": format!("0x{}", hex::encode(data)),
        "v": "0x93", "r": "0x1", "s": "0x1"
    }));
}

/// Adds the receipt with its log to those of the block with this hash and number.
pub(super) fn into_receipts(invention: &Invention, receipts: &mut Value, hash: &str, at: u64) {
    let index = count(receipts);
    let Some(list) = receipts.as_array_mut() else { return };
    let used = list.last().and_then(|last| number(&last["cumulativeGasUsed"])).unwrap_or(0);
    let logs: u64 = list.iter().map(|receipt| count(&receipt["logs"])).sum();
    let tx = tx_hash(invention, hash);
    let lies: Vec<Value> =
        (0..invention.times).map(|nth| log(invention, hash, at, index, logs.saturating_add(nth))).collect();
    list.push(json!({
        "type": "0x0", "status": "0x1", "transactionHash": tx, "transactionIndex": quantity(index), "blockHash": hash,
        "blockNumber": quantity(at), "from": payer(), "to": invention.token.to_lower_hex(), "contractAddress": null,
        "gasUsed": quantity(GAS), "cumulativeGasUsed": quantity(used.saturating_add(GAS)), "effectiveGasPrice": "0x0",
        "logsBloom": format!("0x{}", "0".repeat(512)), "logs": lies
    }));
}

/// The log of the lie, as a list of logs shows it.
pub(super) fn log(invention: &Invention, hash: &str, at: u64, tx_index: u64, log_index: u64) -> Value {
    let topic = |word: Word| format!("0x{}", hex::encode(word.0));
    let amount = Word::from(invention.amount).0;
    json!({
        "address": invention.token.to_lower_hex(), "data": format!("0x{}", hex::encode(amount)),
        "topics": [keccak256(TRANSFER).to_string(), format!("0x{:0>64}", payer().trim_start_matches("0x")),
            topic(Word::from(invention.to))],
        "blockHash": hash, "blockNumber": quantity(at), "transactionHash": tx_hash(invention, hash),
        "transactionIndex": quantity(tx_index), "logIndex": quantity(log_index), "removed": false
    })
}

fn tx_hash(invention: &Invention, block: &str) -> String {
    keccak256(format!("{block}{}", invention.to)).to_string()
}

/// Somebody with much money.
fn payer() -> &'static str {
    "0x00000000000000000000000000000000000a11ce"
}

fn count(list: &Value) -> u64 {
    list.as_array().map_or(0, |list| u64::try_from(list.len()).unwrap_or(u64::MAX))
}
