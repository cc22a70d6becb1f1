//! Faults of the JSON-RPC envelope: ids and the number of answers.

use serde_json::{Value, json};

use super::fault::Fault;
use super::state::Shared;

/// An id that no client counts up to.
const FOREIGN_ID: u64 = 9_007_199_254_740_991;

/// Whether a fault changes the envelope.
pub(super) fn concerns(fault: &Fault) -> bool {
    matches!(fault, Fault::MissingItem | Fault::WrongId | Fault::RepeatedId | Fault::Shuffled)
}

/// The answers as the faults leave them: an object for a single question, a list for a batch.
pub(super) fn spoil(shared: &Shared, faults: &[Fault], mut answers: Value) -> Value {
    for fault in faults {
        match (fault, &mut answers) {
            (Fault::MissingItem, Value::Array(items)) => {
                let place = shared.faults.place(items.len());
                if place < items.len() {
                    items.remove(place);
                }
            }
            (Fault::MissingItem, single) => *single = json!([]),
            (Fault::WrongId, Value::Array(items)) => {
                let place = shared.faults.place(items.len());
                if let Some(item) = items.get_mut(place) {
                    item["id"] = json!(FOREIGN_ID);
                }
            }
            (Fault::WrongId, single) => single["id"] = json!(FOREIGN_ID),
            (Fault::RepeatedId, Value::Array(items)) => repeat_first(items),
            (Fault::RepeatedId, single) => *single = json!([single.clone(), single.clone()]),
            (Fault::Shuffled, Value::Array(items)) => items.reverse(),
            _ => {}
        }
    }
    answers
}

fn repeat_first(items: &mut [Value]) {
    let first = items.first().cloned().unwrap_or_default();
    if let Some(last) = items.last_mut() {
        *last = first;
    }
}
