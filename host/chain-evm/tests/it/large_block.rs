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
