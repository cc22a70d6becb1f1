//! A piece of a chain as it once was, to be shown after the chain has gone another way.

use serde_json::{Value, json};

use super::upstream::Upstream;
use crate::BoxError;

/// Blocks with their receipts, up to the head of that time.
pub(super) struct Branch {
    /// In ascending order, without gaps.
    blocks: Vec<Saved>,
    pub(super) head: u64,
    pub(super) finalized: u64,
}

/// A block as it was.
pub(super) struct Saved {
    pub(super) number: u64,
    pub(super) hash: String,
    /// With whole transactions.
    pub(super) block: Value,
    pub(super) receipts: Value,
}

impl Branch {
    /// Reads the newest `count` blocks. The head is taken first: later blocks do not belong to the branch.
    pub(super) async fn read(upstream: &Upstream, count: u64) -> Result<Self, BoxError> {
        let head = upstream.result("eth_blockNumber", json!([])).await?;
        let head = number(&head).ok_or("no head")?;
        let finalized = upstream.result("eth_getBlockByNumber", json!(["finalized", false])).await?;
        let finalized = number(&finalized["number"]).ok_or("no finalized block")?.min(head);
        let mut blocks = Vec::new();
        for at in head.saturating_sub(count.saturating_sub(1))..=head {
            let place = quantity(at);
            let block = upstream.result("eth_getBlockByNumber", json!([place, true])).await?;
            let receipts = upstream.result("eth_getBlockReceipts", json!([place])).await?;
            let hash = block["hash"].as_str().ok_or("a block without a hash")?.to_owned();
            blocks.push(Saved { number: at, hash, block, receipts });
        }
        Ok(Self { blocks, head, finalized })
    }

    pub(super) fn at(&self, number: u64) -> Option<&Saved> {
        self.blocks.iter().find(|saved| saved.number == number)
    }

    pub(super) fn with_hash(&self, hash: &str) -> Option<&Saved> {
        self.blocks.iter().find(|saved| saved.hash == hash)
    }
}

/// The number that JSON-RPC writes as `0x10`.
pub(super) fn number(quantity: &Value) -> Option<u64> {
    u64::from_str_radix(quantity.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// A number as JSON-RPC writes it.
pub(super) fn quantity(number: u64) -> String {
    format!("{number:#x}")
}
