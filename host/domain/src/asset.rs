//! Assets: what a merchant can be paid in.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

use crate::address::Address;
use crate::amount::Decimals;
use crate::text::{ChainName, Symbol, TextError};

/// An asset's name in this deployment, written `chain:SYMBOL`, such as `bsc:USDT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetId {
    /// The chain on which the asset moves.
    pub chain: ChainName,
    /// The label of the asset on that chain.
    pub symbol: Symbol,
}

/// A text that is not of the form `chain:SYMBOL`.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AssetIdError {
    /// There is no colon.
    #[error("not of the form chain:SYMBOL")]
    NoColon,
    /// One of the two parts is refused.
    #[error(transparent)]
    Part(#[from] TextError),
}

impl AssetIdError {
    /// Always `false`: the same text fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

/// How an asset moves on its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AssetKind {
    /// The chain's own coin, moved by the value of a transaction.
    Native,
    /// An ERC-20 (BEP-20) token, moved by `Transfer` logs of exactly this contract.
    Token {
        /// The contract that emits the logs.
        contract: Address,
    },
}

/// An asset that this deployment accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its name.
    pub id: AssetId,
    /// How it moves.
    pub kind: AssetKind,
    /// Digits behind the decimal point: 18 for USDT on BNB Smart Chain, 6 for USDT elsewhere.
    pub decimals: Decimals,
}

impl fmt::Display for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.chain, self.symbol)
    }
}

impl FromStr for AssetId {
    type Err = AssetIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (chain, symbol) = text.split_once(':').ok_or(AssetIdError::NoColon)?;
        Ok(Self { chain: chain.parse()?, symbol: symbol.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_text() {
        let id: AssetId = "bsc:USDT".parse().expect("well formed");
        assert_eq!(id.to_string(), "bsc:USDT");
        for text in ["USDT", "bsc:", ":USDT", "bsc:usdt", "BSC:USDT", "bsc:USDT:x"] {
            assert!(text.parse::<AssetId>().is_err(), "{text}");
        }
    }
}
