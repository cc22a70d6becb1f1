//! From what a call says about itself to an operation of the document.
//!
//! A call tells its own parameters, body and answers. What it needs and what the door may answer before it is reached
//! follows from its row in the table of calls, so neither can be forgotten or outdated.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{AllOfBuilder, Object};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Ref, Required};

use super::faults::Failure;
use super::schema::{Fields, Shape, named, one_of};
use super::shapes::ERROR;
use super::{API_KEY, IDEMPOTENCY_KEY, SIGNATURE, TIMESTAMP};
use crate::error::{Fault, Outage};
use crate::policies::{Door, Row};

/// The media type of what calls take and answer.
const JSON: &str = "application/json";

/// Under which heading a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Invoices,
    Balances,
    Endpoints,
    Deliveries,
    Events,
    Keys,
    TestMode,
    Service,
}

impl Group {
    /// In the order in which they are shown.
    pub(super) const ALL: [Self; 8] = [
        Self::Invoices,
        Self::Balances,
        Self::Events,
        Self::Endpoints,
        Self::Deliveries,
        Self::Keys,
        Self::TestMode,
        Self::Service,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Invoices => "Invoices",
            Self::Balances => "Balances and addresses",
            Self::Events => "Events",
            Self::Endpoints => "Webhook endpoints",
            Self::Deliveries => "Deliveries",
            Self::Keys => "Keys",
            Self::TestMode => "Test mode",
            Self::Service => "Service",
        }
    }

    pub(super) fn says(self) -> &'static str {
        match self {
            Self::Invoices => {
                "An invoice has an address of its own. Whatever arrives there is found, credited when it is final, and told by webhooks."
            }
            Self::Balances => "What the merchant has, and where money goes that belongs to no invoice.",
            Self::Events => {
                "Facts that you may hear of. The feed lists them in the order in which they were recorded, for whoever asks."
            }
            Self::Endpoints => {
                "Places where you hear of events without asking, each with its own secret and its own choice of events."
            }
            Self::Deliveries => "One event going to one place: what was sent, what came back, and once more.",
            Self::Keys => "Keys are made by the operator, on the command line of the host.",
            Self::TestMode => "Keys that begin with `xpk_test_` work on a simulated chain, apart from everything real.",
            Self::Service => "Calls without a signature: the clock, the state of this deployment, and this document.",
        }
    }
}

/// What a call says about itself.
pub(super) struct CallDoc {
    id: &'static str,
    group: Group,
    summary: &'static str,
    details: String,
    parameters: Vec<Parameter>,
    body: Option<(Shape, Required)>,
    answers: Vec<Success>,
    failures: Vec<Failure>,
}

struct Success {
    status: StatusCode,
    says: &'static str,
    media_type: &'static str,
    shape: Shape,
    has_location: bool,
}

impl CallDoc {
    /// A call; `id` is its name in generated clients.
    pub(super) fn new(id: &'static str, group: Group, summary: &'static str) -> Self {
        let (details, parameters, answers, failures) = (String::new(), Vec::new(), Vec::new(), Vec::new());
        Self { id, group, summary, details, parameters, body: None, answers, failures }
    }

    /// What more there is to say.
    pub(super) fn details(self, details: impl Into<String>) -> Self {
        Self { details: details.into(), ..self }
    }

    /// A variable part of the path.
    pub(super) fn path(self, name: &str, object: Object) -> Self {
        self.parameter(name, ParameterIn::Path, Required::True, object)
    }

    /// A query parameter, which may be missing.
    pub(super) fn query(self, name: &str, object: Object) -> Self {
        self.parameter(name, ParameterIn::Query, Required::False, object)
    }

    fn parameter(mut self, name: &str, place: ParameterIn, required: Required, mut object: Object) -> Self {
        let says = object.description.take();
        let parameter = ParameterBuilder::new().name(name).parameter_in(place).required(required);
        self.parameters.push(parameter.description(says).schema(Some(object)).build());
        self
    }

    /// The body that it takes.
    pub(super) fn body(self, shape: Shape) -> Self {
        Self { body: Some((shape, Required::True)), ..self }
    }

    /// The body that it takes, which may be left out.
    pub(super) fn may_have_body(self, shape: Shape) -> Self {
        Self { body: Some((shape, Required::False)), ..self }
    }

    /// An answer that succeeds.
    pub(super) fn answers(self, status: StatusCode, says: &'static str, shape: Shape) -> Self {
        self.answers_with(status, says, JSON, shape)
    }

    /// The same of another media type.
    pub(super) fn answers_with(
        mut self,
        status: StatusCode,
        says: &'static str,
        media_type: &'static str,
        shape: Shape,
    ) -> Self {
        self.answers.push(Success { status, says, media_type, shape, has_location: false });
        self
    }

    /// The answer to a call that made something, which can be read where `Location` says.
    pub(super) fn creates(mut self, says: &'static str, shape: Shape) -> Self {
        let status = StatusCode::CREATED;
        self.answers.push(Success { status, says, media_type: JSON, shape, has_location: true });
        self
    }

    /// How it can fail, besides what may happen to every call.
    pub(super) fn fails<F: Into<Failure>>(mut self, failures: impl IntoIterator<Item = F>) -> Self {
        self.failures.extend(failures.into_iter().map(Into::into));
        self
    }

