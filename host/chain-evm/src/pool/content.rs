//! What is in blocks: one node's word where roots prove it, the same word of a quorum where they do not.

use std::future::Future;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use xthonpay_payments::port::chain::ChainError;

use super::{Asking, Pool, worse};
use crate::node::Node;
use crate::node::health::Weight;
use crate::proofs::Shown;

impl Pool {
    /// What a block holds. `absent` tells answers that say that there is none: it takes only one of them for nothing to be
    /// concluded yet.
    pub(crate) async fn content_of_block<T: PartialEq + Send>(
        &self,
        question: impl for<'n> Fn(&'n Node) -> Asking<'n, Shown<T>> + Send + Sync,
        absent: impl Fn(&T) -> bool + Send + Sync,
    ) -> Result<T, ChainError> {
        let first = || self.ask(Weight::Block, &question);
        self.content(Weight::Block, first, &question, absent).await
    }

    /// What a run of so many blocks holds.
    pub(crate) async fn content_of_run<T: PartialEq + Send>(
        &self,
        blocks: u64,
        question: impl for<'n> Fn(&'n Node) -> Asking<'n, Shown<T>> + Send + Sync,
    ) -> Result<T, ChainError> {
        let first = || self.ask_for_run(blocks, &question);
        self.content(Weight::Heavy, first, &question, |_| false).await
    }

    /// Whether what one node shows is enough.
    pub(crate) fn is_enough<T>(&self, shown: &Shown<T>) -> bool {
        shown.proven || self.proofs.quorum() < 2
    }

    /// How many nodes must show the same for it to be believed, as far as is known.
    pub(crate) fn witnesses(&self) -> usize {
        if self.proofs.are_demanded() { 1 } else { self.proofs.quorum() }
    }

    async fn content<T, F>(
        &self,
        weight: Weight,
        first: impl FnOnce() -> F + Send,
        question: &(impl for<'n> Fn(&'n Node) -> Asking<'n, Shown<T>> + Send + Sync),
        absent: impl Fn(&T) -> bool + Send,
    ) -> Result<T, ChainError>
    where
        T: PartialEq + Send,
        F: Future<Output = Result<Shown<T>, ChainError>> + Send,
    {
        if self.witnesses() < 2 {
            let shown = first().await?;
            // What had to be proved may have changed in between.
            if self.is_enough(&shown) {
                return Ok(shown.content);
            }
        }
        self.agreed_content(weight, question, absent).await
    }

    /// The content that a quorum of nodes shows, or one with proof. Asks no more nodes than it takes.
    async fn agreed_content<T: PartialEq + Send>(
        &self,
        weight: Weight,
        question: &(impl for<'n> Fn(&'n Node) -> Asking<'n, Shown<T>> + Send + Sync),
        absent: impl Fn(&T) -> bool + Send,
    ) -> Result<T, ChainError> {
        let quorum = self.proofs.quorum();
        let mut waiting = self.order().into_iter();
        let mut asked: FuturesUnordered<_> =
            waiting.by_ref().take(quorum).map(|place| self.put(place, weight, question)).collect();
        let mut told: Vec<T> = Vec::new();
        let mut failure = None;
        while let Some((_, answer)) = asked.next().await {
            match answer {
                Ok(shown) if shown.proven => return Ok(shown.content),
                Ok(shown) => {
                    let same = told.iter().filter(|other| **other == shown.content).count();
                    if same.saturating_add(1) >= quorum {
                        return Ok(shown.content);
                    }
                    told.push(shown.content);
                }
                Err(error) => failure = Some(worse(failure, error)),
            }
            let most = told.iter().map(|one| told.iter().filter(|other| *other == one).count()).max().unwrap_or(0);
            while most.saturating_add(asked.len()) < quorum {
                let Some(next) = waiting.next() else { break };
                asked.push(self.put(next, weight, question));
            }
        }
        if let Some(nothing) = told.iter().position(absent) {
            return Ok(told.swap_remove(nothing));
        }
        Err(match failure {
            Some(error) if told.len() < quorum && !told.is_empty() => ChainError::Unavailable {
                reason: format!(
                    "what cannot be proved takes the word of {quorum} nodes, {} gave theirs: {error}",
                    told.len()
                ),
            },
            Some(error) if told.is_empty() => error,
            None if told.is_empty() => self.nobody(),
            Some(_) | None => ChainError::Inconsistent {
                reason: format!("fewer than {quorum} of {} nodes show the same content of a block", told.len()),
            },
        })
    }
}
