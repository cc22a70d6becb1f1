//! Chains that are made up: every block stands on the one before and is what its hash says.

use alloy_consensus::Header;
use alloy_consensus::constants::EMPTY_WITHDRAWALS;
use alloy_primitives::{B256, U256, b256, keccak256};
use xthonpay_domain::address::Address;

use super::body::{Body, CannedLog, CannedTx};
use crate::seeded::Seeded;

/// The chain id of BNB Smart Chain, which the chain pretends to be.
pub const CHAIN_ID: u64 = 56;

/// The token whose transfers are looked for.
pub const TOKEN: Address = Address::new([0x55; 20]);

/// `keccak256("Transfer(address,address,uint256)")`.
const TRANSFER: B256 = b256!("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");

/// When the first block was made, in seconds since 1970; the others follow every 450 ms.
const FIRST_BLOCK_SECS: u64 = 1_790_000_000;

/// Different bodies of full blocks: enough that no cache serves them all, few enough to be made at once.
const DENSE_BODIES: u64 = 16;

/// A full block of BNB Smart Chain: 117 transactions, 290 logs, 87 of them transfers of the token.
const DENSE_TRANSACTIONS: u64 = 117;

struct Mark {
    hash: B256,
    body: usize,
}

/// A chain from block 0 on.
pub struct CannedChain {
    marks: Vec<Mark>,
    bodies: Vec<Body>,
}

impl CannedChain {
    /// Blocks that are mostly empty: one in `every` holds a transfer of the token.
    #[must_use]
    pub fn sparse(blocks: u64, every: u64) -> Self {
        let transfer = |nonce| payment(nonce, address(nonce), 1_000 + u128::from(nonce));
        let mut bodies = vec![Body::new(&[])];
        bodies.extend((0..DENSE_BODIES).map(|nonce| Body::new(&[transfer(nonce)])));
        Self::of(bodies, blocks, |number| match number.checked_rem(every.max(1)) {
            Some(0) => 1 + index(number / every.max(1) % DENSE_BODIES),
            _ => 0,
        })
    }

    /// Full blocks, as on BNB Smart Chain. The same sixteen bodies take turns, so that transactions come again every sixteen
    /// blocks: a chain for reading, not for keeping books.
    #[must_use]
    pub fn dense(blocks: u64) -> Self {
        Self::mixed(blocks, DENSE_TRANSACTIONS)
    }

    /// The same with another number of transactions in each block: three quarters of them move coins or the token alone, each
    /// fourth one is a trade of eight logs.
    #[must_use]
    pub fn mixed(blocks: u64, transactions: u64) -> Self {
        let bodies =
            (0..DENSE_BODIES.min(blocks.max(1))).map(|body| Body::new(&mix(body * 1_000, transactions))).collect();
        Self::of(bodies, blocks, |number| index(number % DENSE_BODIES))
    }

    /// Blocks of a few random transactions each, with every kind of transfer, near-transfer and failure; no transaction comes
    /// twice.
    #[must_use]
    pub fn random(blocks: u64, random: &mut Seeded) -> Self {
        let bodies = (0..blocks).map(|number| {
            let count = below(random, 5);
            let txs: Vec<CannedTx> = (0..count).map(|at| any_transaction(number * 10 + at, random)).collect();
            Body::new(&txs)
        });
        Self::of(bodies.collect(), blocks, index)
    }

    /// Blocks with exactly these transactions each.
    #[must_use]
    pub fn with(blocks: &[Vec<CannedTx>]) -> Self {
        let bodies = blocks.iter().map(|txs| Body::new(txs)).collect();
        Self::of(bodies, u64::try_from(blocks.len()).unwrap_or(u64::MAX), index)
    }

    fn of(bodies: Vec<Body>, blocks: u64, body_of: impl Fn(u64) -> usize) -> Self {
        let mut chain = Self { marks: Vec::new(), bodies };
        for number in 0..blocks.max(1) {
            let body = body_of(number).min(chain.bodies.len().saturating_sub(1));
            let hash = chain.header(number, body).hash_slow();
            chain.marks.push(Mark { hash, body });
        }
        chain
    }

    /// The last block.
    #[must_use]
    pub fn last(&self) -> u64 {
        u64::try_from(self.marks.len().saturating_sub(1)).unwrap_or(u64::MAX)
    }

    /// The hash of a block.
    #[must_use]
    pub fn hash(&self, number: u64) -> Option<B256> {
        self.mark(number).map(|mark| mark.hash)
    }

    /// How many logs a block holds.
    #[must_use]
    pub fn logs(&self, number: u64) -> usize {
        self.body(number).map_or(0, |body| body.logs.len())
    }

    pub(super) fn body(&self, number: u64) -> Option<&Body> {
        self.bodies.get(self.mark(number)?.body)
    }

    pub(super) fn number_of(&self, hash: &str) -> Option<u64> {
        let hash: B256 = hash.parse().ok()?;
        // Few questions name a hash, and those that do ask about the newest blocks.
        let from_the_end = self.marks.iter().rev().position(|mark| mark.hash == hash)?;
        Some(self.last().saturating_sub(u64::try_from(from_the_end).ok()?))
    }

    pub(super) fn header_of(&self, number: u64) -> Option<Header> {
        Some(self.header(number, self.mark(number)?.body))
    }

    fn mark(&self, number: u64) -> Option<&Mark> {
        self.marks.get(usize::try_from(number).ok()?)
    }

