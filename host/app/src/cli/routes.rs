//! `routes`: every call that the REST server answers, and what each of them needs.

use serde::Serialize;
use xthonpay_http_api::{RoutePolicy, policies};

use super::arguments::RoutesArguments;
use super::{CliError, output};

#[derive(Serialize)]
struct Routes {
    routes: Vec<Route>,
}

#[derive(Serialize)]
struct Route {
    /// `GET` also answers `HEAD`.
    method: String,
    path: String,
    /// `signed`, `open`, or `operator`: only for callers from `server.metrics_networks`.
    door: &'static str,
    /// What the key of a signed call must be allowed.
    scope: Option<&'static str>,
    /// Whether it changes something, so that a signature works once.
    mutates: bool,
}

impl From<RoutePolicy> for Route {
    fn from(route: RoutePolicy) -> Self {
        let door = match (route.policy, route.operator_only) {
            (Some(_), _) => "signed",
            (None, true) => "operator",
            (None, false) => "open",
        };
        Self {
            method: route.method.to_string(),
            path: route.path,
            door,
            scope: route.policy.map(|policy| policy.scope.name()),
            mutates: route.policy.is_some_and(|policy| policy.mutates),
        }
    }
}

/// `routes`.
pub(super) fn routes(asked: &RoutesArguments) -> Result<(), CliError> {
    let routes: Vec<Route> = policies().into_iter().map(Route::from).collect();
    if asked.json { output::json(&Routes { routes }) } else { output::lines(&lines(&routes)) }
}

fn lines(routes: &[Route]) -> Vec<String> {
    let width = routes.iter().map(|route| route.path.len()).max().unwrap_or_default();
    let line = |method: &str, path: &str, door: &str, scope: &str, effect: &str| {
        format!("{method:<7} {path:<width$} {door:<9} {scope:<9} {effect}").trim_end().to_owned()
    };
    let heading = line("METHOD", "PATH", "DOOR", "SCOPE", "");
    let rows = routes.iter().map(|route| {
        let effect = if route.mutates { "mutates" } else { "" };
        line(&route.method, &route.path, route.door, route.scope.unwrap_or("-"), effect)
    });
    [heading].into_iter().chain(rows).collect()
}
