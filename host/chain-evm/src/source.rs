//! The port: which question to ask, and what the answers mean.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use tokio::task::JoinSet;
use url::Url;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::{Asset, AssetId};
use xthonpay_domain::block::{BlockNumber, BlockRange, BlockRef};
use xthonpay_domain::hash::TxHash;
use xthonpay_domain::text::ChainName;
use xthonpay_domain::transfer::{BlockTransfers, RangeTransfers};
use xthonpay_payments::port::chain::{ChainError, ChainSource, SourceReport};
use xthonpay_payments::port::clock::Clock;
use xthonpay_payments::port::random::Random;

use crate::balances;
use crate::blocks;
use crate::config::{CatchUp, EvmChainConfig, EvmChainError};
use crate::decode::AssetIndex;
use crate::finality::{FinalBlocks, FinalityRule};
use crate::heads::{Bell, Listener};
use crate::node::Node;
use crate::node::health::Weight;
use crate::pool::{Asking, Pool};
use crate::proofs::Proofs;
use crate::ranges;
use crate::self_check::SelfCheck;
use crate::token_balances;
use crate::transaction;

/// One EVM chain, read from its JSON-RPC nodes.
///
/// Holds connections and what is known about the nodes, but no state of the chain, so that dropping it or a call on it loses
/// nothing. A node is believed only after it has proved to serve the configured chain.
///
/// Once [`ChainSource::self_check`] or [`ChainSource::finalized`] was called, tasks of its own check the nodes again and again
/// and listen to their announcements. They end with the source.
pub struct EvmChain {
    name: ChainName,
    tokens: Vec<Asset>,
    assets: AssetIndex,
    catch_up: CatchUp,
    pool: Arc<Pool>,
    final_blocks: Arc<FinalBlocks>,
    self_check: Arc<SelfCheck>,
    bell: Arc<Bell>,
    listeners: Vec<Arc<Listener>>,
    tasks: OnceLock<JoinSet<()>>,
}

impl EvmChain {
    /// A source for one chain. No node is asked yet.
    ///
    /// # Errors
    /// [`EvmChainError`] when the config contradicts itself.
    pub fn new(config: EvmChainConfig, clock: Arc<dyn Clock>, random: &Arc<dyn Random>) -> Result<Self, EvmChainError> {
        config.validate()?;
        let proofs = Arc::new(Proofs::new(config.name.clone(), config.quorum));
        let nodes = config.nodes.iter().zip(1..);
        let nodes = nodes.map(|(url, position)| {
            let (random, proofs) = (Arc::clone(random), Arc::clone(&proofs));
            Node::new(position, url.clone(), config.request_timeout, random, config.chain_id, proofs)
        });
        let nodes = nodes.collect::<Result<Vec<_>, _>>().map_err(EvmChainError::HttpClient)?;
        let pool = Arc::new(Pool::new(config.name.clone(), config.chain_id, nodes, config.request_timeout, proofs));
        let rule = FinalityRule {
            finality: config.finality,
            quorum: config.quorum,
            fallback_depth: config.fallback_depth,
            fallback_after: config.fallback_after,
        };
        let final_blocks = Arc::new(FinalBlocks::new(Arc::clone(&pool), rule));
        let tokens: Vec<Asset> = config.tokens().cloned().collect();
        let self_check = SelfCheck {
            pool: Arc::clone(&pool),
            final_blocks: Arc::clone(&final_blocks),
            tokens: tokens.clone(),
            checkpoint: config.checkpoint,
            clock,
        };
        self_check.hold_back_unchecked();
        if let Some((first, second)) = config.shared_server() {
            let chain = &config.name;
            tracing::warn!(%chain, first, second, "two entries of `nodes` are on one server, whose owner speaks for both");
        }
        let bell = Arc::new(Bell::default());
        let listener = |(place, url): (usize, &Url)| {
            let listener = Listener::new(url, place, Arc::clone(&pool), Arc::clone(&bell), Arc::clone(random));
            pool.nodes().get(place).into_iter().for_each(|node| node.conduct.announces(false));
            listener.map(Arc::new).map_err(EvmChainError::HttpClient)
        };
        let listeners = config.websockets.iter().enumerate().map(listener).collect::<Result<_, _>>()?;
        Ok(Self {
            assets: AssetIndex::new(&config.assets),
            catch_up: config.catch_up,
            name: config.name,
            tokens,
            pool,
            final_blocks,
            self_check: Arc::new(self_check),
            bell,
            listeners,
            tasks: OnceLock::new(),
        })
    }

    /// Starts the tasks that look after the nodes, once.
    fn look_after_nodes(&self) {
        self.tasks.get_or_init(|| {
            let mut tasks = JoinSet::new();
            let self_check = Arc::clone(&self.self_check);
            tasks.spawn(async move { self_check.keep_checking().await });
            for listener in &self.listeners {
                let listener = Arc::clone(listener);
                tasks.spawn(async move { listener.listen().await });
            }
            tasks
        });
    }
}

