//! Which calls exist and what each of them needs.
//!
//! The router mounts this table and nothing else, and a handler of a signed call takes a
//! [`Call`](crate::door::Call), which only the door makes, after it applied the policy of the row. A call that is missing
//! here does not exist; a call without a policy cannot be written down.

use http::Method;
use xthonpay_domain::access::Scope;
use xthonpay_payments::access::Policy;

/// The paths under which every call of the API stands: the documented one and its alias.
const BASES: [&str; 2] = ["/api/v1", "/v1"];

/// Calls that need a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignedCall {
    CreateInvoice,
    ListInvoices,
    ReadInvoice,
    CancelInvoice,
    ResolveInvoice,
    ListPayments,
    ReadPayment,
    ReadBalance,
    ReadDepositAddress,
    ReadOwnKey,
    RescanTransaction,
    CreateEndpoint,
    ListEndpoints,
    ReadEndpoint,
    UpdateEndpoint,
    RemoveEndpoint,
    RotateEndpointSecret,
    PingEndpoint,
    ListDeliveries,
    ReadDelivery,
    Redeliver,
    ReadFeed,
    ReadEvent,
    ReplayEvents,
    Simulate,
}

/// Calls that anybody may make. None of them reads what belongs to a merchant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenCall {
    Time,
    Health,
    Readiness,
    Document,
    Reference,
}

/// Calls for the operator's own machines: answered to callers from the networks that the config names, unknown to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OperatorCall {
    Metrics,
}

/// What stands between the network and a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Signed(SignedCall, Policy),
    Open(OpenCall),
    Operator(OperatorCall),
}

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    /// Below each of [`BASES`].
    Api,
    /// At the root, for load balancers, supervisors and readers.
    Root,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) method: Method,
    base: Base,
    path: &'static str,
    pub(crate) door: Door,
}

const READ: Policy = Policy { scope: Scope::Read, mutates: false, bare_timestamp: true };
/// For what makes only records of what the chain shows anyway.
const LOOK_AGAIN: Policy = Policy { scope: Scope::Read, mutates: true, bare_timestamp: true };
/// For what makes something new and neither gives nor takes anything away: the product's guide signs it with nothing but a
/// time stamp.
const MAKE: Policy = Policy { scope: Scope::Write, mutates: true, bare_timestamp: true };
const WRITE: Policy = Policy { scope: Scope::Write, mutates: true, bare_timestamp: false };
/// Endpoints and deliveries hold what events say and where they go, so reading them needs the scope too.
const READ_WEBHOOKS: Policy = Policy { scope: Scope::Webhooks, mutates: false, bare_timestamp: false };
const WRITE_WEBHOOKS: Policy = Policy { scope: Scope::Webhooks, mutates: true, bare_timestamp: false };

