//! `key create`, `list`, `show`, `update`, `rotate` and `revoke`. The same whether a host runs or not.
//!
//! Secrets are in the answers to `create` and `rotate` alone, and in no line of the log.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tracing::info;
use xthonpay_domain::access::{KeyId, Mode, Scope};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::{Asset, AssetId};
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::text::{ChainName, Label, Symbol};
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::catalog::Catalog;
use xthonpay_payments::keys::{KeyChange, KeyRequest, KeyState, KeyTerms, Keys, NewKey, OVERLAP_DEFAULT, Rotation};
use xthonpay_payments::merchants::twin_id;
use xthonpay_payments::port::store::{Key, READ_LIMIT_MAX};
use xthonpay_payments::snapshot::{DecimalsOf as _, rfc3339};

use super::merchant::MerchantCreated;
use super::service::AdminError;
use crate::duration::duration;

/// The path of `key create`.
pub const CREATE: &str = "/keys";
/// The path of `key list`.
pub const LIST: &str = "/keys/list";
/// The path of `key show`.
pub const SHOW: &str = "/keys/show";
/// The path of `key update`.
pub const UPDATE: &str = "/keys/update";
/// The path of `key rotate`.
pub const ROTATE: &str = "/keys/rotate";
/// The path of `key revoke`.
pub const REVOKE: &str = "/keys/revoke";

/// The symbol of a cap that names no asset; the same as that of a request of the API that names none.
const SYMBOL_DEFAULT: &str = "USDT";

/// A key to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// The owner.
    pub merchant: String,
    /// Whether it is for the simulated chain; it belongs to the merchant's test twin then.
    pub test: bool,
    /// The owner's name for it.
    pub label: String,
    /// What it may do: words of the API.
    pub scopes: Vec<String>,
    /// How its requests are signed: a word of the API.
    pub signature: String,
    /// Networks from which it may be used, as CIDR; empty means any.
    pub ip: Vec<String>,
    /// Requests a minute, instead of what the deployment grants.
    pub requests_per_minute: Option<NonZeroU32>,
    /// After which time it ends.
    pub expires_in: Option<String>,
    /// `chain:SYMBOL=AMOUNT`, `SYMBOL=AMOUNT`, or the amount alone.
    pub daily_withdraw_caps: Vec<String>,
    /// The only addresses to which it may withdraw.
    pub withdraw_addresses: Vec<String>,
}

/// Which page of a merchant's keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListKeys {
    /// The owner.
    pub merchant: String,
    /// Those of its test twin instead.
    pub test: bool,
    /// The last key of the page before.
    pub after: Option<String>,
}

/// One page of a merchant's keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyPage {
    /// The keys in ascending order of the id.
    pub keys: Vec<KeyLine>,
    /// What to ask for next, if there may be more.
    pub next: Option<String>,
}

/// A key to show or to revoke.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneKey {
    /// Its id.
    pub key: String,
}

/// What becomes of a value that need not be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting<T> {
    /// It stays.
    #[default]
    Keep,
    /// There is none any more.
    Remove,
    /// Another one takes its place.
    Set(T),
}

impl<T> Setting<T> {
    /// The new value, if there is one for `Some`; `None` where it stays.
    fn change(self) -> Option<Option<T>> {
        match self {
            Self::Keep => None,
            Self::Remove => Some(None),
            Self::Set(value) => Some(Some(value)),
        }
    }
}

/// A key to change; what is absent stays, a list replaces the whole list.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateKey {
    /// Its id.
    pub key: String,
    /// See [`CreateKey::label`].
    pub label: Option<String>,
    /// See [`CreateKey::ip`].
    pub ip: Option<Vec<String>>,
    /// See [`CreateKey::requests_per_minute`].
    pub requests_per_minute: Setting<NonZeroU32>,
    /// See [`CreateKey::expires_in`]; counted from now.
    pub expires_in: Setting<String>,
    /// See [`CreateKey::daily_withdraw_caps`].
    pub daily_withdraw_caps: Option<Vec<String>>,
    /// See [`CreateKey::withdraw_addresses`].
    pub withdraw_addresses: Option<Vec<String>>,
}

