//! Who calls, and whether they may. Every signed call comes through here, and nothing else makes a [`Call`].
//!
//! The order of the checks is the order of their cost and of what they give away: size and deadline, one header of each kind,
//! the signature and what the key may do, then whether the call was made before under the name that the caller gave it, and
//! only then what the request says.

use std::net::{IpAddr, SocketAddr};

use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, Request};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use tokio::time::timeout;
use xthonpay_domain::access::{Scope, SignatureScheme};
use xthonpay_domain::text::IdempotencyKey;
use xthonpay_payments::access::idempotency::{Begun, IdempotencyError, Wish};
use xthonpay_payments::access::signature::RequestParts;
use xthonpay_payments::access::{Policy, Principal, SignedRequest};
use xthonpay_payments::budgets::Standing;

use crate::answer::Answer;
use crate::client_address::client_address;
use crate::config::ApiConfig;
use crate::edge::Caller;
use crate::error::{ApiError, Fault, IDEMPOTENCY_KEY, Outage, echo};
use crate::named::parse;
use crate::policies::{OperatorCall, SignedCall, below_base};
use crate::router::Shared;
use crate::routes;

/// Names the key.
const X_API_KEY: &str = "x-api-key";
/// Unix seconds at which the request was signed.
const X_TIMESTAMP: &str = "x-timestamp";
/// Proves possession of the key's secret.
pub(crate) const X_SIGNATURE: &str = "x-signature";

/// A request that passed every check. Its fields cannot be set outside this file.
pub(crate) struct Call {
    caller: Principal,
    head: Parts,
    body: Bytes,
}

impl Call {
    /// Who calls.
    pub(crate) fn caller(&self) -> &Principal {
        &self.caller
    }

    /// The last part of the path as it was sent: an id, where the path ends with one. Not decoded, because no id needs it.
    pub(crate) fn last_segment(&self) -> &str {
        self.head.uri.path().rsplit('/').next().unwrap_or_default()
    }

    /// The part of the path before the last: the id of what a path such as `/invoices/{id}/cancel` is about.
    pub(crate) fn segment_before_last(&self) -> &str {
        self.head.uri.path().rsplit('/').nth(1).unwrap_or_default()
    }

    /// What follows the question mark.
    pub(crate) fn query(&self) -> Option<&str> {
        self.head.uri.query()
    }

    /// The headers.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The body, exactly as it was signed.
    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }
}

/// Checks a request under the policy of its call, lets it pass to its handler, and tells where its key stands.
pub(crate) async fn pass(shared: &Shared, call: SignedCall, policy: Policy, request: Request) -> Response {
    let limit = shared.api.config.request_time_max;
    let mut standing = None;
    let answered = timeout(limit, serve(shared, call, policy, request, &mut standing)).await.unwrap_or_else(|_| {
        Err(ApiError::host(Outage::Unavailable, format!("no answer within {} ms", limit.as_millis())))
    });
    let mut response = answered.into_response();
    if let Some(standing) = standing {
        response.headers_mut().extend(rate_limit_headers(standing));
    }
    response
}

/// The headers of draft-ietf-httpapi-ratelimit-headers-03.
fn rate_limit_headers(standing: Standing) -> [(HeaderName, HeaderValue); 3] {
    // Rounded up: who waits as long as it is told finds everything that was promised.
    let reset = standing.whole_in.as_secs().saturating_add(u64::from(standing.whole_in.subsec_nanos() > 0));
    [
        (HeaderName::from_static("ratelimit-limit"), standing.limit.into()),
        (HeaderName::from_static("ratelimit-remaining"), standing.remaining.into()),
        (HeaderName::from_static("ratelimit-reset"), reset.into()),
    ]
}

async fn serve(
    shared: &Shared,
    which: SignedCall,
    policy: Policy,
    request: Request,
    standing: &mut Option<Standing>,
) -> Result<Answer, ApiError> {
    let mut call = admit(shared, policy, request, standing).await?;
    let Some(wish) = wish(policy, &call)? else { return routes::signed(shared, which, &call).await };
    let idempotency = &shared.api.access.idempotency;
    let turn = match idempotency.begin(wish).await? {
        Begun::Before(answer) => return Ok(Answer::replayed(answer)),
        Begun::Turn(turn) => turn,
    };
    call.caller.claim = Some(turn.claim().clone());
    match routes::signed(shared, which, &call).await {
        Ok(answer) => {
            idempotency.keep_afterwards(&turn, || answer.to_bytes(), shared.api.clock.now()).await;
            Ok(answer)
        }
        // It may have failed because a call that its caller gave up was stored after all, whose answer is the right one.
        Err(error) => match idempotency.answer_of(&turn).await {
            Ok(Some(answer)) => Ok(Answer::replayed(answer)),
            Err(mismatch @ IdempotencyError::Mismatch) => Err(mismatch.into()),
            Ok(None) | Err(_) => Err(error),
        },
    }
}

