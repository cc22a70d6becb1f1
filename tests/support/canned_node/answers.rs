//! What the node answers to each method.

use core::fmt::Write as _;

use alloy_primitives::{B256, hex};
use serde_json::Value;

use super::chain::CHAIN_ID;
use super::{CODE_LIMIT, CannedChain, Ordering, Shared};

/// How far the final block is below the head, as on BNB Smart Chain.
const FINAL_BELOW_HEAD: u64 = 2;

/// An error instead of a result.
pub(super) struct Refusal {
    pub(super) code: i64,
    pub(super) message: String,
}

impl Refusal {
    fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn unknown(method: &str) -> Self {
        Self::new(-32601, format!("the method {method} does not exist"))
    }
}

/// The result of a call as JSON text.
pub(super) fn answer(node: &Shared, method: &str, params: &Value) -> Result<String, Refusal> {
    let head = node.head.load(Ordering::Relaxed);
    let chain = node.chain.as_ref();
    let block = || number_in(chain, &params[0], head);
    Ok(match method {
        "eth_chainId" => format!("\"{CHAIN_ID:#x}\""),
        "eth_blockNumber" => format!("\"{head:#x}\""),
        "eth_getBlockByNumber" | "eth_getBlockByHash" => {
            block().and_then(|number| whole_block(chain, number, params[1] == true)).unwrap_or_else(null)
        }
        "eth_getBlockReceipts" => block().and_then(|number| receipts(chain, number)).unwrap_or_else(null),
        "eth_getTransactionReceipt" => receipt_of(chain, &params[0], head).unwrap_or_else(null),
        "eth_getLogs" => logs(node, &params[0], head)?,
        "eth_getCode" => "\"0x6001\"".to_owned(),
        "eth_call" => format!("\"0x{:0>64x}\"", 18),
        "eth_getBalance" => "\"0x0\"".to_owned(),
        other => return Err(Refusal::unknown(other)),
    })
}

fn null() -> String {
    "null".to_owned()
}

/// The block that a parameter names, as far as the node shows it.
fn number_in(chain: &CannedChain, param: &Value, head: u64) -> Option<u64> {
    let number = match param.as_str()? {
        "latest" => head,
        "finalized" | "safe" => head.checked_sub(FINAL_BELOW_HEAD)?,
        "earliest" => 0,
        text if text.len() == 66 => chain.number_of(text)?,
        text => u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()?,
    };
    (number <= head).then_some(number)
}

fn whole_block(chain: &CannedChain, number: u64, whole: bool) -> Option<String> {
    let (header, body) = (chain.header_of(number)?, chain.body(number)?);
    let (hash, number) = (chain.hash(number)?.to_string(), format!("{number:#x}"));
    let mut text = format!(
        "{{\"number\":\"{number}\",\"hash\":\"{hash}\",\"parentHash\":\"{}\",\"timestamp\":\"{:#x}\",\"gasUsed\":\"{:#x}\",\
         \"transactionsRoot\":\"{}\",\"receiptsRoot\":\"{}\",\"logsBloom\":\"{}\",\"sha3Uncles\":\"{}\",\"miner\":\"{}\",\
         \"stateRoot\":\"{}\",\"difficulty\":\"{:#x}\",\"gasLimit\":\"{:#x}\",\"extraData\":\"{}\",\"mixHash\":\"{}\",\
         \"nonce\":\"{}\",\"size\":\"0x1000\",\"uncles\":[],\"withdrawals\":[]",
        header.parent_hash,
        header.timestamp,
        header.gas_used,
        header.transactions_root,
        header.receipts_root,
        hex::encode_prefixed(header.logs_bloom),
        header.ommers_hash,
        hex::encode_prefixed(header.beneficiary),
        header.state_root,
        header.difficulty,
        header.gas_limit,
        header.extra_data,
        header.mix_hash,
        header.nonce,
    );
    let quantities = [
        ("baseFeePerGas", header.base_fee_per_gas),
        ("blobGasUsed", header.blob_gas_used),
        ("excessBlobGas", header.excess_blob_gas),
    ];
    for (name, value) in quantities {
        // Writing to a text cannot fail.
        let _ = value.map(|value| write!(text, ",\"{name}\":\"{value:#x}\""));
    }
    let hashes: [(&str, Option<B256>); 3] = [
        ("withdrawalsRoot", header.withdrawals_root),
        ("parentBeaconBlockRoot", header.parent_beacon_block_root),
        ("requestsHash", header.requests_hash),
    ];
    for (name, value) in hashes {
        let _ = value.map(|value| write!(text, ",\"{name}\":\"{value}\""));
    }
    text.push_str(",\"transactions\":");
    if whole {
        body.transactions.render(&hash, &number, &mut text);
    } else {
        text.push_str(&body.hash_list);
    }
    text.push('}');
    Some(text)
}

