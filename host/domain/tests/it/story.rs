//! Tells an invoice's story line by line and checks every line: what happened on the left, what the invoice shows on the right.
//!
//! ```text
//! a: 40            | partially_paid | -             | 0+40  | invoice.partially_paid
//! ```
//!
//! A line's left side is one of
//! - `a: 40`, `a: 40 late`, `a: 7 BNB`: payment `a` is seen in a block, of 40 units of the invoice's asset unless another is
//!   named, in time unless a moment is named;
//! - `a final`, `a orphaned`, `a seen`: payment `a` becomes final, leaves the chain, is mined again;
//! - `time: late`: the newest final block has this time;
//! - `rules: settle`, `rules: wait`, `rules: review`: the rules judge the sum that is final now; `rules: settle on 60` that
//!   they judged another sum;
//! - `merchant: cancels`, `merchant: accepts`, `merchant: refunds`, `merchant: refunds 40`, `merchant: ignores`: what the
//!   merchant decides; `merchant: cannot cancel`, `cannot accept`, `cannot refund 41`, `cannot ignore` that it may not.
//!
//! Then follow the state (with `?` while the rules must be asked), the flags, the final and the seen sum, and the events.

use std::collections::BTreeMap;
use std::time::Duration;

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::deposit::DepositState;
use xthonpay_domain::event::EventKind;
use xthonpay_domain::invoice::assessment::{Advice, Assessment, Facts, InvoiceState, PaymentFact, Ruling, assess};
use xthonpay_domain::invoice::resolution::{DecisionError, Resolution, Wish, may_cancel};
use xthonpay_domain::invoice::transition::events;
use xthonpay_domain::invoice::{MONITOR_WINDOW, Proposal, Standing, Terms, Tolerance};
use xthonpay_domain::time::Timestamp;

/// When the stories begin.
const BEGINNING: Timestamp = Timestamp::from_secs(1_700_000_000);
const INSTANT: Duration = Duration::from_millis(1);

/// Something that a story showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shown {
    Transition(InvoiceState, InvoiceState),
    Flag(&'static str),
    Event(EventKind),
}

/// Terms of a hundred units in an hour, of which `missing` may be missing.
pub(crate) fn terms(missing: u128) -> Terms {
    let tolerance = Tolerance { bps: 0, amount: Amount::from_units(missing) };
    let proposal = Proposal { expires_in: Duration::from_secs(3_600), tolerance, confirmations: 1 };
    Terms::agree(asset("USDT"), Amount::from_units(100), proposal, 1, BEGINNING).expect("possible terms")
}

fn asset(symbol: &str) -> AssetId {
    format!("bsc:{symbol}").parse().expect("well formed")
}

/// Plays a story of an invoice over a hundred units and returns everything that it showed.
///
/// # Panics
/// When a line's right side is not what the invoice shows.
pub(crate) fn play(name: &str, terms: &Terms, lines: &str) -> Vec<Shown> {
    let mut story = Story::new(terms);
    let mut shown = Vec::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (step, expected) = line.split_once('|').expect("a step and what the invoice shows");
        let before = (story.now, story.resolution.clone());
        let before = Standing { assessment: &before.0, resolution: before.1.as_ref() };
        story.take(step.trim());
        let expected: Vec<&str> = expected.split('|').map(str::trim).collect();
        assert_eq!(story.show(before), expected, "{name}: {line}");
        shown.extend(story.shown(before));
    }
    shown
}

struct Story<'a> {
    terms: &'a Terms,
    payments: BTreeMap<String, PaymentFact>,
    finalized_time: Timestamp,
    ruling: Option<Ruling>,
    resolution: Option<Resolution>,
    now: Assessment,
}

impl<'a> Story<'a> {
    fn new(terms: &'a Terms) -> Self {
        let now = Assessment::initial(terms);
        Self { terms, payments: BTreeMap::new(), finalized_time: BEGINNING, ruling: None, resolution: None, now }
    }

