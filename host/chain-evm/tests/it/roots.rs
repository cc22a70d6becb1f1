//! Blocks that are what their hashes say, and blocks that are not although every part of them fits every other.

use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};
use xthonpay_domain::block::BlockNumber;
use xthonpay_payments::port::chain::{ChainError, ChainSource as _, Verification};
use xthonpay_tests::canned_node::{CannedBehaviour, CannedChain, CannedTx};
use xthonpay_tests::seeded::Seeded;

use crate::canned::{by_blocks, changing, node};

/// The block that the tests change. The last three show how far a node can be verified, and stay as they are.
const CHANGED: u64 = 3;

/// Sixteen transactions in each block: enough for tries with branches.
fn chain() -> Arc<CannedChain> {
    static CHAIN: LazyLock<Arc<CannedChain>> = LazyLock::new(|| Arc::new(CannedChain::mixed(10, TRANSACTIONS)));
    Arc::clone(&CHAIN)
}

const TRANSACTIONS: u64 = 16;

/// 3 payments of coins and a creation, 8 payments of the token, 4 trades with one transfer of the token each.
const TRANSFERS: usize = 3 + 8 + 4;

#[tokio::test]
async fn full_blocks_are_proved() {
    let chain = Arc::new(CannedChain::dense(6));
    let node = node(&chain, CannedBehaviour::default()).await;
    let source = by_blocks(&[&node]);
    source.self_check().await.expect("sound");
    assert_eq!(source.report().nodes[0].verification, Some(Verification::Roots));
    let found = source.transfers(BlockNumber(CHANGED)).await.expect("answered").expect("known");
    assert_eq!(found.block.hash.to_string(), chain.hash(CHANGED).expect("known").to_string());
    // 27 payments of coins, 58 of the token, 29 trades with one transfer of the token each.
    assert_eq!(found.transfers.len(), 27 + 58 + 29);
}

type Change = fn(&mut Value);

/// Lies that agree with themselves: numbers, counts, gas and hashes fit as far as anybody can see without the roots.
const RECEIPT_LIES: [(&str, Change); 9] = [
    ("the last log dropped", |receipts| {
        let last = receipts.as_array_mut().and_then(|receipts| {
            receipts.iter_mut().rev().find(|receipt| receipt["logs"].as_array().is_some_and(|logs| !logs.is_empty()))
        });
        last.and_then(|receipt| receipt["logs"].as_array_mut()).expect("there are logs").pop();
    }),
    ("another amount", |receipts| receipts[1]["logs"][0]["data"] = json!(format!("0x{:064x}", 10_u64.pow(18)))),
    ("another recipient", |receipts| {
        receipts[1]["logs"][0]["topics"][2] = json!(format!("0x{:0>64}", "aa".repeat(20)));
    }),
    ("another contract", |receipts| receipts[1]["logs"][0]["address"] = json!(format!("0x{}", "66".repeat(20)))),
    ("a success told as a failure", |receipts| receipts[8]["status"] = json!("0x0")),
    ("the logs of two transactions swapped", |receipts| {
        let (one, two) = (receipts[1]["logs"][0]["data"].clone(), receipts[2]["logs"][0]["data"].clone());
        receipts[1]["logs"][0]["data"] = two;
        receipts[2]["logs"][0]["data"] = one;
    }),
    ("gas moved between transactions", |receipts| receipts[1]["cumulativeGasUsed"] = json!("0xea61")),
    ("another type", |receipts| receipts[1]["type"] = json!("0x0")),
    ("a log more at the end", |receipts| {
        let last = receipts.as_array_mut().and_then(|receipts| receipts.last_mut()).expect("there are receipts");
        let log = json!({
            "address": last["to"], "topics": [], "data": "0x", "blockNumber": last["blockNumber"],
            "blockHash": last["blockHash"], "transactionHash": last["transactionHash"],
            "transactionIndex": last["transactionIndex"], "logIndex": format!("{:#x}", 8 + 4 * 8), "removed": false,
        });
        last["logs"].as_array_mut().expect("a list").push(log);
    }),
];

