//! Which node is asked, and who else when it does not answer.
//!
//! One question goes to one node: two nodes are never mixed inside an answer. Questions stay with one node, the primary, as
//! long as it does well; when it fails, or takes longer than it usually does, the next one is asked the same, and the first
//! usable answer counts. Only where agreement is wanted are all nodes asked at once; what their answers mean together is not
//! decided here.

pub(crate) mod choice;
mod content;

use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until};
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::text::ChainName;
use xthonpay_payments::port::chain::{ChainError, NodeReport};

use crate::node::Node;
use crate::node::health::Weight;
use crate::proofs::Proofs;
use choice::Standing;

/// How long all nodes together are waited for, at most: much longer, and the answers tell of different moments.
const ROUND_MAX: Duration = Duration::from_secs(5);
/// The same for questions that take many requests.
const HEAVY_ROUND_MAX: Duration = Duration::from_secs(60);
/// How long the others are waited for at least once enough nodes have answered: a far one still has its say, a hanging one does not
/// hold up what is final.
const GRACE: Duration = Duration::from_secs(1);

/// How long any run of blocks may take before another node is asked too: a single block that is read in parts takes as long.
const RUN_MAX: Duration = Duration::from_secs(30);
/// And so much longer for each block: a node that needs more is ten times slower than others are over a long distance.
const RUN_MAX_PER_BLOCK: Duration = Duration::from_millis(50);

/// A question that is being answered by the node it borrows.
pub(crate) type Asking<'n, T> = Pin<Box<dyn Future<Output = Result<T, ChainError>> + Send + 'n>>;

/// An answer with the node that gave it, by its place in the config.
pub(crate) type Answered<T> = (usize, Result<T, ChainError>);

/// The nodes of one chain.
pub(crate) struct Pool {
    chain: ChainName,
    chain_id: u64,
    nodes: Vec<Node>,
    question_max: Duration,
    proofs: Arc<Proofs>,
    /// The node that is asked first.
    primary: AtomicUsize,
}

impl Pool {
    /// `question_max` is how long one question to one node may take.
    pub(crate) fn new(
        chain: ChainName,
        chain_id: u64,
        nodes: Vec<Node>,
        question_max: Duration,
        proofs: Arc<Proofs>,
    ) -> Self {
        Self { chain, chain_id, nodes, question_max, proofs, primary: AtomicUsize::new(0) }
    }

    pub(crate) fn chain(&self) -> &ChainName {
        &self.chain
    }

    /// All nodes in the order of the config.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node at a place in the config.
    pub(crate) fn node(&self, place: usize) -> Option<&Node> {
        self.nodes.get(place)
    }

