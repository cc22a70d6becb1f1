//! Addresses that are watched ahead: payments to addresses that an older backup does not know, and addresses that are paid the
//! moment they are given out.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::event::EventKind;
use xthonpay_payments::access::Principal;
use xthonpay_payments::merchants::{MerchantError, Merchants};
use xthonpay_payments::port::random::Random;
use xthonpay_payments::port::store::{CommitError, Store as _};
use xthonpay_payments::scanning::scanner::Scanner;
use xthonpay_tests::memory_store::Fault;
use xthonpay_tests::seeded_random::SeededRandom;

use crate::world::World;

fn units(units: u128) -> Amount {
    Amount::from_units(units)
}

/// A deployment whose store was set back to a moment before `lost` addresses were given out.
async fn restored(lost: usize) -> (World, Principal, Vec<Address>) {
    let (world, caller) = World::started().await;
    for _ in 0..3 {
        world.invoice(&caller, 1).await;
    }
    let backup = world.store.tables();
    let mut forgotten = Vec::new();
    for _ in 0..lost {
        forgotten.push(world.invoice(&caller, 100).await.address);
    }
    // What the lost deployment is still taking ahead is over before its store is set back.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    world.store.tamper(|tables| *tables = backup);
    (world.reopened(2).await, caller, forgotten)
}

#[tokio::test]
async fn payments_to_addresses_that_the_backup_does_not_know_are_the_merchants() {
    let (mut world, caller, forgotten) = restored(30).await;
    for address in &forgotten {
        assert!(world.watch.contains(address), "{address} is not watched");
    }
    world.pay(&[(forgotten[0], 10), (forgotten[4], 20), (forgotten[4], 5)]);
    world.finalise().await;
    assert_eq!(world.available(caller.merchant()).await, units(35));
    let tables = world.store.tables();
    let own = &tables.addresses[&forgotten[4]];
    assert_eq!((&own.merchant, &own.invoice), (caller.merchant(), &None));
    let credited = tables.events.iter().filter(|event| event.kind == EventKind::DepositCredited).count();
    assert_eq!(credited, 3, "the merchant hears of them");
    let deposit_address = world.store.deposit_address(caller.merchant()).await.expect("the store answers");
    assert_eq!(deposit_address.map(|own| own.index), Some(0), "the address for deposits stays the same");
}

#[tokio::test]
async fn an_address_that_was_paid_and_all_below_it_are_never_given_out() {
    let (mut world, caller, forgotten) = restored(30).await;
    // The run that was taken before the first payment comes ends among the addresses that others were given.
    let early = world.invoice(&caller, 1).await.address;
    world.pay(&[(forgotten[25], 10)]);
    world.finalise().await;
    let given: BTreeSet<Address> = forgotten[..=25].iter().copied().collect();
    let mut fresh = BTreeSet::new();
    for _ in 0..50 {
        let address = world.invoice(&caller, 1).await.address;
        assert!(!given.contains(&address), "{address} was given to somebody else");
        assert!(address != early && fresh.insert(address), "{address} was given out twice");
    }
    // Across a restart too.
    let world = world.reopened(3).await;
    for _ in 0..50 {
        let address = world.invoice(&caller, 1).await.address;
        assert!(!given.contains(&address) && fresh.insert(address), "{address}");
    }
}

#[tokio::test]
async fn the_gap_moves_on_with_what_was_paid() {
    let (mut world, caller, forgotten) = restored(90).await;
    assert!(!world.watch.contains(&forgotten[80]));
    for nth in [30, 48, 66, 84] {
        world.pay(&[(forgotten[nth], 1)]);
        world.finalise().await;
    }
    assert_eq!(world.available(caller.merchant()).await, units(4));
}

/// Each payment moves the gap on to the next ones, in whichever order they come and however many blocks are read at once.
#[tokio::test]
async fn payments_far_beyond_the_gap_are_found_step_by_step_in_one_run() {
    for (missed, backwards) in [(100, false), (100, true), (1, false), (1, true)] {
        let (mut world, caller, mut forgotten) = restored(100).await;
        if backwards {
            forgotten.reverse();
        }
        for addresses in forgotten.chunks(100 / missed) {
            world.pay(&addresses.iter().map(|address| (*address, 1)).collect::<Vec<_>>());
        }
        world.finalise().await;
        assert_eq!(world.available(caller.merchant()).await, units(100), "{missed} blocks, backwards {backwards}");
        let fresh = world.invoice(&caller, 1).await.address;
        assert!(!forgotten.contains(&fresh), "{fresh} was given to somebody else");
    }
}

