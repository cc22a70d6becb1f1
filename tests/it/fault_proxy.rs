//! The fault proxy itself: each fault is what its name says, and without one the proxy cannot be told from the node.
//!
//! A fault that does nothing would make every test behind it pass.

use core::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use xthonpay_domain::address::Address;
use xthonpay_tests::BoxError;
use xthonpay_tests::chain::{Anvil, AnvilOptions, Mining, TestChain, anvil_binary};
use xthonpay_tests::fault_proxy::{Fault, FaultProxy, Invention};
use xthonpay_tests::places::Places;

use crate::world::{Done, units};

/// Above what a sound answer takes, far below what a test may.
const SOON: Duration = Duration::from_secs(5);
/// What counts as no answer.
const SILENCE: Duration = Duration::from_millis(300);

/// A node that mines when told, with a block that holds a transfer of a token, behind a proxy.
struct Bench {
    anvil: Anvil,
    chain: TestChain,
    proxy: FaultProxy,
    http: reqwest::Client,
    token: Address,
    /// The block with the transfer: the newest.
    paid_at: u64,
}

impl Bench {
    async fn new() -> Result<Self, BoxError> {
        let places = Places::find()?;
        let options = AnvilOptions::new(anvil_binary(&places.tools)?).mining(Mining::Manual);
        let anvil = Anvil::start(options).await?;
        let chain = TestChain::connect(anvil.url()).await?;
        let token = chain.deploy_usdt("Tether USD", "USDT", 18).await?;
        chain.mine(5).await?;
        chain.transfer_token(token, Address::ZERO, units("1")?).await?;
        chain.mine(1).await?;
        let paid_at = chain.head().await?.0;
        let proxy = FaultProxy::start(anvil.url(), 7).await?;
        let http = reqwest::Client::builder().no_proxy().timeout(SOON).gzip(true).build()?;
        Ok(Self { anvil, chain, proxy, http, token, paid_at })
    }

    /// The answer's body to these questions, as one batch; a single one as a single question.
    async fn body(&self, url: &str, questions: &[(&str, Value)]) -> Result<String, BoxError> {
        let calls: Vec<Value> = (1..)
            .zip(questions)
            .map(|(id, (method, params))| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
            .collect();
        let asked = if let [single] = calls.as_slice() { single.clone() } else { Value::Array(calls) };
        let answer = self.http.post(url).json(&asked).send().await?;
        if answer.status().is_success() { Ok(answer.text().await?) } else { Err(answer.status().to_string().into()) }
    }

    /// What the proxy answers, as JSON.
    async fn ask(&self, questions: &[(&str, Value)]) -> Result<Value, BoxError> {
        let body = self.body(&self.proxy.url(), questions).await?;
        Ok(serde_json::from_str(&body).map_err(|error| format!("{error}: {}", body.len()))?)
    }

    async fn result(&self, method: &str, params: Value) -> Result<Value, BoxError> {
        Ok(self.ask(&[(method, params)]).await?["result"].take())
    }

    async fn head(&self) -> Result<Value, BoxError> {
        self.result("eth_blockNumber", json!([])).await
    }

    fn paid_block(&self) -> String {
        format!("{:#x}", self.paid_at)
    }

    /// The questions that a scanner asks about one block.
    fn block(&self) -> [(&'static str, Value); 2] {
        let at = self.paid_block();
        [("eth_getBlockByNumber", json!([at, true])), ("eth_getBlockReceipts", json!([at]))]
    }

    async fn logs_in_receipts(&self) -> Result<usize, BoxError> {
        let receipts = self.result("eth_getBlockReceipts", json!([self.paid_block()])).await?;
        let receipts = receipts.as_array().ok_or("no list of receipts")?;
        Ok(receipts.iter().filter_map(|receipt| receipt["logs"].as_array()).map(Vec::len).sum())
    }

    /// A WebSocket that is told of new blocks.
    async fn heads(&self) -> Result<Heads, BoxError> {
        let (mut socket, _) = connect_async(self.proxy.ws_url()).await?;
        let question = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]});
        socket.send(Message::text(question.to_string())).await?;
        let confirmed = timeout(SOON, socket.next()).await?.ok_or("the socket was closed")??;
        assert!(confirmed.to_text()?.contains("result"), "{confirmed}");
        Ok(Heads(socket))
    }
}

struct Heads(tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>);

impl Heads {
    /// The next announcement, or `None` when none comes or the connection ends.
    async fn next(&mut self) -> Option<String> {
        let message = timeout(SILENCE, self.0.next()).await.ok()??.ok()?;
        message.to_text().ok().map(ToOwned::to_owned)
    }

    async fn numbers(&mut self, count: usize) -> Vec<String> {
        let mut numbers = Vec::new();
        while let Some(text) = self.next().await
            && numbers.len() < count
        {
            let head: Value = serde_json::from_str(&text).unwrap_or_default();
            numbers.push(head["params"]["result"]["number"].as_str().unwrap_or("none").to_owned());
        }
        numbers
    }
}

