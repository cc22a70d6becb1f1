//! `GET /deposit-address`: the merchant's address for deposits that belong to no invoice.

use serde::Serialize;

use crate::answer::Answer;
use crate::api::Api;
use crate::door::Call;
use crate::error::{ApiError, Outage};
use crate::query::parameters;

#[derive(Serialize)]
struct DepositAddress {
    address: String,
    /// The chain of the default asset, in capitals as the product's clients know it: `BSC`.
    network: Option<String>,
    /// The default asset.
    currency: Option<String>,
    /// Everything that is credited when it arrives there.
    accepts: Vec<Accepted>,
}

#[derive(Serialize)]
struct Accepted {
    asset: String,
    chain: String,
}

pub(crate) async fn read(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    parameters(call.query())?.finish()?;
    let (merchant, mode) = (call.caller().merchant(), call.caller().mode());
    // Made together with the merchant, in one transaction.
    let own = api.store.deposit_address(merchant).await?;
    let own = own.ok_or_else(|| ApiError::host(Outage::Internal, format!("{merchant} has no deposit address")))?;
    let default = api.default_asset(mode).map(|asset| &asset.id);
    let accepts = api
        .catalog
        .assets_in(mode)
        .map(|asset| Accepted { asset: asset.id.symbol.to_string(), chain: asset.id.chain.to_string() });
    Ok(Answer::data(DepositAddress {
        address: own.address.to_string(),
        network: default.map(|asset| asset.chain.as_str().to_ascii_uppercase()),
        currency: default.map(|asset| asset.symbol.to_string()),
        accepts: accepts.collect(),
    }))
}
