//! The webhook body when no plugin is bound, or the bound one fails: `{"event":"invoice.paid","data":{…}}`.
//!
//! The same form as the shipped plugin `xthon-json`, so that a receiver notices no difference when a plugin fails.

use xthonpay_domain::event::Event;

use crate::port::hooks::Rendered;

/// The body of an event.
#[must_use]
pub fn render(event: &Event) -> Rendered {
    // Kinds are words of letters, dots and underscores, and the data is JSON already: nothing here needs escaping.
    let body = format!(r#"{{"event":"{}","data":{}}}"#, event.kind.name(), event.data_json);
    Rendered { content_type: "application/json".to_owned(), headers: Vec::new(), body: body.into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xthonpay_domain::event::EventKind;
    use xthonpay_domain::id::{EventId, MerchantId};
    use xthonpay_domain::time::Timestamp;

    #[test]
    fn every_kind_gives_json_with_the_data_untouched() {
        for kind in EventKind::ALL {
            let event = Event {
                id: EventId::from_random([1; 16]),
                kind,
                at: Timestamp::EPOCH,
                merchant: MerchantId::from_random([2; 16]),
                invoice: None,
                deposit: None,
                sequence: 1,
                data_json: r#"{"external_id":"a\"b","amount":"50"}"#.to_owned(),
            };
            let body: serde_json::Value = serde_json::from_slice(&render(&event).body).expect("the body is JSON");
            assert_eq!(body["event"], kind.name());
            assert_eq!(body["data"]["external_id"], "a\"b");
        }
    }
}
