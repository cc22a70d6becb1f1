//! `merchant create`, `merchant list` and `merchant show`. The same whether a host runs or not.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tracing::info;
use xthonpay_domain::access::Mode;
use xthonpay_domain::id::MerchantId;
use xthonpay_payments::merchants::{Merchants, NewMerchant, twin_id};
use xthonpay_payments::port::store::{Merchant, READ_LIMIT_MAX};
use xthonpay_payments::snapshot::rfc3339;

use super::service::AdminError;

/// The path of `merchant create`.
pub const CREATE: &str = "/merchants";
/// The path of `merchant list`.
pub const LIST: &str = "/merchants/list";
/// The path of `merchant show`.
pub const SHOW: &str = "/merchants/show";

/// A merchant to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateMerchant {
    /// The operator's name for it.
    pub name: String,
}

/// A merchant that was made. Holds its webhook secret: shown once, never logged.
#[derive(Serialize, Deserialize)]
pub struct MerchantCreated {
    /// Public id.
    pub merchant_id: String,
    /// The operator's name for it.
    pub name: String,
    /// The address for deposits without an invoice.
    pub deposit_address: String,
    /// Signs webhooks.
    pub webhook_secret: String,
    /// RFC 3339.
    pub created_at: String,
}

impl From<NewMerchant> for MerchantCreated {
    fn from(made: NewMerchant) -> Self {
        Self {
            merchant_id: made.merchant.id.to_string(),
            name: made.merchant.name.to_string(),
            deposit_address: made.deposit_address.address.to_string(),
            webhook_secret: made.webhook_secret.to_string(),
            created_at: rfc3339(made.merchant.created_at),
        }
    }
}

/// Which page of the merchants.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListMerchants {
    /// The last merchant of the page before.
    pub after: Option<String>,
}

/// One page of the merchants.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MerchantPage {
    /// The merchants in ascending order of the id.
    pub merchants: Vec<MerchantLine>,
    /// What to ask for next, if there may be more.
    pub next: Option<String>,
}

/// A merchant in a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MerchantLine {
    /// Public id.
    pub merchant_id: String,
    /// The operator's name for it.
    pub name: String,
    /// `live`, or `test` for the test twin of another one.
    pub mode: String,
    /// RFC 3339.
    pub created_at: String,
}

/// A merchant to show.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowMerchant {
    /// Its id.
    pub merchant: String,
}

/// A merchant alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MerchantShown {
    /// What a list shows.
    #[serde(flatten)]
    pub line: MerchantLine,
    /// The address for deposits without an invoice.
    pub deposit_address: Option<String>,
    /// The merchant to which its test keys belong; none before the first one, and none of a test twin.
    pub test_merchant_id: Option<String>,
}

/// The routes of `merchant`.
pub(super) fn router(merchants: Merchants) -> Router {
    Router::new()
        .route(CREATE, post(create_here))
        .route(LIST, post(list_here))
        .route(SHOW, post(show_here))
        .with_state(merchants)
}

async fn create_here(
    State(merchants): State<Merchants>,
    Json(asked): Json<CreateMerchant>,
) -> Result<Json<MerchantCreated>, AdminError> {
    let made = create(&merchants, asked).await?;
    info!(merchant = %made.merchant_id, "merchant created");
    Ok(Json(made))
}

async fn list_here(
    State(merchants): State<Merchants>,
    Json(asked): Json<ListMerchants>,
) -> Result<Json<MerchantPage>, AdminError> {
    list(&merchants, asked).await.map(Json)
}

async fn show_here(
    State(merchants): State<Merchants>,
    Json(asked): Json<ShowMerchant>,
) -> Result<Json<MerchantShown>, AdminError> {
    show(&merchants, asked).await.map(Json)
}

/// Makes a merchant.
///
/// # Errors
/// [`AdminError`].
pub async fn create(merchants: &Merchants, asked: CreateMerchant) -> Result<MerchantCreated, AdminError> {
    let name = asked.name.parse().map_err(|error| AdminError::Text { what: "name", error })?;
    Ok(merchants.create(name).await?.into())
}

/// One page of the merchants.
///
/// # Errors
/// [`AdminError`].
pub async fn list(merchants: &Merchants, asked: ListMerchants) -> Result<MerchantPage, AdminError> {
    let after: Option<MerchantId> = asked.after.map(|id| id.parse()).transpose()?;
    let found = merchants.store.merchants(after.as_ref(), READ_LIMIT_MAX).await?;
    let next = found.last().filter(|_| found.len() == READ_LIMIT_MAX).map(|last| last.id.to_string());
    Ok(MerchantPage { merchants: found.iter().map(line).collect(), next })
}

/// A merchant.
///
/// # Errors
/// [`AdminError`].
pub async fn show(merchants: &Merchants, asked: ShowMerchant) -> Result<MerchantShown, AdminError> {
    let id: MerchantId = asked.merchant.parse()?;
    let merchant = merchants.store.merchant(&id).await?.ok_or_else(|| AdminError::UnknownMerchant(id.clone()))?;
    let deposit_address = merchants.store.deposit_address(&id).await?;
    let twin = match merchant.mode {
        Mode::Live => merchants.store.merchant(&twin_id(&id)).await?,
        Mode::Test => None,
    };
    Ok(MerchantShown {
        line: line(&merchant),
        deposit_address: deposit_address.map(|own| own.address.to_string()),
        test_merchant_id: twin.map(|twin| twin.id.to_string()),
    })
}

fn line(merchant: &Merchant) -> MerchantLine {
    MerchantLine {
        merchant_id: merchant.id.to_string(),
        name: merchant.name.to_string(),
        mode: merchant.mode.name().to_owned(),
        created_at: rfc3339(merchant.created_at),
    }
}