impl EvmChain {
    /// Balances that as many nodes tell as the quorum asks for.
    async fn agreed_balances(
        &self,
        addresses: &[Address],
        ask: impl for<'n> Fn(&'n Node) -> Asking<'n, Vec<Amount>> + Send + Sync,
    ) -> Result<Vec<Amount>, ChainError> {
        let quorum = self.final_blocks.quorum();
        if quorum < 2 {
            return self.pool.ask(Weight::Heavy, ask).await;
        }
        let answers = self.pool.ask_each(Weight::Heavy, self.pool.places(), quorum, ask).await;
        balances::agreed(answers.into_iter().map(|(_, answer)| answer).collect(), quorum, addresses)
    }
}

#[async_trait]
impl ChainSource for EvmChain {
    fn name(&self) -> &ChainName {
        &self.name
    }

    /// Checks every node: each must serve the chain as configured, at least one must be there, and they must not contradict
    /// each other about what is final.
    async fn self_check(&self) -> Result<(), ChainError> {
        self.look_after_nodes();
        self.self_check.all().await
    }

    async fn head(&self) -> Result<BlockNumber, ChainError> {
        let head = self.pool.ask(Weight::Light, |node| Box::pin(node.head())).await?;
        // A head that one node invents would never be reached.
        Ok(self.pool.best_head().map_or(head, |best| head.min(best)))
    }

    async fn finalized(&self) -> Result<BlockRef, ChainError> {
        self.look_after_nodes();
        self.final_blocks.newest().await
    }

    async fn final_block(&self, number: BlockNumber) -> Result<Option<BlockRef>, ChainError> {
        self.final_blocks.at(number).await
    }

    async fn block(&self, number: BlockNumber) -> Result<Option<BlockRef>, ChainError> {
        self.pool.ask(Weight::Light, move |node| Box::pin(node.block(number))).await
    }

    async fn transfers(&self, number: BlockNumber) -> Result<Option<BlockTransfers>, ChainError> {
        let assets = &self.assets;
        let found = self.pool.content_of_block(|node| blocks::block_of(node, assets.clone(), number), Option::is_none);
        let found = found.await?;
        found.iter().for_each(|found| self.final_blocks.was_read(found.block));
        Ok(found)
    }

    async fn transfers_in(&self, range: BlockRange) -> Result<RangeTransfers, ChainError> {
        if self.catch_up == CatchUp::Logs {
            let quorum = self.final_blocks.quorum();
            match ranges::logs_in_agreement(&self.pool, &self.assets, range, quorum).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                // A block with more logs than a node shows at once can still be had whole.
                Err(error) => {
                    tracing::warn!(chain = %self.name, %range, %error, "no logs: the blocks are read whole");
                }
            }
        }
        let assets = &self.assets;
        self.pool.content_of_run(range.blocks(), |node| ranges::blocks_of(node, assets.clone(), range)).await
    }

    /// Asks all nodes, since one that has not seen the transaction yet cannot be told from one that never will.
    async fn transfers_of(&self, tx: TxHash) -> Result<Option<BlockTransfers>, ChainError> {
        let assets = &self.assets;
        let answers = self
            .pool
            .ask_each(Weight::Heavy, self.pool.places(), self.pool.witnesses(), |node| {
                transaction::transfers_of(node, assets.clone(), tx)
            })
            .await;
        let believed = self.pool.nodes().iter().filter(|node| node.conduct.banned().is_none()).count();
        let answers = answers.into_iter().map(|(_, answer)| answer).collect();
        transaction::told(transaction::confirmed(answers, self.final_blocks.quorum()), believed)
    }

    async fn native_balances(&self, block: BlockRef, addresses: &[Address]) -> Result<Vec<Amount>, ChainError> {
        let asked: Arc<[Address]> = addresses.into();
        self.agreed_balances(addresses, |node| balances::of(node, block, Arc::clone(&asked))).await
    }

    async fn token_balances(
        &self,
        block: BlockRef,
        token: &AssetId,
        addresses: &[Address],
    ) -> Result<Vec<Amount>, ChainError> {
        let contract = token_balances::contract_of(&self.tokens, token)?;
        let asked: Arc<[Address]> = addresses.into();
        self.agreed_balances(addresses, |node| token_balances::of(node, block, contract, Arc::clone(&asked))).await
    }

    async fn gas_price(&self) -> Result<Amount, ChainError> {
        self.pool.ask(Weight::Light, |node| Box::pin(node.gas_price())).await
    }

    fn contradicted(&self) {
        self.pool.contradicted();
    }

    async fn announced(&self) {
        self.bell.heard().await;
    }

    fn report(&self) -> SourceReport {
        SourceReport {
            nodes: self.pool.report(),
            head: self.pool.best_head(),
            quorum: self.final_blocks.quorum(),
            disagreement: self.final_blocks.disagreement(),
            finality_by_depth: self.final_blocks.by_depth(),
        }
    }
}
