//! One node's typed calls: well-formed answers that agree with themselves, or an error that names the node.
//!
//! Does not choose between nodes and does not retry. What a node's conduct means for its use is told in `conduct`.

pub(crate) mod breaker;
pub(crate) mod conduct;
pub(crate) mod health;

use core::time::Duration;
use std::sync::Arc;

use serde_json::json;
use url::Url;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_payments::port::chain::ChainError;
use xthonpay_payments::port::random::Random;

use self::conduct::Conduct;
use self::health::Weight;
use crate::agreement::{self, Contradiction};
use crate::pace::Habits;
use crate::proofs::Proofs;
use crate::read_blocks::ReadBlocks;
use crate::rpc::{Call, RpcClient, RpcError};
use crate::wire::{Data, Header, Quantity};

/// The call data of `decimals()`: the first four bytes of the hash of its signature.
const DECIMALS_CALL: &str = "0x313ce567";

/// The JSON-RPC code for a call that the contract reverted.
const CODE_REVERTED: i64 = 3;

/// How long a node's word about its chain spares the question, as long as what it calls final was read. Finality is asked for about
/// once a block; a chain that splits and keeps its past is noticed within this time.
const CHAIN_ID_LASTS: Duration = Duration::from_secs(2);

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

/// What a node says about itself and the newest blocks, all in one answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tip {
    pub(crate) chain_id: u64,
    /// The block behind the `finalized` tag, where it was asked for and there is one.
    pub(crate) finalized: Option<BlockRef>,
    /// The newest block, where it was asked for.
    pub(crate) head: Option<BlockRef>,
}

/// What [`Tip`] should hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TipWanted {
    pub(crate) finalized: bool,
    pub(crate) head: bool,
    /// Whether a node that refuses the `finalized` tag may show the rest all the same.
    pub(crate) without_tag: bool,
}

/// The chain id, the final block and the head, as far as each was asked for and is there.
type Newest = (Option<u64>, Option<BlockRef>, Option<BlockRef>);

/// One JSON-RPC endpoint.
pub(crate) struct Node {
    /// Place in the config, from 1.
    pub(crate) position: usize,
    /// The chain that it should serve.
    chain_id: u64,
    /// Position in the config and host; never user, password, path or query, which may be credentials.
    label: String,
    pub(crate) rpc: RpcClient,
    pub(crate) conduct: Conduct,
    pub(crate) habits: Habits,
    pub(crate) proofs: Arc<Proofs>,
}

impl Node {
    pub(crate) fn new(
        position: usize,
        url: Url,
        timeout: Duration,
        random: Arc<dyn Random>,
        chain_id: u64,
        proofs: Arc<Proofs>,
    ) -> Result<Self, reqwest::Error> {
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let label = format!("node {position} ({host}{port})");
        Ok(Self {
            position,
            chain_id,
            label,
            rpc: RpcClient::new(url, timeout)?,
            conduct: Conduct::new(random, timeout),
            habits: Habits::new(),
            proofs,
        })
    }

