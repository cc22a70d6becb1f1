//! Invoices.

use surrealdb::types::{RecordId, SurrealValue};
use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::assessment::{Advice, Assessment, Flags, InvoiceState, Ruling};
use xthonpay_domain::invoice::resolution::{Choice, Resolution};
use xthonpay_domain::invoice::{Invoice, Terms, Tolerance};
use xthonpay_domain::text::{MetadataKey, MetadataValue};

use super::{Record, RowError, amount, parse, parse_option, text_key, word};
use crate::list::List;
use crate::table::Table;
use crate::whole::Whole;

const ADVICE: [Advice; 3] = [Advice::Settle, Advice::Wait, Advice::Review];

fn advice_word(advice: Advice) -> &'static str {
    match advice {
        Advice::Settle => "settle",
        Advice::Wait => "wait",
        Advice::Review => "review",
    }
}

/// An invoice as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct InvoiceRow {
    id: RecordId,
    merchant: String,
    external_id: Option<String>,
    customer: Option<String>,
    metadata: Vec<(String, String)>,
    callback_url: Option<String>,
    address: String,
    created_at: Whole,
    terms: TermsPart,
    assessment: AssessmentPart,
    ruling: Option<RulingPart>,
    resolution: Option<ResolutionPart>,
    events: Whole,
    revision: Whole,
    listed: Vec<RecordId>,
}

/// What was agreed.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct TermsPart {
    asset: String,
    due: String,
    tolerance_bps: u32,
    tolerance_amount: String,
    confirmations: Whole,
    expires_at: Whole,
}

/// What follows from the payments.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct AssessmentPart {
    state: String,
    flags: Vec<String>,
    received: String,
    pending: String,
    received_late: String,
    overpaid: String,
    missing: String,
    awaits_ruling: bool,
}

/// The rules' last word.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct RulingPart {
    advice: String,
    judged: String,
}

/// What the merchant decided.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct ResolutionPart {
    choice: String,
    /// To whom how much is to be paid back.
    refund: Option<(String, String)>,
    judged: String,
    set_aside: u32,
    at: Whole,
}

/// The record of an invoice.
pub(crate) fn id(invoice: &InvoiceId) -> RecordId {
    Table::Invoice.record(invoice.as_str())
}

/// The list in which an invoice stands for ever.
pub(crate) fn entries(invoice: &Invoice) -> Vec<RecordId> {
    vec![List::invoices_of(&invoice.merchant).newest_first(invoice.created_at, invoice.id.as_str())]
}

fn moving_entries(invoice: &Invoice) -> Vec<RecordId> {
    let Invoice { id, merchant, created_at, terms, assessment, .. } = invoice;
    let mut entries = vec![List::invoices_in(merchant, assessment.state).newest_first(*created_at, id.as_str())];
    if assessment.state.awaits_expiry() {
        entries.push(List::expiring(&terms.asset.chain).invoice_at(terms.expires_at, id));
    }
    if assessment.awaits_ruling {
        entries.push(List::awaiting_ruling().invoice(id));
    }
    entries
}

impl From<&Terms> for TermsPart {
    fn from(terms: &Terms) -> Self {
        Self {
            asset: terms.asset.to_string(),
            due: terms.due.to_string(),
            tolerance_bps: terms.tolerance.bps,
            tolerance_amount: terms.tolerance.amount.to_string(),
            confirmations: Whole(terms.confirmations),
            expires_at: terms.expires_at.into(),
        }
    }
}

impl TermsPart {
    fn read(&self) -> Result<Terms, RowError> {
        Ok(Terms {
            asset: parse("asset", &self.asset)?,
            due: amount("due", &self.due)?,
            tolerance: Tolerance {
                bps: self.tolerance_bps,
                amount: amount("tolerance_amount", &self.tolerance_amount)?,
            },
            confirmations: self.confirmations.0,
            expires_at: self.expires_at.into(),
        })
    }
}

impl From<&Assessment> for AssessmentPart {
    fn from(assessment: &Assessment) -> Self {
        Self {
            state: assessment.state.name().to_owned(),
            flags: assessment.flags.names().map(str::to_owned).collect(),
            received: assessment.received.to_string(),
            pending: assessment.pending.to_string(),
            received_late: assessment.received_late.to_string(),
            overpaid: assessment.overpaid.to_string(),
            missing: assessment.missing.to_string(),
            awaits_ruling: assessment.awaits_ruling,
        }
    }
}