#[tokio::test]
async fn receipts_that_only_look_right_are_caught() {
    for (name, change) in RECEIPT_LIES {
        let behaviour = changing("eth_getBlockReceipts", move |call, receipts| {
            if call["params"][0] == json!(format!("{CHANGED:#x}")) {
                change(receipts);
            }
        });
        caught(name, behaviour, &["the receipts are not those of the header", "the bloom filter"]).await;
    }
}

const BLOCK_LIES: [(&str, Change); 9] = [
    ("another value", |block| block["transactions"][8]["value"] = json!("0xde0b6b3a7640000")),
    ("another recipient", |block| {
        block["transactions"][8]["to"] = json!(format!("0x{}", "aa".repeat(20)));
    }),
    ("another hash for a transaction", |block| {
        block["transactions"][8]["hash"] = json!(format!("0x{}", "ab".repeat(32)));
    }),
    ("another nonce", |block| block["transactions"][8]["nonce"] = json!("0x7")),
    ("another time", |block| block["timestamp"] = json!("0x7")),
    ("another parent", |block| block["parentHash"] = json!(format!("0x{}", "ab".repeat(32)))),
    ("another state", |block| block["stateRoot"] = json!(format!("0x{}", "ab".repeat(32)))),
    ("another root of receipts", |block| block["receiptsRoot"] = json!(format!("0x{}", "ab".repeat(32)))),
    ("another bloom filter", |block| block["logsBloom"] = json!(format!("0x{}", "ff".repeat(256)))),
];

#[tokio::test]
async fn blocks_that_only_look_right_are_caught() {
    for (name, change) in BLOCK_LIES {
        let behaviour = changing("eth_getBlockByNumber", move |call, block| {
            if call["params"] == json!([format!("{CHANGED:#x}"), true]) {
                change(block);
            }
        });
        let reasons = [
            "the transactions are not those of the header",
            "is not that of its content",
            "the block's hash is not that of its header",
            "the receipts are not those of the header",
            "the bloom filter of the header",
            // A hash that is told otherwise in the block than in its receipt is caught before.
            "names another transaction",
        ];
        caught(name, behaviour, &reasons).await;
    }
}

async fn caught(name: &str, behaviour: CannedBehaviour, reasons: &[&str]) {
    let node = node(&chain(), behaviour).await;
    let source = by_blocks(&[&node]);
    source.self_check().await.expect("the newest blocks are sound");
    let answer = source.transfers(BlockNumber(CHANGED)).await;
    let Err(ChainError::Inconsistent { reason }) = &answer else { unreachable!("{name}: {answer:?}") };
    assert!(reasons.iter().any(|expected| reason.contains(expected)), "{name}: {reason}");
}

#[tokio::test]
async fn a_hash_that_is_told_otherwise_everywhere_is_caught() {
    let chain = chain();
    let behaviour = CannedBehaviour::default().telling(|call, result| {
        // The same false hash in block, receipt and logs.
        let whole: Value = serde_json::from_str(&result).expect("JSON");
        let told = if call["params"][0] == json!(format!("{CHANGED:#x}")) { whole } else { return result };
        let hash = match call["method"].as_str() {
            Some("eth_getBlockByNumber") => told["transactions"][1]["hash"].clone(),
            Some("eth_getBlockReceipts") => told[1]["transactionHash"].clone(),
            _ => return result,
        };
        result.replace(hash.as_str().expect("a hash"), &format!("0x{}", "ab".repeat(32)))
    });
    let node = node(&chain, behaviour).await;
    let source = by_blocks(&[&node]);
    source.self_check().await.expect("the newest blocks are sound");
    let answer = source.transfers(BlockNumber(CHANGED)).await;
    let Err(ChainError::Inconsistent { reason }) = &answer else { unreachable!("{answer:?}") };
    assert!(reason.contains("the hash of transaction 1 is not that of its content"), "{reason}");
}

