//! One node among several that is forked or lies: it neither stops the crediting nor undoes what was seen.

use std::sync::Arc;

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::deposit::DepositState;
use xthonpay_domain::transfer::{Origin, Transfer, TransferIdentity};
use xthonpay_payments::access::Principal;
use xthonpay_payments::port::chain::ChainSource as _;
use xthonpay_tests::scripted_nodes::ScriptedNodes;

use crate::world::{BEGINNING, World, bnb, chain_name, usdt};

/// A world over three nodes of which two must agree.
async fn over_three_nodes() -> (World, Principal, Arc<ScriptedNodes>) {
    let (mut world, caller) = World::started().await;
    let nodes = Arc::new(ScriptedNodes::new(chain_name(), bnb(), BEGINNING, (3, 2)));
    world.store.tamper(|tables| {
        tables.cursors.clear();
        tables.blocks.clear();
    });
    world.scanner.source = nodes.clone();
    world.restart();
    mine(&nodes, 3);
    nodes.finalise_below(0);
    world.scan().await;
    (world, caller, nodes)
}

fn mine(nodes: &ScriptedNodes, blocks: usize) {
    (0..blocks).for_each(|_| {
        nodes.mine(Vec::new(), Vec::new());
    });
}

fn payment(nodes: &ScriptedNodes, to: Address, units: u128) -> Transfer {
    let origin = Origin::Transaction { tx: nodes.new_transaction(), nth: 0 };
    Transfer { identity: TransferIdentity { asset: usdt(), origin, to }, from: None, amount: Amount::from_units(units) }
}

/// Lets the scanner work for a while, whatever becomes of its steps.
async fn go_on(world: &mut World) {
    for _ in 0..60 {
        let _ = world.try_scan().await;
        // Finality is asked for again.
        world.restart();
    }
}

#[tokio::test]
async fn a_node_on_a_dead_fork_does_not_stop_the_crediting() {
    for (replaced, invented) in [(0, 1), (0, 40), (2, 3), (2, 1)] {
        let (mut world, caller, nodes) = over_three_nodes().await;
        let invoice = world.invoice(&caller, 100).await;
        mine(&nodes, 4);
        world.scan().await;
        nodes.lie(0, replaced, vec![Vec::new(); invented]);
        nodes.prefer(0);
        go_on(&mut world).await;
        nodes.mine(vec![payment(&nodes, invoice.address, 100)], Vec::new());
        mine(&nodes, 3);
        nodes.finalise_below(1);
        nodes.prefer(0);
        go_on(&mut world).await;
        assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100), "{replaced} {invented}");
    }
}

#[tokio::test]
async fn a_node_that_lies_in_runs_does_not_stop_the_catching_up() {
    let (mut world, caller, nodes) = over_three_nodes().await;
    let invoice = world.invoice(&caller, 100).await;
    nodes.mine(vec![payment(&nodes, invoice.address, 100)], Vec::new());
    mine(&nodes, 200);
    nodes.finalise_below(1);
    nodes.lie(0, 150, vec![Vec::new(); 300]);
    nodes.prefer(0);
    for _ in 0..20 {
        let _ = world.try_scan().await;
    }
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
    assert_eq!(world.status().cursor.expect("processed").finalized.number, nodes.finalized_number());
}

#[tokio::test]
async fn one_node_alone_does_not_undo_what_was_seen() {
    for follows in [0, 1] {
        let (mut world, caller, nodes) = over_three_nodes().await;
        let invoice = world.invoice(&caller, 100).await;
        nodes.mine(vec![payment(&nodes, invoice.address, 100)], Vec::new());
        world.scan().await;
        let tip = nodes.tip();
        nodes.lie(0, 1, vec![Vec::new(); 1 + follows]);
        nodes.prefer(0);
        let _ = world.try_scan().await;
        world.restart();
        let _ = world.try_scan().await;
        assert_eq!(world.status().cursor.expect("processed").tip, tip);
        let deposits = world.deposits(&invoice).await;
        assert!(deposits.iter().all(|deposit| deposit.state == DepositState::Seen), "{deposits:?}");
        assert_eq!(nodes.block(tip.number).await.expect("answered"), Some(tip), "another node is asked first");
    }
}

#[tokio::test]
async fn a_fork_that_all_nodes_show_is_followed() {
    let (mut world, caller, nodes) = over_three_nodes().await;
    let invoice = world.invoice(&caller, 100).await;
    nodes.mine(vec![payment(&nodes, invoice.address, 100)], Vec::new());
    mine(&nodes, 2);
    world.scan().await;
    nodes.fork(3);
    mine(&nodes, 5);
    world.scan().await;
    assert_eq!(world.status().cursor.expect("processed").tip, nodes.tip());
}
