//! Several nodes that do not agree: what becomes final, and who is believed afterwards.

use xthonpay_chain_evm::EvmChain;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_payments::port::chain::{ChainError, ChainSource as _};

use crate::puppet::{Puppet, block_hash, until};
use crate::scripted::{ScriptedNode, chain, config, source};

const FINAL: u64 = 1_000;

fn with_quorum(nodes: &[&ScriptedNode], quorum: usize) -> EvmChain {
    let mut config = config(nodes.iter().map(|node| node.url()).collect());
    config.quorum = quorum;
    source(config)
}

fn is_common(block: &BlockRef, number: u64) -> bool {
    block.number == BlockNumber(number) && block.hash.to_string() == block_hash(number)
}

#[tokio::test]
async fn the_highest_block_that_enough_nodes_call_final_counts() {
    let table: [(&[u64], usize, Option<u64>); 8] = [
        (&[FINAL], 1, Some(FINAL)),
        (&[FINAL, FINAL - 3], 1, Some(FINAL)),
        (&[FINAL, FINAL - 3], 2, Some(FINAL - 3)),
        (&[FINAL - 3, FINAL], 2, Some(FINAL - 3)),
        (&[FINAL, FINAL - 1, FINAL - 7], 2, Some(FINAL - 1)),
        (&[FINAL, FINAL - 1, FINAL - 7], 3, Some(FINAL - 7)),
        (&[FINAL, FINAL, 0], 2, Some(FINAL)),
        (&[FINAL, 0, 0], 2, Some(0)),
    ];
    for (heights, quorum, expected) in table {
        let mut nodes = Vec::new();
        for height in heights {
            nodes.push(Puppet::start(FINAL + 2, *height).await.1);
        }
        let found = with_quorum(&nodes.iter().collect::<Vec<_>>(), quorum).finalized().await;
        let found = found.ok().filter(|found| expected.is_some_and(|number| is_common(found, number)));
        assert_eq!(found.map(|found| found.number.0), expected, "{heights:?} with a quorum of {quorum}");
    }
}

#[tokio::test]
async fn a_node_that_invents_a_final_block_is_outvoted_and_not_believed_any_more() {
    let (liar, first) = Puppet::start(FINAL + 2, FINAL).await;
    let (_, second) = Puppet::start(FINAL + 2, FINAL).await;
    let (_, third) = Puppet::start(FINAL + 2, FINAL).await;
    liar.forks_at(FINAL - 10);
    let chain = chain(&[&first, &second, &third]);
    let found = chain.finalized().await.expect("two of three agree");
    assert!(is_common(&found, FINAL), "{found:?}");
    let report = chain.report();
    let disagreement = report.disagreement.clone().expect("told");
    assert!(disagreement.contains("node 1") && disagreement.contains(&liar.hash_of(FINAL)), "{disagreement}");
    assert!(report.nodes[0].problem.as_ref().is_some_and(|problem| problem.contains("self-check")), "{report:?}");
    // Whatever is asked now is asked of the others.
    let asked = first.requests();
    let block = chain.block(BlockNumber(FINAL)).await.expect("answered").expect("known");
    assert!(is_common(&block, FINAL));
    assert!(chain.report().nodes[1].primary);
    chain.finalized().await.expect("two are left");
    assert_eq!(first.requests(), asked, "the liar is left alone");
    assert!(chain.report().disagreement.is_some(), "it is not forgotten");
    // It fails its self-check as long as it lies, and is believed again once it does not.
    assert_eq!(chain.self_check().await, Ok(()));
    assert!(chain.report().nodes[0].problem.is_some());
    liar.repents();
    assert_eq!(chain.self_check().await, Ok(()));
    chain.finalized().await.expect("three agree");
    let report = chain.report();
    assert_eq!((report.disagreement, &report.nodes[0].problem), (None, &None));
}

