//! Plays stories of money, line by line: what happens on the left, what the merchant has on the right.
//!
//! ```text
//! block a+40           | a partially_paid | 0
//! ```
//!
//! A line's left side is one of
//! - `invoice a 100`: the merchant makes an invoice over 100 units of USDT that expires in an hour;
//! - `block`, `block a+40 b+5`: a block with payments to the addresses of invoices, each in a transaction of its own; `a+40BNB`
//!   pays in another asset, `a+40&60` pays twice in one transaction; `deposit` is the merchant's own address, `nobody` is
//!   nobody's, `again` brings what the last fork took away;
//! - `fork 2`: the newest two blocks leave the chain;
//! - `final`, `final -2`: everything becomes final, or everything but the newest two blocks;
//! - `hours 2`: time passes before the next block;
//! - `cancel a`, `accept a`, `refund a`, `ignore a`: the merchant decides, and may;
//! - `restart`: the host forgets what is in memory.
//!
//! After each the scanner works until it rests, then settlement looks once. On the right stand every invoice's state with
//! `!` when a person should look, and what the merchant can spend.

use std::collections::BTreeMap;
use std::time::Duration;

use xthonpay_domain::address::Address;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::assessment::Flags;
use xthonpay_domain::invoice::resolution::Wish;
use xthonpay_domain::transfer::{Origin, Transfer};
use xthonpay_payments::access::Principal;
use xthonpay_payments::port::store::Store as _;

use crate::audit::audit;
use crate::world::{STRANGER, World, bnb, unseen, usdt};

const HOUR: Duration = Duration::from_secs(3_600);

/// Plays a story.
///
/// # Panics
/// When a line's right side is not what the merchant has.
pub(crate) async fn play(name: &str, lines: &str) -> Story {
    let (world, caller) = World::started().await;
    let mut story = Story { world, caller, invoices: BTreeMap::new(), taken: Vec::new() };
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (step, expected) = line.split_once('|').expect("a step and what the merchant has");
        story.take(step.trim()).await;
        let expected: Vec<&str> = expected.split('|').map(str::trim).collect();
        assert_eq!(story.show().await, expected, "{name}: {line}");
    }
    let report = audit(&story.world).await;
    assert!(report.ok, "{name}: the books at the end: {report:#?}");
    story
}

pub(crate) struct Story {
    pub(crate) world: World,
    caller: Principal,
    invoices: BTreeMap<String, Invoice>,
    /// What the last fork took away.
    taken: Vec<Transfer>,
}

impl Story {
    async fn take(&mut self, step: &str) {
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        match verb {
            "invoice" => {
                let (name, units) = rest.split_once(' ').expect("a name and an amount");
                let invoice = self.world.invoice(&self.caller, number(units)).await;
                self.invoices.insert(name.to_owned(), invoice);
            }
            "block" => {
                let mut transfers = Vec::new();
                for payment in rest.split_whitespace() {
                    transfers.extend(self.transfers(payment).await);
                }
                self.world.chain.mine(&transfers);
            }
            "fork" => {
                let depth = usize::try_from(number(rest)).expect("a small number");
                let taken = self.world.chain.fork(depth);
                self.taken = taken.into_iter().flat_map(|block| block.transfers).collect();
                // A fork is noticed when its chain is the longer one.
                self.world.chain.mine_empty(depth.saturating_add(1));
            }
            "final" => {
                let depth = rest.strip_prefix('-').map_or(0, number);
                self.world.chain.finalise_below(u64::try_from(depth).expect("a small number"));
                self.world.restart();
            }
            "hours" => {
                let hours = u32::try_from(number(rest)).expect("a small number");
                self.world.pass(HOUR.saturating_mul(hours));
            }
            "restart" => self.world.restart(),
            "cancel" => {
                let id = &self.invoices.get(rest).expect("an invoice of the story").id;
                self.world.invoicing.cancel(&self.caller, id, &unseen).await.expect("may be cancelled");
            }
            "accept" => self.resolve(rest, Wish::Accept).await,
            "ignore" => self.resolve(rest, Wish::Ignore).await,
            "refund" => self.resolve(rest, Wish::Refund { to: STRANGER, amount: None }).await,
            _ => unreachable!("{step} cannot happen"),
        }
        self.world.scan().await;
        self.world.settle().await;
    }

    async fn resolve(&self, name: &str, wish: Wish) {
        let id = &self.invoices.get(name).expect("an invoice of the story").id;
        self.world.invoicing.resolve(&self.caller, id, &wish, &unseen).await.expect("may be decided");
    }

    /// The transfers of a payment such as `a+40`, `a+40&60` or `a+7BNB`.
    async fn transfers(&mut self, payment: &str) -> Vec<Transfer> {
        if payment == "again" {
            return std::mem::take(&mut self.taken);
        }
        let (name, amounts) = payment.split_once('+').expect("a receiver and an amount");
        let to = self.address(name).await;
        let (amounts, asset) = amounts.strip_suffix("BNB").map_or((amounts, usdt()), |amounts| (amounts, bnb()));
        let mut transfers: Vec<Transfer> =
            amounts.split('&').map(|units| self.world.chain.payment(&asset, to, number(units))).collect();
        let tx = transfers.first().expect("an amount").identity.origin.tx().expect("is in a transaction");
        for (nth, transfer) in (0..).zip(&mut transfers) {
            transfer.identity.origin = Origin::Transaction { tx, nth };
        }
        transfers
    }

    async fn address(&self, name: &str) -> Address {
        match name {
            "nobody" => STRANGER,
            "deposit" => {
                let own = self.world.store.deposit_address(self.caller.merchant()).await.expect("the store answers");
                own.expect("every merchant has one").address
            }
            _ => self.invoices.get(name).expect("an invoice of the story").address,
        }
    }

    async fn show(&self) -> Vec<String> {
        let mut states = Vec::new();
        for (name, invoice) in &self.invoices {
            let now = self.world.stored(invoice).await.assessment;
            let review = if now.flags.contains(Flags::NEEDS_REVIEW) { "!" } else { "" };
            states.push(format!("{name} {}{review}", now.state.name()));
        }
        vec![states.join(", "), self.world.available(self.caller.merchant()).await.to_string()]
    }
}

fn number(text: &str) -> u128 {
    text.parse().expect("a number")
}
