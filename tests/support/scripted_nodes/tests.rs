//! The nodes keep the promises of the port, and no others.

use xthonpay_domain::transfer::{Origin, TransferIdentity};
use xthonpay_payments::port::chain::{ChainError, ChainSource as _};

use super::*;
use crate::scripted_chain::PAYER;

fn native() -> AssetId {
    "bsc:BNB".parse().expect("well formed")
}

/// Three nodes of which two must agree, over ten blocks of which seven are final.
fn nodes() -> ScriptedNodes {
    let name = "bsc".parse().expect("well formed");
    let nodes = ScriptedNodes::new(name, native(), Timestamp::from_secs(1), (3, 2));
    (0..10).for_each(|_| {
        nodes.mine(Vec::new(), Vec::new());
    });
    nodes.finalise_below(3);
    nodes
}

fn payment(nodes: &ScriptedNodes) -> Transfer {
    let origin = Origin::Transaction { tx: nodes.new_transaction(), nth: 0 };
    let identity = TransferIdentity { asset: native(), to: PAYER, origin };
    Transfer { identity, from: None, amount: Amount::from_units(5) }
}

#[tokio::test]
async fn one_liar_is_believed_about_a_block_and_never_about_finality() {
    let nodes = nodes();
    let invented = payment(&nodes);
    nodes.lie(1, 5, vec![vec![invented.clone()], Vec::new()]);
    nodes.prefer(1);
    let told = nodes.transfers(BlockNumber(6)).await.expect("it answers").expect("it shows one");
    assert_eq!(told.transfers, [invented]);
    assert_eq!(nodes.finalized().await.expect("two are honest").number, BlockNumber(7));
    let agreed = nodes.final_block(BlockNumber(6)).await.expect("two are honest").expect("they have it");
    assert_ne!(agreed.hash, told.block.hash);
    assert!(nodes.native_balances(told.block, &[PAYER]).await.is_err(), "only one knows this block");
}

#[tokio::test]
async fn what_is_agreed_needs_a_quorum_that_answers() {
    let nodes = nodes();
    nodes.delay(0, 6);
    assert_eq!(nodes.finalized().await.expect("two suffice").number, BlockNumber(7));
    nodes.silence(2);
    assert_eq!(nodes.finalized().await.expect("two suffice").number, BlockNumber(4), "the lower of the two");
    assert_eq!(nodes.final_block(BlockNumber(7)).await, Ok(None), "only one has it");
    nodes.silence(1);
    assert!(matches!(nodes.finalized().await, Err(ChainError::Unavailable { .. })));
}

#[tokio::test]
async fn a_stranded_node_shows_the_branch_that_the_others_left() {
    let nodes = nodes();
    nodes.strand(0);
    nodes.fork(2);
    nodes.mine(Vec::new(), Vec::new());
    let old = nodes.block(BlockNumber(9)).await.expect("it answers").expect("it has it");
    nodes.prefer(1);
    let new = nodes.block(BlockNumber(9)).await.expect("it answers").expect("it has it");
    assert_ne!(old.hash, new.hash);
    assert_eq!(nodes.head().await, Ok(BlockNumber(9)));
}

#[tokio::test]
async fn a_fork_never_goes_below_what_is_final_unless_finality_breaks() {
    let nodes = nodes();
    assert_eq!(nodes.fork(9).len(), 3);
    assert_eq!(nodes.tip().number, BlockNumber(7));
    assert_eq!(nodes.break_finality(2).len(), 2);
    assert_eq!(nodes.finalized_number(), BlockNumber(5));
}

#[tokio::test]
async fn a_block_without_receipts_is_no_block_without_transfers() {
    let nodes = nodes();
    nodes.hollow(0);
    nodes.silence(1);
    nodes.silence(2);
    assert!(nodes.block(BlockNumber(9)).await.is_ok());
    assert!(nodes.transfers(BlockNumber(9)).await.is_err());
}

#[tokio::test]
async fn coins_that_a_contract_passed_on_show_in_the_balance_alone() {
    let nodes = nodes();
    let shown = payment(&nodes);
    let block = nodes.mine(vec![shown], vec![(PAYER, Amount::from_units(2))]);
    let transfers = nodes.transfers(block.number).await.expect("it answers").expect("it has it").transfers;
    assert_eq!(transfers.len(), 1);
    assert_eq!(nodes.native_balances(block, &[PAYER]).await, Ok(vec![Amount::from_units(7)]));
}
