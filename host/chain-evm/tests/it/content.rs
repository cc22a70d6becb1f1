//! What is in blocks, where nodes differ in how far their blocks can be verified: a node must not choose by itself how little
//! it has to prove.

use std::sync::Arc;

use serde_json::{Value, json};
use xthonpay_chain_evm::EvmChain;
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::transfer::BlockTransfers;
use xthonpay_payments::port::chain::{ChainError, ChainSource as _, Verification};
use xthonpay_tests::canned_node::{CannedBehaviour, CannedChain, CannedNode};

use crate::canned::{by_blocks, canned_config, changing, node, range};
use crate::scripted::source;

/// The block that liars change.
const CHANGED: BlockNumber = BlockNumber(3);

fn of_two(nodes: &[&CannedNode]) -> EvmChain {
    let mut config = canned_config(nodes);
    config.quorum = 2;
    source(config)
}

fn is_changed(call: &Value) -> bool {
    call["params"][0] == json!(format!("{:#x}", CHANGED.0))
}

/// Transactions of a type that nobody knows, in every block or in one, and an amount of the liar's choice.
fn unprovable(everywhere: bool, lies: bool) -> CannedBehaviour {
    CannedBehaviour::default().telling(move |call, result| {
        let mut value: Value = serde_json::from_str(&result).expect("the node writes JSON");
        if value.is_null() {
            return result;
        }
        match call["method"].as_str() {
            Some("eth_getBlockByNumber")
                if value["transactions"][5].is_object() && (everywhere || is_changed(call)) =>
            {
                value["transactions"][5]["type"] = json!("0x7e");
            }
            Some("eth_getBlockReceipts") if lies && is_changed(call) => {
                value[1]["logs"][0]["data"] = json!(format!("0x{:064x}", 10_u128.pow(30)));
            }
            _ => return result,
        }
        value.to_string()
    })
}

/// A node without receipts that changes an amount in its logs.
fn without_receipts() -> CannedBehaviour {
    CannedBehaviour {
        missing: vec!["eth_getBlockReceipts"],
        ..changing("eth_getLogs", |_, logs| {
            if let Some(log) = logs.as_array_mut().and_then(|logs| logs.first_mut()) {
                log["data"] = json!(format!("0x{:064x}", 10_u128.pow(30)));
            }
        })
    }
}

async fn truth(chain: &Arc<CannedChain>) -> BlockTransfers {
    let sound = node(chain, CannedBehaviour::default()).await;
    by_blocks(&[&sound]).transfers(CHANGED).await.expect("answered").expect("known")
}

#[tokio::test]
async fn a_node_that_proves_less_than_another_gives_no_content() {
    let chain = Arc::new(CannedChain::mixed(10, 16));
    let truth = truth(&chain).await;
    let tx = truth.transfers[3].identity.origin.tx().expect("a transaction");
    for liar in [|| unprovable(true, true), without_receipts as fn() -> _] {
        for (checked, liar_first) in [(true, true), (true, false), (false, true), (false, false)] {
            let (sound, liar) = (node(&chain, CannedBehaviour::default()).await, node(&chain, liar()).await);
            let source = of_two(&if liar_first { [&liar, &sound] } else { [&sound, &liar] });
            if checked {
                source.self_check().await.expect("sound, or too little to say");
            }
            for _ in 0..3 {
                assert_eq!(source.transfers(CHANGED).await, Ok(Some(truth.clone())));
                let run = source.transfers_in(range(1, 5)).await.expect("answered");
                assert_eq!(run.blocks[2], truth);
                let found = source.transfers_of(tx).await.expect("answered").expect("known");
                assert!(found.transfers.iter().all(|transfer| truth.transfers.contains(transfer)));
            }
            let (liar_at, sound_at) = if liar_first { (0, 1) } else { (1, 0) };
            assert_eq!(source.report().nodes[sound_at].verification, Some(Verification::Roots));
            assert!(source.report().nodes[sound_at].primary, "it loses its place for everything");
            let level = source.report().nodes[liar_at].verification;
            let problem = source.report().nodes[liar_at].problem.clone();
            let told = problem.as_ref().is_some_and(|problem| problem.contains("votes"));
            assert!(level.is_none_or(|_| told), "{level:?} {problem:?}");
            // Its vote counts all the same.
            source.final_block(CHANGED).await.expect("agreed").expect("known");
        }
    }
}

