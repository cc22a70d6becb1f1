//! Keys of merchants.

use core::num::NonZeroU32;

use surrealdb::types::{Bytes, RecordId, SurrealValue};
use xthonpay_domain::access::KeyId;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_payments::port::store::Key;
use xthonpay_payments::port::vault::Sealed;

use super::{Record, RowError, amount, parse, parse_option, text_key};
use crate::list::List;
use crate::table::Table;
use crate::whole::Whole;

/// A key as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct KeyRow {
    id: RecordId,
    merchant: String,
    label: String,
    scopes: Vec<String>,
    scheme: String,
    ip_list: Vec<String>,
    secret: Bytes,
    requests_per_minute: Option<u32>,
    /// Each asset with its amount.
    daily_withdraw_caps: Vec<(String, String)>,
    withdraw_addresses: Vec<String>,
    created_at: Whole,
    expires_at: Option<Whole>,
    revoked_at: Option<Whole>,
    replaced_by: Option<String>,
    revision: Whole,
}

/// The record of a key.
pub(crate) fn id(key: &KeyId) -> RecordId {
    Table::ApiKey.record(key.as_str())
}

/// The list in which a key stands for ever.
pub(crate) fn entries(key: &Key) -> Vec<RecordId> {
    vec![List::keys_of(&key.merchant).key(&key.id)]
}

fn rate(number: u32) -> Result<NonZeroU32, RowError> {
    let nothing = || RowError::Field { field: "requests_per_minute", reason: "a rate of 0".to_owned() };
    NonZeroU32::new(number).ok_or_else(nothing)
}

fn cap((asset, units): &(String, String)) -> Result<(AssetId, Amount), RowError> {
    Ok((parse("daily_withdraw_caps", asset)?, amount("daily_withdraw_caps", units)?))
}

impl Record for Key {
    const TABLE: Table = Table::ApiKey;
    type Row = KeyRow;

    fn to_row(&self) -> KeyRow {
        let cap = |(asset, cap): &(AssetId, Amount)| (asset.to_string(), cap.to_string());
        KeyRow {
            id: id(&self.id),
            merchant: self.merchant.to_string(),
            label: self.label.to_string(),
            scopes: self.scopes.iter().map(|scope| scope.name().to_owned()).collect(),
            scheme: self.scheme.name().to_owned(),
            ip_list: self.ip_list.iter().map(ToString::to_string).collect(),
            secret: self.secret.0.clone().into(),
            requests_per_minute: self.requests_per_minute.map(NonZeroU32::get),
            daily_withdraw_caps: self.daily_withdraw_caps.iter().map(cap).collect(),
            withdraw_addresses: self.withdraw_addresses.iter().map(Address::to_lower_hex).collect(),
            created_at: self.created_at.into(),
            expires_at: self.expires_at.map(Whole::from),
            revoked_at: self.revoked_at.map(Whole::from),
            replaced_by: self.replaced_by.as_ref().map(ToString::to_string),
            revision: Whole(self.revision),
        }
    }

    fn from_row(row: KeyRow) -> Result<Self, RowError> {
        let address = |address: &String| parse("withdraw_addresses", address);
        Ok(Self {
            id: text_key(&row.id)?,
            merchant: parse("merchant", &row.merchant)?,
            label: parse("label", &row.label)?,
            scopes: row.scopes.iter().map(|scope| parse("scopes", scope)).collect::<Result<_, _>>()?,
            scheme: parse("scheme", &row.scheme)?,
            ip_list: row.ip_list.iter().map(|network| parse("ip_list", network)).collect::<Result<_, _>>()?,
            secret: Sealed(row.secret.to_vec()),
            requests_per_minute: row.requests_per_minute.map(rate).transpose()?,
            daily_withdraw_caps: row.daily_withdraw_caps.iter().map(cap).collect::<Result<_, _>>()?,
            withdraw_addresses: row.withdraw_addresses.iter().map(address).collect::<Result<_, _>>()?,
            created_at: row.created_at.into(),
            expires_at: row.expires_at.map(Into::into),
            revoked_at: row.revoked_at.map(Into::into),
            replaced_by: parse_option("replaced_by", row.replaced_by.as_deref())?,
            revision: row.revision.0,
        })
    }
}