    /// The first usable answer. When no node has one, the error is a transient one if any node may recover.
    pub(crate) async fn ask<T: Send>(
        &self,
        weight: Weight,
        question: impl for<'n> Fn(&'n Node) -> Asking<'n, T> + Send + Sync,
    ) -> Result<T, ChainError> {
        self.ask_within(None, weight, question).await
    }

    /// The same for a run of so many blocks. A node that takes longer than such a run may is not waited for alone.
    pub(crate) async fn ask_for_run<T: Send>(
        &self,
        blocks: u64,
        question: impl for<'n> Fn(&'n Node) -> Asking<'n, T> + Send + Sync,
    ) -> Result<T, ChainError> {
        self.ask_within(Some(run_max(blocks)), Weight::Heavy, question).await
    }

    /// The first usable answer. Another node is asked too when one has taken as long as `limit` says, or longer than usual.
    async fn ask_within<T: Send>(
        &self,
        limit: Option<Duration>,
        weight: Weight,
        question: impl for<'n> Fn(&'n Node) -> Asking<'n, T> + Send + Sync,
    ) -> Result<T, ChainError> {
        let started = Instant::now();
        let mut waiting = self.order().into_iter();
        let mut asked = FuturesUnordered::new();
        let (mut first, mut latest) = (None, None);
        let mut failure: Option<ChainError> = None;
        loop {
            if asked.is_empty() {
                let Some(next) = waiting.next() else { break };
                first = first.or(Some(next));
                latest = Some(next);
                asked.push(self.put(next, weight, &question));
            }
            let patience = limit.or_else(|| latest.and_then(|place| self.node(place)?.conduct.patience(weight)));
            let hedged = patience.filter(|_| waiting.len() > 0);
            tokio::select! {
                biased;
                Some((place, answer)) = asked.next() => match answer {
                    Ok(answer) => {
                        self.settle(first, place, failure.is_some(), weight, started.elapsed());
                        return Ok(answer);
                    }
                    Err(error) => {
                        tracing::debug!(chain = %self.chain, %error, "a node gave no usable answer");
                        failure = Some(worse(failure, error));
                    }
                },
                () = sleep(hedged.unwrap_or_default()), if hedged.is_some() => {
                    if let Some(next) = waiting.next() {
                        if limit.is_some() && let Some(slow) = latest.and_then(|place| self.node(place)) {
                            tracing::warn!(chain = %self.chain, node = slow.label(), "a node takes too long for a run of blocks");
                            slow.conduct.is_slow(weight);
                        }
                        latest = Some(next);
                        asked.push(self.put(next, weight, &question));
                    }
                }
            }
        }
        Err(failure.unwrap_or_else(|| self.nobody()))
    }

    /// Asks all of these nodes at once. Waits for every one of them, but not long for the rest once `enough` have answered;
    /// a node that is still silent then has an error of its own. Nodes that must not be asked at the moment are left out.
    pub(crate) async fn ask_each<T: Send>(
        &self,
        weight: Weight,
        places: impl IntoIterator<Item = usize>,
        enough: usize,
        question: impl for<'n> Fn(&'n Node) -> Asking<'n, T> + Send + Sync,
    ) -> Vec<Answered<T>> {
        let mut silent: Vec<usize> = places.into_iter().filter(|place| self.is_usable(*place)).collect();
        let mut asked: FuturesUnordered<_> = silent.iter().map(|place| self.put(*place, weight, &question)).collect();
        let mut answers = Vec::with_capacity(silent.len());
        let mut succeeded: usize = 0;
        let started = Instant::now();
        let mut limit =
            started + if weight == Weight::Heavy { HEAVY_ROUND_MAX } else { ROUND_MAX.min(self.question_max) };
        while !asked.is_empty() {
            tokio::select! {
                biased;
                Some((place, answer)) = asked.next() => {
                    silent.retain(|silent| *silent != place);
                    if answer.is_ok() {
                        succeeded = succeeded.saturating_add(1);
                        if succeeded == enough {
                            // The others may take as long again as these took.
                            limit = limit.min(Instant::now() + GRACE.max(started.elapsed()));
                        }
                    }
                    answers.push((place, answer));
                }
                () = sleep_until(limit) => break,
            }
        }
        drop(asked);
        for place in silent {
            let Some(node) = self.node(place) else { continue };
            let error = node.unavailable(&format!("no answer within {} ms", started.elapsed().as_millis()));
            node.conduct.absent();
            node.conduct.disappointed_by(weight, &error);
            answers.push((place, Err(error)));
        }
        answers
    }

    /// The places of all nodes, in the order of the config.
    pub(crate) fn places(&self) -> core::ops::Range<usize> {
        0..self.nodes.len()
    }

    /// Makes sure that the node serves the configured chain, before anything it says is believed: once after each failure.
    pub(crate) async fn prove_chain(&self, node: &Node) -> Result<(), ChainError> {
        if node.conduct.is_on_chain() {
            return Ok(());
        }
        self.judge_chain(node, node.chain_id().await?)
    }

    /// Takes note of the chain that a node serves; one that serves another chain is banned.
    pub(crate) fn judge_chain(&self, node: &Node, served: u64) -> Result<(), ChainError> {
        if served == self.chain_id {
            node.conduct.proved_chain();
            return Ok(());
        }
        let (label, chain, wanted) = (node.label(), &self.chain, self.chain_id);
        let reason = format!("{label} serves chain {served}, but chains.{chain}.chain_id is {wanted}");
        let error = ChainError::Mismatch { reason };
        self.ban(node, error.clone());
        Err(error)
    }

    /// Stops asking a node until it passes its self-check.
    pub(crate) fn ban(&self, node: &Node, error: ChainError) {
        if node.conduct.banned().is_none() {
            tracing::error!(chain = %self.chain, node = node.label(), %error, "a node is not believed any more");
        }
        node.conduct.ban(error);
    }

    /// How far the chain is as the nodes that are believed tell it together.
    pub(crate) fn best_head(&self) -> Option<BlockNumber> {
        let believed = self.nodes.iter().filter(|node| node.conduct.banned().is_none());
        choice::best_head(believed.filter_map(|node| node.conduct.head()).collect())
    }

    /// What the node asked first said does not fit what the nodes agree on: another one is asked first.
    pub(crate) fn contradicted(&self) {
        let primary = self.primary.load(Ordering::Relaxed);
        let Some(node) = self.node(primary) else { return };
        tracing::warn!(chain = %self.chain, node = node.label(), "a node contradicts what the nodes agree on");
        node.conduct.contradicted();
        if let Some(other) = choice::order(primary, &self.standings()).into_iter().find(|place| *place != primary) {
            self.move_to(other);
        }
    }

    /// All nodes as people want to know of them.
    pub(crate) fn report(&self) -> Vec<NodeReport> {
        let (primary, best) = (self.primary.load(Ordering::Relaxed), self.best_head());
        let nodes = self.nodes.iter().enumerate();
        let report = |(place, node): (usize, &Node)| {
            let report = node.conduct.report(node.label(), place == primary, best);
            let problem = match (report.problem, node.shortfall()) {
                (Some(problem), Some(shortfall)) => Some(format!("{problem}; {shortfall}")),
                (problem, shortfall) => problem.or(shortfall),
            };
            NodeReport { problem, ..report }
        };
        nodes.map(report).collect()
    }

    /// Puts a question to one node and takes note of how it went.
    async fn put<T>(
        &self,
        place: usize,
        weight: Weight,
        question: &(impl for<'n> Fn(&'n Node) -> Asking<'n, T> + Send + Sync),
    ) -> Answered<T> {
        let Some(node) = self.node(place) else { return (place, Err(self.nobody())) };
        if let Err(error) = node.conduct.admit() {
            return (place, Err(error));
        }
        let started = Instant::now();
        let answer = match self.prove_chain(node).await {
            Ok(()) => question(node).await,
            Err(error) => Err(error),
        };
        match &answer {
            Ok(_) => node.conduct.answered(weight, started.elapsed()),
            Err(error) => node.conduct.disappointed_by(weight, error),
        }
        (place, answer)
    }

    /// Draws the conclusions for the choice of the primary from who answered.
    fn settle(&self, first: Option<usize>, answered: usize, failed: bool, weight: Weight, elapsed: Duration) {
        let Some(first) = first.filter(|first| *first != answered) else { return };
        if failed {
            self.move_to(answered);
        } else if let Some(node) = self.node(first) {
            node.conduct.overtaken(weight, elapsed);
        }
    }

    /// The usable nodes in the order in which they are asked; the first of them is the primary from now on.
    fn order(&self) -> Vec<usize> {
        let standings = self.standings();
        let primary = choice::primary(self.primary.load(Ordering::Relaxed), &standings);
        self.move_to(primary);
        choice::order(primary, &standings)
    }

    /// What speaks for and against each node. One whose blocks are not believed is not asked first for anything.
    fn standings(&self) -> Vec<Standing> {
        let best = self.best_head();
        let standing = |node: &Node| {
            let standing = node.conduct.standing(best);
            Standing { fit: standing.fit && node.shortfall().is_none(), ..standing }
        };
        self.nodes.iter().map(standing).collect()
    }

    fn move_to(&self, place: usize) {
        if self.primary.swap(place, Ordering::Relaxed) != place {
            let node = self.node(place).map(Node::label);
            tracing::warn!(chain = %self.chain, node, "questions go to another node first");
        }
    }

    fn is_usable(&self, place: usize) -> bool {
        let best = self.best_head();
        self.node(place).is_some_and(|node| node.conduct.standing(best).usable)
    }

    /// Why nobody can be asked: a transient error if any node may recover by itself.
    pub(crate) fn nobody(&self) -> ChainError {
        let refusals = self.nodes.iter().filter_map(|node| node.conduct.banned().or_else(|| self.rest_of(node)));
        let reason = || ChainError::Unavailable { reason: "no node can be asked at the moment".to_owned() };
        refusals.fold(None, |earlier, later| Some(worse(earlier, later))).unwrap_or_else(reason)
    }

    fn rest_of(&self, node: &Node) -> Option<ChainError> {
        let problem = node.conduct.report(node.label(), false, None).problem?;
        Some(ChainError::Unavailable { reason: format!("{} is {problem}", node.label()) })
    }
}

