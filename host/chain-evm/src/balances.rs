//! What addresses hold in the coin of the chain itself, as a node tells of one block.
//!
//! The quick way asks for thousands of addresses in one call that brings its own code: an address without code is given some
//! for the time of the call, which reads the list and returns the balances. Nodes that refuse this are asked address by
//! address in batches. Either way the question is pinned to the block by its hash, or by its number where a node does not take
//! hashes, and the node shows in the same request that the block still stands there. Which nodes must agree is the source's
//! affair.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use serde_json::{Value, json};
use thiserror::Error;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::block::BlockRef;
use xthonpay_payments::port::chain::ChainError;

use crate::agreement::{self, Contradiction};
use crate::node::{Node, quantity};
use crate::pool::Asking;
use crate::rpc::{Answer, Call, RpcError};
use crate::wire::{Data, Header, Word};

/// Balances asked for one by one in a request: what nodes commonly accept.
const SINGLE_PER_REQUEST: usize = 100;

/// Such requests on their way at once: a hundred of them are needed for the most addresses.
const SINGLE_REQUESTS_IN_FLIGHT: usize = 8;

/// Below this, one call for many is refused for what it is and not for its size: it costs 4 million gas, where nodes allow a
/// call 10 million at the least.
const TOGETHER_MIN: usize = 1_250;

/// Where the code stands during the call. Nobody has its key: it is the end of the hash of a text, see the test.
const READER: Address = Address::new([
    0x40, 0x55, 0xd9, 0xd8, 0xa4, 0x8d, 0xdb, 0x62, 0x2f, 0x51, 0x54, 0x3d, 0xc7, 0x0c, 0x57, 0x45, 0x29, 0xbe, 0x52,
    0x61,
]);

/// The code: reads addresses of 20 bytes each from the call data, and returns their balances as words of 32 bytes each, in the
/// same order. The stack stands behind each line, its top on the right; `at` is the place in the call data.
///
/// Uses no opcode that is younger than the Constantinople fork of 2019.
#[rustfmt::skip]
const READER_CODE: &[u8] = &[
    0x60, 0x00, // 00 PUSH1 0        at
    0x5b,       // 02 JUMPDEST       at                  the loop begins
    0x36,       // 03 CALLDATASIZE   at size
    0x81,       // 04 DUP2           at size at
    0x10,       // 05 LT             at (at < size)
    0x15,       // 06 ISZERO         at (at >= size)
    0x60, 0x1e, // 07 PUSH1 1e       at (at >= size) end
    0x57,       // 09 JUMPI          at                  leaves the loop behind the last address
    0x80,       // 0a DUP1           at at
    0x35,       // 0b CALLDATALOAD   at word             the address and 12 bytes more
    0x60, 0x60, // 0c PUSH1 60       at word 96
    0x1c,       // 0e SHR            at address          without the 12 bytes
    0x31,       // 0f BALANCE        at balance
    0x60, 0x14, // 10 PUSH1 14       at balance 20
    0x82,       // 12 DUP3           at balance 20 at
    0x04,       // 13 DIV            at balance (at / 20)
    0x60, 0x05, // 14 PUSH1 05       at balance (at / 20) 5
    0x1b,       // 16 SHL            at balance (at / 20 * 32)
    0x52,       // 17 MSTORE         at                  the balance stands in its word
    0x60, 0x14, // 18 PUSH1 14       at 20
    0x01,       // 1a ADD            (at + 20)
    0x60, 0x02, // 1b PUSH1 02       at begin
    0x56,       // 1d JUMP           at
    0x5b,       // 1e JUMPDEST       at                  the end: at is the size of the call data
    0x60, 0x14, // 1f PUSH1 14       at 20
    0x90,       // 21 SWAP1          20 at
    0x04,       // 22 DIV            count
    0x60, 0x05, // 23 PUSH1 05       count 5
    0x1b,       // 25 SHL            (count * 32)
    0x60, 0x00, // 26 PUSH1 0        (count * 32) 0
    0xf3,       // 28 RETURN                             all words
];

