//! An amount together with its asset. Owns the conversion from and to the contract's `money`; knows no rates and
//! never converts one asset into another.

use core::fmt;
use std::string::{String, ToString as _};
use std::vec::Vec;

use crate::Decimal;
use crate::error::HookError;
use crate::raw::base::xthonpay::host::types;

/// An amount of one asset. Compared field by field: amounts of different assets are never equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    /// `<chain>:<SYMBOL>`: `bsc:USDT`.
    pub asset: String,
    /// How much, in whole units of the asset.
    pub amount: Decimal,
}

impl Money {
    /// That much of that asset.
    pub fn new(asset: impl Into<String>, amount: Decimal) -> Self {
        Self { asset: asset.into(), amount }
    }

    /// The chain's name: what stands before the first `:` of the asset.
    pub fn chain(&self) -> &str {
        self.asset.split_once(':').map_or("", |(chain, _)| chain)
    }

    /// The symbol: what stands behind the first `:` of the asset.
    pub fn symbol(&self) -> &str {
        self.asset.split_once(':').map_or(self.asset.as_str(), |(_, symbol)| symbol)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.asset)
    }
}

impl TryFrom<types::Money> for Money {
    type Error = HookError;

    fn try_from(raw: types::Money) -> Result<Self, HookError> {
        Ok(Self { amount: decimal_from(&raw.amount)?, asset: raw.asset })
    }
}

impl From<Money> for types::Money {
    fn from(money: Money) -> Self {
        Self { asset: money.asset, amount: money.amount.to_string(), attrs: Vec::new() }
    }
}

/// Reads a decimal that the host sent. The host writes well-formed ones, so trouble here is a fault of the input.
pub(crate) fn decimal_from(text: &str) -> Result<Decimal, HookError> {
    Decimal::parse(text).map_err(|error| HookError::bad_input("malformed_decimal", error.to_string()))
}
