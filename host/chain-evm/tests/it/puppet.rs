//! A node whose view of the chain a test moves while it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::scripted::{CHAIN_ID, Reply, ScriptedNode, answer_all, hash, sound_result};

/// What the node shows at the moment.
pub(crate) struct Puppet {
    head: AtomicU64,
    finalized: AtomicU64,
    chain_id: AtomicU64,
    /// From this height on its blocks have hashes of their own.
    fork: AtomicU64,
    /// Time that an answer takes, in milliseconds.
    delay: AtomicU64,
    down: AtomicBool,
}

impl Puppet {
    /// A node at these heights, on the branch that all puppets share.
    pub(crate) async fn start(head: u64, finalized: u64) -> (Arc<Self>, ScriptedNode) {
        let puppet = Arc::new(Self {
            head: AtomicU64::new(head),
            finalized: AtomicU64::new(finalized),
            chain_id: AtomicU64::new(CHAIN_ID),
            fork: AtomicU64::new(u64::MAX),
            delay: AtomicU64::new(0),
            down: AtomicBool::new(false),
        });
        let shown = Arc::clone(&puppet);
        let node = ScriptedNode::start(move |request| shown.reply(request)).await;
        (puppet, node)
    }

    pub(crate) fn moves_to(&self, head: u64, finalized: u64) {
        self.head.store(head, Ordering::SeqCst);
        self.finalized.store(finalized, Ordering::SeqCst);
    }

    /// Invents its blocks from a height on.
    pub(crate) fn forks_at(&self, height: u64) {
        self.fork.store(height, Ordering::SeqCst);
    }

    /// Is on the common branch again.
    pub(crate) fn repents(&self) {
        self.fork.store(u64::MAX, Ordering::SeqCst);
    }

    pub(crate) fn serves_chain(&self, chain_id: u64) {
        self.chain_id.store(chain_id, Ordering::SeqCst);
    }

    pub(crate) fn takes(&self, delay: Duration) {
        self.delay.store(u64::try_from(delay.as_millis()).expect("short"), Ordering::SeqCst);
    }

    pub(crate) fn is_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// The hash that the node shows for a height.
    pub(crate) fn hash_of(&self, height: u64) -> String {
        if height >= self.fork.load(Ordering::SeqCst) { hash(format!("invented {height}")) } else { hash(height) }
    }

    fn reply(&self, request: &Value) -> Reply {
        if self.down.load(Ordering::SeqCst) {
            return Reply::Http("503 Service Unavailable", "", Vec::new());
        }
        let answer = answer_all(request, &|call| self.result(call));
        match self.delay.load(Ordering::SeqCst) {
            0 => Reply::Json(answer),
            delay => Reply::Late(Duration::from_millis(delay), answer),
        }
    }

    fn result(&self, call: &Value) -> Value {
        let head = self.head.load(Ordering::SeqCst);
        let height = match call["params"][0].as_str().unwrap_or_default() {
            "latest" => head,
            "finalized" => self.finalized.load(Ordering::SeqCst),
            text => u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or_default(),
        };
        match call["method"].as_str().unwrap_or_default() {
            "eth_chainId" => json!(format!("{:#x}", self.chain_id.load(Ordering::SeqCst))),
            "eth_blockNumber" => json!(format!("{head:#x}")),
            "eth_getBlockByNumber" if height > head => Value::Null,
            "eth_getBlockByNumber" => {
                let asked = json!({"method": call["method"], "params": [format!("{height:#x}"), call["params"][1]]});
                let mut block = sound_result(&asked);
                // A block with transactions keeps the hash that they name.
                if call["params"][1] == false {
                    block["hash"] = json!(self.hash_of(height));
                }
                block
            }
            _ => sound_result(call),
        }
    }
}

/// The name of a block in a vote.
pub(crate) fn block_hash(height: u64) -> String {
    hash(height)
}

/// Tries again and again until `wanted` holds. The bound is far above what a busy machine needs.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut wanted: impl FnMut() -> F) {
    for _ in 0..500 {
        if wanted().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    unreachable!("not within ten seconds: {what}");
}
