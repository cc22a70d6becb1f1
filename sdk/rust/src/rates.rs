//! Exchange rates from the operator's sources. In native tests the bench answers.

use std::string::String;

use crate::Decimal;
use crate::backend;
use crate::error::{Detail, HostError};
use crate::plugin::{Attrs, Millis};

/// The price of one unit of the base, in units of the counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Units of the counter for one unit of the base; above zero.
    pub rate: Decimal,
    /// When the source stated it.
    pub taken: Millis,
    /// The operator's name of the source.
    pub provider: String,
    /// Extra values of later minor versions.
    pub attrs: Attrs,
}

/// The newest rate of a pair that is at most `max_age_s` seconds old. Names are an asset (`bsc:BNB`) or an ISO 4217 code (`EUR`).
///
/// # Errors
/// [`HostError::Invalid`] for a malformed name, [`HostError::NotFound`] when no source knows the pair,
/// [`HostError::Unavailable`] when no rate is fresh enough.
pub fn latest(base: &str, counter: &str, max_age_s: u32) -> Result<Quote, HostError> {
    let quote = backend::rates_latest(base, counter, max_age_s)?;
    let malformed = |_| HostError::Other(Detail::new("bad_rate", "the host's rate is not a decimal"));
    let rate = Decimal::parse(&quote.rate).map_err(malformed)?;
    Ok(Quote { rate, taken: quote.taken, provider: quote.provider, attrs: quote.attrs })
}