/// Balances that did not come.
#[derive(Debug, Error)]
pub(crate) enum BalanceFault {
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The block itself could not be had, so that nothing is learned about the question.
    #[error("the block that was asked about did not come: {0}")]
    NoHeader(#[source] RpcError),
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
    /// The node has another block at the height.
    #[error("another block stands in place of the one that was asked about")]
    OtherBlock,
}

impl BalanceFault {
    /// Whether the same question may succeed later.
    #[cfg_attr(not(test), expect(dead_code, reason = "it becomes the port's error, which answers the same question"))]
    fn is_transient(&self) -> bool {
        match self {
            Self::Rpc(error) | Self::NoHeader(error) => error.is_transient(),
            Self::Contradiction(contradiction) => contradiction.is_transient(),
            Self::OtherBlock => true,
        }
    }

    /// Whether the node has the block, understood the question and does not answer this kind.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Rpc(RpcError::Refused { .. } | RpcError::Unsupported { .. } | RpcError::BodyTooLarge))
    }
}

/// How a block is named in a question about its state.
#[derive(Clone, Copy, Debug)]
enum Pin {
    /// By its hash, as EIP-1898 has it.
    Hash,
    /// By its number.
    Number,
}

/// The question for balances.
pub(crate) fn of(node: &Node, block: BlockRef, addresses: Arc<[Address]>) -> Asking<'_, Vec<Amount>> {
    Box::pin(async move { node.native_balances(block, &addresses).await })
}

impl Node {
    /// Balances at a block, one for each address in the same order.
    ///
    /// # Errors
    /// [`ChainError::Unavailable`] when the node does not have the block's state any more, or another block in its place.
    pub(crate) async fn native_balances(
        &self,
        block: BlockRef,
        addresses: &[Address],
    ) -> Result<Vec<Amount>, ChainError> {
        let mut balances = Vec::with_capacity(addresses.len());
        while let Some(rest) = addresses.get(balances.len()..).filter(|rest| !rest.is_empty()) {
            let size = self.habits.balances_at_once();
            let (some, _) = rest.split_at(if size == 0 { rest.len() } else { size.min(rest.len()) });
            let answer = if size == 0 { self.one_by_one(block, some).await } else { self.together(block, some).await };
            match answer {
                Ok(found) => balances.extend(found),
                // A smaller question may be answered, or each address by itself.
                Err(fault) if fault.is_refusal() && size > 0 => {
                    self.habits.refused_balances(some.len(), TOGETHER_MIN);
                }
                Err(fault) => return Err(self.no_balances(fault)),
            }
        }
        Ok(balances)
    }

    /// One call for all.
    async fn together(&self, block: BlockRef, addresses: &[Address]) -> Result<Vec<Amount>, BalanceFault> {
        let list: Vec<u8> = addresses.iter().flat_map(|address| *address.as_bytes()).collect();
        let reader = READER.to_lower_hex();
        let call = json!({"to": &reader, "data": text(&list)});
        let code = json!({reader: {"code": text(READER_CODE)}});
        let ask = |at| vec![Call::new("eth_call", json!([&call, at, &code]))];
        self.pinned(block, ask, |answers| {
            let [answer] = answers else { return Err(malformed("not one answer")) };
            let Data(words) = answer.read()?;
            let (words, rest) = words.as_chunks::<32>();
            // A node that leaves the code out calls an address without code, which answers with nothing.
            if words.len() != addresses.len() || !rest.is_empty() {
                return Err(RpcError::Refused {
                    method: "eth_call",
                    code: 0,
                    message: "not one balance for each address".to_owned(),
                });
            }
            Ok(words.iter().copied().map(Amount::from_be_bytes).collect())
        })
        .await
    }

    /// A question for each.
    async fn one_by_one(&self, block: BlockRef, addresses: &[Address]) -> Result<Vec<Amount>, BalanceFault> {
        let ask = |address: &Address, at: &Value| Call::new("eth_getBalance", json!([address.to_lower_hex(), at]));
        let read = |answer: &Answer<'_>| answer.read().map(|Word(word)| Amount::from_be_bytes(word));
        self.singly(block, addresses, &ask, &read).await
    }

