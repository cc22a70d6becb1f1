//! The hook that reviews withdrawals: its trait, and its values with exact amounts in place of texts.

use std::string::String;
use std::vec::Vec;

use crate::error::HookError;
use crate::money::Money;
use crate::plugin::{About, Attrs, Call, ConfigProblem, Millis};
use crate::raw::base::xthonpay::host::types;
use crate::raw::withdrawal_policy::exports::xthonpay::hooks::withdrawal_policy as raw;
pub use crate::raw::withdrawal_policy::exports::xthonpay::hooks::withdrawal_policy::{Ruling, Verdict};

/// A policy for withdrawals. Implement `review`, and register the type:
/// `xthonpay_sdk::register!(withdrawal_policy: MyPolicy)`.
///
/// A policy can only tighten: the host applies its own rules as well, and the strictest answer of all counts. A policy that
/// fails denies.
pub trait WithdrawalPolicy {
    /// Tells who the plugin is; by default what its `Cargo.toml` says.
    fn describe(cargo: About) -> About {
        cargo
    }

    /// Tells every setting that the plugin cannot work with; by default there is none.
    ///
    /// # Errors
    /// All problems at once. The plugin does not load with any.
    fn check_config() -> Result<(), Vec<ConfigProblem>> {
        Ok(())
    }

    /// Decides how a withdrawal may go on. May be called repeatedly for one request. By default it goes on.
    ///
    /// # Errors
    /// When there is no answer; the host then denies the request.
    fn review(_call: &Call, _request: &WithdrawalRequest) -> Result<Verdict, HookError> {
        Ok(Verdict::allow())
    }
}

/// A withdrawal that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithdrawalRequest {
    /// The withdrawal's id.
    pub id: String,
    /// The chain's name in the operator's configuration.
    pub chain: String,
    /// Where the money shall go, in the chain's own spelling.
    pub destination: String,
    /// How much.
    pub amount: Money,
    /// Who asked: `key:<id>`, `chat:<user>`, `admin`.
    pub requested_by: String,
    /// When it was asked for.
    pub requested: Millis,
    /// What the merchant withdrew in the 24 hours before, one per asset, this request not counted.
    pub total_24h: Vec<Money>,
    /// How many withdrawals of the merchant to this destination are final.
    pub destination_uses: u32,
    /// Extra values of later minor versions.
    pub attrs: Attrs,
}

impl TryFrom<raw::Request> for WithdrawalRequest {
    type Error = HookError;

    fn try_from(raw: raw::Request) -> Result<Self, HookError> {
        Ok(Self {
            id: raw.id,
            chain: raw.chain,
            destination: raw.destination,
            amount: raw.amount.try_into()?,
            requested_by: raw.requested_by,
            requested: raw.requested,
            total_24h: raw.total_24h.into_iter().map(Money::try_from).collect::<Result<_, _>>()?,
            destination_uses: raw.destination_uses,
            attrs: raw.attrs,
        })
    }
}

impl Verdict {
    /// Go on, as far as this plugin is concerned.
    pub fn allow() -> Self {
        Self { ruling: Ruling::Allow, code: String::new(), message: String::new(), attrs: Vec::new() }
    }

    /// Anything stricter, with a stable word for programs and a sentence for the merchant.
    pub fn tighten(ruling: Ruling, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { ruling, code: code.into(), message: message.into(), attrs: Vec::new() }
    }
}

/// Carries a call from the bindings to the trait and back. Used by `register!`.
#[doc(hidden)]
pub fn call_review<T: WithdrawalPolicy>(call: types::CallInfo, request: raw::Request) -> Result<Verdict, HookError> {
    T::review(&call.into(), &request.try_into()?)
}
