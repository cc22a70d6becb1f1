//! What addresses hold of a token, as its contract answers at one block.
//!
//! For holding the books against the chain; nothing is credited from it. Knows the call and the shape of its answer; which
//! nodes must agree is the source's affair.

use std::sync::Arc;

use serde_json::{Value, json};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::{Asset, AssetId, AssetKind};
use xthonpay_domain::block::BlockRef;
use xthonpay_payments::port::chain::ChainError;

use crate::node::Node;
use crate::pool::Asking;
use crate::rpc::{Answer, Call, RpcError};
use crate::wire::Data;

/// The first four bytes of the hash of `balanceOf(address)`, with the padding of the address behind them.
const BALANCE_OF_CALL: &str = "0x70a08231000000000000000000000000";

/// The contract of a configured token.
pub(crate) fn contract_of(tokens: &[Asset], token: &AssetId) -> Result<Address, ChainError> {
    let kind = tokens.iter().find(|asset| asset.id == *token).map(|asset| asset.kind);
    match kind {
        Some(AssetKind::Token { contract }) => Ok(contract),
        Some(AssetKind::Native) | None => {
            Err(ChainError::Mismatch { reason: format!("{token} is no token in the config of this chain") })
        }
    }
}

/// The question for balances in a token.
pub(crate) fn of(
    node: &Node,
    block: BlockRef,
    contract: Address,
    addresses: Arc<[Address]>,
) -> Asking<'_, Vec<Amount>> {
    Box::pin(async move {
        let contract = contract.to_lower_hex();
        let ask = |holder: &Address, at: &Value| balance_of(&contract, holder, at);
        let read = |answer: &Answer<'_>| amount_in(&answer.read::<Data>()?.0);
        node.singly(block, &addresses, &ask, &read).await.map_err(|fault| node.no_balances(fault))
    })
}

fn balance_of(contract: &str, holder: &Address, at: &Value) -> Call {
    let holder = holder.to_lower_hex();
    let data = format!("{BALANCE_OF_CALL}{}", holder.trim_start_matches("0x"));
    Call::new("eth_call", json!([{"to": contract, "data": data}, at]))
}

/// A contract answers with one word; an address without code with nothing.
fn amount_in(answer: &[u8]) -> Result<Amount, RpcError> {
    let word = answer.try_into().map_err(|_| RpcError::Malformed {
        method: "eth_call",
        detail: format!("{} bytes where a balance has 32", answer.len()),
    })?;
    Ok(Amount::from_be_bytes(word))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;

    use super::*;

    #[test]
    fn the_call_data_is_the_start_of_the_signatures_hash() {
        let hash = hex::encode(&keccak256("balanceOf(address)")[..4]);
        assert_eq!(BALANCE_OF_CALL, format!("0x{hex}{:024}", 0, hex = hash));
    }

    #[test]
    fn a_balance_is_exactly_one_word() {
        let mut word = [0; 32];
        word[31] = 7;
        assert_eq!(amount_in(&word).expect("one word"), Amount::from_units(7));
        assert_eq!(amount_in(&[0xff; 32]).expect("one word"), Amount::MAX);
        for bytes in [0, 31, 33, 64] {
            assert!(amount_in(&vec![0; bytes]).is_err(), "{bytes} bytes");
        }
    }

    #[test]
    fn only_configured_tokens_have_a_contract() {
        let asset = |name: &str, kind| Asset {
            id: name.parse().expect("well formed"),
            kind,
            decimals: xthonpay_domain::amount::Decimals::new(18).expect("in range"),
        };
        let contract = Address::new([5; 20]);
        let tokens = [asset("bsc:USDT", AssetKind::Token { contract }), asset("bsc:BNB", AssetKind::Native)];
        let of = |name: &str| contract_of(&tokens, &name.parse().expect("well formed"));
        assert_eq!(of("bsc:USDT"), Ok(contract));
        for name in ["bsc:BNB", "bsc:DAI"] {
            assert!(matches!(of(name), Err(ChainError::Mismatch { .. })), "{name}");
        }
    }
}
