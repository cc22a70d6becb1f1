//! `GET /time`: this host's clock, for callers whose own is off and whose signatures are refused for it.

use serde::Serialize;
use xthonpay_payments::snapshot::rfc3339;

use crate::answer::Answer;
use crate::api::Api;
use crate::error::ApiError;

#[derive(Serialize)]
struct Time {
    /// Unix seconds, the form of `X-Timestamp`.
    unix: u64,
    /// The same moment as RFC 3339.
    time: String,
}

pub(crate) fn read(api: &Api) -> Result<Answer, ApiError> {
    let now = api.clock.now();
    Ok(Answer::data(Time { unix: now.as_secs(), time: rfc3339(now) }))
}
