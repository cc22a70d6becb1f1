//! Which transfers a block holds.
//!
//! Relies on `agreement`: block and receipts fit together. Pure, and cannot fail: what is not exactly a transfer of a
//! configured asset is passed over. Contracts are told apart by their address alone; names and symbols are never read.
//!
//! A sender is told only where the logs tell it, which the header's roots prove. Who sent a transaction is what its signature
//! says, and the node's word for it is not passed on: somebody may pay back to that address.
//!
//! Not seen here: coins that a contract passes on inside a transaction, which leave neither a log nor a top-level value.

use std::collections::HashMap;
use std::sync::Arc;

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::{Asset, AssetId, AssetKind};
use xthonpay_domain::hash::TxHash;
use xthonpay_domain::transfer::{Origin, Transfer, TransferIdentity};

use crate::wire::{Block, Data, Fixed, Quantity, Receipt, Transaction};

/// `keccak256("Transfer(address,address,uint256)")`.
pub(crate) const TRANSFER_TOPIC: Fixed<32> = Fixed([
    0xdd, 0xf2, 0x52, 0xad, 0x1b, 0xe2, 0xc8, 0x9b, 0x69, 0xc2, 0xb0, 0x68, 0xfc, 0x37, 0x8d, 0xaa, 0x95, 0x2b, 0xa7,
    0xf1, 0x63, 0xc4, 0xa1, 0x16, 0x28, 0xf5, 0x5a, 0x4d, 0xf5, 0x23, 0xb3, 0xef,
]);

/// The assets whose transfers are reported. A clone shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct AssetIndex {
    assets: Arc<Assets>,
}

#[derive(Debug, Default)]
struct Assets {
    native: Option<AssetId>,
    tokens: HashMap<[u8; 20], AssetId>,
}

impl AssetIndex {
    pub(crate) fn new(assets: &[Asset]) -> Self {
        let mut index = Assets::default();
        for asset in assets {
            match asset.kind {
                AssetKind::Native => index.native = Some(asset.id.clone()),
                AssetKind::Token { contract } => {
                    index.tokens.insert(*contract.as_bytes(), asset.id.clone());
                }
            }
        }
        Self { assets: Arc::new(index) }
    }

    /// Whether coins of the chain itself are among them.
    pub(crate) fn has_native(&self) -> bool {
        self.assets.native.is_some()
    }

    /// The contracts of the tokens.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = Address> {
        self.assets.tokens.keys().copied().map(Address::new)
    }
}

/// Every transfer of a configured asset, in the order of execution.
pub(crate) fn transfers(assets: &AssetIndex, block: &Block, receipts: &[Receipt]) -> Vec<Transfer> {
    let executed = block.transactions.iter().zip(receipts);
    executed.flat_map(|(tx, receipt)| transfers_of(assets, tx, receipt)).collect()
}

fn transfers_of(assets: &AssetIndex, tx: &Transaction, receipt: &Receipt) -> Vec<Transfer> {
    // A failed transaction still states its value; nothing of it moved.
    if receipt.status != Some(Quantity(1)) {
        return Vec::new();
    }
    // The value moves before the first instruction that could emit a log.
    let movements = native_movement(assets, tx).into_iter();
    let logs = receipt.logs.iter();
    let movements =
        movements.chain(logs.filter_map(|log| token_movement(assets, &log.address, &log.topics, &log.data)));
    numbered(TxHash::new(tx.hash.0), movements)
}

/// The transfers of one successful transaction, each numbered among those of its asset to its recipient.
pub(crate) fn numbered<'a>(tx: TxHash, movements: impl Iterator<Item = Movement<'a>>) -> Vec<Transfer> {
    let mut counts: HashMap<(&AssetId, Address), u32> = HashMap::new();
    movements
        .map(|movement| {
            let count = counts.entry((movement.asset, movement.to)).or_default();
            let nth = *count;
            *count = count.saturating_add(1);
            let origin = Origin::Transaction { tx, nth };
            let identity = TransferIdentity { asset: movement.asset.clone(), to: movement.to, origin };
            Transfer { identity, from: movement.from, amount: movement.amount }
        })
        .collect()
}

/// A movement of an asset, not yet told apart from others of its transaction.
pub(crate) struct Movement<'a> {
    asset: &'a AssetId,
    /// `None` where nothing proves it.
    from: Option<Address>,
    to: Address,
    amount: Amount,
}

/// The coins that a transaction moves by its own value, provided that it succeeded.
pub(crate) fn native_movement<'a>(assets: &'a AssetIndex, tx: &Transaction) -> Option<Movement<'a>> {
    let asset = assets.assets.native.as_ref()?;
    let Fixed(to) = tx.to?;
    let amount = Amount::from_be_bytes(tx.value.0);
    let movement = Movement { asset, from: None, to: Address::new(to), amount };
    (!amount.is_zero()).then_some(movement)
}