    /// A question of some kind for each address, many of them to a request.
    pub(crate) async fn singly(
        &self,
        block: BlockRef,
        addresses: &[Address],
        ask: &(impl Fn(&Address, &Value) -> Call + Sync),
        read: &(impl Fn(&Answer<'_>) -> Result<Amount, RpcError> + Sync),
    ) -> Result<Vec<Amount>, BalanceFault> {
        let some = addresses.chunks(SINGLE_PER_REQUEST).map(<[Address]>::to_vec);
        let some = stream::iter(some).map(|some| async move {
            let ask_all = |at: Value| some.iter().map(|address| ask(address, &at)).collect();
            self.pinned(block, ask_all, |answers| answers.iter().map(read).collect()).await
        });
        let mut found = core::pin::pin!(some.buffered(SINGLE_REQUESTS_IN_FLIGHT));
        let mut balances = Vec::with_capacity(addresses.len());
        while let Some(some) = found.next().await {
            balances.extend(some?);
        }
        Ok(balances)
    }

    /// Asks about the state of one block, by its hash where the node takes that.
    async fn pinned(
        &self,
        block: BlockRef,
        ask: impl Fn(Value) -> Vec<Call>,
        read: impl Fn(&[Answer<'_>]) -> Result<Vec<Amount>, RpcError>,
    ) -> Result<Vec<Amount>, BalanceFault> {
        if self.habits.takes_hashes() {
            match self.pinned_by(Pin::Hash, block, &ask, &read).await {
                Err(fault) if fault.is_refusal() => {}
                answer => return answer,
            }
            let answer = self.pinned_by(Pin::Number, block, &ask, &read).await;
            if answer.is_ok() {
                self.habits.takes_no_hashes();
            }
            return answer;
        }
        self.pinned_by(Pin::Number, block, &ask, &read).await
    }

    async fn pinned_by(
        &self,
        pin: Pin,
        block: BlockRef,
        ask: &impl Fn(Value) -> Vec<Call>,
        read: &impl Fn(&[Answer<'_>]) -> Result<Vec<Amount>, RpcError>,
    ) -> Result<Vec<Amount>, BalanceFault> {
        let number = quantity(block.number);
        let mut calls = match pin {
            Pin::Hash => ask(json!({"blockHash": block.hash.to_string(), "requireCanonical": true})),
            Pin::Number => ask(json!(&number)),
        };
        // A node may keep the state of a block that was replaced, or take the hash for its number.
        calls.push(Call::new("eth_getBlockByNumber", json!([number, false])));
        let exchange = self.rpc.ask(&calls).await?;
        let mut answers = exchange.answers()?;
        // The block comes first: a node that does not have it refuses the rest for that reason alone.
        let header = answers.pop().transpose().map_err(BalanceFault::NoHeader)?;
        let header = header.map(|answer| answer.read::<Option<Header>>()).transpose()?.flatten();
        let place = header.map(|header| agreement::mined(&header, Some(block.number))).transpose()?;
        if place != Some(block) {
            return Err(BalanceFault::OtherBlock);
        }
        Ok(read(&answers.into_iter().collect::<Result<Vec<_>, _>>()?)?)
    }

    pub(crate) fn no_balances(&self, fault: BalanceFault) -> ChainError {
        match fault {
            BalanceFault::Rpc(error) | BalanceFault::NoHeader(error) => self.failed(error),
            BalanceFault::Contradiction(contradiction) => self.contradicts(contradiction),
            BalanceFault::OtherBlock => self.unavailable(&fault.to_string()),
        }
    }
}

/// The balances that at least `quorum` nodes agree on and fewer contradict, from what each of them answered.
///
/// # Errors
/// [`ChainError::Inconsistent`] when enough nodes answered and do not agree about an address; else why too few answered.
pub(crate) fn agreed(
    answers: Vec<Result<Vec<Amount>, ChainError>>,
    quorum: usize,
    addresses: &[Address],
) -> Result<Vec<Amount>, ChainError> {
    let (mut told, mut failure) = (Vec::new(), None);
    for answer in answers {
        match answer {
            Ok(balances) => told.push(balances),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    if told.len() < quorum {
        let reason = format!("{} of {quorum} nodes tell the balances", told.len());
        return Err(failure.unwrap_or(ChainError::Unavailable { reason }));
    }
    let mut balances = Vec::with_capacity(addresses.len());
    for (place, address) in addresses.iter().enumerate() {
        let words: Vec<Amount> = told.iter().filter_map(|balances| balances.get(place).copied()).collect();
        balances.push(majority(&words, quorum).ok_or_else(|| ChainError::Inconsistent {
            reason: format!(
                "of {} nodes, no majority of at least {quorum} tells the same balance of {address}",
                words.len()
            ),
        })?);
    }
    Ok(balances)
}

/// The word that at least `quorum` nodes tell, and more than tell another: whoever answers first has no say of his own.
fn majority(words: &[Amount], quorum: usize) -> Option<Amount> {
    let in_favour = |word: &Amount| words.iter().filter(|other| *other == word).count();
    let most = words.iter().max_by_key(|word| in_favour(word))?;
    let (backers, against) = (in_favour(most), words.len().saturating_sub(in_favour(most)));
    (backers >= quorum && backers > against).then_some(*most)
}

fn malformed(detail: &str) -> RpcError {
    RpcError::Malformed { method: "eth_call", detail: detail.to_owned() }
}

fn text(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;

    use super::*;

    #[test]
    fn nobody_has_the_key_of_the_readers_address() {
        assert_eq!(READER.as_bytes(), &keccak256("xthonpay: balances of many addresses").0[12..]);
    }

    #[test]
    fn the_jumps_of_the_code_lead_to_their_places() {
        assert_eq!((READER_CODE[0x02], READER_CODE[0x1e]), (0x5b, 0x5b));
        assert_eq!((READER_CODE[0x08], READER_CODE[0x1c]), (0x1e, 0x02));
        assert_eq!(READER_CODE.len(), 0x29);
    }

    #[test]
    fn balances_count_where_enough_nodes_tell_the_same() {
        let addresses = [Address::new([1; 20]), Address::new([2; 20])];
        let units = |a: u128, b: u128| Ok(vec![Amount::from_units(a), Amount::from_units(b)]);
        let down = || Err(ChainError::Unavailable { reason: "down".to_owned() });
        assert_eq!(agreed(vec![units(1, 2)], 1, &addresses), units(1, 2));
        assert_eq!(agreed(vec![units(1, 2), down(), units(1, 2)], 2, &addresses), units(1, 2));
        assert_eq!(agreed(vec![units(1, 9), units(1, 2), units(8, 2)], 2, &addresses), units(1, 2));
        assert_eq!(agreed(vec![units(1, 2), down()], 2, &addresses), down());
        let disputed = agreed(vec![units(1, 2), units(1, 3)], 2, &addresses);
        assert!(matches!(disputed, Err(ChainError::Inconsistent { .. })), "{disputed:?}");
        for quorum in [1, 2] {
            let (lie, truth) = (units(9, 2), units(1, 2));
            let tie = agreed(vec![lie.clone(), lie.clone(), truth.clone(), truth.clone()], quorum, &addresses);
            assert!(matches!(tie, Err(ChainError::Inconsistent { .. })), "{tie:?}");
            let three = agreed(vec![lie.clone(), truth.clone(), truth.clone(), lie, truth.clone()], quorum, &addresses);
            assert_eq!(three, truth);
        }
        let short = agreed(vec![Ok(vec![Amount::ZERO])], 1, &addresses);
        assert!(matches!(short, Err(ChainError::Inconsistent { .. })), "{short:?}");
        let nobody = agreed(Vec::new(), 1, &addresses);
        assert!(nobody.is_err_and(|error| error.is_transient()));
    }

    #[test]
    fn a_question_that_is_refused_is_asked_another_way() {
        let refused = BalanceFault::Rpc(RpcError::Refused { method: "eth_call", code: -32000, message: String::new() });
        assert!(refused.is_refusal() && refused.is_transient());
        let unsupported = BalanceFault::Rpc(RpcError::Unsupported { method: "eth_call" });
        assert!(unsupported.is_refusal() && !unsupported.is_transient());
        assert!(!BalanceFault::OtherBlock.is_refusal() && BalanceFault::OtherBlock.is_transient());
        assert!(!BalanceFault::Rpc(RpcError::Status(500)).is_refusal());
        let no_header = BalanceFault::NoHeader(RpcError::Refused {
            method: "eth_getBlockByNumber",
            code: -32000,
            message: String::new(),
        });
        assert!(!no_header.is_refusal() && no_header.is_transient(), "a node that lags refuses nothing");
    }
}
