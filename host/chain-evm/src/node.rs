//! One node's typed calls: well-formed answers that agree with themselves, or an error that names the node.
//!
//! Does not choose between nodes and does not retry.

use core::time::Duration;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use url::Url;
use xthonpay_domain::address::Address;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_payments::port::chain::ChainError;

use crate::agreement::{self, Contradiction};
use crate::config::Finality;
use crate::rpc::{Call, RpcClient, RpcError};
use crate::wire::{Block, Data, Header, Quantity, Receipt};

/// The call data of `decimals()`: the first four bytes of the hash of its signature.
const DECIMALS_CALL: &str = "0x313ce567";

/// The JSON-RPC code for a call that the contract reverted.
const CODE_REVERTED: i64 = 3;

/// A block that fits together with its receipts.
pub(crate) struct AgreedBlock {
    pub(crate) place: BlockRef,
    pub(crate) block: Block,
    pub(crate) receipts: Vec<Receipt>,
}

/// What stands at the address of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenContract {
    /// No code.
    Absent,
    /// Code that does not answer `decimals()` with a number from 0 to 255.
    WithoutDecimals,
    /// A contract with this many decimals.
    Decimals(u8),
}

/// One JSON-RPC endpoint.
pub(crate) struct Node {
    /// Position in the config and host; never user, password, path or query, which may be credentials.
    label: String,
    rpc: RpcClient,
    /// Set once the node has answered with the configured chain id.
    on_chain: AtomicBool,
}

impl Node {
    pub(crate) fn new(position: usize, url: Url, timeout: Duration) -> Result<Self, reqwest::Error> {
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let label = format!("node {position} ({host}{port})");
        Ok(Self { label, rpc: RpcClient::new(url, timeout)?, on_chain: AtomicBool::new(false) })
    }

    /// The node's name in logs and errors.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Whether the node has proved to serve the configured chain.
    pub(crate) fn is_on_chain(&self) -> bool {
        self.on_chain.load(Ordering::Relaxed)
    }

    /// Remembers that the node serves the configured chain.
    pub(crate) fn set_on_chain(&self) {
        self.on_chain.store(true, Ordering::Relaxed);
    }

    pub(crate) async fn chain_id(&self) -> Result<u64, ChainError> {
        let asked = async {
            let exchange = self.rpc.ask([Call::new("eth_chainId", json!([]))]).await?;
            let [id] = exchange.answers()?;
            id?.read::<Quantity>()
        };
        asked.await.map(|Quantity(id)| id).map_err(|error| self.failed(error))
    }

    pub(crate) async fn head(&self) -> Result<BlockNumber, ChainError> {
        let asked = async {
            let exchange = self.rpc.ask([Call::new("eth_blockNumber", json!([]))]).await?;
            let [head] = exchange.answers()?;
            head?.read::<Quantity>()
        };
        asked.await.map(|Quantity(head)| BlockNumber(head)).map_err(|error| self.failed(error))
    }

    /// The newest irreversible block.
    pub(crate) async fn finalized(&self, finality: Finality) -> Result<BlockRef, ChainError> {
        match finality {
            Finality::Tag => {
                let header = self.header("finalized").await?;
                let header = header.ok_or_else(|| self.unavailable("no block is finalized yet"))?;
                agreement::mined(&header, None).map_err(|contradiction| self.contradicts(contradiction))
            }
            Finality::Depth(blocks) => {
                let BlockNumber(head) = self.head().await?;
                let number = BlockNumber(head.saturating_sub(blocks));
                let block = self.block(number).await?;
                block.ok_or_else(|| self.unavailable(&format!("block {number} below its head {head} is missing")))
            }
        }
    }

    /// A block's place, without its transactions.
    pub(crate) async fn block(&self, number: BlockNumber) -> Result<Option<BlockRef>, ChainError> {
        let Some(header) = self.header(&quantity(number)).await? else { return Ok(None) };
        agreement::mined(&header, Some(number)).map(Some).map_err(|contradiction| self.contradicts(contradiction))
    }

