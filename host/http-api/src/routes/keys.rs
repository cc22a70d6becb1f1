//! `GET /keys/me`: what the key of this request is and may do. Never its secret.

use serde::Serialize;
use xthonpay_payments::snapshot::rfc3339;

use crate::answer::Answer;
use crate::door::Call;
use crate::error::ApiError;
use crate::query::parameters;

#[derive(Serialize)]
struct OwnKey {
    key_id: String,
    label: String,
    merchant_id: String,
    mode: &'static str,
    scopes: Vec<&'static str>,
    /// How its requests are signed.
    signature: &'static str,
    /// Networks from which it may be used; empty means any.
    ip_list: Vec<String>,
    created_at: String,
}

pub(crate) fn read_own(call: &Call) -> Result<Answer, ApiError> {
    parameters(call.query())?.finish()?;
    let key = &call.caller().key;
    Answer::data(OwnKey {
        key_id: key.id.to_string(),
        label: key.label.to_string(),
        merchant_id: key.merchant.to_string(),
        mode: key.id.mode().name(),
        scopes: key.scopes.iter().map(|scope| scope.name()).collect(),
        signature: key.scheme.name(),
        ip_list: key.ip_list.iter().map(ToString::to_string).collect(),
        created_at: rfc3339(key.created_at),
    })
}
