//! A merchant's deliveries, newest first.

use core::cmp::Reverse;

use xthonpay_domain::id::{DeliveryId, MerchantId};
use xthonpay_payments::port::store::{Delivery, DeliveryFilter, DeliverySelection, READ_LIMIT_MAX, StoreError};

use super::{listed, listed_in_each};
use crate::connection::Connection;
use crate::list::List;
use crate::record::delivery::STATES;

/// A merchant's deliveries that pass the filter.
pub(crate) async fn deliveries(
    connection: &Connection,
    merchant: &MerchantId,
    filter: &DeliveryFilter,
    limit: usize,
) -> Result<Vec<Delivery>, StoreError> {
    let after = filter.after.as_ref().map(|(time, id)| (*time, DeliveryId::as_str(id)));
    let list = match &filter.select {
        DeliverySelection::All => {
            let each = STATES.map(|state| List::deliveries_in(merchant, state).newest(None, None, after));
            let limit = limit.min(READ_LIMIT_MAX);
            return listed_in_each(connection, each.into(), limit).await.map(|found| newest(found, limit));
        }
        DeliverySelection::OfEvent(event) => List::deliveries_of(merchant, event),
        DeliverySelection::To(endpoint) => List::deliveries_to(merchant, endpoint),
        DeliverySelection::In(state) => List::deliveries_in(merchant, *state),
    };
    listed(connection, list.newest(None, None, after), limit).await
}

/// The first of all states, from the first of each.
fn newest(mut found: Vec<Delivery>, limit: usize) -> Vec<Delivery> {
    found.sort_by_cached_key(|delivery| Reverse((delivery.created_at, delivery.id.clone())));
    found.truncate(limit);
    found
}
