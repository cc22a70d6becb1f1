//! Which block counts as irreversible.

use xthonpay_chain_evm::{EvmChain, Finality};
use xthonpay_domain::block::BlockNumber;
use xthonpay_payments::port::chain::{ChainError, ChainSource as _};

use crate::scripted::{HEAD, NUMBER, ScriptedNode, chain, config};

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
        let finalized = EvmChain::new(config).expect("sound").finalized().await;
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
