//! Exchange rates from the sources that the operator configured.
//!
//! A source knows one pair: its rate is written in the config, or it is one number of the JSON that an upstream answers. Each
//! upstream is asked by one caller at a time, when somebody wants a rate that is fresher than the one in memory; after a
//! failure it is left alone for a while. Nothing is stored: after a restart the upstream is asked again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::value::RawValue;
use tokio::sync::Mutex as Turn;
use xthonpay_domain::text::LoanLabel;
use xthonpay_domain::time::Timestamp;

use crate::port::clock::Clock;
use crate::port::lending::rates::{Quote, RateError, Rates};
use crate::port::lending::upstream::{Method, Upstream, UpstreamRequest};

/// How long an upstream is left alone after it gave no rate.
const PAUSE: Duration = Duration::from_secs(5);
/// The largest answer that is read for a rate: a list of some hundred pairs.
const ANSWER_BYTES_MAX: usize = 256 * 1_024;
/// How long a caller waits for a rate: a merchant waits with it.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// The most digits of a rate in front of and behind its point, as plugins are promised.
const WHOLE_DIGITS_MAX: usize = 78;
const FRACTION_DIGITS_MAX: usize = 36;

/// Where the rate of a pair comes from.
pub enum Origin {
    /// It never changes.
    Fixed(String),
    /// An upstream states it.
    Fetched {
        /// Who is asked.
        upstream: Arc<dyn Upstream>,
        /// Path and query of the question.
        path: String,
        /// Where in the answer the number stands: a JSON pointer (RFC 6901), such as `/data/0/price`.
        pointer: String,
    },
}

/// A source of the rate of one pair.
pub struct RateSource {
    name: LoanLabel,
    pair: (String, String),
    origin: Origin,
    state: Mutex<Known>,
    turn: Turn<()>,
}

/// What a source said last.
#[derive(Default)]
struct Known {
    quote: Option<Quote>,
    failed: Option<(Timestamp, String)>,
}

impl RateSource {
    /// A source of the price of one `base` in units of `counter`.
    ///
    /// # Errors
    /// What is wrong with a fixed rate.
    pub fn new(name: LoanLabel, base: String, counter: String, origin: Origin) -> Result<Self, String> {
        if let Origin::Fixed(rate) = &origin {
            check_rate(rate)?;
        }
        Ok(Self { name, pair: (base, counter), origin, state: Mutex::default(), turn: Turn::new(()) })
    }

    fn known<R>(&self, look: impl FnOnce(&mut Known) -> R) -> R {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The rate in memory, if it is fresh enough.
    fn fresh(&self, max_age: Duration, now: Timestamp) -> Option<Quote> {
        self.known(|known| known.quote.clone()).filter(|quote| now.since(quote.taken) <= max_age)
    }

    /// Why the source is left alone now.
    fn pausing(&self, now: Timestamp) -> Option<String> {
        self.known(|known| known.failed.clone()).filter(|(at, _)| now.since(*at) < PAUSE).map(|(_, reason)| reason)
    }

    async fn quote(&self, max_age: Duration, now: Timestamp, clock: &dyn Clock) -> Result<Quote, String> {
        let (upstream, path, pointer) = match &self.origin {
            Origin::Fixed(rate) => {
                return Ok(Quote { rate: rate.clone(), taken: now, provider: self.name.to_string() });
            }
            Origin::Fetched { upstream, path, pointer } => (upstream, path, pointer),
        };
        if let Some(quote) = self.fresh(max_age, now) {
            return Ok(quote);
        }
        let _turn = self.turn.lock().await;
        // Whoever had the turn before may have asked already.
        if let Some(quote) = self.fresh(max_age, now) {
            return Ok(quote);
        }
        if let Some(reason) = self.pausing(clock.now()) {
            return Err(reason);
        }
        let rate = fetch(upstream.as_ref(), path, pointer).await;
        let taken = clock.now();
        match rate {
            Ok(rate) => {
                let quote = Quote { rate, taken, provider: self.name.to_string() };
                self.known(|known| *known = Known { quote: Some(quote.clone()), failed: None });
                Ok(quote)
            }
            Err(reason) => {
                tracing::warn!(source = %self.name, reason, "no rate");
                self.known(|known| known.failed = Some((taken, reason.clone())));
                Err(reason)
            }
        }
    }
}

async fn fetch(upstream: &dyn Upstream, path: &str, pointer: &str) -> Result<String, String> {
    let request = UpstreamRequest {
        method: Method::Get,
        path: path.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout: Some(WAIT_MAX),
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let answer = upstream.send(request).await.map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("the upstream answered with status {}", answer.status));
    }
    let text = str::from_utf8(&answer.body).map_err(|_| "the answer is not text".to_owned())?;
    let rate = number_at(text, pointer)?;
    check_rate(&rate)?;
    Ok(rate)
}

