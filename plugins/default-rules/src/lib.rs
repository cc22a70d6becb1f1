//! The rules that invoices follow unless an operator chooses others: a lifetime within bounds, a tolerance and
//! confirmations from the settings, and a choice for payments that come late. Stores nothing and calls nobody.

use std::str::FromStr;

use xthonpay_sdk::{
    Advice, Call, ConfigProblem, Decimal, Draft, DraftRuling, HookError, Invoice, InvoiceRules, Terms, Transfer, config,
};

/// The shortest lifetime that a merchant may ask for: less is over before a buyer has opened a wallet.
const EXPIRES_IN_S_MIN: u32 = 60;

/// The longest lifetime unless the operator sets another: 30 days.
const EXPIRES_IN_S_MAX_DEFAULT: u32 = 30 * 86_400;

/// The lifetime unless the operator sets another: an hour.
const EXPIRES_IN_S_DEFAULT: u32 = 3_600;

/// The whole price, in basis points.
const BPS_MAX: u32 = 10_000;

/// The rules. See the crate's README for their settings.
pub struct DefaultRules;

xthonpay_sdk::register!(invoice_rules: DefaultRules);

/// What becomes of a payment that reached the target after the invoice expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    Review,
    Accept,
}

impl FromStr for Late {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "review" => Ok(Self::Review),
            "accept" => Ok(Self::Accept),
            _ => Err("write `review` or `accept`"),
        }
    }
}

struct Settings {
    expires_in_s: u32,
    max_expires_in_s: u32,
    tolerance_bps: u32,
    tolerance_amount: Decimal,
    confirmations: u32,
    late: Late,
}

impl Settings {
    fn read() -> Result<Self, Vec<ConfigProblem>> {
        let mut config = config::Reader::default();
        let settings = Self {
            expires_in_s: config.within("expires_in_s", EXPIRES_IN_S_DEFAULT, EXPIRES_IN_S_MIN..=u32::MAX),
            max_expires_in_s: config.within("max_expires_in_s", EXPIRES_IN_S_MAX_DEFAULT, EXPIRES_IN_S_MIN..=u32::MAX),
            tolerance_bps: config.within("tolerance_bps", 0, 0..=BPS_MAX),
            tolerance_amount: config.or("tolerance_amount", Decimal::ZERO),
            confirmations: config.or("confirmations", 0),
            late: config.or("late", Late::Review),
        };
        if settings.expires_in_s > settings.max_expires_in_s {
            config.problem("expires_in_s", "longer than max_expires_in_s");
        }
        config.finish(settings)
    }

    /// What the merchant asked for, within the bounds; the settings' own lifetime when it asked for nothing.
    fn lifetime_s(&self, requested_s: Option<u32>) -> u32 {
        requested_s.map_or(self.expires_in_s, |wanted| wanted.clamp(EXPIRES_IN_S_MIN, self.max_expires_in_s))
    }
}

impl InvoiceRules for DefaultRules {
    fn check_config() -> Result<(), Vec<ConfigProblem>> {
        Settings::read().map(drop)
    }

    fn on_draft(_call: &Call, draft: &Draft) -> Result<DraftRuling, HookError> {
        let settings = Settings::read()?;
        Ok(DraftRuling::Accept(Terms {
            expires_in_s: settings.lifetime_s(draft.requested_expiry_s),
            tolerance_bps: settings.tolerance_bps,
            tolerance_amount: settings.tolerance_amount,
            confirmations: settings.confirmations,
            attrs: draft.proposed.attrs.clone(),
        }))
    }

    fn on_payment(_call: &Call, invoice: &Invoice, _payments: &[Transfer]) -> Result<Advice, HookError> {
        let late_is_fine = Settings::read()?.late == Late::Accept;
        Ok(if invoice.late && !late_is_fine { Advice::Review } else { Advice::Settle })
    }
}
