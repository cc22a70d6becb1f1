//! Exchange rates.

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use xthonpay_domain::time::Timestamp;

/// The price of one unit of something in units of something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Units of the counter for one unit of the base: a plain decimal above zero.
    pub rate: String,
    /// When the source stated it.
    pub taken: Timestamp,
    /// The operator's name of the source.
    pub provider: String,
}

/// A pair without a rate.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RateError {
    /// No source has the pair.
    #[error("no source of rates has {pair}")]
    UnknownPair {
        /// The pair.
        pair: String,
    },
    /// No rate is fresh enough.
    #[error("no rate of {pair} is fresh enough: {reason}")]
    Stale {
        /// The pair.
        pair: String,
        /// What happened at the last look.
        reason: String,
    },
}

impl RateError {
    /// Whether the same question may have an answer later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::UnknownPair { .. } => false,
            Self::Stale { .. } => true,
        }
    }
}

/// The sources of rates that the operator configured.
#[async_trait]
pub trait Rates: Send + Sync {
    /// The newest rate of a pair that is at most `max_age` old at `now`.
    ///
    /// # Errors
    /// [`RateError`].
    async fn latest(&self, base: &str, counter: &str, max_age: Duration, now: Timestamp) -> Result<Quote, RateError>;
}
