//! Balances in a token: asked of its contract, pinned to the block, believed by the word of the quorum.

use serde_json::{Value, json};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::BlockNumber;
use xthonpay_payments::port::chain::{ChainError, ChainSource as _};

use crate::scripted::{NUMBER, Reply, ScriptedNode, USDT, answer_all, chain, config, sound_result, source};

/// The call data of `balanceOf(address)` up to the address.
const BALANCE_OF: &str = "0x70a08231000000000000000000000000";

/// A node whose contract tells a balance that depends on the address; any other call is answered with nothing.
async fn node(shift: u64) -> ScriptedNode {
    ScriptedNode::start(move |request| {
        let result = |call: &Value| {
            let asked = &call["params"][0];
            let holder = asked["data"].as_str().and_then(|data| data.strip_prefix(BALANCE_OF));
            match (call["method"].as_str(), holder) {
                (Some("eth_call"), Some(holder)) if asked["to"] == json!(USDT.to_lower_hex()) => {
                    let last = u64::from_str_radix(holder.get(38..).unwrap_or_default(), 16).unwrap_or_default();
                    json!(format!("0x{:064x}", last + shift))
                }
                (Some("eth_call"), _) => json!("0x"),
                _ => sound_result(call),
            }
        };
        Reply::Json(answer_all(request, &result))
    })
    .await
}

fn usdt() -> AssetId {
    "bsc:USDT".parse().expect("well formed")
}

fn addresses(count: u8) -> Vec<Address> {
    (0..count).map(|last| Address::new([&[7; 19][..], &[last]].concat().try_into().expect("20 bytes"))).collect()
}

#[tokio::test]
async fn come_in_the_order_of_the_addresses_in_batches() {
    let node = node(5).await;
    let source = chain(&[&node]);
    let block = source.block(BlockNumber(NUMBER)).await.expect("answered").expect("known");
    let before = node.requests();
    let found = source.token_balances(block, &usdt(), &addresses(250)).await.expect("answered");
    let expected: Vec<Amount> = (0..250_u128).map(|last| Amount::from_units(last + 5)).collect();
    assert_eq!(found, expected);
    assert!(node.requests() - before <= 4, "a hundred to a request");
    let elsewhere = xthonpay_domain::block::BlockRef { hash: block.parent, ..block };
    let answer = source.token_balances(elsewhere, &usdt(), &addresses(2)).await;
    assert!(matches!(answer, Err(ChainError::Unavailable { .. })), "another block stands there: {answer:?}");
}

#[tokio::test]
async fn count_by_the_word_of_the_quorum() {
    let (one, two, other) = (node(0).await, node(0).await, node(1).await);
    let block = chain(&[&one]).block(BlockNumber(NUMBER)).await.expect("answered").expect("known");
    let with = |nodes: &[&ScriptedNode]| {
        let mut config = config(nodes.iter().map(|node| node.url()).collect());
        config.quorum = 2;
        source(config)
    };
    let agreed = with(&[&one, &other, &two]).token_balances(block, &usdt(), &addresses(3)).await;
    assert_eq!(agreed, Ok((0..3).map(Amount::from_units).collect()));
    let disputed = with(&[&one, &other]).token_balances(block, &usdt(), &addresses(3)).await;
    assert!(matches!(disputed, Err(ChainError::Inconsistent { .. })), "{disputed:?}");
}

#[tokio::test]
async fn an_answer_that_is_no_word_is_no_balance() {
    let node = ScriptedNode::start(|request| {
        let result = |call: &Value| if call["method"] == "eth_call" { json!("0x01") } else { sound_result(call) };
        Reply::Json(answer_all(request, &result))
    })
    .await;
    let source = chain(&[&node]);
    let block = source.block(BlockNumber(NUMBER)).await.expect("answered").expect("known");
    let answer = source.token_balances(block, &usdt(), &addresses(1)).await;
    assert!(matches!(answer, Err(ChainError::Inconsistent { .. })), "{answer:?}");
    let native = source.token_balances(block, &"bsc:BNB".parse().expect("well formed"), &addresses(1)).await;
    assert!(matches!(native, Err(ChainError::Mismatch { .. })), "{native:?}");
}
