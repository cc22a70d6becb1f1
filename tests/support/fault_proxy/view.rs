//! Faults of what a node shows of the chain: how far it is, which logs it has, which branch it is on.
//!
//! Answers one question at a time, from the node behind or from what was saved. A method that no fault concerns is passed on.

use core::time::Duration;

use serde_json::{Value, json};

use super::branch::{Branch, number, quantity};
use super::fault::{Fault, Invention};
use super::state::Shared;
use super::{envelope, invention};
use crate::BoxError;

/// The longest range of which logs are looked at block by block.
const RANGE_MAX: u64 = 10_000;

/// A node as it seems under some faults.
pub(super) struct View<'a> {
    shared: &'a Shared,
    faults: &'a [Fault],
}

/// Which block a question names.
enum Place {
    Number(u64),
    /// Beyond what the node knows.
    Unknown,
    /// The node refuses to say.
    Refused,
}

impl<'a> View<'a> {
    pub(super) fn new(shared: &'a Shared, faults: &'a [Fault]) -> Self {
        Self { shared, faults }
    }

    /// Whether a fault changes what the node shows.
    pub(super) fn concerns(fault: &Fault) -> bool {
        match fault {
            Fault::RateLimited
            | Fault::Without(_)
            | Fault::Lagging(_)
            | Fault::EmptyAtFirst(_)
            | Fault::DroppingLogs
            | Fault::FinalizedStaysAt(_)
            | Fault::WithoutFinalized
            | Fault::OtherChain(_)
            | Fault::Inventing(_)
            | Fault::SavedBranch => true,
            other => envelope::concerns(other),
        }
    }

    /// The whole answers to one question or to a batch.
    pub(super) async fn answer(&self, asked: &Value) -> Result<Value, BoxError> {
        let Some(batch) = asked.as_array() else { return self.one(asked).await };
        let mut answers = Vec::with_capacity(batch.len());
        for question in batch {
            answers.push(self.one(question).await?);
        }
        Ok(Value::Array(answers))
    }

    async fn one(&self, question: &Value) -> Result<Value, BoxError> {
        let method = question["method"].as_str().unwrap_or_default();
        let mut answer = match self.refusal(method) {
            Some(error) => json!({"jsonrpc": "2.0", "error": error}),
            None => self.shown(method, &question["params"]).await?,
        };
        answer["id"] = question["id"].clone();
        Ok(answer)
    }

    fn refusal(&self, method: &str) -> Option<Value> {
        self.faults.iter().find_map(|fault| match fault {
            Fault::RateLimited => Some(json!({"code": -32005, "message": "limit exceeded"})),
            Fault::Without(missing) if *missing == method => {
                Some(json!({"code": -32601, "message": "the method does not exist/is not available"}))
            }
            _ => None,
        })
    }

    async fn shown(&self, method: &str, params: &Value) -> Result<Value, BoxError> {
        let result = match method {
            "eth_chainId" => self.other_chain().map(|id| json!(quantity(id))),
            "net_version" => self.other_chain().map(|id| json!(id.to_string())),
            "eth_blockNumber" => Some(json!(quantity(self.head().await?))),
            "eth_getBlockByNumber" => return self.block_by_number(params).await,
            "eth_getBlockByHash" => Some(self.block_by_hash(params).await?),
            "eth_getBlockReceipts" => return self.receipts(&params[0]).await,
            "eth_getLogs" => return self.logs(&params[0]).await,
            "eth_getTransactionReceipt" | "eth_getTransactionByHash" => {
                let found = self.shared.upstream.result(method, params.clone()).await?;
                let beyond = number(&found["blockNumber"]).unwrap_or(0) > self.head().await?;
                Some(if beyond { Value::Null } else { found })
            }
            "eth_call" | "eth_getBalance" | "eth_getCode" => return self.at_own_head(method, params).await,
            _ => None,
        };
        match result {
            Some(result) => Ok(success(result)),
            None => self.shared.upstream.ask(method, params.clone()).await,
        }
    }

    async fn block_by_number(&self, params: &Value) -> Result<Value, BoxError> {
        match self.place(&params[0]).await? {
            Place::Number(at) => Ok(success(self.block(at, params[1] == true).await?)),
            Place::Unknown => Ok(success(Value::Null)),
            Place::Refused => Ok(failure("finalized block not found")),
        }
    }

    async fn block_by_hash(&self, params: &Value) -> Result<Value, BoxError> {
        match self.number_of(params[0].as_str().unwrap_or_default()).await? {
            Some(at) => self.block(at, params[1] == true).await,
            None => Ok(Value::Null),
        }
    }

    async fn receipts(&self, block: &Value) -> Result<Value, BoxError> {
        let named = block.as_str().or_else(|| block["blockHash"].as_str()).unwrap_or_default();
        let place = if named.len() > 60 {
            self.number_of(named).await?.map_or(Place::Unknown, Place::Number)
        } else {
            self.place(block).await?
        };
        match place {
            Place::Number(at) => Ok(success(self.receipts_at(at).await?)),
            Place::Unknown => Ok(success(Value::Null)),
            Place::Refused => Ok(failure("finalized block not found")),
        }
    }

