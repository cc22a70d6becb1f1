//! Fills a store with addresses of a merchant, for measurements of what many of them cost.
//!
//! `cargo run --release -p xthonpay-store-surreal --example fill_addresses -- DIRECTORY NAMESPACE DATABASE MERCHANT FIRST COUNT`
//! stores the addresses with the numbers from FIRST on through the store itself, so that they lie as the host would have
//! stored those of invoices. The addresses are drawn from their numbers: nobody holds a key to them. No host may have the
//! store open.

use std::error::Error;
use std::sync::Arc;

use tokio::task::JoinSet;
use xthonpay_domain::address::Address;
use xthonpay_domain::id::{InvoiceId, MerchantId};
use xthonpay_payments::port::store::{Changeset, OwnAddress, Store, Write};
use xthonpay_store_surreal::{SurrealConfig, SurrealStore};

/// Addresses in one changeset. The host makes twenty at a time; more fill faster.
const AT_ONCE: u32 = 500;

/// Changesets on their way at the same time.
const COMMITTERS: usize = 8;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [directory, namespace, database, merchant, first, count] = words.as_slice() else {
        return Err("usage: fill_addresses DIRECTORY NAMESPACE DATABASE MERCHANT FIRST COUNT".into());
    };
    let merchant: MerchantId = merchant.parse()?;
    let (first, count): (u32, u32) = (first.parse()?, count.parse()?);
    let config = SurrealConfig {
        endpoint: format!("surrealkv://{directory}"),
        namespace: namespace.clone(),
        database: database.clone(),
        credentials: None,
        allow_volatile: false,
    };
    let store = Arc::new(SurrealStore::open(config).await?);
    let end = first.checked_add(count).ok_or("too many addresses")?;
    let mut running: JoinSet<Result<(), Failure>> = JoinSet::new();
    let mut next = first;
    while next < end {
        let upto = next.saturating_add(AT_ONCE).min(end);
        let changes: Changeset = (next..upto).map(|index| Write::CreateAddress(own(&merchant, index))).collect();
        if running.len() >= COMMITTERS {
            running.join_next().await.transpose()?.transpose()?;
        }
        let store = Arc::clone(&store);
        running.spawn(async move { Ok(store.commit(changes).await?) });
        next = upto;
    }
    while let Some(committed) = running.join_next().await {
        committed??;
    }
    store.close().await;
    Ok(())
}

fn own(merchant: &MerchantId, index: u32) -> OwnAddress {
    let invoice = InvoiceId::from_random(bytes(u64::from(index)));
    let mut address: [u8; 20] = bytes(u64::from(index));
    // Behind the merchant's own addresses: the host derives the first one anew when it starts, to see that the vault fits.
    if let Some(first) = address.first_mut() {
        *first = 0xff;
    }
    OwnAddress { address: Address::new(address), merchant: merchant.clone(), invoice: Some(invoice), index }
}

/// Bytes without a pattern, as addresses have: `SplitMix64` over the number.
fn bytes<const N: usize>(number: u64) -> [u8; N] {
    let mut state = number.wrapping_mul(3);
    let mut bytes = [0; N];
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        for (byte, drawn) in chunk.iter_mut().zip(mixed.to_le_bytes()) {
            *byte = drawn;
        }
    }
    bytes
}