/// A crash before or after the first commit of a catch-up, with claims of several gaps in it.
#[tokio::test]
async fn claims_beyond_a_gap_survive_a_crash_at_any_commit() {
    for fault in [Fault::NothingStored, Fault::Stored] {
        for nth in 0..4_usize {
            let (mut world, caller, forgotten) = restored(100).await;
            for address in &forgotten {
                world.pay(&[(*address, 1)]);
            }
            world.chain.finalise();
            world.store.faults.next(std::iter::repeat_n(None, nth).chain([Some(fault)]));
            let _ = world.try_scan().await;
            world.store.faults.clear();
            let mut world = world.reopened(3).await;
            world.finalise().await;
            assert_eq!(world.available(caller.merchant()).await, units(100), "{fault:?} at commit {nth}");
            let mut world = world.reopened(4).await;
            let fresh = world.invoice(&caller, 1).await.address;
            assert!(!forgotten.contains(&fresh), "{fresh} was given to somebody else");
            world.scan().await;
        }
    }
}

/// Customers of a merchant that the backup does not know may still pay; it must not become the money of the next merchant.
#[tokio::test]
async fn a_new_merchant_never_gets_the_addresses_of_one_that_the_backup_does_not_know() {
    let (world, _) = World::started().await;
    let backup = world.store.tables();
    let lost = world.merchant().await;
    world.store.tamper(|tables| *tables = backup);
    let mut world = world.reopened(2).await;
    let next = world.merchant().await;
    assert_ne!(next.merchant.account, lost.merchant.account);
    assert_ne!(next.deposit_address.address, lost.deposit_address.address);
    world.pay(&[(lost.deposit_address.address, 10)]);
    world.finalise().await;
    assert_eq!(world.available(&next.merchant.id).await, units(0));
}

/// Gives the same bytes for everything of four bytes until the draws run out, and other ones for all else.
struct Draws {
    accounts: Mutex<Vec<u32>>,
    others: SeededRandom,
}

impl Random for Draws {
    fn fill(&self, bytes: &mut [u8]) {
        let mut accounts = self.accounts.lock().expect("nobody panics");
        match <&mut [u8; 4]>::try_from(&mut *bytes) {
            Ok(four) => *four = accounts.pop().expect("no more draws than expected").to_be_bytes(),
            Err(_) => self.others.fill(bytes),
        }
    }
}

#[tokio::test]
async fn an_account_that_is_taken_is_drawn_again() {
    let (world, _) = World::started().await;
    // From the last to the first. The uppermost bit stands for the hardened path and is not the account's.
    let accounts = Mutex::new([vec![7; 8], vec![9, 0x8000_0007, 7, 7]].concat());
    let random = Arc::new(Draws { accounts, others: SeededRandom::new(5) });
    let merchants = Merchants { random, ..world.merchants.clone() };
    let label = || "shop".parse().expect("a label");
    let first = merchants.create(label()).await.expect("free");
    let second = merchants.create(label()).await.expect("free at the third draw");
    assert_eq!((first.merchant.account, second.merchant.account), (7, 9));
    let refused = merchants.create(label()).await.err();
    assert_eq!(refused, Some(MerchantError::Commit(CommitError::Refused)), "not for ever");
}

#[tokio::test]
async fn a_claim_that_fails_at_any_commit_is_made_once() {
    for fault in [Fault::NothingStored, Fault::Stored, Fault::Refused] {
        for nth in 0..3_usize {
            let (mut world, caller, forgotten) = restored(10).await;
            world.pay(&[(forgotten[5], 10)]);
            world.chain.finalise();
            world.store.faults.next(std::iter::repeat_n(None, nth).chain([Some(fault)]));
            for _ in 0..4 {
                world.restart();
                let _ = world.try_scan().await;
            }
            world.store.faults.clear();
            world.store.faults.clear();
            world.finalise().await;
            assert_eq!(world.available(caller.merchant()).await, units(10), "{fault:?} at commit {nth}");
            let fresh = world.invoice(&caller, 1).await.address;
            assert!(!forgotten[..=5].contains(&fresh));
        }
    }
}

#[tokio::test]
async fn new_invoices_keep_a_gap_ahead() {
    let (world, caller) = World::started().await;
    let first = world.watch.len();
    for nth in 1..=60 {
        world.invoice(&caller, 1).await;
        assert_eq!(world.watch.len(), first + nth + 20, "one more with every invoice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_paid_the_moment_it_is_known_is_credited() {
    let (world, caller) = World::started().await;
    let scanner = Scanner {
        source: world.chain.clone(),
        books: world.scanner.books.clone(),
        status: world.scanner.status.clone(),
        wakeups: world.wakeups.clone(),
        poll_interval: Duration::from_micros(200),
    };
    let stop = CancellationToken::new();
    let scanning = tokio::spawn(scanner.run(stop.clone()));
    let world = Arc::new(world);
    for round in 0..300_u32 {
        let invoice = world.invoice(&caller, 1).await;
        world.pay(&[(invoice.address, 1)]);
        if round.is_multiple_of(7) {
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
    }
    for _ in 0..400 {
        world.chain.mine_empty(1);
        world.chain.finalise();
        tokio::time::sleep(Duration::from_millis(20)).await;
        if world.available(caller.merchant()).await == units(300) {
            break;
        }
    }
    stop.cancel();
    scanning.await.expect("the scanner does not panic");
    assert_eq!(world.available(caller.merchant()).await, units(300));
}
