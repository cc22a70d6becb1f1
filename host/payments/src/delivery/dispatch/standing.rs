//! What attempts make of an endpoint: when it begins to fail, when it recovers, and when it is switched off.
//!
//! An endpoint is written only when one of these happens, not at every attempt.

use std::time::Duration;

use xthonpay_domain::event::{Event, EventKind};
use xthonpay_domain::id::EventId;

use super::outcome::{Made, Verdict};
use crate::port::store::{Endpoint, EndpointState};
use crate::snapshot::{EndpointEventData, EndpointSnapshot, to_json};

/// The endpoint after an attempt, or `None` when nothing changes. `disable_after` is how long it may fail without one success.
///
/// Failing for too long ends it only with a delivery that is given up: two short outages with days of silence between them are
/// no five days of failures.
pub(super) fn after(endpoint: &Endpoint, made: &Made, given_up: bool, disable_after: Duration) -> Option<Endpoint> {
    // What the merchant or the host switched off in the meantime stays as it is.
    if endpoint.state != EndpointState::Enabled {
        return None;
    }
    let revision = endpoint.revision.saturating_add(1);
    let disabled = |reason: String| Endpoint {
        state: EndpointState::Disabled { reason, at: made.ended },
        failing_since: endpoint.failing_since.or(Some(made.began)),
        revision,
        ..endpoint.clone()
    };
    match (made.outcome.verdict(), endpoint.failing_since) {
        (Verdict::Unasked, _) | (Verdict::Took, None) => None,
        (Verdict::Took, Some(_)) => Some(Endpoint { failing_since: None, revision, ..endpoint.clone() }),
        (Verdict::Gone, _) => Some(disabled("it answered 410: it asks not to be called again".to_owned())),
        (Verdict::Failed, None) => Some(Endpoint { failing_since: Some(made.began), revision, ..endpoint.clone() }),
        (Verdict::Failed, Some(since)) => {
            let failing = made.ended.since(since);
            (given_up && failing > disable_after)
                .then(|| disabled(format!("every attempt failed for {}", in_words(failing))))
        }
    }
}

/// The event that tells of an endpoint which was switched off. Its id comes from the endpoint's revision, so that no second
/// writer can tell the same a second time.
pub(super) fn disabled_event(endpoint: &Endpoint) -> Option<Event> {
    let EndpointState::Disabled { at, .. } = endpoint.state else { return None };
    let kind = EventKind::EndpointDisabled;
    Some(Event {
        id: EventId::from_fact(&[endpoint.id.as_str(), kind.name(), &endpoint.revision.to_string()]),
        kind,
        at,
        merchant: endpoint.merchant.clone(),
        invoice: None,
        deposit: None,
        // Of no invoice, so there is no order to keep.
        sequence: 0,
        data_json: to_json(&EndpointEventData { endpoint: EndpointSnapshot::new(endpoint) }),
    })
}

/// A duration in the largest unit that fits, rounded down.
fn in_words(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let fitting = UNITS.into_iter().find_map(|(seconds, unit)| {
        let count = duration.as_secs().checked_div(seconds).filter(|count| *count > 0)?;
        Some(format!("{count} {unit}{}", if count == 1 { "" } else { "s" }))
    });
    fitting.unwrap_or_else(|| "less than a second".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_their_largest_unit() {
        for (seconds, words) in [
            (0, "less than a second"),
            (1, "1 second"),
            (119, "1 minute"),
            (7_200, "2 hours"),
            (86_400 * 5 + 4_000, "5 days"),
        ] {
            assert_eq!(in_words(Duration::from_secs(seconds)), words);
        }
    }
}
