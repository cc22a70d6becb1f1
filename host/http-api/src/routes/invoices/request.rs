//! From the body of `POST /invoices` to what the use case takes. Every refusal names the field.

use xthonpay_domain::access::Mode;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::asset::{Asset, AssetId};
use xthonpay_domain::invoice::{EXPIRES_IN_MAX, EXPIRES_IN_MIN, METADATA_ENTRIES_MAX};
use xthonpay_domain::text::{ChainName, MetadataKey, MetadataValue, Symbol};
use xthonpay_payments::invoicing::NewInvoice;

use crate::api::Api;
use crate::error::{ApiError, Fault, echo};
use crate::json::{Json, optional_text as text, take};
use crate::named::{Named, parse};

/// The invoice that the fields describe, in an asset of the mode.
pub(super) fn new_invoice(api: &Api, mode: Mode, mut fields: Named<Json>) -> Result<NewInvoice, ApiError> {
    let asset = asset(api, mode, &mut fields)?;
    let new = NewInvoice {
        due: amount(&mut fields, asset.decimals)?,
        asset,
        external_id: text(&mut fields, Fault::InvalidRequest, "external_id")?,
        customer: text(&mut fields, Fault::InvalidRequest, "customer")?,
        callback_url: text(&mut fields, Fault::InvalidRequest, "callback_url")?,
        expires_in_s: expires_in(&mut fields)?,
        metadata: metadata(&mut fields)?,
    };
    fields.finish()?;
    Ok(new)
}

/// `"USDT"`, `"bsc:USDT"` or nothing, with or without `chain` beside it.
fn asset(api: &Api, mode: Mode, fields: &mut Named<Json>) -> Result<Asset, ApiError> {
    let chain = text::<ChainName>(fields, Fault::UnsupportedAsset, "chain")?;
    let name = text::<String>(fields, Fault::UnsupportedAsset, "asset")?;
    let (symbol, chain) = match name {
        Some(name) if name.contains(':') => {
            let id: AssetId = parse(Fault::UnsupportedAsset, "asset", &name)?;
            if chain.is_some_and(|chain| chain != id.chain) {
                return Err(ApiError::at(Fault::UnsupportedAsset, "chain", "chain is not the chain of asset"));
            }
            (Some(id.symbol), Some(id.chain))
        }
        Some(name) => (Some(parse::<Symbol>(Fault::UnsupportedAsset, "asset", &name)?), chain),
        None => (None, chain),
    };
    let symbol = symbol.unwrap_or_else(|| api.default_symbol(mode));
    // The default asset also answers the question of the chain for its own symbol.
    let default = api.default_asset(mode).filter(|asset| chain.is_none() && asset.id.symbol == symbol);
    Ok(default.map_or_else(|| api.catalog.find(&symbol, chain.as_ref(), mode), Ok)?.clone())
}

fn amount(fields: &mut Named<Json>, decimals: Decimals) -> Result<Amount, ApiError> {
    let missing = || ApiError::at(Fault::InvalidAmount, "amount", "amount is missing; give a string such as \"50.00\"");
    amount_of(take(fields, "amount").ok_or_else(missing)?, decimals)
}

/// A decimal string. A JSON number is refused: between the caller's program and ours it passes through floating point.
pub(super) fn amount_of(given: Json, decimals: Decimals) -> Result<Amount, ApiError> {
    let refuse = |message: String| ApiError::at(Fault::InvalidAmount, "amount", message);
    match given {
        Json::Text(text) => Amount::parse(&text, decimals).map_err(|error| refuse(format!("amount: {error}"))),
        Json::Unsigned(_) | Json::OtherNumber => {
            Err(refuse("amount must be a string such as \"50.00\", because JSON numbers lose digits".to_owned()))
        }
        _ => Err(refuse("amount must be a string such as \"50.00\"".to_owned())),
    }
}

fn expires_in(fields: &mut Named<Json>) -> Result<Option<u32>, ApiError> {
    let (min, max) = (EXPIRES_IN_MIN.as_secs(), EXPIRES_IN_MAX.as_secs());
    match take(fields, "expires_in") {
        None => Ok(None),
        Some(Json::Unsigned(secs)) if (min..=max).contains(&secs) => Ok(secs.try_into().ok()),
        Some(_) => {
            let message = format!("expires_in must be a whole number of seconds from {min} to {max}");
            Err(ApiError::at(Fault::InvalidRequest, "expires_in", message))
        }
    }
}

fn metadata(fields: &mut Named<Json>) -> Result<Vec<(MetadataKey, MetadataValue)>, ApiError> {
    let refuse = |message: String| ApiError::at(Fault::InvalidRequest, "metadata", message);
    let entries = match take(fields, "metadata") {
        None => return Ok(Vec::new()),
        Some(Json::Object(entries)) => entries.into_rest(),
        Some(_) => return Err(refuse("metadata must be an object of strings".to_owned())),
    };
    if entries.len() > METADATA_ENTRIES_MAX {
        return Err(refuse(format!("metadata must not have more than {METADATA_ENTRIES_MAX} entries")));
    }
    let entry = |(key, value): (String, Json)| {
        let shown = echo(&key);
        let Json::Text(value) = value else { return Err(refuse(format!("metadata.{shown} must be a string"))) };
        let key =
            key.parse::<MetadataKey>().map_err(|error| refuse(format!("the key {shown:?} of metadata: {error}")))?;
        let value = value.parse::<MetadataValue>().map_err(|error| refuse(format!("metadata.{shown}: {error}")))?;
        Ok((key, value))
    };
    entries.map(entry).collect()
}