/// The one valid shape: a known contract, the event's topic, two addresses and nothing more in topics, one word of data.
/// An ERC-721 transfer has the same event topic and a fourth one for the token's number.
pub(crate) fn token_movement<'a>(
    assets: &'a AssetIndex,
    contract: &Fixed<20>,
    topics: &[Fixed<32>],
    data: &Data,
) -> Option<Movement<'a>> {
    let asset = assets.assets.tokens.get(&contract.0)?;
    let [TRANSFER_TOPIC, from, to] = topics else { return None };
    let amount = Amount::from_be_bytes(data.0.as_slice().try_into().ok()?);
    let movement = Movement { asset, from: Some(address_in(from)?), to: address_in(to)?, amount };
    (!amount.is_zero()).then_some(movement)
}

/// The address in a topic, which pads it with twelve zero bytes.
fn address_in(topic: &Fixed<32>) -> Option<Address> {
    let (padding, address) = topic.0.split_first_chunk::<12>()?;
    (*padding == [0; 12]).then_some(Address::new(address.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::LazyLock;

    use alloy_primitives::keccak256;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use xthonpay_domain::amount::Decimals;

    use super::*;
    use crate::wire::{Log, Word};

    const USDT: [u8; 20] = [0x55; 20];
    const USDC: [u8; 20] = [0x8a; 20];
    const PAYER: [u8; 20] = [0x11; 20];
    const ALICE: [u8; 20] = [0xaa; 20];
    const BOB: [u8; 20] = [0xbb; 20];

    fn asset(id: &str, kind: AssetKind) -> Asset {
        Asset { id: id.parse().expect("an asset id"), kind, decimals: Decimals::new(18).expect("in range") }
    }

    fn index() -> AssetIndex {
        AssetIndex::new(&[
            asset("bsc:BNB", AssetKind::Native),
            asset("bsc:USDT", AssetKind::Token { contract: Address::new(USDT) }),
            asset("bsc:USDC", AssetKind::Token { contract: Address::new(USDC) }),
        ])
    }

    fn word(units: u128) -> [u8; 32] {
        Amount::from_units(units).to_be_bytes()
    }

    fn topic(address: [u8; 20]) -> Fixed<32> {
        let mut topic = [0; 32];
        topic[12..].copy_from_slice(&address);
        Fixed(topic)
    }

    fn log(contract: [u8; 20], to: [u8; 20], units: u128) -> Log {
        Log {
            address: Fixed(contract),
            topics: vec![TRANSFER_TOPIC, topic(PAYER), topic(to)],
            data: Data(word(units).to_vec()),
            block_hash: None,
            transaction_hash: None,
            log_index: None,
            removed: false,
        }
    }

    fn tx(to: Option<[u8; 20]>, units: u128) -> Transaction {
        Transaction {
            hash: Fixed([0x77; 32]),
            block_hash: None,
            block_number: None,
            transaction_index: None,
            to: to.map(Fixed),
            value: Word(word(units)),
        }
    }

    fn receipt(status: u64, logs: Vec<Log>) -> Receipt {
        Receipt {
            transaction_hash: Fixed([0x77; 32]),
            transaction_index: Quantity(0),
            block_hash: Fixed([0; 32]),
            block_number: Quantity(0),
            status: Some(Quantity(status)),
            cumulative_gas_used: Quantity(0),
            logs,
        }
    }

    /// What was found, as `(asset, to, nth, units)`.
    fn found(tx: &Transaction, receipt: &Receipt) -> Vec<(String, [u8; 20], u32, String)> {
        let transfers = transfers_of(&index(), tx, receipt);
        let row = |transfer: Transfer| {
            let proved = (transfer.identity.asset.symbol.as_str() != "BNB").then_some(Address::new(PAYER));
            assert_eq!(transfer.from, proved, "the sender of coins is the node's word alone");
            let TransferIdentity { asset, to, origin } = transfer.identity;
            let Origin::Transaction { nth, .. } = origin else { unreachable!("a transfer without a transaction") };
            (asset.symbol.to_string(), *to.as_bytes(), nth, transfer.amount.to_string())
        };
        transfers.into_iter().map(row).collect()
    }

    fn row(symbol: &str, to: [u8; 20], nth: u32, units: u128) -> (String, [u8; 20], u32, String) {
        (symbol.to_owned(), to, nth, units.to_string())
    }

    #[test]
    fn the_topic_is_the_hash_of_the_signature() {
        assert_eq!(keccak256("Transfer(address,address,uint256)").0, TRANSFER_TOPIC.0);
    }

    #[test]
    fn numbers_transfers_by_asset_and_recipient_in_the_order_of_execution() {
        let logs = vec![
            log(USDT, ALICE, 5),
            log(USDT, BOB, 6),
            log(USDC, ALICE, 7),
            log(USDT, ALICE, 0),
            log([9; 20], ALICE, 8),
            log(USDT, ALICE, 5),
        ];
        let expected = vec![
            row("BNB", ALICE, 0, 3),
            row("USDT", ALICE, 0, 5),
            row("USDT", BOB, 0, 6),
            row("USDC", ALICE, 0, 7),
            row("USDT", ALICE, 1, 5),
        ];
        assert_eq!(found(&tx(Some(ALICE), 3), &receipt(1, logs)), expected);
    }

    #[test]
    fn a_failed_transaction_moves_nothing() {
        assert_eq!(found(&tx(Some(ALICE), 3), &receipt(0, vec![log(USDT, ALICE, 5)])), []);
        let mut unknown = receipt(1, vec![log(USDT, ALICE, 5)]);
        unknown.status = None;
        assert_eq!(found(&tx(Some(ALICE), 3), &unknown), []);
    }

    #[test]
    fn a_creation_and_an_empty_value_move_no_coins() {
        assert_eq!(found(&tx(None, 3), &receipt(1, Vec::new())), []);
        assert_eq!(found(&tx(Some(ALICE), 0), &receipt(1, Vec::new())), []);
    }

    #[test]
    fn coins_count_only_where_a_native_asset_is_configured() {
        let token = AssetKind::Token { contract: Address::new(USDT) };
        let tokens_only = AssetIndex::new(&[asset("bsc:USDT", token)]);
        assert!(!tokens_only.has_native() && index().has_native());
        assert_eq!(transfers_of(&tokens_only, &tx(Some(ALICE), 3), &receipt(1, Vec::new())), []);
    }

    #[test]
    fn mints_self_transfers_and_the_largest_amount_count() {
        let mut mint = log(USDT, ALICE, 5);
        mint.topics[1] = Fixed([0; 32]);
        let transfers = transfers_of(&index(), &tx(None, 0), &receipt(1, vec![mint]));
        assert_eq!(transfers.first().and_then(|transfer| transfer.from), Some(Address::ZERO));
        assert_eq!(found(&tx(Some(PAYER), 1), &receipt(1, vec![log(USDT, PAYER, 2)])).len(), 2);
        let mut largest = log(USDT, ALICE, 5);
        largest.data = Data(vec![0xff; 32]);
        let transfers = transfers_of(&index(), &tx(None, 0), &receipt(1, vec![largest]));
        assert_eq!(transfers.first().map(|transfer| transfer.amount), Some(Amount::MAX));
    }

    /// One way in which a log may differ from a transfer.
    #[derive(Clone, Debug)]
    enum Mutation {
        Address(usize, u8),
        EventTopic(usize, u8),
        Padding(usize, usize, u8),
        Topics(usize),
        DataLen(usize),
        ZeroAmount,
    }

    fn mutation() -> impl Strategy<Value = Mutation> {
        prop_oneof![
            (0..20usize, 1u8..).prop_map(|(at, flip)| Mutation::Address(at, flip)),
            (0..32usize, 1u8..).prop_map(|(at, flip)| Mutation::EventTopic(at, flip)),
            (1..3usize, 0..12usize, 1u8..).prop_map(|(topic, at, flip)| Mutation::Padding(topic, at, flip)),
            (0..9usize).prop_filter("three is valid", |count| *count != 3).prop_map(Mutation::Topics),
            (0..100usize).prop_filter("32 is valid", |len| *len != 32).prop_map(Mutation::DataLen),
            Just(Mutation::ZeroAmount),
        ]
    }

    fn apply(log: &mut Log, mutation: &Mutation) {
        match *mutation {
            Mutation::Address(at, flip) => log.address.0[at] ^= flip,
            Mutation::EventTopic(at, flip) => {
                if let Some(topic) = log.topics.first_mut() {
                    topic.0[at] ^= flip;
                }
            }
            Mutation::Padding(topic, at, flip) => {
                if let Some(topic) = log.topics.get_mut(topic) {
                    topic.0[at] ^= flip;
                }
            }
            Mutation::Topics(count) => log.topics.resize(count, topic(BOB)),
            Mutation::DataLen(len) => log.data.0.resize(len, 1),
            Mutation::ZeroAmount => log.data.0.fill(0),
        }
    }

    /// `XTHONPAY_SEED` when set, else a new one; a failure names it.
    fn seed() -> u64 {
        static SEED: LazyLock<u64> = LazyLock::new(|| {
            let given = std::env::var("XTHONPAY_SEED").ok().and_then(|seed| seed.parse().ok());
            given.unwrap_or_else(|| RandomState::new().hash_one(0))
        });
        *SEED
    }

    fn runs() -> ProptestConfig {
        let rng_seed = RngSeed::Fixed(seed());
        ProptestConfig { cases: 4_096, failure_persistence: None, rng_seed, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(runs())]

        #[test]
        fn only_the_one_valid_shape_counts(units in 1u128.., wrong in mutation()) {
            let valid = log(USDT, ALICE, units);
            let mut mutated = valid.clone();
            apply(&mut mutated, &wrong);
            prop_assert_ne!(&mutated.address.0, &USDC, "one flipped byte does not lead to another known contract");
            let receipt = receipt(1, vec![mutated, valid]);
            // The mutated log neither counts nor shifts the number of the valid one.
            prop_assert_eq!(found(&tx(None, 0), &receipt), vec![row("USDT", ALICE, 0, units)], "XTHONPAY_SEED={}", seed());
        }
    }
}
