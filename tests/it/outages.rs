//! Times without any node: the host waits, says so, and then catches up without losing a payment.

use core::ops::ControlFlow;
use core::time::Duration;

use tokio::time::sleep;
use xthonpay_tests::fault_proxy::{Fault, FaultProxy};
use xthonpay_tests::seeded::Seeded;
use xthonpay_tests::{BoxError, wait};

use crate::nodes::{ALONE, BOTH, Nodes, Setting};
use crate::world::{BLOCK_TIME, Done, Ground, Issued, PATIENCE};

/// How long no node answers: enough blocks for a payment in each to be caught up with.
const OUTAGE: Duration = Duration::from_secs(4);

/// Payments that are made meanwhile.
const PAYMENTS: usize = 8;

async fn nodes(purpose: &str, setting: Setting) -> Result<Nodes, BoxError> {
    let mut random = Seeded::announced(purpose)?;
    Nodes::new(Ground::shared().await?, setting, random.next_u64()).await
}

/// One payment in every other block.
async fn pay_meanwhile(nodes: &Nodes) -> Result<Vec<Issued>, BoxError> {
    let mut invoices = Vec::new();
    for _ in 0..PAYMENTS {
        let invoice = nodes.invoice().await?;
        nodes.shop.pay_usdt(invoice.address, "10").await?;
        invoices.push(invoice);
        sleep(BLOCK_TIME.saturating_mul(2)).await;
    }
    Ok(invoices)
}

async fn all_paid(nodes: &Nodes, invoices: &[Issued]) -> Done {
    for invoice in invoices {
        nodes.wait_paid(invoice).await?;
    }
    nodes.check_books(invoices).await
}

#[tokio::test]
async fn no_node_answers_for_a_while() -> Done {
    let nodes = nodes("no_node_answers_for_a_while", BOTH).await?;
    for proxy in &nodes.proxies {
        proxy.set([Fault::Refusing]);
    }
    let invoices = pay_meanwhile(&nodes).await?;
    wait::until("the host to say that it is not ready", PATIENCE, async || {
        let status = nodes.world.host.status().await?;
        Ok(if status["ready"] == false { ControlFlow::Break(()) } else { ControlFlow::Continue(status.to_string()) })
    })
    .await?;
    sleep(OUTAGE).await;
    for invoice in &invoices {
        nodes.unpaid(invoice).await?;
    }
    nodes.proxies.iter().for_each(FaultProxy::clear);
    all_paid(&nodes, &invoices).await
}

#[tokio::test]
async fn the_only_node_comes_and_goes() -> Done {
    let nodes = nodes("the_only_node_comes_and_goes", ALONE).await?;
    let mut random = Seeded::announced("the_only_node_comes_and_goes: flapping")?;
    let flapping = async {
        loop {
            nodes.faulty().set([Fault::Refusing]);
            sleep(random.millis(100..=600)).await;
            nodes.faulty().clear();
            sleep(random.millis(100..=600)).await;
        }
    };
    let invoices = tokio::select! {
        invoices = pay_meanwhile(&nodes) => invoices?,
        () = flapping => return Err("flapping ended".into()),
    };
    nodes.faulty().clear();
    all_paid(&nodes, &invoices).await
}

#[tokio::test]
async fn started_before_its_node() -> Done {
    let mut nodes = nodes("started_before_its_node", ALONE).await?;
    nodes.world.host.kill()?;
    nodes.faulty().set([Fault::Refusing]);
    let before = nodes.shop.chain.head().await?;
    nodes.world.host.spawn()?;
    nodes.shop.chain.wait_head(xthonpay_domain::block::BlockNumber(before.0.saturating_add(10))).await?;
    assert!(nodes.world.host.ended()?.is_none(), "it waits: {}", nodes.world.host.log_end());
    nodes.faulty().clear();
    nodes.world.host.wait_until_ready().await?;
    nodes.shop = nodes.shop.at(&nodes.world);
    let invoice = nodes.invoice().await?;
    nodes.shop.pay_usdt(invoice.address, "10").await?;
    all_paid(&nodes, &[invoice]).await
}