/// A key to replace.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// Its id.
    pub key: String,
    /// How long it goes on beside the new one; without it, a day.
    pub overlap: Option<String>,
}

/// A key without its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyLine {
    /// Public id, for `X-API-Key`.
    pub key_id: String,
    /// The owner.
    pub merchant_id: String,
    /// `live` or `test`.
    pub mode: String,
    /// The owner's name for it.
    pub label: String,
    /// `active`, `retiring` (a new key takes its place), `expired` or `revoked`.
    pub state: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// How its requests are signed.
    pub signature: String,
    /// Networks from which it may be used; empty means any.
    pub ip: Vec<String>,
    /// Requests a minute; none means as many as the deployment grants.
    pub requests_per_minute: Option<NonZeroU32>,
    /// How much it may withdraw a day, by `chain:SYMBOL`.
    pub daily_withdraw_caps: BTreeMap<String, String>,
    /// The only addresses to which it may withdraw.
    pub withdraw_addresses: Vec<String>,
    /// RFC 3339, as all times.
    pub created_at: String,
    /// When it ends or ended.
    pub expires_at: Option<String>,
    /// When somebody ended it.
    pub revoked_at: Option<String>,
    /// The key that takes its place.
    pub replaced_by: Option<String>,
    /// When it was last used, as far as it was noted: a running host notes it once a minute.
    pub last_used_at: Option<String>,
}

/// A key that was made. Holds its secret: shown once, never logged.
#[derive(Serialize, Deserialize)]
pub struct KeyCreated {
    /// The key.
    #[serde(flatten)]
    pub key: KeyLine,
    /// Signs requests.
    pub secret: String,
    /// The test twin of the merchant, if this key is the one that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_merchant: Option<MerchantCreated>,
    /// The key whose place it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<KeyLine>,
    /// What the operator should know about it, one sentence each.
    pub notes: Vec<String>,
}

/// The routes of `key`.
pub(super) fn router(keys: Keys) -> Router {
    Router::new()
        .route(CREATE, post(create_here))
        .route(LIST, post(list_here))
        .route(SHOW, post(show_here))
        .route(UPDATE, post(update_here))
        .route(ROTATE, post(rotate_here))
        .route(REVOKE, post(revoke_here))
        .with_state(keys)
}

async fn create_here(State(keys): State<Keys>, Json(asked): Json<CreateKey>) -> Result<Json<KeyCreated>, AdminError> {
    let made = create(&keys, asked).await?;
    if let Some(twin) = &made.test_merchant {
        info!(merchant = %twin.merchant_id, "test side of a merchant created");
    }
    info!(key = %made.key.key_id, merchant = %made.key.merchant_id, "key created");
    Ok(Json(made))
}

async fn list_here(State(keys): State<Keys>, Json(asked): Json<ListKeys>) -> Result<Json<KeyPage>, AdminError> {
    list(&keys, asked).await.map(Json)
}

async fn show_here(State(keys): State<Keys>, Json(asked): Json<OneKey>) -> Result<Json<KeyLine>, AdminError> {
    show(&keys, asked).await.map(Json)
}

async fn update_here(State(keys): State<Keys>, Json(asked): Json<UpdateKey>) -> Result<Json<KeyLine>, AdminError> {
    let changed = update(&keys, asked).await?;
    info!(key = %changed.key_id, "key changed");
    Ok(Json(changed))
}

async fn rotate_here(State(keys): State<Keys>, Json(asked): Json<RotateKey>) -> Result<Json<KeyCreated>, AdminError> {
    let made = rotate(&keys, asked).await?;
    let replaces = made.replaces.as_ref().map(|old| old.key_id.as_str());
    info!(key = %made.key.key_id, replaces, "key rotated");
    Ok(Json(made))
}

async fn revoke_here(State(keys): State<Keys>, Json(asked): Json<OneKey>) -> Result<Json<KeyLine>, AdminError> {
    let revoked = revoke(&keys, asked).await?;
    info!(key = %revoked.key_id, "key revoked");
    Ok(Json(revoked))
}

