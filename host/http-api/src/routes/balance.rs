//! `GET /balance`: what the merchant has.

use serde::Serialize;
use xthonpay_payments::balances::AssetBalance;

use crate::answer::Answer;
use crate::api::Api;
use crate::door::Call;
use crate::error::ApiError;
use crate::query::parameters;

/// The first four fields are what the product's clients know, about the default asset alone; the list is complete.
#[derive(Serialize)]
struct BalanceData {
    /// The symbol of the default asset.
    currency: Option<String>,
    /// The same asset with its chain, such as `bsc:USDT`.
    asset: Option<String>,
    /// What can be spent of it.
    balance: Option<String>,
    /// Where deposits without an invoice go.
    address: Option<String>,
    /// Every accepted asset of the key's mode, and whatever else there is.
    balances: Vec<OneBalance>,
}

#[derive(Serialize)]
struct OneBalance {
    asset: String,
    chain: String,
    /// Can be spent.
    available: String,
    /// Set aside for withdrawals under way.
    held: String,
}

pub(crate) async fn read(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    parameters(call.query())?.finish()?;
    let (merchant, mode) = (call.caller().merchant(), call.caller().mode());
    let balances = api.balances.of(merchant, mode).await?;
    let own = api.store.deposit_address(merchant).await?;
    let default = api.default_asset(mode).and_then(|asset| balances.iter().find(|balance| balance.asset == asset.id));
    Ok(Answer::data(BalanceData {
        currency: default.map(|balance| balance.asset.symbol.to_string()),
        asset: default.map(|balance| balance.asset.to_string()),
        balance: default.map(|balance| balance.balance.available.to_decimal(balance.decimals)),
        address: own.map(|own| own.address.to_string()),
        balances: balances.iter().map(OneBalance::from).collect(),
    }))
}

impl From<&AssetBalance> for OneBalance {
    fn from(of: &AssetBalance) -> Self {
        Self {
            asset: of.asset.symbol.to_string(),
            chain: of.asset.chain.to_string(),
            available: of.balance.available.to_decimal(of.decimals),
            held: of.balance.held.to_decimal(of.decimals),
        }
    }
}
