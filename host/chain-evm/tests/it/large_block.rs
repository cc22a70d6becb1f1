//! A block whose receipts do not fit into one answer.

use serde_json::{Value, json};
use xthonpay_chain_evm::BODY_BYTES_MAX;
use xthonpay_domain::block::BlockNumber;
use xthonpay_payments::port::chain::{ChainError, ChainSource as _};

use crate::scripted::{NUMBER, Reply, ScriptedNode, answer_all, chain, receipts, sound_result};

type Change = fn(&mut Value);

/// A node that answers block and receipts together with more than is read, and single receipts as `change` leaves them.
/// Receipts of several transactions at once are too much as well.
async fn crowded(change: Change) -> ScriptedNode {
    ScriptedNode::start(move |request| {
        let calls = request.as_array().cloned().unwrap_or_else(|| vec![request.clone()]);
        let asks = |method: &str| calls.iter().filter(|call| call["method"] == method).count();
        let probes = asks("eth_getBlockReceipts") > 1;
        if (asks("eth_getBlockReceipts") == 1 && !probes) || asks("eth_getTransactionReceipt") > 1 {
            return Reply::Http("200 OK", "", vec![b' '; BODY_BYTES_MAX + 1]);
        }
        Reply::Json(answer_all(request, &|call| {
            if call["method"] != "eth_getTransactionReceipt" {
                return sound_result(call);
            }
            let all = receipts(NUMBER);
            let found =
                all.as_array().and_then(|all| all.iter().find(|one| one["transactionHash"] == call["params"][0]));
            let mut found = found.cloned().unwrap_or(Value::Null);
            change(&mut found);
            found
        }))
    })
    .await
}

#[tokio::test]
async fn is_read_in_parts_and_holds_the_same_transfers() {
    let sound = ScriptedNode::sound().await;
    let expected = chain(&[&sound]).transfers(BlockNumber(NUMBER)).await;
    assert!(expected.as_ref().is_ok_and(Option::is_some), "{expected:?}");
    let crowded = crowded(|_| {}).await;
    assert_eq!(chain(&[&crowded]).transfers(BlockNumber(NUMBER)).await, expected);
}

#[tokio::test]
async fn is_believed_no_more_than_any_other() {
    let changes: [(&str, Change); 5] = [
        ("a receipt that is not ready", |receipt| *receipt = Value::Null),
        ("a receipt that lost its first log", |receipt| {
            if let Some(logs) = receipt["logs"].as_array_mut().filter(|logs| !logs.is_empty()) {
                logs.remove(0);
            }
        }),
        ("a receipt of another block", |receipt| receipt["blockHash"] = json!(crate::scripted::hash("another"))),
        ("a receipt of another transaction", |receipt| receipt["transactionIndex"] = json!("0x7")),
        ("a receipt with less gas", |receipt| receipt["cumulativeGasUsed"] = json!("0x1")),
    ];
    for (name, change) in changes {
        let node = crowded(change).await;
        let answer = chain(&[&node]).transfers(BlockNumber(NUMBER)).await;
        assert!(matches!(answer, Err(ChainError::Inconsistent { .. })), "{name}: {answer:?}");
    }
}

/// What geth 1.13 and bsc allow all answers of one batch to hold together, in bytes, made small.
const BATCH_BYTES_MAX: usize = 1_500;

/// A node with geth's rule: once the answers of a batch have crossed the limit, the rest of them are errors, in an answer of
/// status 200.
async fn limited_like_geth() -> ScriptedNode {
    ScriptedNode::start(move |request| {
        let answer = |call: &Value| {
            let mut answer = answer_all(call, &|call| {
                if call["method"] != "eth_getTransactionReceipt" {
                    return sound_result(call);
                }
                let all = receipts(NUMBER);
                let found =
                    all.as_array().and_then(|all| all.iter().find(|one| one["transactionHash"] == call["params"][0]));
                found.cloned().unwrap_or(Value::Null)
            });
            if call["method"] == "eth_getBlockReceipts" && call["params"][0] == json!(format!("{NUMBER:#x}")) {
                // The block that somebody has filled.
                answer["result"] = json!(" ".repeat(BATCH_BYTES_MAX));
            }
            answer
        };
        let Some(calls) = request.as_array() else { return Reply::Json(answer(request)) };
        if calls.iter().filter(|call| call["method"] == "eth_getBlockReceipts").count() > 1 {
            // Before the block was filled.
            return Reply::Json(answer_all(request, &sound_result));
        }
        let mut held = 0_usize;
        let answers = calls.iter().map(|call| {
            let answer = answer(call);
            // Blocks and small answers are not what the limit is about here.
            let counted = call["method"] == "eth_getTransactionReceipt" || answer["result"].is_string();
            held = held.saturating_add(if counted { answer["result"].to_string().len() } else { 0 });
            if held <= BATCH_BYTES_MAX {
                return answer;
            }
            json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32003, "message": "response too large"}})
        });
        Reply::Json(answers.collect())
    })
    .await
}

#[tokio::test]
async fn a_batch_whose_later_answers_are_refused_is_asked_for_in_smaller_ones() {
    let sound = ScriptedNode::sound().await;
    let expected = chain(&[&sound]).transfers(BlockNumber(NUMBER)).await;
    let limited = limited_like_geth().await;
    let source = chain(&[&limited]);
    // Blocks beside the full one show the level.
    assert_eq!(source.transfers(BlockNumber(NUMBER)).await, expected);
    assert!(limited.asked("eth_getTransactionReceipt") > 3, "more than once in a batch");
}

#[tokio::test]
async fn a_block_that_takes_too_long_at_once_is_read_in_parts() {
    let node = ScriptedNode::start(move |request| {
        let answer = answer_all(request, &|call| {
            let all = receipts(NUMBER);
            let of = |hash: &Value| all.as_array()?.iter().find(|one| one["transactionHash"] == *hash).cloned();
            match call["method"].as_str() {
                Some("eth_getTransactionReceipt") => of(&call["params"][0]).unwrap_or(Value::Null),
                _ => sound_result(call),
            }
        });
        let calls = request.as_array().cloned().unwrap_or_default();
        let whole = calls.iter().filter(|call| call["method"] == "eth_getBlockReceipts").count();
        if whole == 1 { Reply::Silence } else { Reply::Json(answer) }
    })
    .await;
    let mut config = crate::scripted::config(vec![node.url()]);
    config.request_timeout = std::time::Duration::from_millis(400);
    let found = crate::scripted::source(config).transfers(BlockNumber(NUMBER)).await.expect("answered");
    assert_eq!(found.map(|found| found.transfers.len()), Some(3));
}