/// The number at a place of a JSON text, written as it stands there: no rate passes through a binary fraction.
fn number_at(text: &str, pointer: &str) -> Result<String, String> {
    let missing = || format!("the answer has nothing at {pointer}");
    let mut here: &RawValue = serde_json::from_str(text).map_err(|error| format!("the answer is not JSON: {error}"))?;
    for part in pointer.split('/').skip(1) {
        let key = part.replace("~1", "/").replace("~0", "~");
        here = match here.get().as_bytes().first() {
            Some(b'[') => {
                let index: usize = key.parse().map_err(|_| missing())?;
                let items: Vec<&RawValue> = serde_json::from_str(here.get()).map_err(|_| missing())?;
                items.get(index).copied().ok_or_else(missing)?
            }
            _ => {
                let fields: HashMap<String, &RawValue> = serde_json::from_str(here.get()).map_err(|_| missing())?;
                fields.get(&key).copied().ok_or_else(missing)?
            }
        };
    }
    // Many services write numbers as texts.
    Ok(serde_json::from_str::<String>(here.get()).unwrap_or_else(|_| here.get().to_owned()))
}

/// Whether a text is a plain decimal above zero.
fn check_rate(text: &str) -> Result<(), String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits =
        |part: &str, most| !part.is_empty() && part.len() <= most && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_decimal = digits(whole, WHOLE_DIGITS_MAX) && digits(fraction, FRACTION_DIGITS_MAX);
    if is_decimal && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) {
        Ok(())
    } else {
        let shown: String = text.chars().take(40).collect();
        Err(format!("`{}` is not a plain decimal number above zero", shown.escape_debug()))
    }
}

/// All sources.
pub struct RateBoard {
    sources: Vec<RateSource>,
    clock: Arc<dyn Clock>,
}

impl RateBoard {
    /// A board of sources; of several for one pair the first that has a fresh rate counts.
    #[must_use]
    pub fn new(sources: Vec<RateSource>, clock: Arc<dyn Clock>) -> Self {
        Self { sources, clock }
    }
}