/// Every call.
#[rustfmt::skip]
pub(crate) static TABLE: [Row; 31] = [
    api(Method::POST, "/invoices",        Door::Signed(SignedCall::CreateInvoice, MAKE)),
    api(Method::GET,  "/invoices",        Door::Signed(SignedCall::ListInvoices, READ)),
    api(Method::GET,  "/invoices/{id}",   Door::Signed(SignedCall::ReadInvoice, READ)),
    api(Method::POST, "/invoices/{id}/cancel",  Door::Signed(SignedCall::CancelInvoice, WRITE)),
    api(Method::POST, "/invoices/{id}/resolve", Door::Signed(SignedCall::ResolveInvoice, WRITE)),
    api(Method::GET,  "/payments",        Door::Signed(SignedCall::ListPayments, READ)),
    api(Method::GET,  "/payments/{id}",   Door::Signed(SignedCall::ReadPayment, READ)),
    api(Method::GET,  "/balance",         Door::Signed(SignedCall::ReadBalance, READ)),
    api(Method::GET,  "/deposit-address", Door::Signed(SignedCall::ReadDepositAddress, READ)),
    api(Method::GET,  "/keys/me",         Door::Signed(SignedCall::ReadOwnKey, READ)),
    api(Method::POST, "/rescan",          Door::Signed(SignedCall::RescanTransaction, LOOK_AGAIN)),
    api(Method::POST, "/test/invoices/{id}/simulate", Door::Signed(SignedCall::Simulate, MAKE)),
    api(Method::POST,   "/webhook-endpoints",                    Door::Signed(SignedCall::CreateEndpoint, WRITE_WEBHOOKS)),
    api(Method::GET,    "/webhook-endpoints",                    Door::Signed(SignedCall::ListEndpoints, READ_WEBHOOKS)),
    api(Method::GET,    "/webhook-endpoints/{id}",               Door::Signed(SignedCall::ReadEndpoint, READ_WEBHOOKS)),
    api(Method::PATCH,  "/webhook-endpoints/{id}",               Door::Signed(SignedCall::UpdateEndpoint, WRITE_WEBHOOKS)),
    api(Method::DELETE, "/webhook-endpoints/{id}",               Door::Signed(SignedCall::RemoveEndpoint, WRITE_WEBHOOKS)),
    api(Method::POST,   "/webhook-endpoints/{id}/rotate-secret", Door::Signed(SignedCall::RotateEndpointSecret, WRITE_WEBHOOKS)),
    api(Method::POST,   "/webhook-endpoints/{id}/test",          Door::Signed(SignedCall::PingEndpoint, WRITE_WEBHOOKS)),
    api(Method::GET,    "/deliveries",                           Door::Signed(SignedCall::ListDeliveries, READ_WEBHOOKS)),
    api(Method::GET,    "/deliveries/{id}",                      Door::Signed(SignedCall::ReadDelivery, READ_WEBHOOKS)),
    api(Method::POST,   "/deliveries/{id}/redeliver",            Door::Signed(SignedCall::Redeliver, WRITE_WEBHOOKS)),
    api(Method::GET,    "/events",                               Door::Signed(SignedCall::ReadFeed, READ)),
    api(Method::GET,    "/events/{id}",                          Door::Signed(SignedCall::ReadEvent, READ)),
    api(Method::POST,   "/events/replay",                        Door::Signed(SignedCall::ReplayEvents, WRITE_WEBHOOKS)),
    api(Method::GET,  "/time",            Door::Open(OpenCall::Time)),
    root(Method::GET, "/healthz",         Door::Open(OpenCall::Health)),
    root(Method::GET, "/readyz",          Door::Open(OpenCall::Readiness)),
    root(Method::GET, "/metrics",         Door::Operator(OperatorCall::Metrics)),
    root(Method::GET, "/openapi.json",    Door::Open(OpenCall::Document)),
    root(Method::GET, "/docs",            Door::Open(OpenCall::Reference)),
];

const fn api(method: Method, path: &'static str, door: Door) -> Row {
    Row { method, base: Base::Api, path, door }
}

const fn root(method: Method, path: &'static str, door: Door) -> Row {
    Row { method, base: Base::Root, path, door }
}

/// A path of the API without what its alias leaves out: the same for both names of a call.
pub(crate) fn below_base(path: &str) -> &str {
    BASES.iter().find_map(|base| path.strip_prefix(base)).unwrap_or(path)
}

impl Row {
    /// The paths at which the call is mounted.
    pub(crate) fn paths(&self) -> Vec<String> {
        match self.base {
            Base::Api => BASES.iter().map(|base| format!("{base}{}", self.path)).collect(),
            Base::Root => vec![self.path.to_owned()],
        }
    }
}

/// One mounted call and what it needs, for the operator's eyes and for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePolicy {
    /// The method. `GET` also answers `HEAD`.
    pub method: Method,
    /// The path, with `{name}` for its variable parts.
    pub path: String,
    /// What a caller needs; `None` when no signature is needed.
    pub policy: Option<Policy>,
    /// Whether only callers from the operator's networks are answered.
    pub operator_only: bool,
}

/// Every mounted call, aliases included.
#[must_use]
pub fn policies() -> Vec<RoutePolicy> {
    let of_row = |row: &'static Row| {
        let policy = match row.door {
            Door::Signed(_, policy) => Some(policy),
            Door::Open(_) | Door::Operator(_) => None,
        };
        let operator_only = matches!(row.door, Door::Operator(_));
        let mounted = move |path| RoutePolicy { method: row.method.clone(), path, policy, operator_only };
        row.paths().into_iter().map(mounted)
    };
    TABLE.iter().flat_map(of_row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_is_never_a_get_and_never_open() {
        for row in policies() {
            let mutates = row.policy.is_some_and(|policy| policy.mutates);
            assert_eq!(mutates, row.method != Method::GET, "{} {}", row.method, row.path);
        }
    }

    #[test]
    fn every_call_of_the_api_has_its_alias() {
        let rows = policies();
        let aliased = rows.iter().filter(|row| row.path.starts_with("/api/v1/"));
        for row in aliased {
            let alias = RoutePolicy { path: row.path.replacen("/api", "", 1), ..row.clone() };
            assert!(rows.contains(&alias), "{} {}", row.method, row.path);
        }
    }
}