    async fn receipts_at(&self, at: u64) -> Result<Value, BoxError> {
        if self.too_young(at) {
            return Ok(json!([]));
        }
        let saved = self.branch().and_then(|branch| branch.at(at).map(|saved| saved.receipts.clone()));
        let mut receipts = match saved {
            Some(receipts) => receipts,
            None => self.shared.upstream.result("eth_getBlockReceipts", json!([quantity(at)])).await?,
        };
        if let Some(invented) = self.invention() {
            let hash = self.hash_at(at).await?;
            invention::into_receipts(&invented, &mut receipts, &hash, at);
            self.shared.counts.note_lies(invented.times);
        }
        if self.has(&Fault::DroppingLogs) {
            self.drop_log_of_receipts(&mut receipts);
        }
        Ok(receipts)
    }

    /// A block as this node shows it; `null` when it has none.
    async fn block(&self, at: u64, whole: bool) -> Result<Value, BoxError> {
        self.shared.age(at);
        let saved = self.branch().and_then(|branch| branch.at(at).map(|saved| saved.block.clone()));
        let mut block = match saved {
            Some(block) if whole => block,
            Some(block) => with_hashes_only(block),
            None => self.shared.upstream.result("eth_getBlockByNumber", json!([quantity(at), whole])).await?,
        };
        if let Some(invented) = self.invention() {
            invention::into_block(&invented, &mut block);
        }
        Ok(block)
    }

    async fn logs(&self, filter: &Value) -> Result<Value, BoxError> {
        let (from, to) = if let Some(hash) = filter["blockHash"].as_str() {
            let Some(at) = self.number_of(hash).await? else { return Ok(failure("unknown block")) };
            (at, at)
        } else {
            let head = self.head().await?;
            let bound = async |name: &str| -> Result<u64, BoxError> {
                Ok(match self.place(&filter[name]).await? {
                    Place::Number(at) => at,
                    // Cut short without a word, as many nodes do.
                    Place::Unknown | Place::Refused if name == "toBlock" => head,
                    Place::Unknown | Place::Refused => head.saturating_add(1),
                })
            };
            (bound("fromBlock").await?, bound("toBlock").await?)
        };
        let mut logs = self.node_logs(filter, from, to).await?;
        if let Some(invented) = self.invention() {
            for at in (from..=to).take(usize::try_from(RANGE_MAX)?) {
                let hash = self.hash_at(at).await?;
                logs.extend((0..invented.times).map(|nth| invention::log(&invented, &hash, at, 0, nth)));
                self.shared.counts.note_lies(invented.times);
            }
        }
        if self.has(&Fault::DroppingLogs) && !logs.is_empty() {
            logs.remove(self.shared.faults.place(logs.len()));
        }
        Ok(success(Value::Array(logs)))
    }

    /// The logs of a range: of saved blocks from what was saved, else from the node behind.
    async fn node_logs(&self, filter: &Value, from: u64, to: u64) -> Result<Vec<Value>, BoxError> {
        if from > to {
            return Ok(Vec::new());
        }
        let mut asked = filter.clone();
        if let Some(asked) = asked.as_object_mut() {
            asked.remove("blockHash");
            asked.insert("fromBlock".to_owned(), json!(quantity(from)));
            asked.insert("toBlock".to_owned(), json!(quantity(to)));
        }
        let found = self.shared.upstream.result("eth_getLogs", json!([asked])).await?;
        let mut logs: Vec<Value> = found.as_array().cloned().unwrap_or_default();
        if let Some(branch) = self.branch() {
            logs.retain(|log| number(&log["blockNumber"]).is_some_and(|at| branch.at(at).is_none()));
            for at in (from..=to).take(usize::try_from(RANGE_MAX)?) {
                logs.extend(branch.at(at).map(|saved| matching(filter, &saved.receipts)).unwrap_or_default());
            }
        }
        logs.retain(|log| number(&log["blockNumber"]).is_some_and(|at| !self.too_young(at)));
        Ok(logs)
    }

    /// A question about a state: `latest` is this node's own head.
    async fn at_own_head(&self, method: &str, params: &Value) -> Result<Value, BoxError> {
        let mut params = params.clone();
        if let Some(block) = params.get_mut(1)
            && (block.as_str().is_some_and(|tag| !tag.starts_with("0x")) || block.is_null())
        {
            *block = json!(quantity(self.head().await?));
        } else if let Some(at) = params.get(1).and_then(number)
            && at > self.head().await?
        {
            return Ok(failure("header not found"));
        }
        self.shared.upstream.ask(method, params).await
    }

