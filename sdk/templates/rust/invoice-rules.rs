//! Rules for invoices: how long they wait, which are refused, and what becomes of late money.
//!
//! What each function is asked and may answer stands in xthonpay/wit/invoice-rules.wit.

use xthonpay_sdk::{
    About, Advice, Call, ConfigProblem, Draft, DraftRuling, HookError, Invoice, InvoiceRules, Terms, Transfer, config,
    log,
};

/// The plugin.
pub struct Rules;

xthonpay_sdk::register!(invoice_rules: Rules);

impl InvoiceRules for Rules {
    /// Name and version are those of Cargo.toml.
    fn describe(cargo: About) -> About {
        About { notes: String::from("Rules for invoices."), ..cargo }
    }

    /// Tells every problem of the settings at once. With any the plugin does not load.
    fn check_config() -> Result<(), Vec<ConfigProblem>> {
        expires_in_s().map(drop)
    }

    fn on_draft(_call: &Call, draft: &Draft) -> Result<DraftRuling, HookError> {
        if draft.external_id.is_none() {
            log::info("refused an invoice without an order");
            return Ok(DraftRuling::refuse("order_missing", "Name the order in external_id."));
        }
        let expires_in_s = match draft.requested_expiry_s {
            Some(asked) => asked,
            None => expires_in_s()?,
        };
        Ok(DraftRuling::Accept(Terms { expires_in_s, ..draft.proposed.clone() }))
    }

    fn on_payment(_call: &Call, invoice: &Invoice, _payments: &[Transfer]) -> Result<Advice, HookError> {
        if !invoice.late {
            return Ok(Advice::Settle);
        }
        log::info(&format!("{} was paid late: a person decides", invoice.id));
        Ok(Advice::Review)
    }
}

fn expires_in_s() -> Result<u32, Vec<ConfigProblem>> {
    let mut config = config::Reader::default();
    // The host fills in the default of plugin.toml. This one is for tests, which run without it.
    let seconds = config.within("expires_in_s", 1_800, 60..=2_592_000);
    config.finish(seconds)
}
