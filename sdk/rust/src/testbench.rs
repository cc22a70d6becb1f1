//! A bench to call hooks on in ordinary `#[test]`s, with no host and no wasm: it answers settings and the clock, and
//! keeps what was logged. It enforces no limits and no grants: the host does, on the built component, and
//! `xthonpay check --offline` tells whether it would load it.
//!
//! ```
//! use xthonpay_sdk::testbench::{Bench, draft};
//! use xthonpay_sdk::{DraftRuling, InvoiceRules};
//!
//! struct Defaults;
//! impl InvoiceRules for Defaults {}
//!
//! let bench = Bench::new().config("tolerance_bps", "50").at(1_700_000_000_000);
//! let draft = draft("bsc:USDT", "50.00");
//! let ruling = bench.run(|call| Defaults::on_draft(call, &draft));
//! assert_eq!(ruling, Ok(DraftRuling::Accept(draft.proposed.clone())));
//! assert!(bench.logs().is_empty());
//! ```

use core::cell::RefCell;
use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;

use crate::invoice_rules::{Draft, Invoice, InvoiceState, Terms, Transfer};
use crate::log::Level;
use crate::money::Money;
use crate::plugin::{Attrs, Call, Millis};
use crate::webhook_format::Event;
use crate::withdrawal_policy::WithdrawalRequest;
use crate::{Decimal, DecimalError};

/// The bench's time until a test sets another: 2026-01-01T00:00:00Z.
const START: Millis = 1_767_225_600_000;

/// How long an invoice of [`draft`] waits unless a rule says otherwise, in seconds.
const PROPOSED_EXPIRY_S: u32 = 3_600;

/// A line that a plugin logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub text: String,
    /// Its fields.
    pub fields: Attrs,
}

/// What the capabilities answer while a hook runs.
#[derive(Clone, Debug, Default)]
struct Host {
    config: BTreeMap<String, String>,
    now: Millis,
    logs: Vec<LogLine>,
}

thread_local! {
    /// The host of this thread. Tests run in threads of their own, so benches do not see each other.
    static HOST: RefCell<Host> = RefCell::default();
}

/// A host for one plugin in a native test.
#[derive(Clone, Debug)]
pub struct Bench {
    host: RefCell<Host>,
    merchant_id: String,
    attempt: u32,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    /// A bench without settings, at 2026-01-01T00:00:00Z, for the merchant `merchant-1`.
    pub fn new() -> Self {
        let host = Host { now: START, ..Host::default() };
        Self { host: RefCell::new(host), merchant_id: String::from("merchant-1"), attempt: 1 }
    }

    /// Sets a key of the plugin's settings. The manifest's defaults are not filled in: set what the test needs.
    #[must_use]
    pub fn config(self, key: &str, value: &str) -> Self {
        self.host.borrow_mut().config.insert(String::from(key), String::from(value));
        self
    }

    /// Sets the time.
    #[must_use]
    pub fn at(self, now: Millis) -> Self {
        self.host.borrow_mut().now = now;
        self
    }

    /// Sets the merchant of the calls.
    #[must_use]
    pub fn merchant(mut self, id: &str) -> Self {
        self.merchant_id = String::from(id);
        self
    }

    /// Sets the number of the try.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Runs a hook with this bench as its host.
    pub fn run<R>(&self, hook: impl FnOnce(&Call) -> R) -> R {
        let call = Call {
            id: String::from("call-1"),
            merchant_id: self.merchant_id.clone(),
            at: self.host.borrow().now,
            attempt: self.attempt,
            attrs: Attrs::new(),
        };
        HOST.with(|host| host.swap(&self.host));
        let _swap_back = SwapBack(&self.host);
        hook(&call)
    }

    /// What was logged so far.
    pub fn logs(&self) -> Vec<LogLine> {
        self.host.borrow().logs.clone()
    }
}

/// Gives a bench its host back, even when the hook panics.
struct SwapBack<'a>(&'a RefCell<Host>);

