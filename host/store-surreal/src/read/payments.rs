//! A merchant's deposits, newest first.

use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::id::{DepositId, MerchantId};
use xthonpay_payments::port::store::{PaymentFilter, PaymentSelection, StoreError};

use super::listed;
use crate::connection::Connection;
use crate::list::List;

/// A merchant's deposits that pass the filter.
pub(crate) async fn payments(
    connection: &Connection,
    merchant: &MerchantId,
    filter: &PaymentFilter,
    limit: usize,
) -> Result<Vec<Deposit>, StoreError> {
    let list = match &filter.select {
        PaymentSelection::All => List::payments_of(merchant),
        PaymentSelection::OfInvoice(invoice) => List::payments_for(invoice),
    };
    let after = filter.after.as_ref().map(|(time, id)| (*time, DepositId::as_str(id)));
    let mut found: Vec<Deposit> = listed(connection, list.newest(None, None, after), limit).await?;
    // The deposits of an invoice all belong to its merchant, so this keeps all or none.
    found.retain(|deposit| deposit.merchant == *merchant);
    Ok(found)
}
