//! Balances of nodes that do not take every kind of question.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use serde_json::{Value, json};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_payments::port::chain::{ChainError, ChainSource as _};

use crate::scripted::{NUMBER, Reply, ScriptedNode, answer_all, chain, config, sound_result, source};

/// Whether a call names the block by its hash.
fn by_hash(call: &Value) -> bool {
    call["params"][1].is_object()
}

/// A node that refuses calls with code of their own, and perhaps hashes, and tells a balance that depends on the address.
async fn plain(takes_hashes: bool, shift: u64) -> ScriptedNode {
    ScriptedNode::start(move |request| {
        let result = |call: &Value| {
            let address = call["params"][0].as_str().unwrap_or_default();
            let last = u64::from_str_radix(address.get(40..).unwrap_or_default(), 16).unwrap_or_default();
            if call["method"] == "eth_getBalance" { json!(format!("{:#x}", last + shift)) } else { sound_result(call) }
        };
        let mut answer = answer_all(request, &result);
        let calls = request.as_array().cloned().unwrap_or_else(|| vec![request.clone()]);
        for (position, call) in calls.iter().enumerate() {
            let with_code = call["method"] == "eth_call" && call["params"][2] != Value::Null;
            let hash = call["method"] == "eth_getBalance" && by_hash(call) && !takes_hashes;
            if with_code || hash {
                let refusal = json!({"id": call["id"], "error": {"code": -32602, "message": "no"}});
                match answer.as_array_mut() {
                    Some(answers) => answers[position] = refusal,
                    None => answer = refusal,
                }
            }
        }
        Reply::Json(answer)
    })
    .await
}

fn addresses(count: u8) -> Vec<Address> {
    (0..count).map(|last| Address::new([&[7; 19][..], &[last]].concat().try_into().expect("20 bytes"))).collect()
}

fn expected(count: u8, shift: u64) -> Vec<Amount> {
    (0..count).map(|last| Amount::from_units(u128::from(last) + u128::from(shift))).collect()
}

async fn place(node: &ScriptedNode) -> BlockRef {
    chain(&[node]).block(BlockNumber(NUMBER)).await.expect("answered").expect("known")
}

#[tokio::test]
async fn addresses_are_asked_one_by_one_where_code_is_refused() {
    for takes_hashes in [true, false] {
        let node = plain(takes_hashes, 0).await;
        let (block, source) = (place(&node).await, chain(&[&node]));
        assert_eq!(source.native_balances(block, &addresses(250)).await, Ok(expected(250, 0)));
        let first = node.asked("eth_call");
        assert!(first >= 1);
        assert_eq!(source.native_balances(block, &addresses(250)).await, Ok(expected(250, 0)));
        assert_eq!(node.asked("eth_call"), first, "what was refused is not asked again");
    }
}

#[tokio::test]
async fn a_node_that_does_not_have_the_block_yet_teaches_nothing() {
    let (behind, shown) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (lags, hides) = (Arc::clone(&behind), Arc::clone(&shown));
    let node = ScriptedNode::start(move |request| {
        let result = |call: &Value| match call["method"].as_str() {
            Some("eth_call") if !call["params"][2].is_null() => {
                let list = call["params"][0]["data"].as_str().unwrap_or_default().len().saturating_sub(2) / 40;
                json!(format!("0x{}", format!("{:064x}", 7).repeat(list)))
            }
            Some("eth_getBlockByNumber") if lags.load(SeqCst) => Value::Null,
            _ => sound_result(call),
        };
        let mut answer = answer_all(request, &result);
        if let (Some(calls), Some(answers)) = (request.as_array(), answer.as_array_mut()) {
            for (call, answer) in calls.iter().zip(answers) {
                let no_state = call["method"] == "eth_call" && lags.load(SeqCst);
                let no_header = call["method"] == "eth_getBlockByNumber" && hides.load(SeqCst);
                if no_state || no_header {
                    *answer = json!({"id": call["id"], "error": {"code": -32000, "message": "header not found"}});
                }
            }
        }
        Reply::Json(answer)
    })
    .await;
    let (block, source) = (place(&node).await, chain(&[&node]));
    assert!(source.head().await.is_ok());
    for (lags, hides) in [(true, false), (true, true)] {
        behind.store(lags, SeqCst);
        shown.store(hides, SeqCst);
        let answer = source.native_balances(block, &addresses(3)).await;
        assert!(matches!(answer, Err(ChainError::Unavailable { .. })), "{answer:?}");
    }
    behind.store(false, SeqCst);
    shown.store(false, SeqCst);
    assert_eq!(source.native_balances(block, &addresses(3)).await, Ok(vec![Amount::from_units(7); 3]));
    assert_eq!(node.asked("eth_getBalance"), 0, "one question for all, as before");
}

#[tokio::test]
async fn a_tie_between_nodes_is_decided_by_nobody() {
    let (lie, truth) = ([plain(true, 9).await, plain(true, 9).await], [plain(true, 0).await, plain(true, 0).await]);
    let block = place(&truth[0]).await;
    let mut config = config([&lie[0], &lie[1], &truth[0], &truth[1]].iter().map(|node| node.url()).collect());
    config.quorum = 2;
    let answer = source(config).native_balances(block, &addresses(3)).await;
    assert!(matches!(answer, Err(ChainError::Inconsistent { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_block_that_is_named_by_number_must_have_its_hash() {
    let node = plain(false, 0).await;
    let mut block = place(&node).await;
    block.hash = "0x0101010101010101010101010101010101010101010101010101010101010101".parse().expect("a hash");
    let answer = chain(&[&node]).native_balances(block, &addresses(3)).await;
    assert!(matches!(answer, Err(ChainError::Unavailable { .. })), "{answer:?}");
}

#[tokio::test]
async fn balances_count_by_the_word_of_the_quorum() {
    let (one, two, other) = (plain(true, 0).await, plain(false, 0).await, plain(true, 1).await);
    let block = place(&one).await;
    let with = |nodes: &[&ScriptedNode]| {
        let mut config = config(nodes.iter().map(|node| node.url()).collect());
        config.quorum = 2;
        source(config)
    };
    assert_eq!(with(&[&one, &other, &two]).native_balances(block, &addresses(20)).await, Ok(expected(20, 0)));
    let disputed = with(&[&one, &other]).native_balances(block, &addresses(20)).await;
    assert!(matches!(disputed, Err(ChainError::Inconsistent { .. })), "{disputed:?}");
    let down = ScriptedNode::start(|_| Reply::Http("503 Busy", "", Vec::new())).await;
    let alone = with(&[&one, &down]).native_balances(block, &addresses(20)).await;
    assert!(matches!(alone, Err(ChainError::Unavailable { .. })), "{alone:?}");
}

#[tokio::test]
async fn an_answer_of_another_length_is_no_answer() {
    let node = ScriptedNode::start(|request| {
        let result = |call: &Value| match (call["method"].as_str(), call["params"][2].is_null()) {
            (Some("eth_call"), false) => json!(format!("0x{:0>64x}", 1)),
            (Some("eth_getBalance"), _) => json!("0x2"),
            _ => sound_result(call),
        };
        Reply::Json(answer_all(request, &result))
    })
    .await;
    let block = place(&node).await;
    let found = chain(&[&node]).native_balances(block, &addresses(2)).await;
    assert_eq!(found, Ok(vec![Amount::from_units(2); 2]), "asked one by one instead");
}
