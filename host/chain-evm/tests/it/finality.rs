//! Which block counts as irreversible.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use xthonpay_chain_evm::Finality;
use xthonpay_domain::block::BlockNumber;
use xthonpay_payments::port::chain::{ChainError, ChainSource as _};

use crate::puppet::{Puppet, block_hash};
use crate::scripted::{HEAD, NUMBER, Reply, ScriptedNode, chain, config, sound_result, source};

/// Longer than the tag must stand still in these configs.
const STANDSTILL: Duration = Duration::from_millis(250);

#[tokio::test]
async fn the_tag_decides() {
    let node = ScriptedNode::sound().await;
    assert_eq!(chain(&[&node]).finalized().await.expect("answered").number, BlockNumber(NUMBER));
    assert_eq!(node.asked("eth_blockNumber"), 0);
}

#[tokio::test]
async fn or_the_depth_decides() {
    let node = ScriptedNode::sound().await;
    for (depth, expected) in [(0, HEAD), (1, HEAD - 1), (HEAD, 0), (HEAD + 1, 0), (u64::MAX, 0)] {
        let mut config = config(vec![node.url()]);
        config.finality = Finality::Depth(depth);
        let finalized = source(config).finalized().await;
        assert_eq!(finalized.expect("answered").number, BlockNumber(expected), "depth {depth}");
    }
}

#[tokio::test]
async fn a_node_without_a_final_block_is_asked_again_later() {
    let null = ScriptedNode::changed("eth_getBlockByNumber", |block| *block = serde_json::Value::Null).await;
    let unsupported = ScriptedNode::refusing("eth_getBlockByNumber", -32000).await;
    for node in [null, unsupported] {
        let answer = chain(&[&node]).finalized().await;
        assert!(matches!(answer, Err(ChainError::Unavailable { .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn the_depth_takes_over_while_the_tag_stands_still() {
    let (puppet, node) = Puppet::start(1_000, 998).await;
    let mut config = config(vec![node.url()]);
    config.fallback_depth = Some(240);
    let chain = source(config);
    assert_eq!(chain.finalized().await.expect("answered").number, BlockNumber(998));
    puppet.moves_to(2_000, 998);
    assert_eq!(chain.finalized().await.expect("answered").number, BlockNumber(998), "not at once");
    sleep(STANDSTILL).await;
    for (head, finalized, expected, by_depth) in [
        (1_000, 998, 998, false),
        (1_238, 998, 998, false),
        (1_239, 998, 999, true),
        (2_000, 998, 1_760, true),
        (2_001, 1_999, 1_999, false),
    ] {
        puppet.moves_to(head, finalized);
        let found = chain.finalized().await.expect("answered");
        assert_eq!((found.number, chain.report().finality_by_depth), (BlockNumber(expected), by_depth), "head {head}");
        assert_eq!(found.hash.to_string(), block_hash(expected));
    }
}

#[tokio::test]
async fn without_a_depth_a_tag_that_stands_still_does_so() {
    let (puppet, node) = Puppet::start(1_000, 998).await;
    let chain = chain(&[&node]);
    puppet.moves_to(100_000, 998);
    assert_eq!(chain.finalized().await.expect("answered").number, BlockNumber(998));
}

#[tokio::test]
async fn the_depth_takes_a_quorum_too() {
    let (ahead, first) = Puppet::start(1_000, 500).await;
    let (_, second) = Puppet::start(1_000, 500).await;
    let mut config = config(vec![first.url(), second.url()]);
    config.fallback_depth = Some(240);
    let chain = source(config);
    assert_eq!(chain.finalized().await.expect("answered").number, BlockNumber(500));
    sleep(STANDSTILL).await;
    assert_eq!(chain.finalized().await.expect("answered").number, BlockNumber(760));
    assert!(chain.final_block(BlockNumber(760)).await.expect("answered").is_some(), "final by depth");
    assert_eq!(chain.final_block(BlockNumber(761)).await, Ok(None));
    ahead.moves_to(1_000_000, 500);
    assert_eq!(chain.finalized().await.expect("answered").number, BlockNumber(760), "one head alone moves nothing");
    ahead.forks_at(700);
    let answer = chain.finalized().await;
    assert!(matches!(answer, Err(ChainError::Inconsistent { .. })), "two blocks at one height: {answer:?}");
}

#[tokio::test]
async fn a_single_node_costs_one_request_for_each_question() {
    let (_, node) = Puppet::start(1_000, 998).await;
    let chain = chain(&[&node]);
    chain.finalized().await.expect("answered");
    let before = node.requests();
    for _ in 0..10 {
        chain.finalized().await.expect("answered");
    }
    assert_eq!(node.requests() - before, 10);
}

#[tokio::test]
async fn the_depth_serves_a_node_that_knows_no_tag() {
    let node = ScriptedNode::start(|request| {
        let calls = request.as_array().cloned().unwrap_or_else(|| vec![request.clone()]);
        let answer = |call: &Value| {
            if call["params"][0] == "finalized" {
                return json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32602, "message": "no such tag"}});
            }
            json!({"jsonrpc": "2.0", "id": call["id"], "result": sound_result(call)})
        };
        let answers: Vec<Value> = calls.iter().map(answer).collect();
        Reply::Json(if request.is_array() { json!(answers) } else { answers[0].clone() })
    })
    .await;
    let refused = chain(&[&node]).finalized().await;
    assert!(matches!(refused, Err(ChainError::Unavailable { .. })), "{refused:?}");
    let mut config = config(vec![node.url()]);
    config.fallback_depth = Some(32);
    let chain = source(config);
    assert_eq!(chain.self_check().await, Ok(()));
    assert!(chain.finalized().await.is_err_and(|error| error.is_transient()), "not at once");
    sleep(STANDSTILL).await;
    assert_eq!(chain.finalized().await.expect("answered").number, BlockNumber(HEAD.saturating_sub(32)));
    assert!(chain.report().finality_by_depth);
}
