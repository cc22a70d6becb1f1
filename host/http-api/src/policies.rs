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
    ReadBalance,
    ReadDepositAddress,
    ReadOwnKey,
    RescanTransaction,
}

/// Calls that anybody may make. None of them reads what belongs to a merchant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenCall {
    Time,
    Health,
    Readiness,
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
    /// At the root, for load balancers and supervisors.
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

const READ: Policy = Policy { scope: Scope::Read, mutates: false };
/// For what makes only records of what the chain shows anyway.
const LOOK_AGAIN: Policy = Policy { scope: Scope::Read, mutates: true };
const WRITE: Policy = Policy { scope: Scope::Write, mutates: true };

/// Every call.
#[rustfmt::skip]
pub(crate) static TABLE: [Row; 11] = [
    api(Method::POST, "/invoices",        Door::Signed(SignedCall::CreateInvoice, WRITE)),
    api(Method::GET,  "/invoices",        Door::Signed(SignedCall::ListInvoices, READ)),
    api(Method::GET,  "/invoices/{id}",   Door::Signed(SignedCall::ReadInvoice, READ)),
    api(Method::GET,  "/balance",         Door::Signed(SignedCall::ReadBalance, READ)),
    api(Method::GET,  "/deposit-address", Door::Signed(SignedCall::ReadDepositAddress, READ)),
    api(Method::GET,  "/keys/me",         Door::Signed(SignedCall::ReadOwnKey, READ)),
    api(Method::POST, "/rescan",          Door::Signed(SignedCall::RescanTransaction, LOOK_AGAIN)),
    api(Method::GET,  "/time",            Door::Open(OpenCall::Time)),
    root(Method::GET, "/healthz",         Door::Open(OpenCall::Health)),
    root(Method::GET, "/readyz",          Door::Open(OpenCall::Readiness)),
    root(Method::GET, "/metrics",         Door::Operator(OperatorCall::Metrics)),
];

const fn api(method: Method, path: &'static str, door: Door) -> Row {
    Row { method, base: Base::Api, path, door }
}

const fn root(method: Method, path: &'static str, door: Door) -> Row {
    Row { method, base: Base::Root, path, door }
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
