//! A JSON-RPC node that answers what a test wants, down to the bytes, and a sound block to start from.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::keccak256;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;
use xthonpay_chain_evm::{CatchUp, EvmChain, EvmChainConfig, EvmChainError, Finality};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Decimals;
use xthonpay_domain::asset::{Asset, AssetKind};
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::clock::Clock;
use xthonpay_payments::port::random::Random;

pub(crate) const CHAIN_ID: u64 = 56;
pub(crate) const HEAD: u64 = 0x12;
pub(crate) const NUMBER: u64 = 0x10;
/// When every scripted block was made, in Unix seconds.
pub(crate) const TIME: u64 = 0x6b49_d200;
pub(crate) const USDT: Address = Address::new([0x55; 20]);
pub(crate) const PAYER: Address = Address::new([0x11; 20]);
pub(crate) const ALICE: Address = Address::new([0xaa; 20]);

/// What goes back over the socket.
pub(crate) enum Reply {
    /// A complete answer with status 200.
    Json(Value),
    /// A complete answer of any kind; the head lines end with `\r\n` each.
    Http(&'static str, &'static str, Vec<u8>),
    /// A complete answer, compressed.
    Gzip(Vec<u8>),
    /// The first half of an answer, then the end of the connection.
    Half(Value),
    /// One byte every 50 ms.
    Drip(Value),
    /// Nothing, while the connection stays open.
    Silence,
    /// A complete answer, but only after a while.
    Late(Duration, Value),
}

/// A node on a local port.
pub(crate) struct ScriptedNode {
    address: String,
    methods: Arc<Mutex<Vec<String>>>,
    requests: Arc<AtomicUsize>,
}

impl ScriptedNode {
    /// A node that passes every request body through `script`.
    pub(crate) async fn start(script: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a local port");
        let address = listener.local_addr().expect("bound").to_string();
        let methods = Arc::new(Mutex::new(Vec::new()));
        let requests = Arc::new(AtomicUsize::new(0));
        let (seen, counted, script) = (Arc::clone(&methods), Arc::clone(&requests), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Every request comes on a connection of its own.
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&seen)));
            }
        });
        Self { address, methods, requests }
    }

    /// A node that answers soundly.
    pub(crate) async fn sound() -> Self {
        Self::start(|request| Reply::Json(answer_all(request, &sound_result))).await
    }

    /// A node that answers `eth_chainId` soundly and everything else as `fault` makes of the request and the sound answer.
    pub(crate) async fn faulty(fault: impl Fn(&Value, Value) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(move |request| {
            let answer = answer_all(request, &sound_result);
            if request["method"] == "eth_chainId" { Reply::Json(answer) } else { fault(request, answer) }
        })
        .await
    }

    /// A sound node but for the results of `method`, which pass through `change`.
    pub(crate) async fn changed(method: &'static str, change: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::start(move |request| {
            Reply::Json(answer_all(request, &|call| {
                let mut result = sound_result(call);
                if call["method"] == method {
                    change(&mut result);
                }
                result
            }))
        })
        .await
    }

    /// A sound node but for `method`, which it refuses with this code.
    pub(crate) async fn refusing(method: &'static str, code: i64) -> Self {
        Self::start(move |request| {
            let mut answer = answer_all(request, &sound_result);
            let refuse = |call: &Value, answer: &mut Value| {
                if call["method"] == method {
                    *answer = json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": code, "message": "no"}});
                }
            };
            match (request.as_array(), answer.as_array_mut()) {
                (Some(calls), Some(answers)) => calls.iter().zip(answers).for_each(|(call, one)| refuse(call, one)),
                _ => refuse(request, &mut answer),
            }
            Reply::Json(answer)
        })
        .await
    }

    pub(crate) fn url(&self) -> Url {
        format!("http://{}/", self.address).parse().expect("a URL")
    }

    /// The same node behind an address full of credentials.
    pub(crate) fn url_with_credentials(&self) -> Url {
        format!("http://user:hunter2@{}/v2/api-key?token=secret", self.address).parse().expect("a URL")
    }

    /// How many requests came, each with one question or a batch.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// How often a method was asked.
    pub(crate) fn asked(&self, method: &str) -> usize {
        self.methods.lock().expect("not poisoned").iter().filter(|seen| *seen == method).count()
    }
}