#[tokio::test]
async fn nothing_becomes_final_while_two_nodes_contradict_each_other() {
    for quorum in [1, 2] {
        let (forked, first) = Puppet::start(FINAL + 2, FINAL).await;
        let (_, second) = Puppet::start(FINAL + 2, FINAL).await;
        let chain = with_quorum(&[&first, &second], quorum);
        assert!(chain.finalized().await.is_ok());
        forked.forks_at(FINAL);
        let answer = chain.finalized().await;
        let Err(ChainError::Inconsistent { reason }) = &answer else { unreachable!("quorum {quorum}: {answer:?}") };
        assert!(reason.contains("node 1") && reason.contains("node 2"), "{reason}");
        assert_eq!(chain.report().disagreement.as_ref(), Some(reason));
        let answer = chain.final_block(BlockNumber(FINAL)).await;
        assert!(matches!(answer, Err(ChainError::Inconsistent { .. })), "{answer:?}");
        let answer = chain.final_block(BlockNumber(FINAL - 1)).await.expect("agreed").expect("known");
        assert!(is_common(&answer, FINAL - 1));
        let refused = with_quorum(&[&first, &second], quorum).self_check().await;
        assert!(matches!(refused, Err(ChainError::Inconsistent { .. })), "{refused:?}");
        forked.repents();
        assert!(chain.finalized().await.is_ok());
        assert_eq!(chain.report().disagreement, None);
    }
}

#[tokio::test]
async fn too_few_nodes_make_nothing_final_and_say_who_is_missing() {
    let (_, first) = Puppet::start(FINAL + 2, FINAL).await;
    let (down, second) = Puppet::start(FINAL + 2, FINAL).await;
    down.is_down(true);
    let chain = chain(&[&first, &second]);
    for _ in 0..5 {
        for answer in [chain.finalized().await.map(Some), chain.final_block(BlockNumber(FINAL)).await] {
            let Err(ChainError::Unavailable { reason }) = &answer else { unreachable!("{answer:?}") };
            assert!(reason.contains("node 2") || reason.contains("2 nodes"), "{reason}");
        }
    }
    down.is_down(false);
    until("both nodes are there again", async || chain.finalized().await.is_ok()).await;
}

#[tokio::test]
async fn a_final_block_is_none_while_too_few_nodes_have_it() {
    let (late, first) = Puppet::start(FINAL - 5, FINAL - 7).await;
    let (_, second) = Puppet::start(FINAL + 2, FINAL).await;
    let chain = chain(&[&first, &second]);
    assert_eq!(chain.final_block(BlockNumber(FINAL)).await, Ok(None));
    let found = chain.final_block(BlockNumber(FINAL - 7)).await.expect("answered").expect("both have it");
    assert!(is_common(&found, FINAL - 7));
    late.moves_to(FINAL + 2, FINAL);
    assert!(chain.final_block(BlockNumber(FINAL)).await.expect("answered").is_some());
}

#[tokio::test]
async fn a_ban_does_not_end_by_silence() {
    let (liar, first) = Puppet::start(FINAL + 2, FINAL).await;
    let (_, second) = Puppet::start(FINAL + 2, FINAL).await;
    let (_, third) = Puppet::start(FINAL + 2, FINAL).await;
    liar.forks_at(FINAL);
    let chain = chain(&[&first, &second, &third]);
    chain.finalized().await.expect("two of three agree");
    assert!(chain.report().nodes[0].problem.is_some());
    // It steps back and no longer shows the block that it lied about.
    liar.moves_to(FINAL - 1, FINAL - 2);
    assert_eq!(chain.self_check().await, Ok(()));
    let problem = chain.report().nodes[0].problem.clone();
    assert!(problem.is_some_and(|problem| problem.contains("self-check")), "still not believed");
    liar.moves_to(FINAL + 2, FINAL);
    liar.repents();
    assert_eq!(chain.self_check().await, Ok(()));
    assert_eq!(chain.report().nodes[0].problem, None);
}