impl AssessmentPart {
    fn read(&self) -> Result<Assessment, RowError> {
        let unknown = |field| move || RowError::Field { field, reason: "an unknown word".to_owned() };
        let mut flags = Flags::NONE;
        for name in &self.flags {
            flags = flags | Flags::from_name(name).ok_or_else(unknown("flags"))?;
        }
        Ok(Assessment {
            state: InvoiceState::from_name(&self.state).ok_or_else(unknown("state"))?,
            flags,
            received: amount("received", &self.received)?,
            pending: amount("pending", &self.pending)?,
            received_late: amount("received_late", &self.received_late)?,
            overpaid: amount("overpaid", &self.overpaid)?,
            missing: amount("missing", &self.missing)?,
            awaits_ruling: self.awaits_ruling,
        })
    }
}

impl From<&Ruling> for RulingPart {
    fn from(ruling: &Ruling) -> Self {
        Self { advice: advice_word(ruling.advice).to_owned(), judged: ruling.judged.to_string() }
    }
}

impl RulingPart {
    fn read(&self) -> Result<Ruling, RowError> {
        Ok(Ruling {
            advice: word("advice", &self.advice, &ADVICE, advice_word)?,
            judged: amount("judged", &self.judged)?,
        })
    }
}

impl From<&Resolution> for ResolutionPart {
    fn from(resolution: &Resolution) -> Self {
        let refund = match &resolution.choice {
            Choice::Refund { to, amount } => Some((to.to_lower_hex(), amount.to_string())),
            Choice::Accept | Choice::Ignore => None,
        };
        Self {
            choice: resolution.choice.name().to_owned(),
            refund,
            judged: resolution.judged.to_string(),
            set_aside: resolution.set_aside,
            at: resolution.at.into(),
        }
    }
}

impl ResolutionPart {
    fn read(&self) -> Result<Resolution, RowError> {
        let choice = match (self.choice.as_str(), &self.refund) {
            ("accept", None) => Choice::Accept,
            ("ignore", None) => Choice::Ignore,
            ("refund", Some((to, units))) => {
                Choice::Refund { to: parse("refund", to)?, amount: amount("refund", units)? }
            }
            _ => return Err(RowError::Contradiction("what was decided is unknown, or contradicts its refund")),
        };
        Ok(Resolution {
            choice,
            judged: amount("judged", &self.judged)?,
            set_aside: self.set_aside,
            at: self.at.into(),
        })
    }
}

impl Record for Invoice {
    const TABLE: Table = Table::Invoice;
    type Row = InvoiceRow;

    fn to_row(&self) -> InvoiceRow {
        let pair = |(key, value): &(MetadataKey, MetadataValue)| (key.to_string(), value.to_string());
        InvoiceRow {
            id: id(&self.id),
            merchant: self.merchant.to_string(),
            external_id: self.external_id.as_ref().map(ToString::to_string),
            customer: self.customer.as_ref().map(ToString::to_string),
            metadata: self.metadata.iter().map(pair).collect(),
            callback_url: self.callback_url.as_ref().map(ToString::to_string),
            address: self.address.to_lower_hex(),
            created_at: self.created_at.into(),
            terms: (&self.terms).into(),
            assessment: (&self.assessment).into(),
            ruling: self.ruling.as_ref().map(RulingPart::from),
            resolution: self.resolution.as_ref().map(ResolutionPart::from),
            events: Whole(self.events),
            revision: Whole(self.revision),
            listed: moving_entries(self),
        }
    }

    fn from_row(row: InvoiceRow) -> Result<Self, RowError> {
        let pair = |(key, value): &(String, String)| Ok((parse("metadata", key)?, parse("metadata", value)?));
        Ok(Self {
            id: text_key(&row.id)?,
            merchant: parse("merchant", &row.merchant)?,
            external_id: parse_option("external_id", row.external_id.as_deref())?,
            customer: parse_option("customer", row.customer.as_deref())?,
            metadata: row.metadata.iter().map(pair).collect::<Result<_, RowError>>()?,
            callback_url: parse_option("callback_url", row.callback_url.as_deref())?,
            address: parse("address", &row.address)?,
            created_at: row.created_at.into(),
            terms: row.terms.read()?,
            assessment: row.assessment.read()?,
            ruling: row.ruling.as_ref().map(RulingPart::read).transpose()?,
            resolution: row.resolution.as_ref().map(ResolutionPart::read).transpose()?,
            events: row.events.0,
            revision: row.revision.0,
        })
    }
}
