//! Keys of merchants.

use surrealdb::types::{Bytes, RecordId, SurrealValue};
use xthonpay_domain::access::KeyId;
use xthonpay_payments::port::store::Key;
use xthonpay_payments::port::vault::Sealed;

use super::{Record, RowError, parse, text_key};
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
    created_at: Whole,
    revoked_at: Option<Whole>,
}

/// The record of a key.
pub(crate) fn id(key: &KeyId) -> RecordId {
    Table::ApiKey.record(key.as_str())
}

impl Record for Key {
    const TABLE: Table = Table::ApiKey;
    type Row = KeyRow;

    fn to_row(&self) -> KeyRow {
        KeyRow {
            id: id(&self.id),
            merchant: self.merchant.to_string(),
            label: self.label.to_string(),
            scopes: self.scopes.iter().map(|scope| scope.name().to_owned()).collect(),
            scheme: self.scheme.name().to_owned(),
            ip_list: self.ip_list.iter().map(ToString::to_string).collect(),
            secret: self.secret.0.clone().into(),
            created_at: self.created_at.into(),
            revoked_at: self.revoked_at.map(Whole::from),
        }
    }

    fn from_row(row: KeyRow) -> Result<Self, RowError> {
        Ok(Self {
            id: text_key(&row.id)?,
            merchant: parse("merchant", &row.merchant)?,
            label: parse("label", &row.label)?,
            scopes: row.scopes.iter().map(|scope| parse("scopes", scope)).collect::<Result<_, _>>()?,
            scheme: parse("scheme", &row.scheme)?,
            ip_list: row.ip_list.iter().map(|network| parse("ip_list", network)).collect::<Result<_, _>>()?,
            secret: Sealed(row.secret.to_vec()),
            created_at: row.created_at.into(),
            revoked_at: row.revoked_at.map(Into::into),
        })
    }
}