#[tokio::test]
async fn without_a_fault_it_is_the_node() -> Done {
    let bench = Bench::new().await?;
    let logs = json!([{"fromBlock": "0x0", "toBlock": "latest", "address": bench.token.to_lower_hex()}]);
    let [block, receipts] = bench.block();
    for questions in [vec![block.clone()], vec![block, receipts, ("eth_getLogs", logs)]] {
        let behind = bench.body(bench.anvil.url(), &questions).await?;
        assert_eq!(bench.body(&bench.proxy.url(), &questions).await?, behind);
    }
    let counts = bench.proxy.counts();
    assert_eq!((counts.requests, counts.calls(), counts.methods["eth_getBlockByNumber"]), (2, 4, 2));
    bench.proxy.count_anew();
    assert_eq!(bench.proxy.counts().requests, 0);
    Ok(())
}

#[tokio::test]
async fn faults_of_the_connection() -> Done {
    let bench = Bench::new().await?;
    for (fault, expected) in [
        (Fault::Refusing, "error sending request"),
        (Fault::Status(429), "429"),
        (Fault::Status(503), "503"),
        (Fault::Html, "expected value"),
        (Fault::Truncated, "EOF while parsing"),
        (Fault::Broken, "error decoding response body"),
    ] {
        bench.proxy.set([fault.clone()]);
        let error = bench.ask(&bench.block()).await.err().ok_or(format!("{fault:?} went through"))?.to_string();
        assert!(error.contains(expected), "{fault:?}: {error}");
    }
    for fault in [Fault::Hanging, Fault::Dripping(Duration::from_millis(20))] {
        bench.proxy.set([fault.clone()]);
        assert!(timeout(SILENCE, bench.ask(&bench.block())).await.is_err(), "{fault:?} came to an end");
    }
    for fault in [Fault::Huge, Fault::GzipBomb] {
        bench.proxy.set([fault.clone()]);
        let question = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber"});
        let mut answer = bench.http.post(bench.proxy.url()).json(&question).send().await?;
        let mut read = 0;
        while read < 40_000_000 {
            read += answer.chunk().await?.ok_or(format!("{fault:?} ended after {read}"))?.len();
        }
    }
    bench.proxy.clear();
    assert_eq!(bench.head().await?, bench.paid_block());
    Ok(())
}

#[tokio::test]
async fn faults_of_the_envelope() -> Done {
    let bench = Bench::new().await?;
    let ids = async |fault: Fault| -> Result<Vec<Value>, BoxError> {
        bench.proxy.set([fault]);
        let answer = bench.ask(&bench.block()).await?;
        Ok(answer.as_array().ok_or("no batch")?.iter().map(|item| item["id"].clone()).collect())
    };
    assert_eq!(ids(Fault::MissingItem).await?.len(), 1);
    assert_eq!(ids(Fault::RepeatedId).await?, [json!(1), json!(1)]);
    assert_eq!(ids(Fault::Shuffled).await?, [json!(2), json!(1)]);
    let foreign = ids(Fault::WrongId).await?;
    assert_eq!(foreign.iter().filter(|id| **id == json!(1) || **id == json!(2)).count(), 1, "{foreign:?}");
    for (fault, code) in [(Fault::RateLimited, -32005), (Fault::Without("eth_blockNumber"), -32601)] {
        bench.proxy.set([fault]);
        let refused = bench.ask(&[("eth_blockNumber", json!([]))]).await?;
        assert_eq!(refused["error"]["code"], code, "{refused}");
    }
    Ok(())
}