/// Under which name the caller wants the effect once, if it gave one.
fn wish(policy: Policy, call: &Call) -> Result<Option<Wish>, ApiError> {
    let headers = &call.head.headers;
    if !policy.mutates || !headers.contains_key(IDEMPOTENCY_KEY) {
        return Ok(None);
    }
    let name = one(headers, IDEMPOTENCY_KEY, Fault::InvalidRequest, IDEMPOTENCY_KEY)?;
    let key = parse::<IdempotencyKey>(Fault::InvalidRequest, IDEMPOTENCY_KEY, name)?;
    // Both names of a call are one call.
    let parts =
        RequestParts { method: call.head.method.as_str(), path: below_base(call.head.uri.path()), body: &call.body };
    Ok(Some(Wish {
        merchant: call.caller.merchant().clone(),
        call: format!("{} {}", parts.method, parts.path),
        key,
        fingerprint: parts.digest(),
        // The secret of an endpoint is shown when it is made and when it is rotated.
        is_secret: policy.scope == Scope::Webhooks,
    }))
}

/// Serves a call for the operator's machines. To everybody else the address does not exist.
pub(crate) fn pass_operator(shared: &Shared, call: OperatorCall, request: &Request) -> Result<Response, ApiError> {
    let client = client(request.headers(), request.extensions(), &shared.api.config)?;
    if !shared.api.config.metrics_networks.iter().any(|network| network.contains(&client)) {
        return Err(ApiError::not_found());
    }
    match call {
        OperatorCall::Metrics => shared.metrics.render(),
    }
}

/// From where a request comes, as the trusted proxies tell it.
fn client(headers: &HeaderMap, extensions: &Extensions, config: &ApiConfig) -> Result<IpAddr, ApiError> {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer.ok_or_else(|| ApiError::host(Outage::Internal, "the request carries no address of its peer"))?;
    Ok(client_address(peer.0.ip(), headers, &config.trusted_proxies)?)
}

/// Checks a request. As soon as its key is known, `standing` tells where that stands after this request.
async fn admit(
    shared: &Shared,
    policy: Policy,
    request: Request,
    standing: &mut Option<Standing>,
) -> Result<Call, ApiError> {
    let config = &shared.api.config;
    let (head, body) = request.into_parts();
    let client = client(&head.headers, &head.extensions, config)?;
    // Asked again when the body is here: many slow ones could begin before the first of them fails.
    shared.api.access.check_origin(client)?;
    let body = read(body, config).await?;
    let credential = |name, shown| one(&head.headers, name, Fault::Unauthorized, shown);
    let key = credential(X_API_KEY, "X-API-Key")?;
    let timestamp = credential(X_TIMESTAMP, "X-Timestamp")?;
    let signature = credential(X_SIGNATURE, "X-Signature")?;
    let caller = head.extensions.get::<Caller>();
    caller.iter().for_each(|caller| caller.comes_from(client));
    let parts = RequestParts { method: head.method.as_str(), path: head.uri.path(), body: &body };
    let signed = SignedRequest { key, timestamp, signature, parts, peer: client };
    let access = &shared.api.access;
    let identified = access.identify(signed).await?;
    caller.iter().for_each(|caller| caller.signed_with(&identified.key().id));
    let admitted = access.admit(&identified, policy);
    *standing = Some(access.standing(identified.key()));
    let caller = admitted?;
    if caller.key.scheme == SignatureScheme::Timestamp {
        shared.metrics.signed_by_timestamp();
    }
    if policy.mutates {
        // The query is not signed, so nothing that changes something may depend on it.
        refuse_query(&head)?;
    } else if !body.is_empty() {
        return Err(ApiError::caller(Fault::InvalidRequest, "this call takes no body"));
    }
    Ok(Call { caller, head, body })
}

/// The whole body, if it is small enough and comes in time.
async fn read(body: Body, config: &ApiConfig) -> Result<Bytes, ApiError> {
    let limit = config.body_bytes_max;
    let too_large = || ApiError::caller(Fault::BodyTooLarge, format!("the body is larger than {limit} bytes"));
    // What a request declares is refused before it is read.
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let reading = async {
        let mut stream = body.into_data_stream();
        let mut read = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| ApiError::caller(Fault::InvalidRequest, "the body broke off"))?;
            if read.len().saturating_add(chunk.len()) > limit {
                return Err(too_large());
            }
            read.extend_from_slice(&chunk);
        }
        Ok(read.freeze())
    };
    let late = || Err(ApiError::caller(Fault::RequestTimeout, "the body did not arrive in time"));
    timeout(config.body_time_max, reading).await.unwrap_or_else(|_| late())
}

/// The value of a header that must be there exactly once.
fn one<'a>(headers: &'a HeaderMap, name: &str, fault: Fault, shown: &'static str) -> Result<&'a str, ApiError> {
    let refuse = |message: String| ApiError::at(fault, shown, message);
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| refuse(format!("the header {shown} is missing")))?;
    if values.next().is_some() {
        return Err(refuse(format!("the header {shown} is there more than once")));
    }
    value.to_str().map_err(|_| refuse(format!("the header {shown} holds more than visible ASCII characters")))
}

fn refuse_query(head: &Parts) -> Result<(), ApiError> {
    let query = head.uri.query().unwrap_or_default();
    if query.is_empty() {
        return Ok(());
    }
    let first = query.split(['=', '&']).next().unwrap_or_default();
    Err(ApiError::at(
        Fault::InvalidRequest,
        echo(first),
        "this call takes no query parameters, because they are not signed",
    ))
}
