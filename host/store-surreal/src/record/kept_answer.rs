//! Answers that are given again.

use surrealdb::types::{Bytes, RecordId, SurrealValue};
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::text::IdempotencyKey;
use xthonpay_payments::port::store::{AnswerBytes, KeptAnswer};

use super::{Record, RowError, key_parts, text_part};
use crate::list::List;
use crate::table::{Table, text};
use crate::whole::Whole;

/// A kept answer as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct KeptAnswerRow {
    id: RecordId,
    fingerprint: Bytes,
    status: u32,
    location: Option<String>,
    body: Bytes,
    expires_at: Whole,
}

/// The record of the answer to a merchant's call under a key.
pub(crate) fn id(merchant: &MerchantId, call: &str, key: &IdempotencyKey) -> RecordId {
    Table::KeptAnswer.composite(vec![text(merchant.as_str()), text(call), text(key.as_str())])
}

/// The list in which an answer stands until it is forgotten.
pub(crate) fn entries(kept: &KeptAnswer) -> Vec<RecordId> {
    vec![List::expiring_answers().answer(kept)]
}

impl Record for KeptAnswer {
    const TABLE: Table = Table::KeptAnswer;
    type Row = KeptAnswerRow;

    fn to_row(&self) -> KeptAnswerRow {
        KeptAnswerRow {
            id: id(&self.merchant, &self.call, &self.key),
            fingerprint: self.fingerprint.to_vec().into(),
            status: self.answer.status.into(),
            location: self.answer.location.clone(),
            body: self.answer.body.clone().into(),
            expires_at: self.expires_at.into(),
        }
    }

    fn from_row(row: KeptAnswerRow) -> Result<Self, RowError> {
        let wrong = |field, reason: &str| RowError::Field { field, reason: reason.to_owned() };
        let [merchant, call, key] = key_parts(&row.id)?;
        Ok(Self {
            merchant: text_part(&merchant)?,
            call: text_part(&call)?,
            key: text_part(&key)?,
            fingerprint: row.fingerprint.as_ref().try_into().map_err(|_| wrong("fingerprint", "not 32 bytes"))?,
            answer: AnswerBytes {
                status: u16::try_from(row.status).map_err(|_| wrong("status", "more than 16 bits"))?,
                location: row.location,
                body: row.body.to_vec(),
            },
            expires_at: row.expires_at.into(),
        })
    }
}
