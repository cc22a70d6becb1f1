//! Example policy that looks at the chain: while the host has not seen a new block for a while, a second person has to approve;
//! and what is hardly worth its own fee is denied.

use xthonpay_sdk::chain::Network;
use xthonpay_sdk::{
    Call, ConfigProblem, HookError, Ruling, Verdict, WithdrawalPolicy, WithdrawalRequest, clock, config,
};

/// The policy. See the README for its settings.
pub struct ChainWatch;

xthonpay_sdk::register!(withdrawal_policy: ChainWatch);

struct Settings {
    stale_s: u32,
    fee_times: u64,
}

impl Settings {
    fn read() -> Result<Self, Vec<ConfigProblem>> {
        let mut config = config::Reader::default();
        let settings = Self {
            stale_s: config.within("stale_s", 120, 1..=86_400),
            fee_times: config.within("fee_times", 20, 0..=1_000_000),
        };
        config.finish(settings)
    }
}

impl WithdrawalPolicy for ChainWatch {
    fn check_config() -> Result<(), Vec<ConfigProblem>> {
        Settings::read().map(drop)
    }

    fn review(_call: &Call, request: &WithdrawalRequest) -> Result<Verdict, HookError> {
        let settings = Settings::read()?;
        let network = Network::open(&request.chain)?;
        let fee = network.fee()?;
        if fee.asset == request.amount.asset {
            let too_large = || HookError::other("fee_too_large", "the fee has no number");
            let least = fee.token_transfer.checked_mul(settings.fee_times).ok_or_else(too_large)?;
            if request.amount.amount < least {
                let message = format!("Less than {least} {} is hardly worth its fee.", request.amount.symbol());
                return Ok(Verdict::tighten(Ruling::Deny, "below_fee", message));
            }
        }
        let age_ms = clock::now().saturating_sub(network.tip()?.block_time);
        if age_ms > u64::from(settings.stale_s) * 1_000 {
            let message = format!("No new block was seen for {} s: a second person has to approve.", age_ms / 1_000);
            return Ok(Verdict::tighten(Ruling::RequireApproval, "chain_stale", message));
        }
        Ok(Verdict::allow())
    }
}