    async fn place(&self, block: &Value) -> Result<Place, BoxError> {
        let head = self.head().await?;
        Ok(match block.as_str().unwrap_or("latest") {
            "earliest" => Place::Number(0),
            "safe" => Place::Number(head.saturating_sub(1)),
            "finalized" if self.has(&Fault::WithoutFinalized) => Place::Refused,
            "finalized" => Place::Number(self.finalized().await?),
            _ => match number(block) {
                Some(at) if at > head => Place::Unknown,
                Some(at) => Place::Number(at),
                None => Place::Number(head),
            },
        })
    }

    async fn head(&self) -> Result<u64, BoxError> {
        if let Some(branch) = self.branch() {
            return Ok(branch.head);
        }
        let head = self.shared.upstream.result("eth_blockNumber", json!([])).await?;
        Ok(number(&head).unwrap_or(0).saturating_sub(self.lag()))
    }

    async fn finalized(&self) -> Result<u64, BoxError> {
        if let Some(branch) = self.branch() {
            return Ok(branch.finalized);
        }
        let stale = self
            .faults
            .iter()
            .find_map(|fault| if let Fault::FinalizedStaysAt(at) = fault { Some(at.0) } else { None });
        if let Some(stale) = stale {
            return Ok(stale);
        }
        let block = self.shared.upstream.result("eth_getBlockByNumber", json!(["finalized", false])).await?;
        Ok(number(&block["number"]).unwrap_or(0).saturating_sub(self.lag()))
    }

    /// The height of a block with this hash, if this node has it.
    async fn number_of(&self, hash: &str) -> Result<Option<u64>, BoxError> {
        if let Some(saved) = self.branch().and_then(|branch| branch.with_hash(hash).map(|saved| saved.number)) {
            return Ok(Some(saved));
        }
        let block = self.shared.upstream.result("eth_getBlockByHash", json!([hash, false])).await?;
        let (at, head) = (number(&block["number"]), self.head().await?);
        Ok(at.filter(|at| *at <= head))
    }

    async fn hash_at(&self, at: u64) -> Result<String, BoxError> {
        if let Some(hash) = self.branch().and_then(|branch| branch.at(at).map(|saved| saved.hash.clone())) {
            return Ok(hash);
        }
        let block = self.shared.upstream.result("eth_getBlockByNumber", json!([quantity(at), false])).await?;
        Ok(block["hash"].as_str().unwrap_or_default().to_owned())
    }

    fn drop_log_of_receipts(&self, receipts: &mut Value) {
        let Some(list) = receipts.as_array_mut() else { return };
        let mut with_logs: Vec<&mut Vec<Value>> = list
            .iter_mut()
            .filter_map(|receipt| receipt["logs"].as_array_mut())
            .filter(|logs| !logs.is_empty())
            .collect();
        let chosen = self.shared.faults.place(with_logs.len());
        if let Some(logs) = with_logs.get_mut(chosen) {
            logs.remove(self.shared.faults.place(logs.len()));
        }
    }

    fn too_young(&self, at: u64) -> bool {
        let wanted = self.faults.iter().find_map(|fault| match fault {
            Fault::EmptyAtFirst(age) => Some(*age),
            _ => None,
        });
        wanted.is_some_and(|wanted: Duration| self.shared.age(at) < wanted)
    }

    fn lag(&self) -> u64 {
        self.faults
            .iter()
            .find_map(|fault| if let Fault::Lagging(lag) = fault { Some(*lag) } else { None })
            .unwrap_or(0)
    }

    fn other_chain(&self) -> Option<u64> {
        self.faults.iter().find_map(|fault| if let Fault::OtherChain(id) = fault { Some(*id) } else { None })
    }

    fn invention(&self) -> Option<Invention> {
        self.faults.iter().find_map(|fault| if let Fault::Inventing(lie) = fault { Some(*lie) } else { None })
    }

    fn branch(&self) -> Option<std::sync::Arc<Branch>> {
        if self.has(&Fault::SavedBranch) { self.shared.branch() } else { None }
    }

    fn has(&self, wanted: &Fault) -> bool {
        self.faults.contains(wanted)
    }
}

fn success(result: Value) -> Value {
    json!({"jsonrpc": "2.0", "result": result})
}

fn failure(message: &str) -> Value {
    json!({"jsonrpc": "2.0", "error": {"code": -32000, "message": message}})
}

fn with_hashes_only(mut block: Value) -> Value {
    if let Some(transactions) = block["transactions"].as_array_mut() {
        for transaction in transactions {
            *transaction = transaction["hash"].take();
        }
    }
    block
}

/// The logs in receipts that a filter by address and first topic lets through.
fn matching(filter: &Value, receipts: &Value) -> Vec<Value> {
    let among = |wanted: &Value, found: &Value| match wanted {
        Value::Null => true,
        Value::Array(any) => any.is_empty() || any.contains(found),
        one => one == found,
    };
    let receipts = receipts.as_array().map_or(&[][..], Vec::as_slice);
    let logs = receipts.iter().filter_map(|receipt| receipt["logs"].as_array()).flatten();
    logs.filter(|log| among(&filter["address"], &log["address"]) && among(&filter["topics"][0], &log["topics"][0]))
        .cloned()
        .collect()
}