#[tokio::test]
async fn a_chain_with_other_roots_is_verified_by_its_receipts() {
    let chain = chain();
    // Everywhere, so that no block of it is Ethereum's.
    let other_roots = changing("eth_getBlockByNumber", |_, block| {
        block["receiptsRoot"] = json!(format!("0x{}", "ab".repeat(32)));
    });
    let other_types = changing("eth_getBlockByNumber", |call, block| {
        if call["params"][1] == true {
            block["transactions"][5]["type"] = json!("0x7e");
        }
    });
    let no_header = changing("eth_getBlockByNumber", |_, block| {
        block.as_object_mut().expect("a block").remove("mixHash");
    });
    for behaviour in [other_roots, other_types, no_header] {
        let node = node(&chain, behaviour).await;
        let source = by_blocks(&[&node]);
        source.self_check().await.expect("sound");
        assert_eq!(source.report().nodes[0].verification, Some(Verification::Receipts));
        let found = source.transfers(BlockNumber(CHANGED)).await.expect("answered").expect("known");
        assert_eq!(found.transfers.len(), TRANSFERS);
    }
}

#[tokio::test]
async fn a_node_whose_newest_blocks_are_false_in_part_is_not_believed() {
    let chain = chain();
    let behaviour = changing("eth_getBlockReceipts", |call, receipts| {
        if call["params"][0] == "0x6" {
            receipts[1]["logs"][0]["data"] = json!(format!("0x{:064x}", 1));
        }
    });
    let node = node(&chain, behaviour).await;
    let answer = by_blocks(&[&node]).self_check().await;
    assert!(matches!(answer, Err(ChainError::Inconsistent { .. })), "{answer:?}");
}

#[tokio::test]
async fn an_unknown_type_in_one_block_changes_the_level_at_the_next_check() {
    let chain = chain();
    let behaviour = changing("eth_getBlockByNumber", |call, block| {
        if call["params"] == json!([format!("{CHANGED:#x}"), true]) {
            block["transactions"][5]["type"] = json!("0x7e");
        }
    });
    let node = node(&chain, behaviour).await;
    let source = by_blocks(&[&node]);
    source.self_check().await.expect("the newest blocks are sound");
    assert_eq!(source.report().nodes[0].verification, Some(Verification::Roots));
    let answer = source.transfers(BlockNumber(CHANGED)).await;
    let Err(ChainError::Inconsistent { reason }) = &answer else { unreachable!("{answer:?}") };
    assert!(reason.contains("cannot be verified by roots: transaction 5 has the unknown type 0x7e"), "{reason}");
    source.self_check().await.expect("sound");
    assert_eq!(source.report().nodes[0].verification, Some(Verification::Receipts));
    assert!(source.transfers(BlockNumber(CHANGED)).await.expect("answered").is_some());
}

#[tokio::test]
async fn random_blocks_are_proved_whatever_is_in_them() {
    let mut random = Seeded::announced("random blocks").expect("a seed");
    let chain = Arc::new(CannedChain::random(60, &mut random));
    let node = node(&chain, CannedBehaviour::default()).await;
    let source = by_blocks(&[&node]);
    source.self_check().await.expect("sound");
    assert_eq!(source.report().nodes[0].verification, Some(Verification::Roots));
    for number in 0..60 {
        source.transfers(BlockNumber(number)).await.expect("proved").expect("known");
    }
}

#[tokio::test]
async fn an_empty_block_is_proved() {
    let none: Vec<Vec<CannedTx>> = vec![Vec::new(); 5];
    let chain = Arc::new(CannedChain::with(&none));
    let node = node(&chain, CannedBehaviour::default()).await;
    let source = by_blocks(&[&node]);
    source.self_check().await.expect("sound");
    assert_eq!(source.report().nodes[0].verification, Some(Verification::Roots));
    assert!(source.transfers(BlockNumber(1)).await.expect("proved").expect("known").transfers.is_empty());
}