    /// A block and its receipts, asked for together so that one backend answers both.
    pub(crate) async fn block_with_receipts(&self, number: BlockNumber) -> Result<Option<AgreedBlock>, ChainError> {
        let asked = async {
            let of_block = Call::new("eth_getBlockByNumber", json!([quantity(number), true]));
            let of_receipts = Call::new("eth_getBlockReceipts", json!([quantity(number)]));
            let exchange = self.rpc.ask([of_block, of_receipts]).await?;
            let [block, receipts] = exchange.answers()?;
            let Some(block) = block?.read::<Option<Block>>()? else { return Ok(None) };
            Ok(Some((block, receipts?.read::<Option<Vec<Receipt>>>()?)))
        };
        let Some((block, receipts)) = asked.await.map_err(|error| self.failed(error))? else { return Ok(None) };
        let agreed = receipts.ok_or(Contradiction::NoReceipts).and_then(|receipts| {
            let place = agreement::agreed(&block, &receipts, number)?;
            Ok(AgreedBlock { place, block, receipts })
        });
        agreed.map(Some).map_err(|contradiction| self.contradicts(contradiction))
    }

    /// What stands at a token's address in the newest block.
    pub(crate) async fn token(&self, contract: Address) -> Result<TokenContract, ChainError> {
        let asked = async {
            let to = contract.to_lower_hex();
            let code = Call::new("eth_getCode", json!([to, "latest"]));
            let decimals = Call::new("eth_call", json!([{"to": to, "data": DECIMALS_CALL}, "latest"]));
            let exchange = self.rpc.ask([code, decimals]).await?;
            let [code, decimals] = exchange.answers()?;
            if code?.read::<Data>()?.0.is_empty() {
                return Ok(TokenContract::Absent);
            }
            match decimals {
                Err(RpcError::Refused { code: CODE_REVERTED, .. }) => Ok(TokenContract::WithoutDecimals),
                answer => answer?.read::<Data>().map(|Data(bytes)| decimals_in(&bytes)),
            }
        };
        asked.await.map_err(|error| self.failed(error))
    }

    async fn header(&self, block: &str) -> Result<Option<Header>, ChainError> {
        let asked = async {
            let exchange = self.rpc.ask([Call::new("eth_getBlockByNumber", json!([block, false]))]).await?;
            let [header] = exchange.answers()?;
            header?.read::<Option<Header>>()
        };
        asked.await.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: RpcError) -> ChainError {
        let reason = format!("{}: {error}", self.label);
        match error {
            RpcError::Broken(_)
            | RpcError::TimedOut(_)
            | RpcError::Status(_)
            | RpcError::BodyTooLarge
            | RpcError::Refused { .. } => ChainError::Unavailable { reason },
            RpcError::NotJsonRpc(_) | RpcError::WrongIds(_) | RpcError::Malformed { .. } => {
                ChainError::Inconsistent { reason }
            }
            RpcError::Unsupported { .. } => {
                ChainError::Mismatch { reason: format!("{reason}; name a node that offers it in the chain's `nodes`") }
            }
        }
    }

    fn contradicts(&self, contradiction: Contradiction) -> ChainError {
        ChainError::Inconsistent { reason: format!("{}: {contradiction}", self.label) }
    }

    fn unavailable(&self, reason: &str) -> ChainError {
        ChainError::Unavailable { reason: format!("{}: {reason}", self.label) }
    }
}

fn quantity(number: BlockNumber) -> String {
    format!("{:#x}", number.0)
}

fn decimals_in(answer: &[u8]) -> TokenContract {
    match answer.split_last() {
        Some((decimals, padding)) if padding == [0; 31] => TokenContract::Decimals(*decimals),
        _ => TokenContract::WithoutDecimals,
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;

    use super::*;

    #[test]
    fn the_call_data_is_the_start_of_the_signatures_hash() {
        assert_eq!(DECIMALS_CALL, format!("0x{}", hex::encode(&keccak256("decimals()")[..4])));
    }

    #[test]
    fn decimals_are_one_word_with_one_byte_used() {
        let mut word = [0; 32];
        word[31] = 18;
        assert_eq!(decimals_in(&word), TokenContract::Decimals(18));
        assert_eq!(decimals_in(&[]), TokenContract::WithoutDecimals);
        assert_eq!(decimals_in(&word[..31]), TokenContract::WithoutDecimals);
        word[30] = 1;
        assert_eq!(decimals_in(&word), TokenContract::WithoutDecimals);
    }

    #[test]
    fn labels_hold_no_credentials() {
        let url = "https://user:hunter2@node.example:8443/v2/api-key?token=secret".parse().expect("a URL");
        let node = Node::new(1, url, Duration::from_secs(1)).expect("a client");
        assert_eq!(node.label(), "node 1 (node.example:8443)");
    }
}
