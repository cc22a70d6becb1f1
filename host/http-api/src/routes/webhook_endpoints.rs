//! `/webhook-endpoints`: where the merchant hears of its events.

mod request;

use serde::Serialize;
use xthonpay_domain::id::EndpointId;
use xthonpay_payments::endpoints::EndpointWithSecret;
use xthonpay_payments::port::store::{Delivery, Endpoint};
use xthonpay_payments::snapshot::EndpointSnapshot;

use crate::answer::Answer;
use crate::api::Api;
use crate::door::Call;
use crate::error::ApiError;
use crate::json::fields;
use crate::query::parameters;
use crate::routes::deliveries::DeliverySummary;

pub(super) use request::kinds;

/// An endpoint with its fresh secret: the one time that it is shown.
#[derive(Serialize)]
struct WithSecret<'a> {
    #[serde(flatten)]
    endpoint: EndpointSnapshot,
    /// `whsec_` and base64: verifies the deliveries to this endpoint.
    secret: &'a str,
}

/// Makes an endpoint: 201 with its secret.
pub(crate) async fn create(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let new = request::new_endpoint(fields(call.headers(), call.body())?)?;
    let answer = |made: &EndpointWithSecret| {
        let location = api.location(&format!("webhook-endpoints/{}", made.endpoint.id));
        with_secret(made).created(&location)
    };
    Ok(answer(&api.endpoints.create(call.caller(), new, &|made| answer(made).to_bytes()).await?))
}

/// The merchant's endpoints, oldest first. They are few, so there is one page.
pub(crate) async fn list(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    parameters(call.query())?.finish()?;
    let endpoints = api.endpoints.list(call.caller().merchant()).await?;
    Ok(Answer::page(endpoints.iter().map(EndpointSnapshot::new).collect(), None))
}

/// One endpoint.
pub(crate) async fn read(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    parameters(call.query())?.finish()?;
    let found = api.endpoints.get(call.caller().merchant(), &id(call.last_segment())?).await?;
    Ok(shown(&found.ok_or_else(ApiError::not_found)?))
}

/// Changes an endpoint.
pub(crate) async fn update(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let id = id(call.last_segment())?;
    let change = request::change(fields(call.headers(), call.body())?)?;
    Ok(shown(&api.endpoints.update(call.caller(), &id, change, &|endpoint| shown(endpoint).to_bytes()).await?))
}

/// Removes an endpoint.
pub(crate) async fn remove(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let id = id(call.last_segment())?;
    no_fields(call)?;
    Ok(shown(&api.endpoints.remove(call.caller(), &id, &|endpoint| shown(endpoint).to_bytes()).await?))
}

/// Gives an endpoint a new secret, beside which the old one signs for a while.
pub(crate) async fn rotate_secret(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let id = id(call.segment_before_last())?;
    let overlap = request::overlap(call)?;
    let answer = |made: &EndpointWithSecret| with_secret(made).to_bytes();
    Ok(with_secret(&api.endpoints.rotate_secret(call.caller(), &id, overlap, &answer).await?))
}

/// Sends a ping to an endpoint: 201 with the delivery.
pub(crate) async fn ping(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let id = id(call.segment_before_last())?;
    no_fields(call)?;
    let answer = |delivery: &Delivery| {
        let location = api.location(&format!("deliveries/{}", delivery.id));
        Answer::data(DeliverySummary::new(delivery)).created(&location)
    };
    Ok(answer(&api.endpoints.ping(call.caller(), &id, &|delivery| answer(delivery).to_bytes()).await?))
}

/// Refuses what a call does not take. It takes an empty body, or an empty object.
pub(super) fn no_fields(call: &Call) -> Result<(), ApiError> {
    if call.body().is_empty() { Ok(()) } else { fields(call.headers(), call.body())?.finish() }
}

fn id(segment: &str) -> Result<EndpointId, ApiError> {
    segment.parse().map_err(|_| ApiError::not_found())
}

fn shown(endpoint: &Endpoint) -> Answer {
    Answer::data(EndpointSnapshot::new(endpoint))
}

fn with_secret(made: &EndpointWithSecret) -> Answer {
    Answer::data(WithSecret { endpoint: EndpointSnapshot::new(&made.endpoint), secret: made.secret.as_str() })
}
