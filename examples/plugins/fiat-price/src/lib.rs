//! Example rules for a shop whose prices are in a currency of a state: an order that says what it costs there is refused when
//! the coins that are asked for are worth something else by now.
//!
//! The rate comes from an upstream of the operator's. It is kept in the plugin's storage, used while it is fresh, and for a while
//! longer when the upstream does not answer.

use serde_json::Value;
use xthonpay_sdk::http::Endpoint;
use xthonpay_sdk::storage::Space;
use xthonpay_sdk::{
    Call, ConfigProblem, Decimal, Draft, DraftRuling, HookError, InvoiceRules, Millis, attr, clock, config, log,
};

/// The rules. See the README for their settings.
pub struct FiatPrice;

xthonpay_sdk::register!(invoice_rules: FiatPrice);

/// The label of the upstream and of the space.
const RATES: &str = "rates";

/// Metadata of an order that says what it costs: `fiat` = `49.90 EUR`.
const FIAT_KEY: &str = "fiat";

/// A whole, in basis points.
const WHOLE_BPS: u32 = 10_000;

struct Settings {
    path: String,
    field: String,
    max_off_bps: u32,
    fresh_s: u32,
    fallback_s: u32,
}

impl Settings {
    fn read() -> Result<Self, Vec<ConfigProblem>> {
        let mut config = config::Reader::default();
        let settings = Self {
            path: config.or("path", String::from("price?base={base}&counter={counter}")),
            field: config.or("field", String::from("price")),
            max_off_bps: config.within("max_off_bps", 200, 0..=WHOLE_BPS),
            fresh_s: config.within("fresh_s", 30, 0..=86_400),
            fallback_s: config.within("fallback_s", 900, 0..=86_400),
        };
        if settings.fallback_s < settings.fresh_s {
            config.problem("fallback_s", "is below fresh_s, so no rate would ever be fallen back on");
        }
        config.finish(settings)
    }
}

/// A rate with the time at which it was asked for, as it is kept: `<millis> <rate>`.
struct Kept {
    at: Millis,
    rate: Decimal,
}

impl Kept {
    fn parse(text: &str) -> Option<Self> {
        let (at, rate) = text.split_once(' ')?;
        Some(Self { at: at.parse().ok()?, rate: rate.parse().ok()? })
    }

    fn is_within(&self, secs: u32, now: Millis) -> bool {
        now.saturating_sub(self.at) <= u64::from(secs) * 1_000
    }
}

/// The price of one unit of the asset, from memory or from the upstream.
fn rate(settings: &Settings, symbol: &str, currency: &str) -> Result<Decimal, HookError> {
    let (space, key, now) = (Space::open(RATES)?, format!("{symbol}/{currency}"), clock::now());
    let kept = space.text(&key)?.as_deref().and_then(Kept::parse);
    if let Some(kept) = kept.as_ref().filter(|kept| kept.is_within(settings.fresh_s, now)) {
        return Ok(kept.rate);
    }
    match ask(settings, symbol, currency) {
        Ok(rate) => {
            space.put(&key, format!("{now} {rate}").as_bytes(), Some(settings.fallback_s.max(1)))?;
            Ok(rate)
        }
        Err(reason) => {
            let fallback = kept.filter(|kept| kept.is_within(settings.fallback_s, now));
            log::write(log::Level::Warn, "no fresh rate", &[("reason", &reason), ("pair", &key)]);
            let none = || HookError::retry_later("no_rate", "there is no rate for this currency right now");
            fallback.map(|kept| kept.rate).ok_or_else(none)
        }
    }
}

fn ask(settings: &Settings, symbol: &str, currency: &str) -> Result<Decimal, String> {
    let path = settings.path.replace("{base}", symbol).replace("{counter}", currency);
    let endpoint = Endpoint::open(RATES).map_err(|error| error.detail().message.clone())?;
    let answer = endpoint.get(&path).map_err(|error| error.detail().message.clone())?;
    if !answer.is_success() {
        return Err(format!("status {}", answer.status));
    }
    let body: Value = serde_json::from_slice(&answer.body).map_err(|_| String::from("the answer is not JSON"))?;
    // As it is written: no price passes through a binary fraction.
    let text = match body.get(&settings.field) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return Err(format!("the answer has no field `{}`", settings.field)),
    };
    let rate: Decimal = text.parse().map_err(|error| format!("the price: {error}"))?;
    if rate.is_zero() { Err(String::from("the price is zero")) } else { Ok(rate) }
}

/// Amount and currency of `49.90 EUR`.
fn fiat(text: &str) -> Option<(Decimal, &str)> {
    let (amount, currency) = text.split_once(' ')?;
    let is_currency = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase());
    Some((amount.parse().ok()?, currency)).filter(|_| is_currency)
}

impl InvoiceRules for FiatPrice {
    fn check_config() -> Result<(), Vec<ConfigProblem>> {
        Settings::read().map(drop)
    }

    fn on_draft(_call: &Call, draft: &Draft) -> Result<DraftRuling, HookError> {
        let settings = Settings::read()?;
        // An order without a price in a currency is none of this plugin's.
        let Some(text) = attr(&draft.metadata, FIAT_KEY) else {
            return Ok(DraftRuling::Accept(draft.proposed.clone()));
        };
        let Some((price, currency)) = fiat(text) else {
            return Ok(DraftRuling::refuse(
                "bad_fiat",
                String::from("metadata `fiat` is not an amount and a currency, such as `49.90 EUR`"),
            ));
        };
        let rate = rate(&settings, draft.price.symbol(), currency)?;
        let too_large = || HookError::bad_input("price_too_large", "the price has no number in this currency");
        let worth = draft.price.amount.checked_mul_rate(rate).ok_or_else(too_large)?;
        let allowed = price.checked_mul_bps(settings.max_off_bps).ok_or_else(too_large)?;
        let off = worth.saturating_sub(price).max(price.saturating_sub(worth));
        if off > allowed {
            let message = format!("{} is worth {worth} {currency} now, not {price}: ask for it again", draft.price);
            return Ok(DraftRuling::refuse("price_off", message));
        }
        Ok(DraftRuling::Accept(draft.proposed.clone()))
    }
}
