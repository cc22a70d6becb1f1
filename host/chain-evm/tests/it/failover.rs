//! Which node answers when one does not.

use xthonpay_chain_evm::EvmChain;
use xthonpay_domain::block::BlockNumber;
use xthonpay_payments::port::chain::{ChainError, ChainSource as _};

use crate::scripted::{HEAD, NUMBER, Reply, ScriptedNode, chain, config};

#[tokio::test]
async fn moves_to_the_next_node_and_stays_there() {
    let broken = ScriptedNode::faulty(|_, _| Reply::Http("503 Busy", "", Vec::new())).await;
    let sound = ScriptedNode::sound().await;
    let chain = chain(&[&broken, &sound]);
    for _ in 0..5 {
        assert_eq!(chain.head().await, Ok(BlockNumber(HEAD)));
    }
    assert_eq!(broken.asked("eth_blockNumber"), 1);
    assert_eq!(sound.asked("eth_blockNumber"), 5);
}

#[tokio::test]
async fn asks_the_second_node_about_a_block_that_the_first_contradicts() {
    let lagging = ScriptedNode::changed("eth_getBlockReceipts", |receipts| *receipts = serde_json::Value::Null).await;
    let sound = ScriptedNode::sound().await;
    let found = chain(&[&lagging, &sound]).transfers(BlockNumber(NUMBER)).await.expect("answered");
    assert_eq!(found.map(|found| found.transfers.len()), Some(3));
}

#[tokio::test]
async fn comes_back_around_to_the_first_node() {
    use std::sync::atomic::{AtomicBool, Ordering};
    static FIRST_DOWN: AtomicBool = AtomicBool::new(true);
    fn unless(down: bool, answer: serde_json::Value) -> Reply {
        if down { Reply::Http("503 Busy", "", Vec::new()) } else { Reply::Json(answer) }
    }
    let first = ScriptedNode::faulty(|_, answer| unless(FIRST_DOWN.load(Ordering::SeqCst), answer)).await;
    let second = ScriptedNode::faulty(|_, answer| unless(!FIRST_DOWN.load(Ordering::SeqCst), answer)).await;
    let chain = chain(&[&first, &second]);
    assert_eq!(chain.head().await, Ok(BlockNumber(HEAD)));
    FIRST_DOWN.store(false, Ordering::SeqCst);
    assert_eq!(chain.head().await, Ok(BlockNumber(HEAD)));
    assert_eq!((first.asked("eth_blockNumber"), second.asked("eth_blockNumber")), (2, 2));
}

#[tokio::test]
async fn never_believes_a_node_of_another_chain() {
    let broken = ScriptedNode::faulty(|_, _| Reply::Http("503 Busy", "", Vec::new())).await;
    let foreign = ScriptedNode::changed("eth_chainId", |id| *id = "0x61".into()).await;
    let answer = chain(&[&broken, &foreign]).head().await;
    assert!(matches!(answer, Err(ChainError::Unavailable { .. })), "the first may recover: {answer:?}");
    assert_eq!(foreign.asked("eth_blockNumber"), 0);
    let answer = chain(&[&foreign]).head().await;
    assert!(matches!(answer, Err(ChainError::Mismatch { .. })), "{answer:?}");
}

#[tokio::test]
async fn everybody_gone_is_transient() {
    let nobody = || "http://127.0.0.1:1/".parse().expect("a URL");
    let chain = EvmChain::new(config(vec![nobody(), nobody()])).expect("sound");
    let error = chain.head().await.expect_err("nobody there");
    assert!(error.is_transient(), "{error}");
}
