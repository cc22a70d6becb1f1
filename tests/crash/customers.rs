//! Customers: many payments in every block, to orders and to the shop's deposit address, in both assets.

use core::time::Duration;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::sleep;
use xthonpay_domain::address::Address;
use xthonpay_tests::BoxError;
use xthonpay_tests::chain::{TestChain, Word};
use xthonpay_tests::seeded::Seeded;

use crate::shop::Counter;

/// Two or three rounds of payments meet in a block.
const ROUND_PAUSE: Duration = Duration::from_millis(150);

/// Payments in one transaction, some of which may go to the same address.
const PAYMENTS_TOGETHER: usize = 5;

/// A payment is at most this many steps, and at least one.
const STEPS_MAX: u64 = 60;
/// Of tokens, a tenth: an order over 10 takes some payments.
const TOKEN_STEP: u128 = 100_000_000_000_000_000;
/// Of coins, a ten-thousandth: the payer has 10,000 for thousands of payments.
const COIN_STEP: u128 = 100_000_000_000_000;

/// What customers need.
pub(crate) struct Customers {
    pub(crate) chain: TestChain,
    pub(crate) usdt: Address,
    pub(crate) disperse: Address,
    pub(crate) counter: Arc<Counter>,
}

/// Pays until the shop closes.
pub(crate) async fn run(customers: Customers, seed: u64, closed: watch::Receiver<bool>) -> Result<(), BoxError> {
    let Customers { chain, usdt, disperse, counter } = customers;
    let mut random = Seeded::new(seed);
    while !*closed.borrow() {
        let mut together: Vec<(Address, Word)> = (0..PAYMENTS_TOGETHER)
            .map(|_| (counter.choose("USDT", &mut random), amount(TOKEN_STEP, &mut random)))
            .collect();
        // Now and then one address is paid twice by a transaction, and not the same.
        if let Some((to, _)) = together.last().copied().filter(|_| random.chance(50))
            && let Some(first) = together.first_mut()
        {
            first.0 = to;
        }
        chain.disperse_token(disperse, usdt, &together).await?;
        chain.transfer_token(usdt, counter.choose("USDT", &mut random), amount(TOKEN_STEP, &mut random)).await?;
        chain.transfer_native(counter.choose("BNB", &mut random), amount(COIN_STEP, &mut random)).await?;
        counter.note_sent(PAYMENTS_TOGETHER.saturating_add(2));
        sleep(ROUND_PAUSE).await;
    }
    Ok(())
}

fn amount(step: u128, random: &mut Seeded) -> Word {
    Word::from(u128::from(random.below(STEPS_MAX).saturating_add(1)).saturating_mul(step))
}
