//! A bench to call hooks on in ordinary `#[test]`s, with no host and no wasm: it answers settings, the clock and
//! what a test lends, and keeps what was logged and stored. It enforces no limits and no grants: the host does, on the built component, and
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

pub(crate) mod loans;

use core::cell::RefCell;
use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;

use crate::bot_flow::{Happening, Update};
use crate::chain::Tip;
use crate::error::{Detail, HostError};
use crate::http::{Request, Response};
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
    loans: loans::Loans,
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

    /// Lends a space of storage, empty.
    #[must_use]
    pub fn space(self, label: &str) -> Self {
        self.host.borrow_mut().loans.spaces.entry(String::from(label)).or_default();
        self
    }

    /// Lends a space of storage that holds a value.
    #[must_use]
    pub fn stored(self, label: &str, key: &str, value: &str) -> Self {
        let kept = loans::Kept { value: value.as_bytes().to_vec(), revision: 0, expires_at: None };
        self.host.borrow_mut().loans.spaces.entry(String::from(label)).or_default().insert(String::from(key), kept);
        self
    }

    /// What a space holds under a key, as text.
    pub fn value(&self, label: &str, key: &str) -> Option<String> {
        let host = self.host.borrow();
        let kept = host.loans.spaces.get(label)?.get(key)?;
        String::from_utf8(kept.value.clone()).ok()
    }

    /// Lends an upstream, with the status and body of its next answer. Call it again for the answers after that.
    #[must_use]
    pub fn upstream(self, label: &str, status: u16, body: &str) -> Self {
        let body = body.as_bytes().to_vec();
        let answer = Response { status, headers: Attrs::new(), body, attrs: Attrs::new() };
        self.host.borrow_mut().loans.upstreams.entry(String::from(label)).or_default().push_back(Ok(answer));
        self
    }

    /// Lends an upstream that cannot be reached, after the answers that were laid out before.
    #[must_use]
    pub fn upstream_down(self, label: &str) -> Self {
        let down = HostError::Unavailable(Detail::new("upstream", "no connection could be made"));
        self.host.borrow_mut().loans.upstreams.entry(String::from(label)).or_default().push_back(Err(down));
        self
    }

    /// The requests so far, with the label of the upstream of each.
    pub fn requests(&self) -> Vec<(String, Request)> {
        self.host.borrow().loans.requests.clone()
    }

    /// Lends a rate, taken at the bench's time.
    ///
    /// # Panics
    /// When the rate is not a decimal.
    #[must_use]
    #[track_caller]
    pub fn rate(self, base: &str, counter: &str, rate: &str) -> Self {
        let rate = std::format!("{}", amount(rate));
        let taken = self.host.borrow().now;
        let quote = crate::raw::base::xthonpay::host::rates::Quote {
            rate,
            taken,
            provider: String::from("bench"),
            attrs: Attrs::new(),
        };
        self.host.borrow_mut().loans.rates.insert((String::from(base), String::from(counter)), quote);
        self
    }

    /// Lends a chain whose scanner stands at a block with that time.
    #[must_use]
    pub fn chain(self, name: &str, height: u64, block_time: Millis) -> Self {
        let tip = Tip {
            height,
            hash: std::format!("0x{height:064x}"),
            block_time,
            final_height: Some(height.saturating_sub(2)),
            attrs: Attrs::new(),
        };
        self.host.borrow_mut().loans.chains.entry(String::from(name)).or_default().tip = Some(tip);
        self
    }

    /// Sets what a transaction costs on a chain.
    ///
    /// # Panics
    /// When an amount is not a decimal.
    #[must_use]
    #[track_caller]
    pub fn fee(self, chain: &str, asset: &str, per_gas: &str, token_transfer: &str) -> Self {
        let fee = crate::raw::base::xthonpay::host::chain::FeeEstimate {
            asset: String::from(asset),
            per_gas: std::format!("{}", amount(per_gas)),
            token_transfer: std::format!("{}", amount(token_transfer)),
            attrs: Attrs::new(),
        };
        self.host.borrow_mut().loans.chains.entry(String::from(chain)).or_default().fee = Some(fee);
        self
    }

    /// Lends a signer for these purposes. A bench has no key: what stands for the signature is the purpose, `|` and the message.
    #[must_use]
    pub fn signer(self, label: &str, purposes: &[&str]) -> Self {
        let purposes = purposes.iter().map(|purpose| String::from(*purpose)).collect();
        self.host.borrow_mut().loans.signers.insert(String::from(label), purposes);
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

/// An update of a chat by a person who may read and write.
pub fn update(what: Happening) -> Update {
    Update {
        id: String::from("upd_1"),
        channel: String::from("telegram"),
        chat: String::from("chat-1"),
        user: String::from("user-1"),
        language: Some(String::from("en")),
        scopes: ["read", "write"].map(String::from).to_vec(),
        what,
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