/// Makes a key.
///
/// # Errors
/// [`AdminError`].
pub async fn create(keys: &Keys, asked: CreateKey) -> Result<KeyCreated, AdminError> {
    let mode = if asked.test { Mode::Test } else { Mode::Live };
    let terms = KeyTerms {
        label: label(&asked.label)?,
        ip_list: networks(&asked.ip)?,
        requests_per_minute: asked.requests_per_minute,
        expires_at: asked.expires_in.map(|text| end(keys, &text)).transpose()?,
        daily_withdraw_caps: caps(&asked.daily_withdraw_caps, &keys.catalog, mode)?,
        withdraw_addresses: addresses(&asked.withdraw_addresses)?,
    };
    let request = KeyRequest {
        merchant: asked.merchant.parse()?,
        mode,
        scopes: asked.scopes.iter().map(|word| word.parse()).collect::<Result<_, _>>()?,
        scheme: asked.signature.parse()?,
        terms,
    };
    Ok(shown_once(keys, keys.create(request).await?))
}

/// One page of a merchant's keys.
///
/// # Errors
/// [`AdminError`].
pub async fn list(keys: &Keys, asked: ListKeys) -> Result<KeyPage, AdminError> {
    let named: MerchantId = asked.merchant.parse()?;
    let after = asked.after.map(|id| key_id(&id)).transpose()?;
    let store = &keys.merchants.store;
    if store.merchant(&named).await?.is_none() {
        return Err(AdminError::UnknownMerchant(named));
    }
    let owner = if asked.test { twin_id(&named) } else { named };
    let found = store.keys(&owner, after.as_ref(), READ_LIMIT_MAX).await?;
    let next = found.last().filter(|_| found.len() == READ_LIMIT_MAX).map(|last| last.id.to_string());
    let mut lines = Vec::with_capacity(found.len());
    for key in &found {
        lines.push(used_line(keys, key).await?);
    }
    Ok(KeyPage { keys: lines, next })
}

/// A key.
///
/// # Errors
/// [`AdminError`].
pub async fn show(keys: &Keys, asked: OneKey) -> Result<KeyLine, AdminError> {
    let key = keys.key(&key_id(&asked.key)?).await?;
    used_line(keys, &key).await
}

/// Changes a key.
///
/// # Errors
/// [`AdminError`].
pub async fn update(keys: &Keys, asked: UpdateKey) -> Result<KeyLine, AdminError> {
    let id = key_id(&asked.key)?;
    let expires_at = match asked.expires_in.change() {
        Some(Some(text)) => Some(Some(end(keys, &text)?)),
        Some(None) => Some(None),
        None => None,
    };
    let change = KeyChange {
        label: asked.label.as_deref().map(label).transpose()?,
        ip_list: asked.ip.as_deref().map(networks).transpose()?,
        requests_per_minute: asked.requests_per_minute.change(),
        expires_at,
        daily_withdraw_caps: asked
            .daily_withdraw_caps
            .map(|texts| caps(&texts, &keys.catalog, id.mode()))
            .transpose()?,
        withdraw_addresses: asked.withdraw_addresses.as_deref().map(addresses).transpose()?,
    };
    let key = keys.update(&id, &change).await?;
    used_line(keys, &key).await
}

/// Replaces a key.
///
/// # Errors
/// [`AdminError`].
pub async fn rotate(keys: &Keys, asked: RotateKey) -> Result<KeyCreated, AdminError> {
    let overlap = asked.overlap.map(|text| duration(&text)).transpose();
    let overlap = overlap.map_err(|reason| AdminError::Duration { what: "overlap", reason })?;
    let Rotation { new, old } = keys.rotate(&key_id(&asked.key)?, overlap.unwrap_or(OVERLAP_DEFAULT)).await?;
    Ok(KeyCreated { replaces: Some(line(keys, &old, None)), ..shown_once(keys, new) })
}

/// Ends a key.
///
/// # Errors
/// [`AdminError`].
pub async fn revoke(keys: &Keys, asked: OneKey) -> Result<KeyLine, AdminError> {
    let key = keys.revoke(&key_id(&asked.key)?).await?;
    used_line(keys, &key).await
}

fn shown_once(keys: &Keys, made: NewKey) -> KeyCreated {
    let mut notes = Vec::new();
    if made.key.scopes.contains(&Scope::Withdraw) {
        notes.push("this version cannot withdraw: the scope withdraw has no effect yet".to_owned());
    }
    KeyCreated {
        key: line(keys, &made.key, None),
        secret: made.secret.to_string(),
        test_merchant: made.twin.map(MerchantCreated::from),
        replaces: None,
        notes,
    }
}

