//! Chains that change their mind: above the final block nothing is lost or credited twice, and a fork below it stops
//! crediting until a person has looked.
//!
//! Blocks come when told. Where a fork is deeper than two blocks, the node's `finalized` stands still meanwhile: the test
//! node itself calls everything final that lies two blocks below its head.

use core::ops::ControlFlow;
use std::sync::Arc;

use serde_json::{Value, json};
use xthonpay_domain::hash::TxHash;
use xthonpay_tests::chain::Mining;
use xthonpay_tests::fault_proxy::Fault;
use xthonpay_tests::places::Places;
use xthonpay_tests::seeded::Seeded;
use xthonpay_tests::{BoxError, wait};

use crate::nodes::{ALONE, Nodes, Setting, TWO_OF_THREE};
use crate::world::{Done, Ground, Issued, PATIENCE};

/// Blocks that make a payment final besides its own.
const BLOCKS_TO_FINAL: u64 = 3;

/// Enough blocks below every fork of this file.
const PAST: u64 = 100;

struct Forks {
    nodes: Nodes,
}

impl Forks {
    async fn new(purpose: &str, setting: Setting) -> Result<Self, BoxError> {
        let mut random = Seeded::announced(purpose)?;
        let ground = Arc::new(Ground::new(&Places::find()?, Mining::Manual).await?);
        ground.chain().await?.mine(PAST).await?;
        Ok(Self { nodes: Nodes::new(ground, setting, random.next_u64()).await? })
    }

    async fn mine(&self, blocks: u64) -> Done {
        self.nodes.shop.chain.mine(blocks).await
    }

    /// An invoice whose payment is in the newest block, and is seen.
    async fn seen(&self) -> Result<(Issued, TxHash), BoxError> {
        let invoice = self.nodes.invoice().await?;
        let tx = self.nodes.shop.pay_usdt(invoice.address, "10").await?;
        self.mine(1).await?;
        self.nodes.shop.wait_status(&invoice, "confirming").await?;
        Ok((invoice, tx))
    }

    /// No node calls a newer block final from now on, until its faults are cleared.
    async fn hold_finality(&self) -> Done {
        let at = self.nodes.shop.chain.finalized().await?;
        self.nodes.proxies.iter().for_each(|proxy| proxy.set([Fault::FinalizedStaysAt(at)]));
        Ok(())
    }

    async fn raw(&self, tx: TxHash) -> Result<Value, BoxError> {
        Ok(json!(self.nodes.shop.chain.raw_transaction(tx).await?))
    }

    async fn reorg(&self, depth: u64, placed: &[(Value, u64)]) -> Done {
        self.nodes.shop.chain.reorg_with(depth, placed).await
    }

    /// Mines until everything is final that is in a block now, and waits until the host has processed it.
    async fn finish(&self) -> Done {
        let last = self.nodes.shop.chain.head().await?;
        self.mine(BLOCKS_TO_FINAL).await?;
        wait::until(&format!("block {last} to be final for the host"), PATIENCE, async || {
            let status = self.nodes.world.host.status().await?;
            let finalized = status["chains"][0]["finalized"].as_u64().unwrap_or(0);
            Ok(if finalized >= last.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(status.to_string()) })
        })
        .await
    }

    /// Not paid, and the books agree.
    async fn gone(&self, invoice: Issued) -> Done {
        let data = self.nodes.shop.wait_status(&invoice, "pending").await?;
        assert_eq!(data["amount_received"], "0", "{data}");
        self.nodes.check_books(&[invoice]).await
    }
}

/// A payment vanishes with its block and `depth - 1` more, and is not mined again.
async fn payment_vanishes(depth: u64) -> Done {
    let forks = Forks::new(&format!("payment_vanishes {depth}"), ALONE).await?;
    forks.hold_finality().await?;
    let (invoice, _) = forks.seen().await?;
    forks.mine(depth.saturating_sub(1)).await?;
    forks.nodes.unpaid(&invoice).await?;
    forks.reorg(depth, &[]).await?;
    forks.mine(1).await?;
    forks.nodes.shop.wait_status(&invoice, "pending").await?;
    forks.nodes.faulty().clear();
    forks.finish().await?;
    forks.gone(invoice).await
}

#[tokio::test]
async fn a_payment_vanishes_with_the_newest_block() -> Done {
    payment_vanishes(1).await
}

#[tokio::test]
async fn a_payment_vanishes_five_blocks_deep() -> Done {
    payment_vanishes(5).await
}

#[tokio::test]
async fn a_payment_vanishes_sixty_three_blocks_deep() -> Done {
    payment_vanishes(63).await
}

#[tokio::test]
async fn a_payment_is_mined_again_in_another_place() -> Done {
    let forks = Forks::new("a_payment_is_mined_again_in_another_place", ALONE).await?;
    forks.hold_finality().await?;
    // Two payments in their own blocks; the fork mines both in one block further up, where the second log is not the first.
    let (first, first_tx) = forks.seen().await?;
    let (second, second_tx) = forks.seen().await?;
    let placed = [(forks.raw(first_tx).await?, 2), (forks.raw(second_tx).await?, 2)];
    forks.mine(1).await?;
    forks.reorg(3, &placed).await?;
    forks.mine(1).await?;
    let receipts =
        (forks.nodes.shop.chain.wait_receipt(first_tx).await?, forks.nodes.shop.chain.wait_receipt(second_tx).await?);
    assert_eq!(receipts.0.block, receipts.1.block, "both are in one block now");
    forks.nodes.faulty().clear();
    forks.finish().await?;
    forks.nodes.wait_paid(&first).await?;
    forks.nodes.wait_paid(&second).await?;
    forks.nodes.check_books(&[first, second]).await
}