    /// The operation, with all that follows from the row.
    pub(super) fn finish(mut self, row: &Row) -> Operation {
        let has_body = self.body.is_some();
        self.failures.extend(failures_of_the_door(row, has_body));
        let is_signed = matches!(row.door, Door::Signed(..));
        let mut operation = OperationBuilder::new()
            .operation_id(Some(self.id))
            .tag(self.group.name())
            .summary(Some(self.summary))
            .description(Some(self.details).filter(|details| !details.is_empty()));
        for parameter in self.parameters {
            operation = operation.parameter(parameter);
        }
        if let Door::Signed(_, policy) = row.door {
            // For schemes without scopes of their own, OpenAPI 3.1 lets the roles be named here.
            let scopes = [policy.scope.name()];
            let all = SecurityRequirement::new(API_KEY, scopes).add(TIMESTAMP, scopes).add(SIGNATURE, scopes);
            operation = operation.security(all);
            if policy.mutates {
                operation = operation.parameter_ref(Ref::new(format!("#/components/parameters/{IDEMPOTENCY_KEY}")));
            }
        } else {
            operation = operation.securities(Some([]));
        }
        if let Some((shape, required)) = self.body {
            let content = ContentBuilder::new().schema(Some(shape)).build();
            let body = RequestBodyBuilder::new().content(JSON, content).required(Some(required));
            operation = operation.request_body(Some(body.build()));
        }
        let mutates = matches!(row.door, Door::Signed(_, policy) if policy.mutates);
        for success in self.answers {
            let status = success.status.as_str().to_owned();
            operation = operation.response(status, success.response(is_signed, mutates));
        }
        for (status, failures) in by_status(self.failures) {
            operation = operation.response(status.to_string(), failure(status, &failures, is_signed));
        }
        operation.build()
    }
}

impl Success {
    fn response(self, is_signed: bool, mutates: bool) -> Response {
        let content = ContentBuilder::new().schema(Some(self.shape)).build();
        let mut response = ResponseBuilder::new().description(self.says).content(self.media_type, content);
        let mut headers = vec!["X-Request-Id"];
        if self.has_location {
            headers.push("Location");
        }
        if is_signed {
            headers.extend(RATE_LIMIT);
        }
        if mutates {
            headers.push("Idempotent-Replayed");
        }
        for name in headers {
            response = response.header_ref(name, header_ref(name));
        }
        response.build()
    }
}

/// What signed calls tell about the rate at which their key may call.
const RATE_LIMIT: [&str; 3] = ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"];

/// What the door, and not the call itself, may answer.
fn failures_of_the_door(row: &Row, has_body: bool) -> Vec<Failure> {
    let mut failures = vec![Outage::Internal.into()];
    match row.door {
        Door::Signed(_, policy) => {
            let always = [
                Fault::InvalidRequest,
                Fault::Unauthorized,
                Fault::ClockSkew,
                Fault::KeyRevoked,
                Fault::KeyExpired,
                Fault::KeyRegenerationRequired,
                Fault::ScopeRequired,
                Fault::IpNotAllowed,
                Fault::RequestTimeout,
                Fault::BodyTooLarge,
                Fault::RateLimited,
            ];
            failures.extend(always.map(Failure::from));
            failures.push(Outage::Unavailable.into());
            if policy.mutates {
                let once = [Fault::SignatureReplayed, Fault::IdempotencyInProgress, Fault::IdempotencyMismatch];
                failures.extend(once.map(Failure::from));
            }
            if has_body {
                failures.push(Fault::UnsupportedMediaType.into());
            }
            // The only parameters of the path are ids.
            if row.paths().iter().any(|path| path.contains('{')) {
                failures.push(Fault::NotFound.into());
            }
        }
        Door::Operator(_) => failures.extend([Fault::InvalidRequest, Fault::NotFound].map(Failure::from)),
        Door::Open(_) => {}
    }
    failures
}

fn by_status(failures: Vec<Failure>) -> BTreeMap<u16, Vec<Failure>> {
    let mut by_status: BTreeMap<u16, Vec<Failure>> = BTreeMap::new();
    for failure in failures {
        let same = by_status.entry(failure.status()).or_default();
        if !same.contains(&failure) {
            same.push(failure);
        }
    }
    by_status
}

fn failure(status: u16, failures: &[Failure], is_signed: bool) -> Response {
    let lines = failures.iter().map(|failure| format!("`{}`: {}", failure.code(), failure.meaning()));
    let codes = one_of(failures.iter().map(|failure| failure.code()), "Which of the codes of this status.");
    let narrowed = Fields::new("The codes of this status.").field("code", codes).open();
    let narrowed = Fields::new("The codes of this status.").field("error", narrowed).open();
    let shape = AllOfBuilder::new().item(named(ERROR)).item(narrowed);
    let content = ContentBuilder::new().schema(Some(shape)).build();
    let says = lines.collect::<Vec<_>>().join("\n\n");
    let mut headers = vec!["X-Request-Id"];
    match status {
        401 => headers.push("WWW-Authenticate"),
        429 | 502 | 503 => headers.push("Retry-After"),
        409 if failures.contains(&Fault::IdempotencyInProgress.into()) => headers.push("Retry-After"),
        _ => {}
    }
    if is_signed {
        headers.extend(RATE_LIMIT);
    }
    let response = ResponseBuilder::new().description(says).content(JSON, content);
    headers.into_iter().fold(response, |response, name| response.header_ref(name, header_ref(name))).build()
}

fn header_ref(name: &str) -> Ref {
    Ref::new(format!("#/components/headers/{name}"))
}

/// The method as the document's model knows it; `None` for methods that the table does not use.
pub(super) fn method(method: &Method) -> Option<utoipa::openapi::HttpMethod> {
    use utoipa::openapi::HttpMethod;
    match *method {
        Method::GET => Some(HttpMethod::Get),
        Method::POST => Some(HttpMethod::Post),
        Method::PUT => Some(HttpMethod::Put),
        Method::PATCH => Some(HttpMethod::Patch),
        Method::DELETE => Some(HttpMethod::Delete),
        _ => None,
    }
}