/// A chain with one native asset and one token, read from these nodes.
pub(crate) fn chain(nodes: &[&ScriptedNode]) -> EvmChain {
    source(config(nodes.iter().map(|node| node.url()).collect()))
}

/// The source of a sound config.
pub(crate) fn source(config: EvmChainConfig) -> EvmChain {
    try_source(config).expect("a sound config")
}

/// The source of any config. Its clock stands at the time of the scripted blocks, and its chances are always the same.
pub(crate) fn try_source(config: EvmChainConfig) -> Result<EvmChain, EvmChainError> {
    let random: Arc<dyn Random> = Arc::new(SameBytes);
    EvmChain::new(config, Arc::new(BlockTime), &random)
}

struct BlockTime;

impl Clock for BlockTime {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(TIME)
    }
}

struct SameBytes;

impl Random for SameBytes {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

pub(crate) fn config(nodes: Vec<Url>) -> EvmChainConfig {
    let decimals = Decimals::new(18).expect("in range");
    let asset = |id: &str, kind| Asset { id: id.parse().expect("an asset id"), kind, decimals };
    let quorum = EvmChainConfig::default_quorum(nodes.len());
    EvmChainConfig {
        quorum,
        catch_up: CatchUp::Blocks,
        fallback_depth: None,
        fallback_after: Duration::from_millis(200),
        checkpoint: None,
        websockets: Vec::new(),
        name: "bsc".parse().expect("a name"),
        chain_id: CHAIN_ID,
        nodes,
        assets: vec![asset("bsc:BNB", AssetKind::Native), asset("bsc:USDT", AssetKind::Token { contract: USDT })],
        finality: Finality::Tag,
        request_timeout: Duration::from_secs(20),
    }
}

/// The sound result of one call.
pub(crate) fn sound_result(call: &Value) -> Value {
    match call["method"].as_str().unwrap_or_default() {
        "eth_chainId" => json!(format!("{CHAIN_ID:#x}")),
        "eth_blockNumber" => json!(format!("{HEAD:#x}")),
        "eth_getBlockByNumber" => block(number_in(call), call["params"][1] == true),
        "eth_getBlockReceipts" => receipts(number_in(call)),
        "eth_getCode" => json!("0x6001"),
        "eth_call" => json!(format!("0x{:0>64x}", 18)),
        other => json!(format!("unscripted {other}")),
    }
}

fn number_in(call: &Value) -> u64 {
    match call["params"][0].as_str().unwrap_or_default() {
        "finalized" => NUMBER,
        "latest" => HEAD,
        text => u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("a number"),
    }
}

/// Thirty-two bytes that depend on the label.
pub(crate) fn hash(label: impl std::fmt::Display) -> String {
    keccak256(label.to_string()).to_string()
}

fn topic(address: Address) -> String {
    format!("0x{:0>64}", address.to_lower_hex().trim_start_matches("0x"))
}

/// A block with three transactions: coins to Alice, two token transfers to Alice, and one that failed.
pub(crate) fn block(number: u64, full: bool) -> Value {
    let transaction = |index: u64, to: Address, value: &str| {
        json!({
            "hash": hash(format!("{number}/{index}")), "blockHash": hash(number), "blockNumber": format!("{number:#x}"),
            "transactionIndex": format!("{index:#x}"), "from": PAYER.to_lower_hex(), "to": to.to_lower_hex(),
            "value": value, "type": "0x7e", "input": "0x",
        })
    };
    let transactions =
        [transaction(0, ALICE, "0x3"), transaction(1, USDT, "0x0"), transaction(2, ALICE, "0xde0b6b3a7640000")];
    let hashes = || (0..3).map(|index| json!(hash(format!("{number}/{index}")))).collect::<Vec<_>>();
    json!({
        "number": format!("{number:#x}"), "hash": hash(number), "parentHash": hash(number.saturating_sub(1)),
        "timestamp": format!("{TIME:#x}"), "gasUsed": "0x3c", "extraData": "0xd883", "size": "0x100",
        "logsBloom": format!("0x{}", "00".repeat(256)),
        "transactions": if full { json!(transactions) } else { json!(hashes()) },
    })
}

/// The receipts of [`block`].
pub(crate) fn receipts(number: u64) -> Value {
    let log = |index: u64, units: u64| {
        json!({
            "address": USDT.to_lower_hex(), "data": format!("0x{units:0>64x}"), "removed": false,
            "topics": [keccak256("Transfer(address,address,uint256)").to_string(), topic(PAYER), topic(ALICE)],
            "blockHash": hash(number), "blockNumber": format!("{number:#x}"), "logIndex": format!("{index:#x}"),
            "transactionHash": hash(format!("{number}/1")), "transactionIndex": "0x1",
        })
    };
    let receipt = |index: u64, status: &str, gas: u64, logs: Vec<Value>| {
        json!({
            "transactionHash": hash(format!("{number}/{index}")), "transactionIndex": format!("{index:#x}"),
            "blockHash": hash(number), "blockNumber": format!("{number:#x}"), "status": status,
            "cumulativeGasUsed": format!("{gas:#x}"), "gasUsed": "0x14", "logs": logs, "contractAddress": null,
        })
    };
    json!([
        receipt(0, "0x1", 20, vec![]),
        receipt(1, "0x1", 40, vec![log(0, 5), log(1, 6)]),
        receipt(2, "0x0", 60, vec![])
    ])
}

/// One answer for each call of a request, which may be a batch.
pub(crate) fn answer_all(request: &Value, result: &dyn Fn(&Value) -> Value) -> Value {
    let answer = |call: &Value| json!({"jsonrpc": "2.0", "id": call["id"], "result": result(call)});
    match request.as_array() {
        Some(calls) => calls.iter().map(answer).collect(),
        None => answer(request),
    }
}

async fn serve<F>(mut stream: TcpStream, script: Arc<F>, seen: Arc<Mutex<Vec<String>>>)
where
    F: Fn(&Value) -> Reply,
{
    let Some(request) = read_request(&mut stream).await else { return };
    let calls = request.as_array().cloned().unwrap_or_else(|| vec![request.clone()]);
    let methods = calls.iter().map(|call| call["method"].as_str().unwrap_or_default().to_owned());
    seen.lock().expect("not poisoned").extend(methods);
    // The other side may hang up at any time.
    let _ = reply(&mut stream, script(&request)).await;
}

async fn read_request(stream: &mut TcpStream) -> Option<Value> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(chunk.get(..read)?);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let body = end.and_then(|end| bytes.get(end.saturating_add(4)..));
        if let Some(request) = body.and_then(|body| serde_json::from_slice(body).ok()) {
            return Some(request);
        }
    }
}

async fn reply(stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    match reply {
        Reply::Json(value) => {
            complete(stream, "200 OK", "content-type: application/json\r\n", value.to_string().as_bytes()).await
        }
        Reply::Http(status, head, body) => complete(stream, status, head, &body).await,
        Reply::Gzip(body) => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&body)?;
            complete(stream, "200 OK", "content-encoding: gzip\r\n", &encoder.finish()?).await
        }
        Reply::Half(value) => {
            let text = value.to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(text.as_bytes().split_at(text.len() / 2).0).await
        }
        Reply::Drip(value) => {
            let text = value.to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
            stream.write_all(head.as_bytes()).await?;
            for byte in text.bytes() {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        }
        Reply::Silence => std::future::pending().await,
        Reply::Late(delay, value) => {
            tokio::time::sleep(delay).await;
            complete(stream, "200 OK", "content-type: application/json\r\n", value.to_string().as_bytes()).await
        }
    }
}

async fn complete(stream: &mut TcpStream, status: &str, head: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\n{head}connection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await
}
