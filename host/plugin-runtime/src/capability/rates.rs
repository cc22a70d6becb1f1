//! The capability `rates`: exchange rates from the operator's sources. One pair has one answer for the whole call.

use core::time::Duration;

use xthonpay_domain::asset::AssetId;
use xthonpay_payments::port::lending::rates::RateError;

use super::refusal::Refusal;
use crate::bindings::base::xthonpay::host::rates::{Host, Quote};
use crate::grant::Capability;
use crate::instance::CallState;

/// The most that one call may remember of answers: more pairs than any rule compares.
const ANSWERS_MAX: usize = 32;

impl Host for CallState {
    async fn latest(&mut self, base: String, counter: String, max_age_s: u32) -> Result<Quote, Refusal> {
        self.ask(Capability::Rates, "latest")?;
        for name in [&base, &counter] {
            if !is_name(name) {
                let message = "write an asset as `bsc:BNB` and a currency with the three letters of ISO 4217";
                return Err(Refusal::invalid("bad_name", message));
            }
        }
        let pair = (base, counter);
        if let Some((_, quote)) = self.quotes.iter().find(|(known, _)| *known == pair) {
            return Ok(quote.clone());
        }
        let Some(rates) = self.profile.borrowed.rates.clone() else {
            return Err(Refusal::denied("not_granted", "the operator grants no rates"));
        };
        let found = rates.latest(&pair.0, &pair.1, Duration::from_secs(max_age_s.into()), self.call.at).await;
        let quote = found.map_err(|error| match error {
            RateError::UnknownPair { .. } => Refusal::not_found("unknown_pair", error.to_string()),
            RateError::Stale { .. } => Refusal::unavailable("no_fresh_rate", "no rate of the pair is fresh enough"),
        })?;
        self.notes.rate(&pair.0, &pair.1, &quote.rate);
        let quote =
            Quote { rate: quote.rate, taken: quote.taken.as_millis(), provider: quote.provider, attrs: Vec::new() };
        if self.quotes.len() < ANSWERS_MAX {
            self.quotes.push((pair, quote.clone()));
        }
        Ok(quote)
    }
}

/// Whether a text names an asset or a currency.
fn is_name(text: &str) -> bool {
    let is_currency = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    is_currency || text.parse::<AssetId>().is_ok()
}
