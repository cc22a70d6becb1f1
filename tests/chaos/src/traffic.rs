//! Payments as strangers make them: one or several transfers in a transaction, in the asset asked for or another, dust and
//! fortunes, to invoices, to merchants, to addresses that nobody was given yet, and to nobody. Transactions of blocks that left
//! the chain come back in another place, with another amount, or never.

use std::collections::BTreeMap;
use std::sync::Arc;

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::hash::TxHash;
use xthonpay_domain::transfer::{Origin, Transfer, TransferIdentity};
use xthonpay_tests::plain_catalog::{bnb, usdt};
use xthonpay_tests::scripted_chain::PAYER;
use xthonpay_tests::scripted_nodes::{Mined, ScriptedNodes};
use xthonpay_tests::seeded::Seeded;

/// Nobody's address.
pub(crate) const STRANGER: Address = Address::new([0x77; 20]);
/// More than any 128-bit sum of these numbers could lose unseen, and far from the end of 256 bits.
const FORTUNE: u128 = 1 << 120;
/// Transactions that are made for one block at most.
const TRANSACTIONS_MAX: u64 = 3;

/// Who may be paid.
pub(crate) struct Payees {
    /// Addresses that are given out.
    pub(crate) known: Vec<Address>,
    /// Addresses that will be.
    pub(crate) ahead: Vec<Address>,
}

/// Transactions on their way.
#[derive(Default)]
pub(crate) struct Traffic {
    /// From blocks that left the chain, still to be mined again.
    pool: Vec<Vec<Transfer>>,
}

impl Traffic {
    /// What is in the next block.
    pub(crate) fn block(&mut self, chain: &ScriptedNodes, payees: &Payees, random: &mut Seeded) -> Vec<Transfer> {
        let mut transactions: Vec<Vec<Transfer>> = Vec::new();
        for _ in 0..random.below(TRANSACTIONS_MAX.saturating_add(1)) {
            transactions.push(transaction(chain.new_transaction(), payees, random));
        }
        for _ in 0..random.below(3).min(u64::try_from(self.pool.len()).unwrap_or(0)) {
            let again = self.pool.swap_remove(random.index(self.pool.len()));
            // Its place among the others is another one each time.
            transactions.insert(random.index(transactions.len().saturating_add(1)), again);
        }
        transactions.into_iter().flatten().collect()
    }

    /// Blocks left the chain. Most of their transactions can be mined again, the others never.
    pub(crate) fn take_back(&mut self, blocks: &[Arc<Mined>], random: &mut Seeded) {
        let mut by_transaction: BTreeMap<TxHash, Vec<Transfer>> = BTreeMap::new();
        for transfer in blocks.iter().flat_map(|mined| &mined.found.transfers) {
            if let Some(tx) = transfer.identity.origin.tx() {
                by_transaction.entry(tx).or_default().push(transfer.clone());
            }
        }
        for (_, mut transfers) in by_transaction {
            if random.chance(30) {
                continue;
            }
            if random.chance(10) {
                // What a contract pays out can depend on the block.
                transfers.iter_mut().for_each(|transfer| transfer.amount = amount(random));
            }
            self.pool.push(transfers);
        }
    }
}

fn transaction(tx: TxHash, payees: &Payees, random: &mut Seeded) -> Vec<Transfer> {
    let mut nths: BTreeMap<(AssetId, Address), u32> = BTreeMap::new();
    let count = random.pick(&[1, 1, 1, 2, 4]).unwrap_or(1);
    let to = payee(payees, random);
    let transfers = (0..count).map(|_| {
        let to = if random.chance(60) { to } else { payee(payees, random) };
        let asset = if random.chance(20) { bnb() } else { usdt() };
        let nth = nths.entry((asset.clone(), to)).or_default();
        let origin = Origin::Transaction { tx, nth: *nth };
        *nth = nth.saturating_add(1);
        Transfer { identity: TransferIdentity { asset, to, origin }, from: Some(PAYER), amount: amount(random) }
    });
    transfers.collect()
}

fn payee(payees: &Payees, random: &mut Seeded) -> Address {
    let drawn = match random.below(100) {
        0..84 => random.pick(&payees.known),
        84..88 => random.pick(&payees.ahead),
        _ => None,
    };
    drawn.unwrap_or(STRANGER)
}

fn amount(random: &mut Seeded) -> Amount {
    Amount::from_units(match random.below(100) {
        0..5 => 1,
        5..8 => FORTUNE,
        _ => u128::from(random.below(120)).saturating_add(1),
    })
}