    fn header(&self, number: u64, body: usize) -> Header {
        let parent = number.checked_sub(1).and_then(|parent| self.hash(parent)).unwrap_or_default();
        let mut header = Header {
            parent_hash: parent,
            beneficiary: [0xbe; 20].into(),
            state_root: keccak256("state"),
            difficulty: U256::from(2),
            number,
            gas_limit: 55_000_000,
            timestamp: FIRST_BLOCK_SECS + number * 45 / 100,
            extra_data: vec![0xd8; 97].into(),
            base_fee_per_gas: Some(0),
            withdrawals_root: Some(EMPTY_WITHDRAWALS),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            requests_hash: Some(keccak256("no requests")),
            ..Header::default()
        };
        if let Some(body) = self.bodies.get(body) {
            header.transactions_root = body.transactions_root;
            header.receipts_root = body.receipts_root;
            header.logs_bloom = body.bloom;
            header.gas_used = body.gas_used;
        }
        header
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A made-up address.
fn address(seed: u64) -> Address {
    let hash = keccak256(seed.to_be_bytes()).0;
    Address::new(hash.last_chunk().copied().unwrap_or_default())
}

fn topic(address: Address) -> [u8; 32] {
    let mut topic = [0; 32];
    topic[12..].copy_from_slice(address.as_bytes());
    topic
}

fn word(number: u128) -> [u8; 32] {
    U256::from(number).to_be_bytes()
}

/// A log of a transfer as tokens write it.
fn transfer(token: Address, from: Address, to: Address, units: u128) -> CannedLog {
    CannedLog { address: token, topics: vec![TRANSFER.0, topic(from), topic(to)], data: word(units).to_vec() }
}

fn transaction(nonce: u64, to: Option<Address>, value: u128, input: usize, logs: Vec<CannedLog>) -> CannedTx {
    let kind = [0, 2, 1, 2][index(nonce % 4)];
    let input = keccak256(nonce.to_le_bytes()).0.iter().copied().cycle().take(input).collect();
    CannedTx { kind, nonce, from: address(nonce + 1_000_000), to, value, input, succeeded: true, logs }
}

/// A transfer of the token by its sender.
fn payment(nonce: u64, to: Address, units: u128) -> CannedTx {
    let log = transfer(TOKEN, address(nonce + 1_000_000), to, units);
    transaction(nonce, Some(TOKEN), 0, 68, vec![log])
}

/// Transactions in the mix of a full block: payments of coins and of the token, and trades that touch many contracts.
fn mix(first_nonce: u64, transactions: u64) -> Vec<CannedTx> {
    let transactions = (0..transactions).map(|at| {
        let nonce = first_nonce + at;
        match at % 4 {
            0 if at % 40 == 4 => transaction(nonce, None, 0, 900, Vec::new()),
            0 => transaction(nonce, Some(address(nonce)), 1 + u128::from(nonce), 0, Vec::new()),
            1 | 2 => payment(nonce, address(nonce), 7 + u128::from(nonce)),
            _ => trade(nonce),
        }
    });
    transactions.collect()
}

/// A trade: one transfer of the token among seven logs of others.
fn trade(nonce: u64) -> CannedTx {
    let (trader, pair, router) = (address(nonce), address(7), address(8));
    let event = |name: &str, words: usize, topics: usize| CannedLog {
        address: pair,
        topics: core::iter::once(keccak256(name).0).chain((0..topics).map(|_| topic(trader))).collect(),
        data: word(u128::from(nonce) + 1).repeat(words),
    };
    let logs = vec![
        transfer(TOKEN, trader, pair, 3 + u128::from(nonce)),
        transfer(address(9), pair, trader, 5),
        event("Approval(address,address,uint256)", 1, 2),
        event("Sync(uint112,uint112)", 2, 0),
        event("Swap(address,uint256,uint256,uint256,uint256,address)", 4, 2),
        transfer(address(10), trader, pair, 8),
        event("Sync(uint112,uint112)", 2, 0),
        event("Swap(address,uint256,uint256,uint256,uint256,address)", 4, 2),
    ];
    transaction(nonce, Some(router), 0, 260, logs)
}

fn below(random: &mut Seeded, bound: u64) -> u64 {
    random.next_u64().checked_rem(bound).unwrap_or_default()
}

/// A transaction that may move coins, tokens, both or neither, once or several times to the same few addresses.
fn any_transaction(nonce: u64, random: &mut Seeded) -> CannedTx {
    let to = (below(random, 8) > 0).then(|| address(below(random, 3)));
    let value = u128::from(below(random, 3));
    let logs = (0..below(random, 5)).map(|_| any_log(random)).collect();
    let mut tx = transaction(nonce, to, value, index(below(random, 70)), logs);
    tx.succeeded = below(random, 6) > 0;
    tx
}

fn any_log(random: &mut Seeded) -> CannedLog {
    let (from, to) = (address(below(random, 5)), address(below(random, 3)));
    let token = if below(random, 4) == 0 { address(9) } else { TOKEN };
    let mut log = transfer(token, from, to, u128::from(below(random, 4)));
    match below(random, 12) {
        0 => log.topics.push(topic(to)),
        1 => log.data.push(0),
        2 => log.topics.iter_mut().skip(1).for_each(|topic| topic[0] = 1),
        3 => log.topics.iter_mut().take(1).for_each(|topic| *topic = keccak256("Approval").0),
        4 => log.topics.clear(),
        _ => {}
    }
    log
}
