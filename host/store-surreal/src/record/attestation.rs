//! Uses of signers that are lent to plugins.

use surrealdb::types::{Bytes, RecordId, SurrealValue};
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::lending::attestation::Statement;
use xthonpay_payments::port::store::AttestationRecord;

use super::{Record, RowError, key_parts, parse, parse_option, text_part};
use crate::table::{Table, text};
use crate::whole::Whole;

/// A use of a signer as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct AttestationRow {
    id: RecordId,
    signer: String,
    key_id: String,
    plugin: String,
    merchant: Option<String>,
    purpose: String,
    digest: Bytes,
    signature: Bytes,
}

/// The record of a use.
pub(crate) fn id(at: Timestamp, id: &str) -> RecordId {
    Table::Attestation.composite(vec![Whole::from(at).into_value(), text(id)])
}

impl Record for AttestationRecord {
    const TABLE: Table = Table::Attestation;
    type Row = AttestationRow;

    fn to_row(&self) -> AttestationRow {
        let Statement { plugin, merchant, purpose, digest, at } = &self.statement;
        AttestationRow {
            id: id(*at, &self.id),
            signer: self.signer.to_string(),
            key_id: self.key_id.clone(),
            plugin: plugin.to_string(),
            merchant: merchant.as_ref().map(ToString::to_string),
            purpose: purpose.clone(),
            digest: digest.to_vec().into(),
            signature: self.signature.clone().into(),
        }
    }

    fn from_row(row: AttestationRow) -> Result<Self, RowError> {
        let [at, id] = key_parts(&row.id)?;
        let digest = row.digest.as_ref().try_into();
        let wrong = |_| RowError::Field { field: "digest", reason: "not 32 bytes".to_owned() };
        let at = Whole::from_value(at).map_err(|_| RowError::Key)?;
        Ok(Self {
            id: text_part(&id)?,
            signer: parse("signer", &row.signer)?,
            key_id: row.key_id,
            statement: Statement {
                plugin: parse("plugin", &row.plugin)?,
                merchant: parse_option("merchant", row.merchant.as_deref())?,
                purpose: row.purpose,
                digest: digest.map_err(wrong)?,
                at: at.into(),
            },
            signature: row.signature.to_vec(),
        })
    }
}