async fn used_line(keys: &Keys, key: &Key) -> Result<KeyLine, AdminError> {
    let used_at = keys.merchants.store.key_used_at(&key.id).await?;
    Ok(line(keys, key, used_at))
}

fn line(keys: &Keys, key: &Key, used_at: Option<Timestamp>) -> KeyLine {
    let now = keys.merchants.clock.now();
    let cap = |(asset, cap): &(AssetId, Amount)| (asset.to_string(), keys.catalog.show(asset, *cap));
    KeyLine {
        key_id: key.id.to_string(),
        merchant_id: key.merchant.to_string(),
        mode: key.id.mode().name().to_owned(),
        label: key.label.to_string(),
        state: KeyState::of(key, now).name().to_owned(),
        scopes: key.scopes.iter().map(|scope| scope.name().to_owned()).collect(),
        signature: key.scheme.name().to_owned(),
        ip: key.ip_list.iter().map(ToString::to_string).collect(),
        requests_per_minute: key.requests_per_minute,
        daily_withdraw_caps: key.daily_withdraw_caps.iter().map(cap).collect(),
        withdraw_addresses: key.withdraw_addresses.iter().map(ToString::to_string).collect(),
        created_at: rfc3339(key.created_at),
        expires_at: key.expires_at.map(rfc3339),
        revoked_at: key.revoked_at.map(rfc3339),
        replaced_by: key.replaced_by.as_ref().map(ToString::to_string),
        last_used_at: used_at.map(rfc3339),
    }
}

fn key_id(text: &str) -> Result<KeyId, AdminError> {
    text.parse().map_err(|error| AdminError::Text { what: "key", error })
}

fn label(text: &str) -> Result<Label, AdminError> {
    text.parse().map_err(|error| AdminError::Text { what: "label", error })
}

fn networks(texts: &[String]) -> Result<Vec<ipnet::IpNet>, AdminError> {
    texts.iter().map(|text| text.parse().map_err(|_| AdminError::Network(text.clone()))).collect()
}

fn addresses(texts: &[String]) -> Result<Vec<Address>, AdminError> {
    let parse = |text: &String| {
        text.parse::<Address>().map_err(|error| AdminError::WithdrawAddress { text: text.clone(), error })
    };
    texts.iter().map(parse).collect()
}

/// The moment that lies this far ahead by the host's clock.
fn end(keys: &Keys, text: &str) -> Result<Timestamp, AdminError> {
    let ahead = duration(text).map_err(|reason| AdminError::Duration { what: "expires-in", reason })?;
    Ok(keys.merchants.clock.now().after(ahead))
}

fn caps(texts: &[String], catalog: &Catalog, mode: Mode) -> Result<Vec<(AssetId, Amount)>, AdminError> {
    let parse =
        |text: &String| cap(text, catalog, mode).map_err(|reason| AdminError::Cap { text: text.clone(), reason });
    texts.iter().map(parse).collect()
}

/// `chain:SYMBOL=AMOUNT`, `SYMBOL=AMOUNT` or `AMOUNT`, in units of the asset.
fn cap(text: &str, catalog: &Catalog, mode: Mode) -> Result<(AssetId, Amount), String> {
    let (name, amount) = text.split_once('=').unwrap_or((SYMBOL_DEFAULT, text));
    let asset = asset(name, catalog, mode)?;
    let amount = Amount::parse(amount, asset.decimals).map_err(|error| error.to_string())?;
    Ok((asset.id.clone(), amount))
}

fn asset<'a>(name: &str, catalog: &'a Catalog, mode: Mode) -> Result<&'a Asset, String> {
    let (chain, symbol) = match name.split_once(':') {
        Some((chain, symbol)) => (Some(chain.parse::<ChainName>().map_err(|error| format!("chain: {error}"))?), symbol),
        None => (None, name),
    };
    let symbol = symbol.parse::<Symbol>().map_err(|error| format!("asset: {error}"))?;
    catalog.find(&symbol, chain.as_ref(), mode).map_err(|error| error.to_string())
}
