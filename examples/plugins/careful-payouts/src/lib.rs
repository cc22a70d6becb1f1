//! Example policy for withdrawals: the larger the amount and the newer the destination, the more people have to agree.

use xthonpay_sdk::{
    Call, ConfigProblem, Decimal, HookError, Ruling, Verdict, WithdrawalPolicy, WithdrawalRequest, config, log,
};

/// The policy. See the README for its settings.
pub struct CarefulPayouts;

xthonpay_sdk::register!(withdrawal_policy: CarefulPayouts);

struct Settings {
    code_above: Decimal,
    approval_above: Decimal,
    daily_max: Decimal,
    new_destination: Ruling,
}

impl Settings {
    fn read() -> Result<Self, Vec<ConfigProblem>> {
        let mut config = config::Reader::default();
        let settings = Self {
            code_above: config.or("code_above", Decimal::from(100_u64)),
            approval_above: config.or("approval_above", Decimal::from(1_000_u64)),
            daily_max: config.or("daily_max", Decimal::from(5_000_u64)),
            new_destination: new_destination(&mut config),
        };
        if settings.approval_above < settings.code_above {
            config.problem("approval_above", "is below code_above, so nothing would ever ask for a code");
        }
        config.finish(settings)
    }
}

fn new_destination(config: &mut config::Reader) -> Ruling {
    match config.or("new_destination", String::from("code")).as_str() {
        "allow" => Ruling::Allow,
        "code" => Ruling::RequireTotp,
        "approval" => Ruling::RequireApproval,
        "deny" => Ruling::Deny,
        other => {
            config.problem("new_destination", format!("`{other}` is none of allow, code, approval, deny"));
            Ruling::Deny
        }
    }
}

/// How strict a ruling is: the contract lists them from the mildest to the strictest.
fn strictness(verdict: &Verdict) -> u8 {
    match verdict.ruling {
        Ruling::Allow => 0,
        Ruling::RequireTotp => 1,
        Ruling::RequireApproval => 2,
        Ruling::Deny => 3,
    }
}

fn by_amount(settings: &Settings, amount: Decimal) -> Verdict {
    if amount > settings.approval_above {
        let message = format!("Above {} a second person has to approve.", settings.approval_above);
        Verdict::tighten(Ruling::RequireApproval, "large_amount", message)
    } else if amount > settings.code_above {
        let message = format!("Above {} a one-time code is needed.", settings.code_above);
        Verdict::tighten(Ruling::RequireTotp, "large_amount", message)
    } else {
        Verdict::allow()
    }
}

fn by_day(settings: &Settings, request: &WithdrawalRequest) -> Result<Verdict, HookError> {
    let mut total = request.amount.amount;
    for before in request.total_24h.iter().filter(|before| before.asset == request.amount.asset) {
        let sum = total.checked_add(before.amount);
        total = sum.ok_or_else(|| HookError::bad_input("total_too_large", "the total of the day has no number"))?;
    }
    if total <= settings.daily_max {
        return Ok(Verdict::allow());
    }
    let message = format!("At most {} {} may leave in 24 hours.", settings.daily_max, request.amount.symbol());
    Ok(Verdict::tighten(Ruling::Deny, "daily_maximum", message))
}

fn by_destination(settings: &Settings, request: &WithdrawalRequest) -> Verdict {
    if request.destination_uses > 0 || settings.new_destination == Ruling::Allow {
        return Verdict::allow();
    }
    Verdict::tighten(settings.new_destination, "new_destination", "Nothing was ever withdrawn to this address.")
}

impl WithdrawalPolicy for CarefulPayouts {
    fn check_config() -> Result<(), Vec<ConfigProblem>> {
        Settings::read().map(drop)
    }

    fn review(_call: &Call, request: &WithdrawalRequest) -> Result<Verdict, HookError> {
        let settings = Settings::read()?;
        let verdicts = [
            by_day(&settings, request)?,
            by_amount(&settings, request.amount.amount),
            by_destination(&settings, request),
        ];
        let verdict = verdicts.into_iter().max_by_key(strictness).unwrap_or_else(Verdict::allow);
        if verdict.ruling != Ruling::Allow {
            log::info(&format!("{}: {}", request.id, verdict.code));
        }
        Ok(verdict)
    }
}