#[tokio::test]
async fn a_node_that_does_not_call_a_block_final_has_no_vote_on_it() {
    let (early, first) = Puppet::start(FINAL + 2, FINAL - 9).await;
    let (_, second) = Puppet::start(FINAL + 2, FINAL).await;
    let chain = chain(&[&first, &second]);
    assert_eq!(chain.final_block(BlockNumber(FINAL)).await, Ok(None), "both have it, and one calls it final");
    assert!(chain.final_block(BlockNumber(FINAL - 9)).await.expect("answered").is_some());
    early.moves_to(FINAL + 2, FINAL);
    let found = chain.final_block(BlockNumber(FINAL)).await.expect("answered").expect("both call it final");
    assert!(is_common(&found, FINAL));
    let asked = first.requests();
    chain.final_block(BlockNumber(FINAL - 1)).await.expect("answered").expect("both call it final");
    assert_eq!(first.requests() - asked, 1, "what was final stays final: no second question");
}

#[tokio::test]
async fn a_node_that_turns_to_another_chain_is_not_believed_any_more() {
    let (turncoat, first) = Puppet::start(FINAL + 2, FINAL).await;
    let (_, second) = Puppet::start(FINAL + 2, FINAL).await;
    let (_, third) = Puppet::start(FINAL + 2, FINAL).await;
    let chain = chain(&[&first, &second, &third]);
    assert!(chain.finalized().await.is_ok());
    turncoat.serves_chain(97);
    turncoat.moves_to(FINAL * 2, FINAL * 2);
    let found = chain.finalized().await.expect("two are left");
    assert!(is_common(&found, FINAL), "{found:?}");
    let problem = chain.report().nodes[0].problem.clone().expect("told");
    assert!(problem.contains("chain 97") && problem.contains("chains.bsc.chain_id is 56"), "{problem}");
    assert_eq!(chain.self_check().await, Ok(()), "two of three are enough");
    assert!(chain.report().nodes[0].problem.is_some());
    turncoat.serves_chain(56);
    turncoat.moves_to(FINAL + 2, FINAL);
    assert_eq!(chain.self_check().await, Ok(()));
    assert_eq!(chain.report().nodes[0].problem, None);
}

#[tokio::test]
async fn a_single_node_on_another_chain_gives_no_answer_at_all() {
    let (turncoat, node) = Puppet::start(FINAL + 2, FINAL).await;
    let chain = chain(&[&node]);
    assert!(chain.finalized().await.is_ok());
    turncoat.serves_chain(97);
    for _ in 0..3 {
        let answer = chain.finalized().await;
        assert!(matches!(answer, Err(ChainError::Mismatch { .. })), "{answer:?}");
    }
    let answer = chain.transfers(BlockNumber(FINAL)).await;
    assert!(matches!(answer, Err(ChainError::Mismatch { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_node_that_lags_is_not_asked_first() {
    let (late, first) = Puppet::start(FINAL + 2, FINAL).await;
    let (second_view, second) = Puppet::start(FINAL + 2, FINAL).await;
    let chain = chain(&[&first, &second]);
    chain.finalized().await.expect("agreed");
    assert!(chain.report().nodes[0].primary);
    second_view.moves_to(FINAL + 22, FINAL + 20);
    chain.finalized().await.expect("agreed");
    assert_eq!(chain.head().await, Ok(BlockNumber(FINAL + 22)), "the second node is asked");
    let report = chain.report();
    assert!(report.nodes[1].primary && !report.nodes[0].primary);
    assert!(report.nodes[0].problem.as_ref().is_some_and(|problem| problem.contains("20 behind")), "{report:?}");
    late.moves_to(FINAL + 22, FINAL + 20);
    chain.finalized().await.expect("agreed");
    chain.head().await.expect("answered");
    let report = chain.report();
    assert_eq!(report.nodes[0].problem, None);
    assert!(report.nodes[1].primary, "the place is not given back at once");
}
