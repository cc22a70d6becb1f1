//! Which node is asked.
//!
//! Stays with one node as long as it answers, and moves on to the next when it does not: consecutive questions should meet
//! the same view of the chain. Answers of different nodes are not compared here.

use core::future::Future;
use core::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use xthonpay_domain::text::ChainName;
use xthonpay_payments::port::chain::ChainError;

use crate::node::Node;

/// A question that is being answered by the node it borrows.
pub(crate) type Asking<'n, T> = Pin<Box<dyn Future<Output = Result<T, ChainError>> + Send + 'n>>;

/// The nodes of one chain.
pub(crate) struct Pool {
    chain: ChainName,
    chain_id: u64,
    nodes: Vec<Node>,
    /// The node that answered last.
    current: AtomicUsize,
}

impl Pool {
    pub(crate) fn new(chain: ChainName, chain_id: u64, nodes: Vec<Node>) -> Self {
        Self { chain, chain_id, nodes, current: AtomicUsize::new(0) }
    }

    /// All nodes in the order of the config.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The first usable answer. When no node has one, the error is a transient one if any node may recover.
    pub(crate) async fn ask<T>(
        &self,
        question: impl for<'n> Fn(&'n Node) -> Asking<'n, T> + Send + Sync,
    ) -> Result<T, ChainError> {
        let first = self.current.load(Ordering::Relaxed);
        let mut failure: Option<ChainError> = None;
        let in_order = self.nodes.iter().enumerate().cycle().skip(first).take(self.nodes.len());
        for (position, node) in in_order {
            let answered = match self.prove_chain(node).await {
                Ok(()) => question(node).await,
                Err(error) => Err(error),
            };
            match answered {
                Ok(answer) => {
                    if position != first {
                        self.current.store(position, Ordering::Relaxed);
                        tracing::warn!(chain = %self.chain, node = node.label(), "moved to another node");
                    }
                    return Ok(answer);
                }
                Err(error) => {
                    tracing::debug!(chain = %self.chain, %error, "a node gave no usable answer");
                    failure = Some(worse(failure, error));
                }
            }
        }
        Err(failure.unwrap_or_else(|| ChainError::Unavailable { reason: "no node is configured".to_owned() }))
    }

    /// Makes sure once per node that it serves the configured chain, before anything it says is believed.
    pub(crate) async fn prove_chain(&self, node: &Node) -> Result<(), ChainError> {
        if node.is_on_chain() {
            return Ok(());
        }
        let served = node.chain_id().await?;
        if served != self.chain_id {
            return Err(ChainError::Mismatch {
                reason: format!(
                    "{} serves chain {served}, but chains.{}.chain_id is {}",
                    node.label(),
                    self.chain,
                    self.chain_id
                ),
            });
        }
        node.set_on_chain();
        Ok(())
    }
}

/// The error to report of two: the earlier one, unless only the later one leaves hope.
fn worse(earlier: Option<ChainError>, later: ChainError) -> ChainError {
    match earlier {
        Some(earlier) if earlier.is_transient() || !later.is_transient() => earlier,
        _ => later,
    }
}
