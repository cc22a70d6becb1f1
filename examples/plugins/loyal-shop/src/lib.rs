//! Example rules of a shop that trusts its customers: a small shortfall passes, a customer that the shop knows gets a
//! day to pay, and late money is welcome. Everything else stays as the plugin before it in the chain proposed.

use xthonpay_sdk::{
    Advice, Call, ConfigProblem, Draft, DraftRuling, HookError, Invoice, InvoiceRules, Terms, Transfer, attr, config,
    log,
};

/// The rules. See the README for their settings.
pub struct LoyalShop;

xthonpay_sdk::register!(invoice_rules: LoyalShop);

/// Metadata of an invoice by which the shop itself vouches for the customer: `loyal` = `true`.
const LOYAL_KEY: &str = "loyal";

struct Settings {
    tolerance_bps: u32,
    known_expires_in_s: u32,
}

impl Settings {
    fn read() -> Result<Self, Vec<ConfigProblem>> {
        let mut config = config::Reader::default();
        let settings = Self {
            tolerance_bps: config.within("tolerance_bps", 100, 0..=10_000),
            known_expires_in_s: config.within("known_expires_in_s", 86_400, 60..=u32::MAX),
        };
        config.finish(settings)
    }
}

fn is_known(draft: &Draft) -> bool {
    let listed = |customer: &String| config::list("known_customers").contains(customer);
    draft.customer.as_ref().is_some_and(listed) || attr(&draft.metadata, LOYAL_KEY) == Some("true")
}

impl InvoiceRules for LoyalShop {
    fn check_config() -> Result<(), Vec<ConfigProblem>> {
        Settings::read().map(drop)
    }

    fn on_draft(_call: &Call, draft: &Draft) -> Result<DraftRuling, HookError> {
        let settings = Settings::read()?;
        let proposed = draft.proposed.clone();
        let known = is_known(draft);
        // A plugin before this one may have been more generous still.
        let expires_in_s =
            if known { proposed.expires_in_s.max(settings.known_expires_in_s) } else { proposed.expires_in_s };
        if known {
            log::info("a known customer gets more time");
        }
        Ok(DraftRuling::Accept(Terms { expires_in_s, tolerance_bps: settings.tolerance_bps, ..proposed }))
    }

    fn on_payment(_call: &Call, _invoice: &Invoice, _payments: &[Transfer]) -> Result<Advice, HookError> {
        Ok(Advice::Settle)
    }
}
