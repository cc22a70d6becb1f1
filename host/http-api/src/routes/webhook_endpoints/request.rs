//! From bodies about endpoints to what the use case takes. Every refusal names the field.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use xthonpay_domain::event::{EventFilter, EventKind};
use xthonpay_payments::endpoints::{EndpointChange, NewEndpoint, OVERLAP_DEFAULT, OVERLAP_MAX};

use crate::door::Call;
use crate::error::{ApiError, Fault};
use crate::json::{Json, fields, optional_text, take};
use crate::named::{Named, parse};

/// The endpoint that the fields describe.
pub(super) fn new_endpoint(mut fields: Named<Json>) -> Result<NewEndpoint, ApiError> {
    let missing =
        || ApiError::at(Fault::InvalidRequest, "url", "url is missing; give the https:// URL of your receiver");
    let new = NewEndpoint {
        url: optional_text(&mut fields, Fault::InvalidRequest, "url")?.ok_or_else(missing)?,
        events: events(&mut fields)?.unwrap_or(EventFilter::All),
        label: optional_text(&mut fields, Fault::InvalidRequest, "label")?,
        format: optional_text(&mut fields, Fault::InvalidRequest, "format")?,
    };
    fields.finish()?;
    Ok(new)
}

/// What the fields want to be different. `null` is a wish too: all events, no label, the format of the deployment.
pub(super) fn change(mut fields: Named<Json>) -> Result<EndpointChange, ApiError> {
    let change = EndpointChange {
        url: optional_text(&mut fields, Fault::InvalidRequest, "url")?,
        events: events(&mut fields)?,
        label: text_or_null(&mut fields, "label")?,
        format: text_or_null(&mut fields, "format")?,
        enabled: enabled(&mut fields)?,
    };
    fields.finish()?;
    Ok(change)
}

/// How long the old secret shall sign beside the new one.
pub(super) fn overlap(call: &Call) -> Result<Duration, ApiError> {
    if call.body().is_empty() {
        return Ok(OVERLAP_DEFAULT);
    }
    let mut fields = fields(call.headers(), call.body())?;
    let overlap = match take(&mut fields, "overlap_s") {
        None => OVERLAP_DEFAULT,
        Some(Json::Unsigned(secs)) if secs <= OVERLAP_MAX.as_secs() => Duration::from_secs(secs),
        Some(_) => {
            let message = format!("overlap_s must be a whole number of seconds from 0 to {}", OVERLAP_MAX.as_secs());
            return Err(ApiError::at(Fault::InvalidRequest, "overlap_s", message));
        }
    };
    fields.finish()?;
    Ok(overlap)
}

/// The kinds in a field, if it is there; `null` stands for all.
fn events(fields: &mut Named<Json>) -> Result<Option<EventFilter>, ApiError> {
    let kinds = match fields.take("events") {
        None => return Ok(None),
        Some(Json::Null) => return Ok(Some(EventFilter::All)),
        Some(list) => kinds(list, "events")?,
    };
    let refuse = |message| Err(ApiError::at(Fault::InvalidRequest, "events", message));
    if kinds.is_empty() {
        return refuse("events is empty: name at least one kind, or leave it out for all");
    }
    if kinds.contains(&EventKind::Ping) {
        return refuse("ping goes to the endpoint that it is asked for, whatever its events; leave it out");
    }
    Ok(Some(EventFilter::Only(kinds)))
}

/// A list of kinds of events.
pub(in crate::routes) fn kinds(list: Json, name: &'static str) -> Result<BTreeSet<EventKind>, ApiError> {
    let refuse = || ApiError::at(Fault::InvalidRequest, name, format!("{name} must be a list of kinds of events"));
    let Json::List(items) = list else { return Err(refuse()) };
    let kind = |item| match item {
        Json::Text(text) => parse::<EventKind>(Fault::InvalidRequest, name, &text),
        _ => Err(refuse()),
    };
    items.into_iter().map(kind).collect()
}

fn text_or_null<T>(fields: &mut Named<Json>, name: &'static str) -> Result<Option<Option<T>>, ApiError>
where
    T: FromStr<Err: Display>,
{
    match fields.take(name) {
        None => Ok(None),
        Some(Json::Null) => Ok(Some(None)),
        Some(Json::Text(text)) => parse(Fault::InvalidRequest, name, &text).map(|value| Some(Some(value))),
        Some(_) => Err(ApiError::at(Fault::InvalidRequest, name, format!("{name} must be a string or null"))),
    }
}

fn enabled(fields: &mut Named<Json>) -> Result<Option<bool>, ApiError> {
    match take(fields, "enabled") {
        None => Ok(None),
        Some(Json::Bool(enabled)) => Ok(Some(enabled)),
        Some(_) => Err(ApiError::at(Fault::InvalidRequest, "enabled", "enabled must be true or false")),
    }
}
