//! Webhook endpoints of merchants.

use std::collections::BTreeSet;

use surrealdb::types::{Bytes, RecordId, SurrealValue};
use xthonpay_domain::event::{EventFilter, EventKind};
use xthonpay_domain::id::EndpointId;
use xthonpay_payments::port::store::{Endpoint, EndpointState, RetiringSecret};
use xthonpay_payments::port::vault::Sealed;

use super::{Record, RowError, parse, parse_option, text_key};
use crate::list::List;
use crate::table::Table;
use crate::whole::Whole;

/// An endpoint as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct EndpointRow {
    id: RecordId,
    merchant: String,
    url: String,
    /// The kinds that it hears of; absent where it hears of all, those too that are added later.
    events: Option<Vec<String>>,
    label: Option<String>,
    format: Option<String>,
    secret: Bytes,
    retiring_secret: Option<RetiringPart>,
    state: String,
    disabled: Option<DisabledPart>,
    failing_since: Option<Whole>,
    created_at: Whole,
    revision: Whole,
    listed: Vec<RecordId>,
}

/// A secret that another one has replaced.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
struct RetiringPart {
    secret: Bytes,
    until: Whole,
}

/// Why the host switched the endpoint off.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
struct DisabledPart {
    reason: String,
    at: Whole,
}

/// The record of an endpoint.
pub(crate) fn id(endpoint: &EndpointId) -> RecordId {
    Table::Endpoint.record(endpoint.as_str())
}

fn moving_entries(endpoint: &Endpoint) -> Vec<RecordId> {
    let entry = || List::endpoints_of(&endpoint.merchant).endpoint(endpoint.created_at, &endpoint.id);
    (endpoint.state != EndpointState::Removed).then(entry).into_iter().collect()
}

fn state_word(state: &EndpointState) -> &'static str {
    match state {
        EndpointState::Enabled => "enabled",
        EndpointState::Paused => "paused",
        EndpointState::Disabled { .. } => "disabled",
        EndpointState::Removed => "removed",
    }
}

fn read_state(word: &str, disabled: Option<DisabledPart>) -> Result<EndpointState, RowError> {
    match (word, disabled) {
        ("enabled", None) => Ok(EndpointState::Enabled),
        ("paused", None) => Ok(EndpointState::Paused),
        ("removed", None) => Ok(EndpointState::Removed),
        ("disabled", Some(part)) => Ok(EndpointState::Disabled { reason: part.reason, at: part.at.into() }),
        _ => Err(RowError::Contradiction("its state is unknown, or contradicts whether it was switched off")),
    }
}

fn kinds(filter: &EventFilter) -> Option<Vec<String>> {
    match filter {
        EventFilter::All => None,
        EventFilter::Only(kinds) => Some(kinds.iter().map(|kind| kind.name().to_owned()).collect()),
    }
}

fn read_kinds(words: Option<Vec<String>>) -> Result<EventFilter, RowError> {
    let Some(words) = words else { return Ok(EventFilter::All) };
    let kinds: BTreeSet<EventKind> = words.iter().map(|word| parse("events", word)).collect::<Result<_, _>>()?;
    Ok(EventFilter::Only(kinds))
}

impl Record for Endpoint {
    const TABLE: Table = Table::Endpoint;
    type Row = EndpointRow;

    fn to_row(&self) -> EndpointRow {
        let retiring =
            |old: &RetiringSecret| RetiringPart { secret: old.secret.0.clone().into(), until: old.until.into() };
        let disabled = match &self.state {
            EndpointState::Disabled { reason, at } => Some(DisabledPart { reason: reason.clone(), at: (*at).into() }),
            EndpointState::Enabled | EndpointState::Paused | EndpointState::Removed => None,
        };
        EndpointRow {
            id: id(&self.id),
            merchant: self.merchant.to_string(),
            url: self.url.to_string(),
            events: kinds(&self.events),
            label: self.label.as_ref().map(ToString::to_string),
            format: self.format.as_ref().map(ToString::to_string),
            secret: self.secret.0.clone().into(),
            retiring_secret: self.retiring_secret.as_ref().map(retiring),
            state: state_word(&self.state).to_owned(),
            disabled,
            failing_since: self.failing_since.map(Whole::from),
            created_at: self.created_at.into(),
            revision: Whole(self.revision),
            listed: moving_entries(self),
        }
    }

    fn from_row(row: EndpointRow) -> Result<Self, RowError> {
        let retiring =
            |old: RetiringPart| RetiringSecret { secret: Sealed(old.secret.to_vec()), until: old.until.into() };
        Ok(Self {
            id: text_key(&row.id)?,
            merchant: parse("merchant", &row.merchant)?,
            url: parse("url", &row.url)?,
            events: read_kinds(row.events)?,
            label: parse_option("label", row.label.as_deref())?,
            format: parse_option("format", row.format.as_deref())?,
            secret: Sealed(row.secret.to_vec()),
            retiring_secret: row.retiring_secret.map(retiring),
            state: read_state(&row.state, row.disabled)?,
            failing_since: row.failing_since.map(Into::into),
            created_at: row.created_at.into(),
            revision: row.revision.0,
        })
    }
}