    fn take(&mut self, step: &str) {
        match step.split_once(": ") {
            Some(("time", when)) => self.finalized_time = self.moment(when),
            Some(("rules", words)) => self.ruling = Some(self.ruling(words)),
            Some(("merchant", "cancels")) => may_cancel(&self.now).expect("may be cancelled"),
            Some(("merchant", "cannot cancel")) => assert!(may_cancel(&self.now).is_err(), "can be cancelled"),
            Some(("merchant", words)) => match words.strip_prefix("cannot ") {
                Some(words) => {
                    let granted = self.decide(words);
                    assert!(granted.is_err(), "{words}: {granted:?}");
                }
                None => self.resolution = Some(self.decide(words).expect("may be decided")),
            },
            Some((payment, words)) => {
                let fact = self.sighting(words);
                self.payments.insert(payment.to_owned(), fact);
            }
            None => {
                let (payment, word) = step.split_once(' ').expect("a payment and what happens to it");
                let payment = self.payments.get_mut(payment).expect("a payment that was seen");
                payment.state = match word {
                    "final" => DepositState::Final,
                    "orphaned" => DepositState::Orphaned,
                    "seen" => DepositState::Seen,
                    _ => unreachable!("{word} cannot happen to a payment"),
                };
                payment.reorged |= word == "orphaned";
            }
        }
        let payments = self.facts();
        let facts = Facts {
            payments: &payments,
            finalized_time: self.finalized_time,
            before: self.now.state,
            flags_before: self.now.flags,
            ruling: self.ruling,
            cancels: step == "merchant: cancels",
            resolution: self.resolution.as_ref(),
        };
        self.now = assess(self.terms, facts).expect("small sums");
    }

    fn facts(&self) -> Vec<PaymentFact> {
        self.payments.values().cloned().collect()
    }

    fn standing(&self) -> Standing<'_> {
        Standing { assessment: &self.now, resolution: self.resolution.as_ref() }
    }

    /// What a merchant decides, if it may.
    fn decide(&self, words: &str) -> Result<Resolution, DecisionError> {
        let (word, amount) = words.split_once(' ').unwrap_or((words, ""));
        let wish = match word {
            "accepts" | "accept" => Wish::Accept,
            "ignores" | "ignore" => Wish::Ignore,
            "refunds" | "refund" => {
                let amount = (!amount.is_empty()).then(|| Amount::parse_units(amount).expect("an amount"));
                Wish::Refund { to: Address::new([7; 20]), amount }
            }
            _ => unreachable!("{words} is no decision"),
        };
        Resolution::grant(wish, self.terms, self.standing(), &self.facts(), BEGINNING)
    }

    fn moment(&self, when: &str) -> Timestamp {
        match when {
            "" => BEGINNING,
            "on the dot" => self.terms.expires_at,
            "late" => self.terms.expires_at.after(INSTANT),
            "last chance" => self.terms.expires_at.after(MONITOR_WINDOW),
            "too late" => self.terms.expires_at.after(MONITOR_WINDOW).after(INSTANT),
            _ => unreachable!("{when} is no moment"),
        }
    }

    fn ruling(&self, words: &str) -> Ruling {
        let (word, judged) = match words.split_once(" on ") {
            Some((word, sum)) => (word, Amount::parse_units(sum).expect("a sum")),
            None => (words, self.now.received),
        };
        let advice = match word {
            "settle" => Advice::Settle,
            "wait" => Advice::Wait,
            "review" => Advice::Review,
            _ => unreachable!("{word} is no advice"),
        };
        Ruling { advice, judged }
    }

    fn sighting(&self, words: &str) -> PaymentFact {
        let (amount, rest) = words.split_once(' ').unwrap_or((words, ""));
        let (symbol, when) = match rest.strip_prefix("BNB") {
            Some(when) => ("BNB", when.trim()),
            None => ("USDT", rest),
        };
        PaymentFact {
            asset: asset(symbol),
            amount: Amount::parse_units(amount).expect("an amount"),
            block_time: self.moment(when),
            state: DepositState::Seen,
            reorged: false,
        }
    }

    /// The right side of a line.
    fn show(&self, before: Standing<'_>) -> Vec<String> {
        let now = &self.now;
        let joined = |words: Vec<&str>| if words.is_empty() { "-".to_owned() } else { words.join(", ") };
        let asks = if now.awaits_ruling { "?" } else { "" };
        vec![
            format!("{}{asks}", now.state.name()),
            joined(now.flags.names().collect()),
            format!("{}+{}", now.received, now.pending),
            joined(events(before, self.standing()).into_iter().map(EventKind::name).collect()),
        ]
    }

    fn shown(&self, before: Standing<'_>) -> Vec<Shown> {
        let (from, to) = (before.assessment.state, self.now.state);
        let moved = (from != to).then_some(Shown::Transition(from, to));
        let flags = self.now.flags.names().map(Shown::Flag);
        moved.into_iter().chain(flags).chain(events(before, self.standing()).into_iter().map(Shown::Event)).collect()
    }
}