/// The error to report of two: the earlier one, unless only the later one leaves hope.
fn worse(earlier: Option<ChainError>, later: ChainError) -> ChainError {
    match earlier {
        Some(earlier) if earlier.is_transient() || !later.is_transient() => earlier,
        _ => later,
    }
}

/// How long a run of so many blocks may take.
fn run_max(blocks: u64) -> Duration {
    RUN_MAX.saturating_add(RUN_MAX_PER_BLOCK.saturating_mul(u32::try_from(blocks).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::no_random::NoRandom;

    fn pool(nodes: usize) -> Pool {
        let name: ChainName = "bsc".parse().expect("a name");
        let proofs = Arc::new(Proofs::new(name.clone(), 1));
        let node = |position| {
            let url = format!("http://127.0.0.1:{position}/").parse().expect("a URL");
            let node = Node::new(position, url, Duration::from_secs(1), Arc::new(NoRandom), 56, Arc::clone(&proofs));
            let node = node.expect("a client");
            node.conduct.proved_chain();
            node
        };
        let nodes = (1..=nodes).map(node).collect();
        Pool::new(name, 56, nodes, Duration::from_secs(1), proofs)
    }

    /// Answers with the node's position; the first one takes its time.
    fn slow_first(node: &Node) -> Asking<'_, usize> {
        Box::pin(async {
            if node.position == 1 {
                sleep(Duration::from_secs(3_600)).await;
            }
            Ok(node.position)
        })
    }

    fn late_or_down(node: &Node) -> Asking<'_, usize> {
        Box::pin(async {
            if node.position == 1 {
                sleep(Duration::from_millis(200)).await;
                return Ok(node.position);
            }
            Err(ChainError::Unavailable { reason: "down".to_owned() })
        })
    }

    #[tokio::test]
    async fn a_node_that_is_slow_with_runs_loses_its_place_although_it_answers_numbers() {
        let pool = pool(2);
        let limit = Some(Duration::from_millis(50));
        assert_eq!(pool.ask_within(limit, Weight::Heavy, slow_first).await, Ok(2));
        for _ in 0..20 {
            pool.node(0).expect("there").conduct.answered(Weight::Light, Duration::ZERO);
        }
        assert_eq!(pool.ask(Weight::Light, |node| Box::pin(async { Ok(node.position) })).await, Ok(2));
    }

    #[tokio::test]
    async fn a_slow_answer_is_better_than_none() {
        assert_eq!(pool(2).ask_within(Some(Duration::from_millis(20)), Weight::Heavy, late_or_down).await, Ok(1));
    }

    #[test]
    fn longer_runs_may_take_longer() {
        assert_eq!(run_max(2_000), Duration::from_secs(130));
        assert_eq!(run_max(0), RUN_MAX);
    }
}
