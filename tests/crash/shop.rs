//! The shop: makes one invoice after the other while the host comes and goes.
//!
//! An order whose answer got lost is asked for again under the same name, as the guide tells merchants to do. What the host
//! has acknowledged is on the counter, for customers and for the reckoning.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;
use xthonpay_domain::address::Address;
use xthonpay_tests::BoxError;
use xthonpay_tests::client::{MerchantClient, now_s};
use xthonpay_tests::seeded::Seeded;

/// A pause between two orders: a few orders in each block.
const ORDER_PAUSE: Duration = Duration::from_millis(100);
/// A pause after an order that got no answer. Longer than the second that a time stamp counts: the same order with the same
/// stamp has the same signature, which the host takes once.
const RETRY_PAUSE: Duration = Duration::from_millis(1_050);

/// Payments that an invoice gets at most: fewer than the API lists of one invoice.
const PAYMENTS_MAX: usize = 8;

/// Invoices that customers choose from: the newest.
const OPEN_MAX: usize = 40;

/// An invoice that the host acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) asset: &'static str,
    pub(crate) address: Address,
    payments: usize,
}

/// What the shop shows to customers, and all that it ever sold.
#[derive(Debug)]
pub(crate) struct Counter {
    deposit_address: Address,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    orders: Vec<Order>,
    sent: usize,
}

impl Counter {
    pub(crate) fn new(deposit_address: Address) -> Self {
        Self { deposit_address, state: Mutex::default() }
    }

    /// An address to pay to in this asset: of a recent order, or the shop's deposit address, which takes any number.
    pub(crate) fn choose(&self, asset: &str, random: &mut Seeded) -> Address {
        let mut state = self.state();
        let start = state.orders.len().saturating_sub(OPEN_MAX);
        let open = |order: &Order| order.asset == asset && order.payments < PAYMENTS_MAX;
        let mut open: Vec<&mut Order> = state.orders.iter_mut().skip(start).filter(|order| open(order)).collect();
        // One more than there are orders: the last stands for the deposit address.
        let chosen = random.index(open.len().saturating_add(1));
        match open.get_mut(chosen) {
            Some(order) => {
                order.payments = order.payments.saturating_add(1);
                order.address
            }
            None => self.deposit_address,
        }
    }

    pub(crate) fn note_sent(&self, payments: usize) {
        let mut state = self.state();
        state.sent = state.sent.saturating_add(payments);
    }

    pub(crate) fn sent(&self) -> usize {
        self.state().sent
    }

    pub(crate) fn orders(&self) -> Vec<Order> {
        self.state().orders.clone()
    }

    pub(crate) fn addresses(&self) -> BTreeSet<Address> {
        self.state().orders.iter().map(|order| order.address).chain([self.deposit_address]).collect()
    }

    fn add(&self, order: Order) {
        self.state().orders.push(order);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes orders until the shop closes.
pub(crate) async fn run(
    counter: std::sync::Arc<Counter>,
    mut client: MerchantClient,
    callback_url: String,
    mut hosts: watch::Receiver<String>,
    closed: watch::Receiver<bool>,
) -> Result<(), BoxError> {
    let mut number = 0_u32;
    while !*closed.borrow() {
        if hosts.has_changed()? {
            client = client.at(&hosts.borrow_and_update());
        }
        let (asset, amount) = if number.is_multiple_of(4) { ("BNB", "0.01") } else { ("USDT", "10") };
        let order = json!({
            "asset": asset, "amount": amount, "external_id": format!("order-{number}"), "callback_url": callback_url,
        });
        // Every order is another one, so several may have the stamp of one second.
        let request = client.sign_at(&now_s().to_string(), "POST", "/invoices", order.to_string().as_bytes());
        let made = match client.send(request).await {
            Ok(answer) if answer.status < 500 => answer.data()?,
            // Gone, or on its way out or in: whether the order exists, the next answer tells.
            Ok(_) | Err(_) => {
                sleep(RETRY_PAUSE).await;
                continue;
            }
        };
        let text = |member: &str| made[member].as_str().ok_or_else(|| missing(member, &made));
        let (id, address) = (text("invoice_id")?.to_owned(), text("deposit_address")?.parse()?);
        counter.add(Order { id, asset, address, payments: 0 });
        number = number.saturating_add(1);
        sleep(ORDER_PAUSE).await;
    }
    Ok(())
}

fn missing(member: &str, made: &Value) -> String {
    format!("no {member} in {made}")
}
