//! Example rules that remember: a customer who has paid often enough gets a day to pay and a little tolerance.
//!
//! Paid invoices are counted in the plugin's storage. A count is stored together with the ruling that it stands for, or not at
//! all; the key of the invoice beside it keeps a payment that is judged twice from counting twice.

use xthonpay_sdk::storage::Space;
use xthonpay_sdk::{
    Advice, Call, ConfigProblem, Draft, DraftRuling, HookError, Invoice, InvoiceRules, Terms, Transfer, config, log,
};

/// The rules. See the README for their settings.
pub struct Regulars;

xthonpay_sdk::register!(invoice_rules: Regulars);

/// The label of the space.
const CUSTOMERS: &str = "customers";

/// How long a counted invoice is remembered, in seconds: payments are judged again for minutes at the most.
const COUNTED_S: u32 = 30 * 86_400;

struct Settings {
    visits: u64,
    expires_in_s: u32,
    tolerance_bps: u32,
}

impl Settings {
    fn read() -> Result<Self, Vec<ConfigProblem>> {
        let mut config = config::Reader::default();
        let settings = Self {
            visits: config.within("visits", 3, 1..=1_000_000),
            expires_in_s: config.within("expires_in_s", 86_400, 60..=u32::MAX),
            tolerance_bps: config.within("tolerance_bps", 50, 0..=10_000),
        };
        config.finish(settings)
    }
}

fn visits_key(customer: &str) -> String {
    format!("visits/{customer}")
}

impl InvoiceRules for Regulars {
    fn check_config() -> Result<(), Vec<ConfigProblem>> {
        Settings::read().map(drop)
    }

    fn on_draft(_call: &Call, draft: &Draft) -> Result<DraftRuling, HookError> {
        let settings = Settings::read()?;
        let proposed = draft.proposed.clone();
        let Some(customer) = &draft.customer else { return Ok(DraftRuling::Accept(proposed)) };
        let visits = Space::open(CUSTOMERS)?.text(&visits_key(customer))?;
        let visits = visits.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        if visits < settings.visits {
            return Ok(DraftRuling::Accept(proposed));
        }
        log::info("a regular gets more time");
        // A plugin before this one may have been more generous still.
        let expires_in_s = proposed.expires_in_s.max(settings.expires_in_s);
        let tolerance_bps = proposed.tolerance_bps.max(settings.tolerance_bps);
        Ok(DraftRuling::Accept(Terms { expires_in_s, tolerance_bps, ..proposed }))
    }

    fn on_payment(_call: &Call, invoice: &Invoice, _payments: &[Transfer]) -> Result<Advice, HookError> {
        if let Some(customer) = &invoice.customer {
            let (space, counted) = (Space::open(CUSTOMERS)?, format!("counted/{}", invoice.id));
            if space.get(&counted)?.is_none() {
                space.count(&visits_key(customer), 1)?;
                space.put(&counted, b"1", Some(COUNTED_S))?;
            }
        }
        // Late money is for a person to judge, as without this plugin.
        Ok(if invoice.late { Advice::Review } else { Advice::Settle })
    }
}
