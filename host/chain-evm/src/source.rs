//! The port: which question to ask, and what the answers mean.

use async_trait::async_trait;
use xthonpay_domain::asset::{Asset, AssetKind};
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::text::ChainName;
use xthonpay_domain::transfer::BlockTransfers;
use xthonpay_payments::port::chain::{ChainError, ChainSource};

use crate::config::{EvmChainConfig, EvmChainError, Finality};
use crate::decode::{self, AssetIndex};
use crate::node::{Node, TokenContract};
use crate::pool::Pool;

/// One EVM chain, read from its JSON-RPC nodes.
///
/// Holds connections but no state of the chain, so that dropping it or a call on it loses nothing. A node is believed only
/// after it has proved once to serve the configured chain.
pub struct EvmChain {
    name: ChainName,
    finality: Finality,
    tokens: Vec<Asset>,
    assets: AssetIndex,
    pool: Pool,
}

impl EvmChain {
    /// A source for one chain. No node is asked yet.
    ///
    /// # Errors
    /// [`EvmChainError`] when the config contradicts itself.
    pub fn new(config: EvmChainConfig) -> Result<Self, EvmChainError> {
        config.validate()?;
        let tokens = config.tokens().cloned().collect();
        let assets = AssetIndex::new(&config.assets);
        let nodes = config.nodes.into_iter().zip(1..);
        let nodes = nodes.map(|(url, position)| Node::new(position, url, config.request_timeout));
        let nodes = nodes.collect::<Result<Vec<_>, _>>().map_err(EvmChainError::HttpClient)?;
        let pool = Pool::new(config.name.clone(), config.chain_id, nodes);
        Ok(Self { name: config.name, finality: config.finality, tokens, assets, pool })
    }

    /// Everything that one node can show about the config.
    async fn check_node(&self, node: &Node) -> Result<(), ChainError> {
        self.pool.prove_chain(node).await?;
        // A node that offers no block receipts is told apart at the start, not at the first block.
        let head = node.head().await?;
        node.block_with_receipts(head).await?;
        for asset in &self.tokens {
            self.check_token(node, asset).await?;
        }
        Ok(())
    }

    async fn check_token(&self, node: &Node, asset: &Asset) -> Result<(), ChainError> {
        let AssetKind::Token { contract } = asset.kind else { return Ok(()) };
        let key = format!("chains.{}.assets.{}", self.name, asset.id.symbol);
        let configured = asset.decimals.get();
        let reason = match node.token(contract).await? {
            TokenContract::Decimals(found) if found == configured => return Ok(()),
            TokenContract::Decimals(found) => {
                format!("{key}.decimals is {configured}, but {contract} answers {found} to {}", node.label())
            }
            TokenContract::WithoutDecimals => {
                format!("{key}.contract is {contract}, which answers no decimals() at {}", node.label())
            }
            TokenContract::Absent => format!("{key}.contract is {contract}, where {} finds no contract", node.label()),
        };
        Err(ChainError::Mismatch { reason })
    }
}

#[async_trait]
impl ChainSource for EvmChain {
    fn name(&self) -> &ChainName {
        &self.name
    }

    /// Checks every node: each must serve the chain as configured, and at least one must be there.
    async fn self_check(&self) -> Result<(), ChainError> {
        let mut passed = false;
        let mut failure = None;
        for node in self.pool.nodes() {
            match self.check_node(node).await {
                Ok(()) => passed = true,
                Err(error) if error.is_transient() => {
                    tracing::warn!(chain = %self.name, %error, "a node could not be checked");
                    failure = failure.or(Some(error));
                }
                Err(mismatch) => return Err(mismatch),
            }
        }
        match failure {
            Some(error) if !passed => Err(error),
            _ => Ok(()),
        }
    }

    async fn head(&self) -> Result<BlockNumber, ChainError> {
        self.pool.ask(|node| Box::pin(node.head())).await
    }

    async fn finalized(&self) -> Result<BlockRef, ChainError> {
        let finality = self.finality;
        self.pool.ask(move |node| Box::pin(node.finalized(finality))).await
    }

    async fn block(&self, number: BlockNumber) -> Result<Option<BlockRef>, ChainError> {
        self.pool.ask(move |node| Box::pin(node.block(number))).await
    }

    async fn transfers(&self, number: BlockNumber) -> Result<Option<BlockTransfers>, ChainError> {
        let agreed = self.pool.ask(move |node| Box::pin(node.block_with_receipts(number))).await?;
        Ok(agreed.map(|agreed| BlockTransfers {
            block: agreed.place,
            transfers: decode::transfers(&self.assets, &agreed.block, &agreed.receipts),
        }))
    }
}
