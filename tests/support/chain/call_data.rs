//! Call data of contract calls, written by hand: a selector, then words, then what has no fixed length.

use alloy_primitives::{U256, keccak256};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;

const WORD_BYTES: u64 = 32;

/// One 32-byte argument: a number or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(pub [u8; 32]);

impl From<U256> for Word {
    fn from(number: U256) -> Self {
        Self(number.to_be_bytes())
    }
}

impl From<Amount> for Word {
    fn from(amount: Amount) -> Self {
        Self(amount.to_be_bytes())
    }
}

impl From<u64> for Word {
    fn from(number: u64) -> Self {
        Self(U256::from(number).to_be_bytes())
    }
}

impl From<u128> for Word {
    fn from(number: u128) -> Self {
        Self(U256::from(number).to_be_bytes())
    }
}

impl From<Address> for Word {
    fn from(address: Address) -> Self {
        let mut word = [0; 32];
        if let Some(end) = word.last_chunk_mut::<20>() {
            *end = *address.as_bytes();
        }
        Self(word)
    }
}

impl Word {
    /// The number as JSON-RPC writes a quantity: `0x10`.
    #[must_use]
    pub fn to_quantity(self) -> String {
        format!("{:#x}", U256::from_be_bytes(self.0))
    }
}

/// One argument of a call.
pub(super) enum Argument {
    Fixed(Word),
    Text(String),
    List(Vec<Word>),
}

/// The first four bytes of the hash of a signature such as `transfer(address,uint256)`, then the arguments.
pub(super) fn call(signature: &str, arguments: &[Argument]) -> Vec<u8> {
    let mut data = keccak256(signature).0.iter().copied().take(4).collect::<Vec<u8>>();
    data.extend(encode(arguments));
    data
}

/// The arguments alone, as a constructor takes them behind its code.
pub(super) fn encode(arguments: &[Argument]) -> Vec<u8> {
    let heads = u64::try_from(arguments.len()).unwrap_or(u64::MAX).saturating_mul(WORD_BYTES);
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    for argument in arguments {
        let length = match argument {
            Argument::Fixed(word) => {
                head.extend(word.0);
                continue;
            }
            Argument::Text(text) => text.len(),
            Argument::List(words) => words.len(),
        };
        // What has no fixed length stands behind the heads, and its head says where.
        let place = heads.saturating_add(u64::try_from(tail.len()).unwrap_or(u64::MAX));
        head.extend(Word::from(place).0);
        tail.extend(Word::from(u64::try_from(length).unwrap_or(u64::MAX)).0);
        match argument {
            Argument::Fixed(_) => {}
            Argument::Text(text) => {
                tail.extend(text.bytes());
                tail.resize(tail.len().next_multiple_of(32), 0);
            }
            Argument::List(words) => tail.extend(words.iter().flat_map(|word| word.0)),
        }
    }
    head.extend(tail);
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_the_example_of_the_specification() {
        // f(uint256,uint32[],bytes10,bytes) of the Solidity ABI specification, without its bytes10.
        let encoded = encode(&[
            Argument::Fixed(Word::from(0x123_u64)),
            Argument::List(vec![Word::from(0x456_u64), Word::from(0x789_u64)]),
            Argument::Text("Hello, world!".to_owned()),
        ]);
        let expected = [
            "0000000000000000000000000000000000000000000000000000000000000123",
            "0000000000000000000000000000000000000000000000000000000000000060",
            "00000000000000000000000000000000000000000000000000000000000000c0",
            "0000000000000000000000000000000000000000000000000000000000000002",
            "0000000000000000000000000000000000000000000000000000000000000456",
            "0000000000000000000000000000000000000000000000000000000000000789",
            "000000000000000000000000000000000000000000000000000000000000000d",
            "48656c6c6f2c20776f726c642100000000000000000000000000000000000000",
        ];
        assert_eq!(hex::encode(encoded), expected.concat());
        assert_eq!(hex::encode(call("transfer(address,uint256)", &[])), "a9059cbb");
    }
}