fn receipts(chain: &CannedChain, number: u64) -> Option<String> {
    let body = chain.body(number)?;
    let (hash, number) = (chain.hash(number)?.to_string(), format!("{number:#x}"));
    let mut text = String::from("[");
    for (position, receipt) in body.receipts.iter().enumerate() {
        text.push_str(if position == 0 { "" } else { "," });
        receipt.render(&hash, &number, &mut text);
    }
    text.push(']');
    Some(text)
}

/// The receipt of a transaction in the newest block that holds it.
fn receipt_of(chain: &CannedChain, tx: &Value, head: u64) -> Option<String> {
    let tx: B256 = tx.as_str()?.parse().ok()?;
    let held = |number: &u64| chain.body(*number).is_some_and(|body| body.hashes.contains(&tx));
    let number = (0..=head).rev().find(held)?;
    let body = chain.body(number)?;
    let position = body.hashes.iter().position(|hash| *hash == tx)?;
    let mut text = String::new();
    body.receipts.get(position)?.render(&chain.hash(number)?.to_string(), &format!("{number:#x}"), &mut text);
    Some(text)
}

fn logs(node: &Shared, filter: &Value, head: u64) -> Result<String, Refusal> {
    let chain = node.chain.as_ref();
    let (first, last) = match filter["blockHash"].as_str() {
        Some(hash) => {
            let number = chain.number_of(hash).filter(|number| *number <= head);
            let number = number.ok_or_else(|| Refusal::new(-32000, "unknown block"))?;
            (number, number)
        }
        None => {
            let end = |name: &str| number_in(chain, &filter[name], u64::MAX);
            let ends = end("fromBlock").zip(end("toBlock"));
            ends.ok_or_else(|| Refusal::new(-32602, "a range without ends"))?
        }
    };
    if node.behaviour.range_max.is_some_and(|max| last.saturating_sub(first) >= max) {
        return Err(Refusal::new(-32602, "block range too large"));
    }
    let (addresses, topics) = (listed(&filter["address"]), listed(&filter["topics"][0]));
    let mut text = String::from("[");
    let mut count: usize = 0;
    // Old nodes cut a range at their head and say nothing.
    for number in first..=last.min(head) {
        let Some(body) = chain.body(number) else { continue };
        let hash = chain.hash(number).unwrap_or_default().to_string();
        let number = format!("{number:#x}");
        for log in &body.logs {
            let topic = log.topic.is_some_and(|topic| topics.iter().any(|wanted| wanted == topic.as_slice()));
            let address = addresses.iter().any(|wanted| wanted == log.address.as_slice());
            if (!topics.is_empty() && !topic) || (!addresses.is_empty() && !address) {
                continue;
            }
            text.push_str(if count == 0 { "" } else { "," });
            log.text.render(&hash, &number, &mut text);
            count += 1;
            if node.behaviour.logs_max.is_some_and(|max| count > max) {
                return Err(Refusal::new(CODE_LIMIT, "query returned more results than the limit"));
            }
        }
    }
    text.push(']');
    Ok(text)
}

/// The values of a member of a filter, which is absent, one, or several.
fn listed(member: &Value) -> Vec<Vec<u8>> {
    let one = |value: &Value| value.as_str().and_then(|text| hex::decode(text).ok());
    match member.as_array() {
        Some(several) => several.iter().filter_map(one).collect(),
        None => one(member).into_iter().collect(),
    }
}
