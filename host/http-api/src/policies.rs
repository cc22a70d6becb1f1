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
}

/// Calls that anybody may make. None of them reads what belongs to a merchant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenCall {
    Time,
    Health,
    Readiness,
}

/// What stands between the network and a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Signed(SignedCall, Policy),
    Open(OpenCall),
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
const WRITE: Policy = Policy { scope: Scope::Write, mutates: true };

/// Every call.
#[rustfmt::skip]
pub(crate) static TABLE: [Row; 9] = [
    api(Method::POST, "/invoices",        Door::Signed(SignedCall::CreateInvoice, WRITE)),
    api(Method::GET,  "/invoices",        Door::Signed(SignedCall::ListInvoices, READ)),
    api(Method::GET,  "/invoices/{id}",   Door::Signed(SignedCall::ReadInvoice, READ)),
    api(Method::GET,  "/balance",         Door::Signed(SignedCall::ReadBalance, READ)),
    api(Method::GET,  "/deposit-address", Door::Signed(SignedCall::ReadDepositAddress, READ)),
    api(Method::GET,  "/keys/me",         Door::Signed(SignedCall::ReadOwnKey, READ)),
    api(Method::GET,  "/time",            Door::Open(OpenCall::Time)),
    root(Method::GET, "/healthz",         Door::Open(OpenCall::Health)),
    root(Method::GET, "/readyz",          Door::Open(OpenCall::Readiness)),
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
    /// What a caller needs; `None` when anybody may call.
    pub policy: Option<Policy>,
}

/// Every mounted call, aliases included.
#[must_use]
pub fn policies() -> Vec<RoutePolicy> {
    let of_row = |row: &'static Row| {
        let policy = match row.door {
            Door::Signed(_, policy) => Some(policy),
            Door::Open(_) => None,
        };
        row.paths().into_iter().map(move |path| RoutePolicy { method: row.method.clone(), path, policy })
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