#[tokio::test]
async fn a_node_that_lacks_receipts_is_told_to_give_votes_only() {
    let chain = Arc::new(CannedChain::mixed(10, 16));
    let (sound, poor) = (node(&chain, CannedBehaviour::default()).await, node(&chain, without_receipts()).await);
    let source = of_two(&[&poor, &sound]);
    source.self_check().await.expect("sound");
    let report = source.report();
    let problem = report.nodes[0].problem.clone().expect("told");
    assert!(problem.contains("only its votes count"), "{problem}");
    assert!(report.nodes[1].problem.as_ref().is_none_or(|problem| !problem.contains("votes")), "{report:?}");
}

#[tokio::test]
async fn what_no_node_can_prove_takes_the_same_word_of_two() {
    let chain = Arc::new(CannedChain::mixed(10, 16));
    let truth = truth(&chain).await;
    let honest = async || node(&chain, unprovable(true, false)).await;
    let (one, two, liar) = (honest().await, honest().await, node(&chain, unprovable(true, true)).await);
    let source = of_two(&[&one, &two]);
    source.self_check().await.expect("sound");
    assert_eq!(source.report().nodes[0].verification, Some(Verification::Receipts));
    let problem = source.report().nodes[0].problem.clone();
    assert!(problem.is_none_or(|problem| !problem.contains("votes")));
    assert_eq!(source.transfers(CHANGED).await, Ok(Some(truth.clone())));
    assert_eq!(source.transfers(BlockNumber(99)).await, Ok(None));
    for nodes in [[&liar, &one], [&one, &liar]] {
        let source = of_two(&nodes);
        for answer in [source.transfers(CHANGED).await.map(drop), source.transfers_in(range(1, 5)).await.map(drop)] {
            assert!(matches!(answer, Err(ChainError::Inconsistent { .. })), "{answer:?}");
        }
        assert!(source.transfers(BlockNumber(4)).await.expect("both say the same").is_some());
    }
    for nodes in [[&liar, &one, &two], [&one, &liar, &two], [&one, &two, &liar]] {
        assert_eq!(of_two(&nodes).transfers(CHANGED).await, Ok(Some(truth.clone())));
    }
}

#[tokio::test]
async fn one_node_cannot_lower_what_the_others_prove() {
    let chain = Arc::new(CannedChain::mixed(10, 16));
    let truth = truth(&chain).await;
    let (sound, liar) = (node(&chain, CannedBehaviour::default()).await, node(&chain, unprovable(false, true)).await);
    let source = of_two(&[&liar, &sound]);
    source.self_check().await.expect("the newest blocks are sound");
    assert_eq!(source.report().nodes[0].verification, Some(Verification::Roots));
    for _ in 0..3 {
        assert_eq!(source.transfers(CHANGED).await, Ok(Some(truth.clone())), "the other one is asked");
        source.self_check().await.expect("sound");
    }
    let problem = source.report().nodes[0].problem.clone().expect("told");
    assert!(problem.contains("only its votes count"), "{problem}");
}

#[tokio::test]
async fn a_quorum_that_cannot_prove_a_block_must_agree_on_what_is_in_it() {
    let chain = Arc::new(CannedChain::mixed(10, 16));
    let truth = truth(&chain).await;
    for lies in [false, true] {
        let one = node(&chain, unprovable(false, false)).await;
        let two = node(&chain, unprovable(false, lies)).await;
        let source = of_two(&[&one, &two]);
        source.self_check().await.expect("the newest blocks are sound");
        let answer = source.transfers(CHANGED).await;
        assert!(matches!(answer, Err(ChainError::Inconsistent { .. })), "not the first time: {answer:?}");
        let answer = source.transfers(CHANGED).await;
        if lies {
            assert!(matches!(answer, Err(ChainError::Inconsistent { .. })), "{answer:?}");
        } else {
            assert_eq!(answer, Ok(Some(truth.clone())));
        }
    }
}