#[async_trait]
impl Rates for RateBoard {
    async fn latest(&self, base: &str, counter: &str, max_age: Duration, now: Timestamp) -> Result<Quote, RateError> {
        let pair = || format!("{base}/{counter}");
        let mut last = None;
        for source in self.sources.iter().filter(|source| source.pair.0 == base && source.pair.1 == counter) {
            match source.quote(max_age, now, self.clock.as_ref()).await {
                Ok(quote) => return Ok(quote),
                Err(reason) => last = Some(format!("{}: {reason}", source.name)),
            }
        }
        Err(last.map_or_else(
            || RateError::UnknownPair { pair: pair() },
            |reason| RateError::Stale { pair: pair(), reason },
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use super::*;
    use crate::port::lending::upstream::{UpstreamAnswer, UpstreamError};

    struct Hands(AtomicU64);

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_secs(self.0.load(Ordering::Relaxed))
        }
    }

    /// Answers with a body, or not at all when it is empty.
    struct Body(Mutex<&'static str>, AtomicUsize);

    #[async_trait]
    impl Upstream for Body {
        async fn send(&self, _: UpstreamRequest) -> Result<UpstreamAnswer, UpstreamError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let body = *self.0.lock().expect("not poisoned");
            if body.is_empty() {
                return Err(UpstreamError::Unavailable { reason: "it is down".to_owned() });
            }
            Ok(UpstreamAnswer { status: 200, headers: Vec::new(), body: body.as_bytes().to_vec() })
        }
    }

    #[test]
    fn numbers_are_found_and_keep_every_digit() {
        let text = r#"{"a": [{"p/q": 0.100000000000000000000000000001}, "512.10"], "~": {"": 7}}"#;
        for (pointer, expected) in
            [("/a/0/p~1q", "0.100000000000000000000000000001"), ("/a/1", "512.10"), ("/~0/", "7")]
        {
            assert_eq!(number_at(text, pointer).as_deref(), Ok(expected), "{pointer}");
        }
        for pointer in ["/b", "/a/2", "/a/x", "/a/1/0"] {
            assert!(number_at(text, pointer).is_err(), "{pointer}");
        }
        for bad in ["0", "0.000", "-1", "1e3", ".5", "5.", "", "NaN", "{}", "null", &"9".repeat(79)] {
            assert!(check_rate(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_rate_is_asked_for_once_while_it_is_fresh_and_a_failure_is_not_repeated_at_once() {
        let (clock, upstream) = (Arc::new(Hands(1_000.into())), Arc::new(Body(Mutex::new(r#"{"p":"2.5"}"#), 0.into())));
        let fetched = |name: &str, upstream: &Arc<Body>| {
            let origin =
                Origin::Fetched { upstream: Arc::clone(upstream) as _, path: "p".into(), pointer: "/p".into() };
            RateSource::new(name.parse().expect("a name"), "bsc:BNB".into(), "EUR".into(), origin).expect("sound")
        };
        let board = RateBoard::new(vec![fetched("one", &upstream)], Arc::clone(&clock) as _);
        let ask = async |age: u64| board.latest("bsc:BNB", "EUR", Duration::from_secs(age), clock.now()).await;
        let asked = || upstream.1.load(Ordering::Relaxed);

        assert_eq!(ask(60).await.expect("a rate").rate, "2.5");
        clock.0.store(1_030, Ordering::Relaxed);
        let quote = ask(60).await.expect("from memory");
        assert_eq!((quote.taken, asked()), (Timestamp::from_secs(1_000), 1));

        *upstream.0.lock().expect("not poisoned") = "";
        assert!(matches!(ask(10).await, Err(RateError::Stale { .. })), "too old, and there is no newer one");
        assert!(ask(10).await.is_err());
        assert_eq!(asked(), 2, "left alone after a failure");
        assert_eq!(ask(60).await.expect("old enough for this question").rate, "2.5");
        clock.0.store(1_036, Ordering::Relaxed);
        *upstream.0.lock().expect("not poisoned") = r#"{"p":3}"#;
        assert_eq!(ask(10).await.expect("it is back").rate, "3");
        let unknown = board.latest("bsc:BNB", "USD", Duration::from_secs(60), clock.now()).await;
        assert_eq!(unknown, Err(RateError::UnknownPair { pair: "bsc:BNB/USD".to_owned() }));
    }

    #[tokio::test]
    async fn the_first_source_with_a_rate_counts() {
        let clock = Arc::new(Hands(1_000.into()));
        let down = Arc::new(Body(Mutex::new(""), 0.into()));
        let origin = Origin::Fetched { upstream: down, path: "p".into(), pointer: "/p".into() };
        let source =
            |name: &str, origin| RateSource::new(name.parse().expect("a name"), "USD".into(), "EUR".into(), origin);
        let sources =
            vec![source("one", origin).expect("sound"), source("two", Origin::Fixed("0.9".into())).expect("sound")];
        let board = RateBoard::new(sources, Arc::clone(&clock) as _);
        let quote = board.latest("USD", "EUR", Duration::ZERO, clock.now()).await.expect("the second has one");
        assert_eq!((quote.rate.as_str(), quote.provider.as_str()), ("0.9", "two"));
        assert!(source("three", Origin::Fixed("0".into())).is_err());
    }
}