    /// The node's name in logs and errors.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) async fn chain_id(&self) -> Result<u64, ChainError> {
        let asked = async {
            let exchange = self.rpc.ask(&[Call::new("eth_chainId", json!([]))]).await?;
            let [id] = exchange.exactly()?;
            id?.read::<Quantity>()
        };
        asked.await.map(|Quantity(id)| id).map_err(|error| self.failed(error))
    }

    pub(crate) async fn head(&self) -> Result<BlockNumber, ChainError> {
        let asked = async {
            let exchange = self.rpc.ask(&[Call::new("eth_blockNumber", json!([]))]).await?;
            let [head] = exchange.exactly()?;
            head?.read::<Quantity>()
        };
        let Quantity(head) = asked.await.map_err(|error| self.failed(error))?;
        self.conduct.saw_head(BlockNumber(head));
        Ok(BlockNumber(head))
    }

    /// The price of one unit of gas that the node suggests, in base units of the native coin.
    pub(crate) async fn gas_price(&self) -> Result<Amount, ChainError> {
        let asked = async {
            let exchange = self.rpc.ask(&[Call::new("eth_gasPrice", json!([]))]).await?;
            let [price] = exchange.exactly()?;
            price?.read::<Quantity>()
        };
        asked.await.map(|Quantity(price)| Amount::from_units(price.into())).map_err(|error| self.failed(error))
    }

    /// The chain that the node serves and its newest blocks: one request, so that one backend answers all of it.
    pub(crate) async fn tip(&self, wanted: TipWanted) -> Result<Tip, ChainError> {
        let (chain_id, finalized, head) = self.newest(wanted, true).await?;
        Ok(self.heard_of(Tip { chain_id: chain_id.unwrap_or_default(), finalized, head }))
    }

    /// The same. Which chain it is is not asked again within [`CHAIN_ID_LASTS`] where the final block is among those that were read
    /// from it.
    pub(crate) async fn tip_above(&self, wanted: TipWanted, read: &ReadBlocks) -> Result<Tip, ChainError> {
        if wanted.finalized && self.conduct.told_chain_within(CHAIN_ID_LASTS) {
            let (_, finalized, head) = self.newest(wanted, false).await?;
            if finalized.is_some_and(|finalized| read.contain(&finalized)) {
                return Ok(self.heard_of(Tip { chain_id: self.chain_id, finalized, head }));
            }
        }
        let tip = self.tip(wanted).await?;
        // Otherwise the next question would be asked in vain without it.
        if tip.chain_id == self.chain_id && tip.finalized.is_some_and(|finalized| read.contain(&finalized)) {
            self.conduct.told_chain();
        }
        Ok(tip)
    }

    /// The chain, if it is asked for, the final block and the head.
    async fn newest(&self, wanted: TipWanted, asks_chain: bool) -> Result<Newest, ChainError> {
        let tags = [("finalized", wanted.finalized), ("latest", wanted.head)];
        let tags = tags.into_iter().filter_map(|(tag, wanted)| wanted.then_some(tag));
        let of_tags = tags.map(|tag| Call::new("eth_getBlockByNumber", json!([tag, false])));
        let of_chain = asks_chain.then(|| Call::new("eth_chainId", json!([])));
        let calls: Vec<Call> = of_chain.into_iter().chain(of_tags).collect();
        let asked = async {
            let exchange = self.rpc.ask(&calls).await?;
            let mut answers = exchange.answers()?.into_iter();
            let mut next = || answers.next().ok_or(RpcError::WrongIds("not one answer for each question"));
            let chain_id = if asks_chain { Some(next()??.read::<Quantity>()?.0) } else { None };
            let finalized = if wanted.finalized { Some(next()?) } else { None };
            let finalized = match finalized {
                Some(Err(RpcError::Refused { .. })) if wanted.without_tag => None,
                Some(answer) => answer?.read::<Option<Header>>()?,
                None => None,
            };
            let head = if wanted.head { next()??.read::<Option<Header>>()? } else { None };
            Ok((chain_id, finalized, head))
        };
        let (chain_id, finalized, head) = asked.await.map_err(|error| self.failed(error))?;
        let place = |header: Option<Header>| header.map(|header| agreement::mined(&header, None)).transpose();
        let places = place(finalized).and_then(|finalized| Ok((finalized, place(head)?)));
        let (finalized, head) = places.map_err(|contradiction| self.contradicts(contradiction))?;
        if let (Some(finalized), Some(head)) = (finalized, head)
            && finalized.number > head.number
        {
            // Backends of one address that do not see the same: the lower word is the safe one.
            return Err(
                self.unavailable(&format!("block {} is final above the head {}", finalized.number, head.number))
            );
        }
        Ok((chain_id, finalized, head))
    }

    /// Remembers how far the node is; heights of another chain say nothing about this one.
    fn heard_of(&self, tip: Tip) -> Tip {
        if tip.chain_id == self.chain_id {
            tip.finalized.iter().for_each(|block| self.conduct.saw_finalized(block.number));
            tip.head.iter().for_each(|block| self.conduct.saw_head(block.number));
        }
        tip
    }

    /// The chain that the node serves and the place of one block, in one request.
    pub(crate) async fn chain_and_block(&self, number: BlockNumber) -> Result<(u64, Option<BlockRef>), ChainError> {
        let asked = async {
            let of_block = Call::new("eth_getBlockByNumber", json!([quantity(number), false]));
            let exchange = self.rpc.ask(&[Call::new("eth_chainId", json!([])), of_block]).await?;
            let [id, header] = exchange.exactly()?;
            Ok((id?.read::<Quantity>()?, header?.read::<Option<Header>>()?))
        };
        let (Quantity(chain_id), header) = asked.await.map_err(|error| self.failed(error))?;
        let place = header.map(|header| agreement::mined(&header, Some(number))).transpose();
        Ok((chain_id, place.map_err(|contradiction| self.contradicts(contradiction))?))
    }

    /// A block's place, without its transactions.
    pub(crate) async fn block(&self, number: BlockNumber) -> Result<Option<BlockRef>, ChainError> {
        let Some(header) = self.header(&quantity(number)).await? else {
            self.conduct.lacks(number, Weight::Light);
            return Ok(None);
        };
        let place = agreement::mined(&header, Some(number)).map_err(|contradiction| self.contradicts(contradiction))?;
        self.conduct.saw_block(&place);
        Ok(Some(place))
    }

    /// What stands at a token's address in the newest block.
    pub(crate) async fn token(&self, contract: Address) -> Result<TokenContract, ChainError> {
        let asked = async {
            let to = contract.to_lower_hex();
            let code = Call::new("eth_getCode", json!([to, "latest"]));
            let decimals = Call::new("eth_call", json!([{"to": to, "data": DECIMALS_CALL}, "latest"]));
            let exchange = self.rpc.ask(&[code, decimals]).await?;
            let [code, decimals] = exchange.exactly()?;
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
            let exchange = self.rpc.ask(&[Call::new("eth_getBlockByNumber", json!([block, false]))]).await?;
            let [header] = exchange.exactly()?;
            header?.read::<Option<Header>>()
        };
        asked.await.map_err(|error| self.failed(error))
    }

    /// The port's error for it. Takes note when the node could not be reached or wants to be left alone.
    pub(crate) fn failed(&self, error: RpcError) -> ChainError {
        if error.is_absence() {
            self.conduct.absent();
        }
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

    /// The port's error for an answer that does not agree with itself.
    pub(crate) fn contradicts(&self, contradiction: Contradiction) -> ChainError {
        ChainError::Inconsistent { reason: format!("{}: {contradiction}", self.label) }
    }

    /// The port's error for something that the node does not have; no failure.
    pub(crate) fn unavailable(&self, reason: &str) -> ChainError {
        ChainError::Unavailable { reason: format!("{}: {reason}", self.label) }
    }
}

pub(crate) fn quantity(number: BlockNumber) -> String {
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
    use crate::no_random::NoRandom;

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
        let proofs = Arc::new(Proofs::new("bsc".parse().expect("a name"), 1));
        let url = "https://user:hunter2@node.example:8443/v2/api-key?token=secret".parse().expect("a URL");
        let node = Node::new(1, url, Duration::from_secs(1), Arc::new(NoRandom), 56, proofs).expect("a client");
        assert_eq!(node.label(), "node 1 (node.example:8443)");
    }
}