impl Drop for SwapBack<'_> {
    fn drop(&mut self) {
        HOST.with(|host| host.swap(self.0));
    }
}

pub(crate) fn config_get(key: &str) -> Option<String> {
    HOST.with_borrow(|host| host.config.get(key).cloned())
}

pub(crate) fn config_entries() -> Attrs {
    HOST.with_borrow(|host| host.config.clone().into_iter().collect())
}

pub(crate) fn clock_now() -> Millis {
    HOST.with_borrow(|host| host.now)
}

pub(crate) fn log_write(level: Level, text: &str, fields: &[(String, String)]) {
    let line = LogLine { level, text: String::from(text), fields: fields.to_vec() };
    HOST.with_borrow_mut(|host| host.logs.push(line));
}

/// An amount for a test.
///
/// # Panics
/// When the text is not a decimal: the test is wrong then.
#[track_caller]
pub fn amount(text: &str) -> Decimal {
    Decimal::parse(text).unwrap_or_else(|error: DecimalError| unreachable!("`{text}` is not a decimal: {error}"))
}

/// A draft of an invoice at that price, with plain proposed terms: an hour, no tolerance, the chain's confirmations.
///
/// # Panics
/// When the amount is not a decimal.
#[track_caller]
pub fn draft(asset: &str, price: &str) -> Draft {
    Draft {
        price: Money::new(asset, amount(price)),
        external_id: None,
        customer: None,
        requested_expiry_s: None,
        proposed: Terms {
            expires_in_s: PROPOSED_EXPIRY_S,
            tolerance_bps: 0,
            tolerance_amount: Decimal::ZERO,
            confirmations: 0,
            attrs: Attrs::new(),
        },
        metadata: Attrs::new(),
        attrs: Attrs::new(),
    }
}

/// An invoice at that price of which that much is final, in time.
///
/// # Panics
/// When an amount is not a decimal.
#[track_caller]
pub fn invoice(asset: &str, price: &str, received_final: &str) -> Invoice {
    Invoice {
        id: String::from("inv_1"),
        external_id: None,
        customer: None,
        state: InvoiceState::Confirming,
        price: Money::new(asset, amount(price)),
        received_final: amount(received_final),
        received_seen: Decimal::ZERO,
        created: START,
        expires: START + u64::from(PROPOSED_EXPIRY_S) * 1_000,
        late: false,
        metadata: Attrs::new(),
        attrs: Attrs::new(),
    }
}

/// A final transfer of that much to the invoice's address.
///
/// # Panics
/// When the amount is not a decimal.
#[track_caller]
pub fn transfer(asset: &str, moved: &str) -> Transfer {
    let value = Money::new(asset, amount(moved));
    Transfer {
        chain: String::from(value.chain()),
        tx: std::format!("0x{:064x}", 1),
        value,
        to: None,
        block: 1_000,
        block_time: START + 1_000,
        confirmations: 3,
        is_final: true,
        attrs: Attrs::new(),
    }
}

/// A withdrawal of that much to a destination that was never used, by a key, with nothing withdrawn before.
///
/// # Panics
/// When the amount is not a decimal.
#[track_caller]
pub fn withdrawal(asset: &str, moved: &str) -> WithdrawalRequest {
    let value = Money::new(asset, amount(moved));
    WithdrawalRequest {
        id: String::from("wd_1"),
        chain: String::from(value.chain()),
        destination: String::from("0x52908400098527886E0F7030069857D2E4169EE7"),
        amount: value,
        requested_by: String::from("key:xpk_live_1"),
        requested: START,
        total_24h: Vec::new(),
        destination_uses: 0,
        attrs: Attrs::new(),
    }
}

/// An event of that kind with that data.
pub fn event(kind: &str, data_json: &str) -> Event {
    Event {
        id: String::from("evt_1"),
        kind: String::from(kind),
        created: START,
        sequence: 1,
        data_json: String::from(data_json),
        attrs: Attrs::new(),
    }
}