#[tokio::test]
async fn a_lagging_node_knows_nothing_beyond_its_head() -> Done {
    let bench = Bench::new().await?;
    let (at, hash) = (bench.paid_block(), bench.chain.block_hash(bench.chain.head().await?).await?.to_string());
    bench.proxy.set([Fault::Lagging(2)]);
    assert_eq!(bench.head().await?, json!(format!("{:#x}", bench.paid_at - 2)));
    assert_eq!(bench.result("eth_getBlockByNumber", json!([at, true])).await?, Value::Null);
    assert_eq!(bench.result("eth_getBlockByHash", json!([hash, false])).await?, Value::Null);
    assert_eq!(bench.result("eth_getBlockReceipts", json!([at])).await?, Value::Null);
    let range = json!([{"fromBlock": at, "toBlock": at, "address": bench.token.to_lower_hex()}]);
    assert_eq!(bench.result("eth_getLogs", range.clone()).await?, json!([]));
    let of_block = json!([{"blockHash": hash}]);
    assert_eq!(bench.ask(&[("eth_getLogs", of_block)]).await?["error"]["message"], "unknown block");
    let latest = bench.result("eth_getBlockByNumber", json!(["latest", false])).await?;
    assert_eq!(latest["number"], json!(format!("{:#x}", bench.paid_at - 2)));
    bench.proxy.clear();
    assert_eq!(bench.result("eth_getLogs", range).await?.as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn logs_come_late_or_get_lost() -> Done {
    let bench = Bench::new().await?;
    let age = Duration::from_millis(200);
    bench.proxy.set([Fault::EmptyAtFirst(age)]);
    assert_eq!(bench.result("eth_getBlockReceipts", json!([bench.paid_block()])).await?, json!([]));
    tokio::time::sleep(age).await;
    assert_eq!(bench.logs_in_receipts().await?, 1);
    bench.proxy.set([Fault::DroppingLogs]);
    assert_eq!(bench.logs_in_receipts().await?, 0);
    bench.proxy.clear();
    assert_eq!(bench.logs_in_receipts().await?, 1);
    Ok(())
}

#[tokio::test]
async fn finality_stands_still_or_is_missing() -> Done {
    let bench = Bench::new().await?;
    bench.proxy.set([Fault::FinalizedStaysAt(bench.chain.finalized().await?)]);
    let before = bench.result("eth_getBlockByNumber", json!(["finalized", false])).await?;
    bench.chain.mine(3).await?;
    assert_eq!(bench.result("eth_getBlockByNumber", json!(["finalized", false])).await?, before);
    assert_eq!(bench.head().await?, json!(format!("{:#x}", bench.paid_at + 3)), "the head goes on");
    bench.proxy.set([Fault::WithoutFinalized]);
    let refused = bench.ask(&[("eth_getBlockByNumber", json!(["finalized", false]))]).await?;
    assert!(refused["error"].is_object(), "{refused}");
    bench.proxy.set([Fault::OtherChain(97)]);
    assert_eq!(bench.result("eth_chainId", json!([])).await?, "0x61");
    Ok(())
}

#[tokio::test]
async fn a_lie_adds_up_and_is_told_the_same_way_twice() -> Done {
    let bench = Bench::new().await?;
    let lie = Invention { token: bench.token, to: bench.token, amount: units("10000")?, times: 2 };
    bench.proxy.set([Fault::Inventing(lie)]);
    let told = bench.ask(&bench.block()).await?;
    assert_eq!(bench.ask(&bench.block()).await?, told);
    let (block, receipts) = (&told[0]["result"], &told[1]["result"]);
    let (transactions, receipts) = (block["transactions"].as_array(), receipts.as_array());
    let (transactions, receipts) = (transactions.ok_or("no transactions")?, receipts.ok_or("no receipts")?);
    assert_eq!((transactions.len(), receipts.len()), (2, 2));
    let last = receipts.last().ok_or("no receipt")?;
    assert_eq!(last["cumulativeGasUsed"], block["gasUsed"]);
    assert_eq!((&last["logs"][0]["logIndex"], &last["logs"][1]["logIndex"]), (&json!("0x1"), &json!("0x2")));
    assert_eq!(bench.proxy.counts().lies, 4);
    assert_eq!(last["logs"][0]["topics"][0], receipts[0]["logs"][0]["topics"][0]);
    Ok(())
}

#[tokio::test]
async fn a_saved_branch_stays_when_the_chain_has_left_it() -> Done {
    let bench = Bench::new().await?;
    let before = bench.body(&bench.proxy.url(), &bench.block()).await?;
    bench.proxy.save_branch(4).await?;
    bench.chain.reorg(2).await?;
    bench.chain.mine(2).await?;
    let after = bench.body(&bench.proxy.url(), &bench.block()).await?;
    assert_ne!(after, before);
    bench.proxy.set([Fault::SavedBranch]);
    let saved = bench.ask(&bench.block()).await?;
    let before: Value = serde_json::from_str(&before)?;
    assert_eq!((&saved[0]["result"], &saved[1]["result"]), (&before[0]["result"], &before[1]["result"]));
    assert_eq!(bench.head().await?, json!(bench.paid_block()));
    Ok(())
}

#[tokio::test]
async fn faults_of_announcements() -> Done {
    let bench = Bench::new().await?;
    let mut heads = bench.heads().await?;
    let mut mined = async |fault: Fault, blocks: u64, count: usize| -> Result<Vec<String>, BoxError> {
        bench.proxy.set([fault]);
        for _ in 0..blocks {
            bench.chain.mine(1).await?;
        }
        Ok(heads.numbers(count).await)
    };
    let at = |above: u64| format!("{:#x}", bench.paid_at + above);
    assert_eq!(mined(Fault::HeadsTwice, 1, 2).await?, [at(1), at(1)]);
    assert_eq!(mined(Fault::HeadsMissed, 1, 1).await?, [""; 0]);
    assert_eq!(mined(Fault::HeadsReordered, 2, 2).await?, [at(4), at(3)]);
    assert_eq!(mined(Fault::HeadsAhead, 1, 1).await?, ["0xf423f00"]);
    assert_eq!(mined(Fault::HeadsGarbled, 1, 1).await?, ["none"]);
    bench.proxy.clear();
    bench.chain.mine(1).await?;
    assert_eq!(heads.numbers(1).await, [at(7)]);
    bench.proxy.set([Fault::SocketsCut(Duration::ZERO)]);
    assert!(timeout(SOON, heads.0.next()).await?.is_none_or(|message| message.is_err()), "it was cut");
    bench.proxy.set([Fault::SocketsRefused]);
    assert!(bench.heads().await.is_err());
    Ok(())
}
