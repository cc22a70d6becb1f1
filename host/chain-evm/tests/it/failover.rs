//! Which node answers when one does not.

use std::time::Duration;

use tokio::time::Instant;
use xthonpay_domain::block::BlockNumber;
use xthonpay_payments::port::chain::{ChainError, ChainSource as _};

use crate::puppet::{Puppet, until};
use crate::scripted::{HEAD, NUMBER, Reply, ScriptedNode, chain, config, source};

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
    let mut config = config(vec![lagging.url(), sound.url()]);
    config.quorum = 1;
    let found = source(config).transfers(BlockNumber(NUMBER)).await.expect("answered");
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
    let nobody = |port: u16| format!("http://127.0.0.1:{port}/").parse().expect("a URL");
    let chain = source(config(vec![nobody(1), nobody(2)]));
    let error = chain.head().await.expect_err("nobody there");
    assert!(error.is_transient(), "{error}");
}

#[tokio::test]
async fn a_node_that_keeps_failing_is_left_alone_and_tried_again() {
    let (puppet, node) = Puppet::start(HEAD, NUMBER).await;
    let chain = chain(&[&node]);
    puppet.is_down(true);
    for _ in 0..20 {
        assert!(matches!(chain.head().await, Err(ChainError::Unavailable { .. })));
    }
    let asked = node.requests();
    assert!((3..8).contains(&asked), "three failures are enough: {asked} requests");
    let report = chain.report();
    let problem = report.nodes[0].problem.clone().expect("told");
    assert!(problem.contains("HTTP status 503"), "{problem}");
    puppet.is_down(false);
    until("the node is tried again", async || chain.head().await.is_ok()).await;
    assert_eq!(chain.report().nodes[0].problem, None);
}

#[tokio::test]
async fn the_second_node_is_asked_too_when_the_first_takes_unusually_long() {
    let (slow, first) = Puppet::start(HEAD, NUMBER).await;
    let (_, second) = Puppet::start(HEAD, NUMBER).await;
    let chain = chain(&[&first, &second]);
    for _ in 0..20 {
        chain.head().await.expect("answered");
    }
    assert_eq!(second.requests(), 0, "one node is enough while it is quick");
    slow.takes(Duration::from_secs(15));
    let started = Instant::now();
    assert_eq!(chain.head().await, Ok(BlockNumber(HEAD)));
    assert!(started.elapsed() < Duration::from_secs(5), "took {:?}", started.elapsed());
    // One slow answer costs nobody its place; a few do.
    for _ in 0..5 {
        chain.head().await.expect("answered");
    }
    assert!(chain.report().nodes[1].primary);
}

#[tokio::test]
async fn a_quick_refusal_does_not_beat_a_slow_answer() {
    let (slow, first) = Puppet::start(HEAD, NUMBER).await;
    let broken = ScriptedNode::faulty(|_, _| Reply::Http("503 Busy", "", Vec::new())).await;
    slow.takes(Duration::from_millis(1_500));
    let chain = chain(&[&first, &broken]);
    assert_eq!(chain.head().await, Ok(BlockNumber(HEAD)));
}

#[tokio::test]
async fn a_hanging_node_does_not_hold_up_what_the_others_agree_on() {
    let (hanging, first) = Puppet::start(HEAD, NUMBER).await;
    let (_, second) = Puppet::start(HEAD, NUMBER).await;
    let (_, third) = Puppet::start(HEAD, NUMBER).await;
    hanging.takes(Duration::from_secs(60));
    let chain = chain(&[&first, &second, &third]);
    let started = Instant::now();
    assert_eq!(chain.finalized().await.expect("two are enough").number, BlockNumber(NUMBER));
    assert!(started.elapsed() < Duration::from_secs(4), "took {:?}", started.elapsed());
}

/// A node that tells of a head far away and has no block.
async fn boaster() -> ScriptedNode {
    ScriptedNode::start(|request| {
        Reply::Json(crate::scripted::answer_all(request, &|call| {
            let is_latest = call["params"][0] == "latest";
            let mut result = crate::scripted::sound_result(call);
            match call["method"].as_str() {
                Some("eth_blockNumber") => result = ABSURD.into(),
                Some("eth_getBlockByNumber") if is_latest => result["number"] = ABSURD.into(),
                Some("eth_getBlockByNumber") if call["params"][0] == format!("{HEAD:#x}") => {
                    result = serde_json::Value::Null
                }
                _ => {}
            }
            result
        }))
    })
    .await
}

/// 2^60.
const ABSURD: &str = "0x1000000000000000";

#[tokio::test]
async fn a_head_that_one_of_two_nodes_invents_makes_nobody_late() {
    for boaster_first in [true, false] {
        let (boaster, honest) = (boaster().await, ScriptedNode::sound().await);
        let chain = chain(&if boaster_first { [&boaster, &honest] } else { [&honest, &boaster] });
        chain.finalized().await.expect("both agree");
        assert_eq!(chain.head().await, Ok(BlockNumber(HEAD)));
        let report = chain.report();
        assert_eq!(report.head, Some(BlockNumber(HEAD)));
        let honest_at = usize::from(boaster_first);
        assert_eq!(report.nodes[honest_at].problem, None);
        assert_eq!(report.nodes[honest_at].primary, !boaster_first, "it keeps its place");
        // A block that a node told of and does not have costs it the first place.
        let _ = chain.block(BlockNumber(HEAD)).await;
        assert!(chain.block(BlockNumber(HEAD)).await.expect("answered").is_some());
        assert!(chain.report().nodes[honest_at].primary);
    }
}

#[tokio::test]
async fn a_head_of_another_chain_makes_nobody_late() {
    let (turncoat, first) = Puppet::start(HEAD, NUMBER).await;
    let (_, second) = Puppet::start(HEAD, NUMBER).await;
    let (_, third) = Puppet::start(HEAD, NUMBER).await;
    let chain = chain(&[&first, &second, &third]);
    turncoat.serves_chain(97);
    turncoat.moves_to(HEAD + 500, NUMBER + 500);
    chain.finalized().await.expect("two are left");
    let report = chain.report();
    assert_eq!((report.nodes[0].head, report.head), (None, Some(BlockNumber(HEAD))));
    assert!(report.nodes[1].problem.is_none() && report.nodes[2].problem.is_none(), "{report:?}");
}

#[tokio::test]
async fn a_contradiction_that_shows_later_costs_the_first_place() {
    let (_, first) = Puppet::start(HEAD, NUMBER).await;
    let (_, second) = Puppet::start(HEAD, NUMBER).await;
    let chain = chain(&[&first, &second]);
    chain.finalized().await.expect("agreed");
    chain.contradicted();
    chain.finalized().await.expect("agreed");
    let asked = (first.asked("eth_blockNumber"), second.asked("eth_blockNumber"));
    chain.head().await.expect("answered");
    assert_eq!((first.asked("eth_blockNumber"), second.asked("eth_blockNumber")), (asked.0, asked.1 + 1));
    let report = chain.report();
    assert!(report.nodes[1].primary && report.nodes[0].problem.is_some(), "{report:?}");
}
