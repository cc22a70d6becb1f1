//! Nodes that show money that nobody paid, or another chain: they are not believed, and the sound ones are.

use core::ops::ControlFlow;

use serde_json::json;
use xthonpay_tests::chain::{Anvil, AnvilOptions, Mining, TestChain, anvil_binary};
use xthonpay_tests::fault_proxy::{Fault, Invention};
use xthonpay_tests::places::Places;
use xthonpay_tests::seeded::Seeded;
use xthonpay_tests::{BoxError, wait};

use crate::nodes::{ALONE, BOTH, Nodes, Setting, TWO_OF_THREE};
use crate::world::{BLOCK_TIME, Done, Ground, Issued, PATIENCE, units};

/// Transfers that the liar shows at least, and how many in each block.
const LIES: u64 = 500;
const LIES_A_BLOCK: u64 = 25;

async fn nodes(purpose: &str, setting: Setting) -> Result<Nodes, BoxError> {
    let mut random = Seeded::announced(purpose)?;
    Nodes::new(Ground::shared().await?, setting, random.next_u64()).await
}

/// Nothing of what the liar shows is credited or even seen.
async fn untouched(nodes: &Nodes, target: &Issued) -> Done {
    let data = nodes.shop.look(target).await?;
    assert_eq!((&data["status"], &data["payments_total"]), (&json!("pending"), &json!(0)), "{data}");
    Ok(())
}

/// A liar shows transfers in every block; a real payment is made under them.
async fn invented_transfers(setting: Setting) -> Done {
    let nodes = nodes(&format!("invented_transfers {setting:?}"), setting).await?;
    let (target, real) = (nodes.invoice().await?, nodes.invoice().await?);
    let lie =
        Invention { token: nodes.world.ground.usdt, to: target.address, amount: units("10000")?, times: LIES_A_BLOCK };
    nodes.faulty().set([Fault::Inventing(lie)]);
    let mut shown = 0;
    let mut paid = false;
    wait::until("the liar to have told its lies", PATIENCE, async || {
        shown = nodes.faulty().counts().lies;
        if !paid && shown > 0 {
            nodes.shop.pay_usdt(real.address, "10").await?;
            paid = true;
        }
        // A liar that was found out is asked less and less: then what it could show is all there is.
        let done = shown >= LIES || (paid && nodes.shop.look(&real).await?["status"] == "paid");
        Ok(if done { ControlFlow::Break(()) } else { ControlFlow::Continue(format!("{shown} shown")) })
    })
    .await?;
    untouched(&nodes, &target).await?;
    nodes.faulty().clear();
    nodes.wait_paid(&real).await?;
    untouched(&nodes, &target).await?;
    nodes.check_books(&[target, real]).await
}

#[tokio::test]
async fn invented_transfers_of_the_only_node_are_not_believed() -> Done {
    invented_transfers(ALONE).await
}

#[tokio::test]
async fn invented_transfers_of_one_of_two_nodes_are_not_believed() -> Done {
    invented_transfers(BOTH).await
}

#[tokio::test]
async fn invented_transfers_of_one_of_three_nodes_are_not_believed() -> Done {
    invented_transfers(TWO_OF_THREE).await
}

/// A node with the same past and a future of its own: every block of it is sound in itself.
struct Fork {
    anvil: Anvil,
    chain: TestChain,
}

impl Fork {
    async fn of(ground: &Ground) -> Result<Self, BoxError> {
        let places = Places::find()?;
        let options = AnvilOptions::new(anvil_binary(&places.tools)?).mining(Mining::Interval(BLOCK_TIME));
        let anvil = Anvil::start(options).await?;
        let chain = TestChain::connect(anvil.url()).await?;
        let state = ground.chain().await?.rpc().call("anvil_dumpState", json!([])).await?;
        chain.rpc().call("anvil_loadState", json!([state])).await?;
        Ok(Self { anvil, chain })
    }
}

/// The preferred node moves to a fork on which the target is paid; the real chain pays another invoice.
async fn another_branch(setting: Setting) -> Done {
    let nodes = nodes(&format!("another_branch {setting:?}"), setting).await?;
    let (target, real) = (nodes.invoice().await?, nodes.invoice().await?);
    let fork = Fork::of(&nodes.world.ground).await?;
    let paid = fork.chain.transfer_token(nodes.world.ground.usdt, target.address, units("10")?).await?;
    let receipt = fork.chain.wait_receipt(paid).await?;
    assert!(receipt.succeeded, "the fork is a whole chain");
    nodes.faulty().redirect(fork.anvil.url());
    nodes.shop.pay_usdt(real.address, "10").await?;
    if setting == TWO_OF_THREE {
        nodes.wait_paid(&real).await?;
    }
    // Long after the fork itself calls the block final.
    fork.chain.wait_head(xthonpay_domain::block::BlockNumber(receipt.number.0.saturating_add(10))).await?;
    nodes.unpaid(&target).await?;
    if setting == BOTH {
        nodes.unpaid(&real).await?;
    }
    nodes.faulty().redirect(nodes.world.ground.node_url());
    nodes.wait_paid(&real).await?;
    nodes.shop.wait_status(&target, "pending").await?;
    nodes.check_books(&[target, real]).await
}

#[tokio::test]
async fn one_of_two_nodes_on_a_branch_of_its_own_credits_nothing() -> Done {
    another_branch(BOTH).await
}

#[tokio::test]
async fn one_of_three_nodes_on_a_branch_of_its_own_credits_nothing() -> Done {
    another_branch(TWO_OF_THREE).await
}

/// The preferred node's name leads to another chain in the middle of the run.
async fn another_chain(setting: Setting) -> Done {
    let nodes = nodes(&format!("another_chain {setting:?}"), setting).await?;
    let places = Places::find()?;
    let mut options = AnvilOptions::new(anvil_binary(&places.tools)?).mining(Mining::Interval(BLOCK_TIME));
    // The last of two values of an option counts.
    options.args = vec!["--timestamp".to_owned(), "1700000000".to_owned()];
    let other = Anvil::start(options).await?;
    let other_chain = TestChain::connect(other.url()).await?;
    let (head, target) = (nodes.shop.chain.head().await?, nodes.invoice().await?);
    // Higher than ours, so that nothing looks like a node that is merely behind.
    other_chain.mine(head.0.saturating_add(50)).await?;
    other_chain.transfer_native(target.address, units("10")?).await?;
    nodes.faulty().set([Fault::OtherChain(97)]);
    nodes.faulty().redirect(other.url());
    let real = nodes.invoice().await?;
    nodes.shop.pay_usdt(real.address, "10").await?;
    if setting == TWO_OF_THREE {
        nodes.wait_paid(&real).await?;
    }
    other_chain.wait_head(xthonpay_domain::block::BlockNumber(head.0.saturating_add(60))).await?;
    untouched(&nodes, &target).await?;
    nodes.faulty().clear();
    nodes.faulty().redirect(nodes.world.ground.node_url());
    if setting == TWO_OF_THREE {
        return nodes.check_books(&[target, real]).await;
    }
    // A chain whose only node shows another past stands still until a person has looked.
    untouched(&nodes, &target).await?;
    nodes.unpaid(&real).await
}

#[tokio::test]
async fn the_only_node_on_another_chain_credits_nothing() -> Done {
    another_chain(ALONE).await
}

#[tokio::test]
async fn one_of_three_nodes_on_another_chain_credits_nothing() -> Done {
    another_chain(TWO_OF_THREE).await
}
