//! Whether the nodes serve what the config says, and which key to change when they do not.

use serde_json::{Value, json};
use xthonpay_chain_evm::{EvmChain, EvmChainError};
use xthonpay_payments::port::chain::{ChainError, ChainSource as _};

use crate::scripted::{Reply, ScriptedNode, chain, config};

#[tokio::test]
async fn a_sound_node_passes() {
    let node = ScriptedNode::sound().await;
    assert_eq!(chain(&[&node]).self_check().await, Ok(()));
}

#[tokio::test]
async fn what_differs_is_named_with_the_key_to_change() {
    let code_3 = ScriptedNode::refusing("eth_call", 3).await;
    let changed = |method, change: fn(&mut Value)| ScriptedNode::changed(method, change);
    let table = [
        (changed("eth_chainId", |id| *id = json!("0x61")).await, "chains.bsc.chain_id is 56"),
        (
            changed("eth_call", |word| *word = json!(format!("0x{:0>64x}", 6))).await,
            "chains.bsc.assets.USDT.decimals is 18",
        ),
        (changed("eth_call", |word| *word = json!("0x")).await, "chains.bsc.assets.USDT.contract"),
        (changed("eth_call", |word| *word = json!("0x12")).await, "chains.bsc.assets.USDT.contract"),
        (
            changed("eth_call", |word| *word = json!(format!("0x{:0>64x}", 256 + 18))).await,
            "chains.bsc.assets.USDT.contract",
        ),
        (code_3, "chains.bsc.assets.USDT.contract"),
        (changed("eth_getCode", |code| *code = json!("0x")).await, "finds no contract"),
        (ScriptedNode::refusing("eth_getBlockReceipts", -32601).await, "eth_getBlockReceipts is not offered"),
    ];
    for (node, expected) in table {
        let answer = chain(&[&node]).self_check().await;
        let Err(ChainError::Mismatch { reason }) = &answer else { unreachable!("{expected}: {answer:?}") };
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn a_second_node_of_another_chain_is_refused_too() {
    let sound = ScriptedNode::sound().await;
    let foreign = ScriptedNode::changed("eth_chainId", |id| *id = json!("0x61")).await;
    let answer = chain(&[&sound, &foreign]).self_check().await;
    assert!(matches!(answer, Err(ChainError::Mismatch { .. })), "{answer:?}");
}

#[tokio::test]
async fn an_unreachable_node_is_no_mismatch() {
    let nobody = || "http://127.0.0.1:1/".parse().expect("a URL");
    let alone = EvmChain::new(config(vec![nobody()])).expect("sound").self_check().await;
    assert!(matches!(alone, Err(ChainError::Unavailable { .. })), "{alone:?}");
    let sound = ScriptedNode::sound().await;
    let backed = EvmChain::new(config(vec![nobody(), sound.url()])).expect("sound").self_check().await;
    assert_eq!(backed, Ok(()));
    let busy = ScriptedNode::start(|_| Reply::Http("429 Slow down", "", Vec::new())).await;
    assert!(chain(&[&busy]).self_check().await.is_err_and(|error| error.is_transient()));
}

#[test]
fn a_config_that_contradicts_itself_is_refused() {
    let node = || "http://127.0.0.1:8545".parse().expect("a URL");
    let refused = |change: fn(&mut xthonpay_chain_evm::EvmChainConfig)| {
        let mut config = config(vec![node()]);
        change(&mut config);
        EvmChain::new(config).err()
    };
    assert!(refused(|_| {}).is_none());
    assert!(matches!(refused(|c| c.nodes.clear()), Some(EvmChainError::NoNodes { .. })));
    let ftp = refused(|c| c.nodes.push("ftp://127.0.0.1/".parse().expect("a URL")));
    assert!(matches!(ftp, Some(EvmChainError::NotHttp { position: 2, .. })));
    let no_time = refused(|c| c.request_timeout = std::time::Duration::ZERO);
    assert!(matches!(no_time, Some(EvmChainError::NoTime { .. })));
    let foreign = refused(|c| c.assets[0].id = "eth:BNB".parse().expect("an asset id"));
    assert!(matches!(foreign, Some(EvmChainError::ForeignAsset { .. })));
    let twice = refused(|c| c.assets[0].kind = c.assets[1].kind);
    assert!(matches!(twice, Some(EvmChainError::SameAsset { .. })));
    let same_name = refused(|c| c.assets[0].id = c.assets[1].id.clone());
    assert!(matches!(same_name, Some(EvmChainError::SameAsset { .. })));
}