#[tokio::test]
async fn a_payment_is_replaced_by_another_one_with_its_nonce() -> Done {
    let forks = Forks::new("a_payment_is_replaced_by_another_one_with_its_nonce", ALONE).await?;
    let (invoice, tx) = forks.seen().await?;
    let chain = &forks.nodes.shop.chain;
    let replaced = chain.rpc().call("eth_getTransactionByHash", json!([tx.to_string()])).await?;
    let other = json!({
        "from": replaced["from"], "to": replaced["from"], "value": "0x1", "nonce": replaced["nonce"], "gas": "0x5208",
    });
    forks.reorg(1, &[(other, 0)]).await?;
    forks.mine(1).await?;
    forks.finish().await?;
    forks.gone(invoice).await
}

#[tokio::test]
async fn the_head_falls_back_silently() -> Done {
    let forks = Forks::new("the_head_falls_back_silently", ALONE).await?;
    forks.hold_finality().await?;
    let (invoice, _) = forks.seen().await?;
    forks.mine(3).await?;
    forks.nodes.shop.chain.rpc().call("anvil_rollback", json!([4])).await?;
    // No announcement, no higher block: then another branch grows.
    forks.mine(6).await?;
    forks.nodes.shop.wait_status(&invoice, "pending").await?;
    forks.nodes.faulty().clear();
    forks.finish().await?;
    forks.gone(invoice).await
}

#[tokio::test]
async fn the_chain_forks_while_the_host_is_away() -> Done {
    let mut forks = Forks::new("the_chain_forks_while_the_host_is_away", ALONE).await?;
    forks.hold_finality().await?;
    let (gone, _) = forks.seen().await?;
    let (kept, kept_tx) = forks.seen().await?;
    forks.nodes.world.host.kill()?;
    let placed = [(forks.raw(kept_tx).await?, 1)];
    // The payment that stays needs the nonce of the one that goes.
    let gone_nonce = json!({"from": forks.nodes.shop.chain.payer().to_lower_hex(),
        "to": forks.nodes.shop.chain.payer().to_lower_hex(), "value": "0x1", "gas": "0x5208"});
    forks.reorg(2, &[(gone_nonce, 0), placed[0].clone()]).await?;
    forks.mine(1).await?;
    forks.nodes.world.host.restart().await?;
    forks.nodes.shop = forks.nodes.shop.at(&forks.nodes.world);
    forks.nodes.faulty().clear();
    forks.finish().await?;
    forks.nodes.wait_paid(&kept).await?;
    forks.nodes.shop.wait_status(&gone, "pending").await?;
    forks.nodes.check_books(&[gone, kept]).await
}

#[tokio::test]
async fn one_of_three_nodes_stays_on_the_old_branch() -> Done {
    let forks = Forks::new("one_of_three_nodes_stays_on_the_old_branch", TWO_OF_THREE).await?;
    forks.hold_finality().await?;
    let (gone, _) = forks.seen().await?;
    forks.mine(4).await?;
    forks.nodes.faulty().save_branch(PAST).await?;
    forks.reorg(5, &[]).await?;
    forks.mine(1).await?;
    // The old branch even calls the payment final.
    forks.nodes.faulty().set([Fault::SavedBranch]);
    forks.nodes.proxies.iter().skip(1).for_each(xthonpay_tests::fault_proxy::FaultProxy::clear);
    forks.finish().await?;
    let (kept, _) = forks.seen().await?;
    forks.finish().await?;
    forks.nodes.wait_paid(&kept).await?;
    forks.nodes.shop.wait_status(&gone, "pending").await?;
    forks.nodes.check_books(&[gone, kept]).await
}

#[tokio::test]
async fn a_fork_below_the_final_block_stops_crediting_until_an_operator_resumes() -> Done {
    let forks = Forks::new("a_fork_below_the_final_block", ALONE).await?;
    let (before, tx) = forks.seen().await?;
    forks.mine(4).await?;
    forks.finish().await?;
    forks.nodes.wait_paid(&before).await?;
    // The node breaks its word: the block of the payment goes, which it had called final, and the payment with it.
    let chain = &forks.nodes.shop.chain;
    let depth = chain.head().await?.0.saturating_sub(chain.wait_receipt(tx).await?.number.0).saturating_add(1);
    forks.reorg(depth, &[]).await?;
    forks.mine(2).await?;
    wait::until("the chain to be frozen", PATIENCE, async || {
        let status = forks.nodes.world.host.status().await?;
        let frozen = status["chains"][0]["health"] == "frozen";
        Ok(if frozen { ControlFlow::Break(()) } else { ControlFlow::Continue(status.to_string()) })
    })
    .await?;
    let after = forks.nodes.invoice().await?;
    forks.nodes.shop.pay_usdt(after.address, "10").await?;
    forks.mine(BLOCKS_TO_FINAL.saturating_add(1)).await?;
    forks.nodes.unpaid(&after).await?;
    let data = forks.nodes.shop.look(&before).await?;
    assert_eq!(data["status"], "paid", "nothing is taken back by itself: {data}");
    let resumed = forks.nodes.world.host.command_json(&["chain", "resume", "bsc"]).await?;
    assert_eq!(
        (&resumed["lost_total"], &resumed["lost"][0]["invoice_id"]),
        (&json!(1), &json!(before.id)),
        "{resumed}"
    );
    assert_eq!(resumed["lost"][0]["mined_again_in"], Value::Null, "{resumed}");
    forks.finish().await?;
    forks.nodes.wait_paid(&after).await?;
    let again = forks.nodes.world.host.command(&["chain", "resume", "bsc"]).await?;
    assert_eq!(again.status.code(), Some(1), "there is nothing to resume any more");
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not frozen"), "{again:?}");
    Ok(())
}
