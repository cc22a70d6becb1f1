//! `GET /keys/me`: what the key of this request is and may do. Never its secret.

use serde::Serialize;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_payments::snapshot::{DecimalsOf as _, rfc3339};

use crate::answer::Answer;
use crate::api::Api;
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
    /// Requests a minute that it may make: its own number, or the deployment's.
    requests_per_minute: u32,
    /// How much it may withdraw a day; nothing of an asset that is missing.
    daily_withdraw_caps: Vec<WithdrawCap>,
    /// The only addresses to which it may withdraw.
    withdraw_addresses: Vec<String>,
    created_at: String,
    /// When it ends.
    expires_at: Option<String>,
    /// The key that takes its place.
    replaced_by: Option<String>,
    /// When it was used before, as far as it was noted: once a minute.
    last_used_at: Option<String>,
}

#[derive(Serialize)]
struct WithdrawCap {
    asset: String,
    chain: String,
    amount: String,
}

pub(crate) async fn read_own(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    parameters(call.query())?.finish()?;
    let key = &call.caller().key;
    let used_at = api.store.key_used_at(&key.id).await?;
    let cap = |(asset, cap): &(AssetId, Amount)| WithdrawCap {
        asset: asset.symbol.to_string(),
        chain: asset.chain.to_string(),
        amount: api.catalog.show(asset, *cap),
    };
    Ok(Answer::data(OwnKey {
        key_id: key.id.to_string(),
        label: key.label.to_string(),
        merchant_id: key.merchant.to_string(),
        mode: key.id.mode().name(),
        scopes: key.scopes.iter().map(|scope| scope.name()).collect(),
        signature: key.scheme.name(),
        ip_list: key.ip_list.iter().map(ToString::to_string).collect(),
        requests_per_minute: api.access.standing(key).limit,
        daily_withdraw_caps: key.daily_withdraw_caps.iter().map(cap).collect(),
        withdraw_addresses: key.withdraw_addresses.iter().map(ToString::to_string).collect(),
        created_at: rfc3339(key.created_at),
        expires_at: key.expires_at.map(rfc3339),
        replaced_by: key.replaced_by.as_ref().map(ToString::to_string),
        last_used_at: used_at.map(rfc3339),
    }))
}
