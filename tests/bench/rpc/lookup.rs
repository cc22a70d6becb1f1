//! How long one address takes to be looked up in the set that the scanners use. Nearly every address of a block is not ours.

use core::hint::black_box;

use tokio::time::Instant;
use xthonpay_domain::address::Address;
use xthonpay_payments::scanning::watch_set::WatchSet;
use xthonpay_tests::seeded::Seeded;

use crate::figures::Thousandths;

/// Enough to be far above the clock's resolution.
const LOOKUPS: u64 = 2_000_000;

/// Distinct addresses that are looked up: more than fit into a processor's caches together with the set.
const STRANGERS: usize = 200_000;

/// The mean of a look-up among this many addresses, in nanoseconds; one of a hundred is found.
pub(super) fn mean(size: u32) -> Thousandths {
    let mut random = Seeded::new(u64::from(size));
    let set = WatchSet::default();
    let ours: Vec<Address> = (0..size).map(|_| address(&mut random)).collect();
    for address in &ours {
        set.insert(*address);
    }
    let mut asked: Vec<Address> = (0..STRANGERS).map(|_| address(&mut random)).collect();
    for (place, own) in asked.iter_mut().step_by(100).zip(&ours) {
        *place = *own;
    }
    let started = Instant::now();
    let mut found = 0_u64;
    for address in asked.iter().cycle().take(usize::try_from(LOOKUPS).unwrap_or(usize::MAX)) {
        found = found.saturating_add(u64::from(set.contains(black_box(address))));
    }
    black_box(found);
    let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Thousandths::whole(nanos).over(Thousandths::whole(LOOKUPS)).unwrap_or_default()
}

fn address(random: &mut Seeded) -> Address {
    let mut bytes = [0; 20];
    for chunk in bytes.chunks_mut(8) {
        for (byte, drawn) in chunk.iter_mut().zip(random.next_u64().to_le_bytes()) {
            *byte = drawn;
        }
    }
    Address::new(bytes)
}
