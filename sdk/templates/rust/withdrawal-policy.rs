//! A policy for withdrawals: a most for each, and a one-time code for the first one to an address.
//!
//! What each function is asked and may answer stands in xthonpay/wit/withdrawal-policy.wit.

use xthonpay_sdk::{
    About, Call, ConfigProblem, Decimal, HookError, Ruling, Verdict, WithdrawalPolicy, WithdrawalRequest, config, log,
};

/// The plugin.
pub struct Policy;

xthonpay_sdk::register!(withdrawal_policy: Policy);

impl WithdrawalPolicy for Policy {
    /// Name and version are those of Cargo.toml.
    fn describe(cargo: About) -> About {
        About { notes: String::from("A policy for withdrawals."), ..cargo }
    }

    /// Tells every problem of the settings at once. With any the plugin does not load.
    fn check_config() -> Result<(), Vec<ConfigProblem>> {
        largest().map(drop)
    }

    fn review(_call: &Call, request: &WithdrawalRequest) -> Result<Verdict, HookError> {
        let verdict = judge(request, largest()?);
        if verdict.ruling != Ruling::Allow {
            log::info(&format!("{}: {}", request.id, verdict.code));
        }
        Ok(verdict)
    }
}

fn judge(request: &WithdrawalRequest, largest: Decimal) -> Verdict {
    if request.amount.amount > largest {
        let message = format!("At most {largest} {} may be withdrawn at once.", request.amount.symbol());
        return Verdict::tighten(Ruling::Deny, "amount_too_large", message);
    }
    if request.destination_uses == 0 {
        let message = "Nothing was ever withdrawn to this address.";
        return Verdict::tighten(Ruling::RequireTotp, "new_destination", message);
    }
    Verdict::allow()
}

fn largest() -> Result<Decimal, Vec<ConfigProblem>> {
    let mut config = config::Reader::default();
    // The host fills in the default of plugin.toml. This one is for tests, which run without it.
    let largest = config.or("largest", Decimal::from(1_000));
    if largest.is_zero() {
        config.problem("largest", "is 0, so that every withdrawal would be denied");
    }
    config.finish(largest)
}
