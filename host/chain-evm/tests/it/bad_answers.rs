//! A table of bad answers: each becomes the right kind of error, and none a panic or an empty block.

use std::time::Duration;

use serde_json::{Value, json};
use xthonpay_chain_evm::{BODY_BYTES_MAX, EvmChain};
use xthonpay_domain::block::BlockNumber;
use xthonpay_payments::port::chain::{ChainError, ChainSource as _};

use crate::scripted::{NUMBER, Reply, ScriptedNode, answer_all, chain, config, hash, receipts, sound_result, source};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sound,
    Unavailable,
    Inconsistent,
    Mismatch,
}

use Kind::{Inconsistent, Mismatch, Sound, Unavailable};

fn kind<T>(answer: &Result<T, ChainError>) -> Kind {
    match answer {
        Ok(_) => Sound,
        Err(ChainError::Unavailable { .. }) => Unavailable,
        Err(ChainError::Inconsistent { .. }) => Inconsistent,
        Err(ChainError::Mismatch { .. }) => Mismatch,
    }
}

type Fault = fn(&Value, Value) -> Reply;

/// Answers to a single question.
const SINGLE: [(&str, Kind, Fault); 28] = [
    ("untouched", Sound, |_, answer| Reply::Json(answer)),
    ("null result", Inconsistent, |_, answer| with(answer, "result", Value::Null)),
    ("neither result nor error", Inconsistent, |_, answer| without(answer, "result")),
    ("both result and error", Inconsistent, |_, answer| with(answer, "error", json!({"code": -32000, "message": "x"}))),
    ("error code as text", Inconsistent, |call, _| error(call, json!({"code": "-32000", "message": "x"}))),
    ("rate limit in the body", Unavailable, |call, _| {
        error(call, json!({"code": -32005, "message": "limit exceeded"}))
    }),
    ("header not found", Unavailable, |call, _| error(call, json!({"code": -32000, "message": "header not found"}))),
    ("method not found", Mismatch, |call, _| error(call, json!({"code": -32601, "message": "x"}))),
    ("another id", Inconsistent, |_, answer| with(answer, "id", json!(999_999))),
    ("id as text", Inconsistent, |call, answer| with(answer, "id", json!(call["id"].to_string()))),
    ("id null", Inconsistent, |_, answer| with(answer, "id", Value::Null)),
    ("no id", Inconsistent, |_, answer| without(answer, "id")),
    ("a batch", Inconsistent, |_, answer| Reply::Json(json!([answer]))),
    ("a batch inside a batch", Inconsistent, |_, answer| Reply::Json(json!([[answer]]))),
    ("a number", Inconsistent, |_, _| Reply::Json(json!(16))),
    ("the result twice", Inconsistent, |call, _| {
        raw(&format!(r#"{{"id":{},"result":"0x1","result":"0x2"}}"#, call["id"]))
    }),
    ("text after the answer", Inconsistent, |_, answer| raw(&format!("{answer} trailing"))),
    ("truncated JSON", Inconsistent, |_, answer| raw(answer.to_string().trim_end_matches('}'))),
    ("deep nesting", Inconsistent, |_, _| raw(&"[".repeat(100_000))),
    ("not UTF-8", Inconsistent, |_, _| Reply::Http("200 OK", "", vec![0xff, 0xfe, 0x00])),
    ("an HTML page", Inconsistent, |_, _| raw("<html>are you a robot?</html>")),
    ("204 without body", Inconsistent, |_, _| Reply::Http("204 No Content", "", Vec::new())),
    ("200 without body", Inconsistent, |_, _| raw("")),
    ("429", Unavailable, |_, answer| Reply::Http("429 Too Many Requests", "", answer.to_string().into_bytes())),
    ("500", Unavailable, |_, answer| Reply::Http("500 Oops", "", answer.to_string().into_bytes())),
    ("a redirect", Unavailable, |_, _| Reply::Http("301 Moved", "location: http://127.0.0.1:1/\r\n", Vec::new())),
    ("half a body", Unavailable, |_, answer| Reply::Half(answer)),
    ("a body that is not gzip", Unavailable, |_, _| {
        Reply::Http("200 OK", "content-encoding: gzip\r\n", b"{}".to_vec())
    }),
];

#[tokio::test]
async fn single_answers() {
    for (name, expected, fault) in SINGLE {
        let node = ScriptedNode::faulty(fault).await;
        let answer = chain(&[&node]).head().await;
        assert_eq!(kind(&answer), expected, "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn quantities_that_are_not_written_to_the_letter() {
    let bad = [
        json!("10"),
        json!("0x"),
        json!("0x00"),
        json!("0x012"),
        json!("0X12"),
        json!("0x1g"),
        json!("0x+1"),
        json!("-0x1"),
        json!(" 0x1"),
        json!("0x１"),
        json!("0x10000000000000000"),
        json!(format!("0x1{}", "0".repeat(64))),
        json!(18),
        json!(1.8e1),
        json!(true),
        json!([]),
        json!({}),
        json!("0x1\u{202e}"),
    ];
    for text in bad {
        let given = text.clone();
        let node = ScriptedNode::faulty(move |_, answer| with(answer, "result", given.clone())).await;
        let answer = chain(&[&node]).head().await;
        assert_eq!(kind(&answer), Inconsistent, "{text}: {answer:?}");
    }
}

/// Answers to a batch of two.
const BATCH: [(&str, Kind, Fault); 11] = [
    ("untouched", Sound, |_, answer| Reply::Json(answer)),
    ("in another order, which the protocol allows", Sound, |_, answer| rearranged(answer, |answers| answers.reverse())),
    ("the first missing", Inconsistent, |_, answer| rearranged(answer, |answers| drop(answers.remove(0)))),
    ("the last missing", Inconsistent, |_, answer| rearranged(answer, |answers| drop(answers.pop()))),
    ("empty", Inconsistent, |_, answer| rearranged(answer, Vec::clear)),
    ("one twice instead of the other", Inconsistent, |_, answer| {
        rearranged(answer, |answers| answers[1] = answers[0].clone())
    }),
    ("one more with the same id", Inconsistent, |_, answer| {
        rearranged(answer, |answers| answers.push(answers[0].clone()))
    }),
    ("one more with a foreign id", Inconsistent, |_, answer| {
        rearranged(answer, |answers| answers.push(json!({"id": 999_999, "result": null})))
    }),
    ("foreign ids", Inconsistent, |_, answer| rearranged(answer, |answers| answers[0]["id"] = json!(999_999))),
    ("a single answer", Inconsistent, |_, answer| Reply::Json(answer[0].clone())),
    ("a refusal of the whole batch", Unavailable, |_, _| {
        Reply::Json(json!({"id": null, "error": {"code": -32600, "message": "batch too large"}}))
    }),
];

#[tokio::test]
async fn batch_answers() {
    for (name, expected, fault) in BATCH {
        let node = ScriptedNode::faulty(fault).await;
        let answer = transfers(&chain(&[&node])).await;
        assert_eq!(kind(&answer), expected, "{name}: {answer:?}");
    }
}

type Change = fn(&mut Value);

/// Blocks and receipts that contradict themselves, each other or the question.
const CONTRADICTIONS: [(&str, &str, Change); 38] = [
    ("block without a hash", "eth_getBlockByNumber", |block| block["hash"] = Value::Null),
    ("block without a number", "eth_getBlockByNumber", |block| block["number"] = Value::Null),
    ("another number", "eth_getBlockByNumber", |block| block["number"] = json!("0x11")),
    ("a number with zeros", "eth_getBlockByNumber", |block| block["number"] = json!("0x010")),
    ("a hash of 31 bytes", "eth_getBlockByNumber", |block| block["hash"] = json!(format!("0x{}", "1".repeat(62)))),
    ("a hash of 33 bytes", "eth_getBlockByNumber", |block| block["hash"] = json!(format!("0x{}", "1".repeat(66)))),
    ("a hash without 0x", "eth_getBlockByNumber", |block| block["hash"] = json!("1".repeat(64))),
    ("another block's hash", "eth_getBlockByNumber", |block| block["hash"] = json!(hash("elsewhere"))),
    ("no parent", "eth_getBlockByNumber", |block| block["parentHash"] = Value::Null),
    ("no time", "eth_getBlockByNumber", |block| block["timestamp"] = Value::Null),
    ("other gas", "eth_getBlockByNumber", |block| block["gasUsed"] = json!("0x3d")),
    ("hashes instead of transactions", "eth_getBlockByNumber", |block| block["transactions"] = json!([hash(1)])),
    ("no transactions", "eth_getBlockByNumber", |block| block["transactions"] = json!([])),
    ("transactions missing", "eth_getBlockByNumber", |block| block["transactions"] = Value::Null),
    ("a value of 2^256", "eth_getBlockByNumber", |block| {
        block["transactions"][0]["value"] = json!(format!("0x1{}", "0".repeat(64)));
    }),
    ("an odd value", "eth_getBlockByNumber", |block| block["transactions"][0]["value"] = json!("0x03")),
    ("a short recipient", "eth_getBlockByNumber", |block| block["transactions"][0]["to"] = json!("0xaa")),
    ("a transaction of another block", "eth_getBlockByNumber", |block| {
        block["transactions"][0]["blockHash"] = json!(hash("elsewhere"));
    }),
    ("receipts not ready", "eth_getBlockReceipts", |receipts| *receipts = Value::Null),
    ("no receipts", "eth_getBlockReceipts", |receipts| *receipts = json!([])),
    ("receipts of another block", "eth_getBlockReceipts", |found| *found = receipts(NUMBER + 1)),
    ("a null receipt", "eth_getBlockReceipts", |receipts| receipts[1] = Value::Null),
    ("no status", "eth_getBlockReceipts", |receipts| receipts[1]["status"] = Value::Null),
    ("status 2", "eth_getBlockReceipts", |receipts| receipts[1]["status"] = json!("0x2")),
    ("status true", "eth_getBlockReceipts", |receipts| receipts[1]["status"] = json!(true)),
    ("status 01", "eth_getBlockReceipts", |receipts| receipts[1]["status"] = json!("0x01")),
    ("a failure with logs", "eth_getBlockReceipts", |receipts| receipts[1]["status"] = json!("0x0")),
    ("no logs member", "eth_getBlockReceipts", |receipts| receipts[1]["logs"] = Value::Null),
    ("the logs dropped", "eth_getBlockReceipts", |receipts| {
        receipts[1]["logs"] = json!([receipts[1]["logs"][1].clone()]);
    }),
    ("a log twice", "eth_getBlockReceipts", |receipts| {
        receipts[1]["logs"] = json!([receipts[1]["logs"][0].clone(), receipts[1]["logs"][0].clone()]);
    }),
    ("the logs unsorted", "eth_getBlockReceipts", |receipts| {
        receipts[1]["logs"] = json!([receipts[1]["logs"][1].clone(), receipts[1]["logs"][0].clone()]);
    }),
    ("a removed log", "eth_getBlockReceipts", |receipts| receipts[1]["logs"][0]["removed"] = json!(true)),
    ("a log of another block", "eth_getBlockReceipts", |receipts| {
        receipts[1]["logs"][0]["blockHash"] = json!(hash("elsewhere"));
    }),
    ("a log of another transaction", "eth_getBlockReceipts", |receipts| {
        receipts[1]["logs"][0]["transactionHash"] = json!(hash(format!("{NUMBER}/0")));
    }),
    ("a log without an index", "eth_getBlockReceipts", |receipts| receipts[1]["logs"][0]["logIndex"] = Value::Null),
    ("a topic of 31 bytes", "eth_getBlockReceipts", |receipts| {
        receipts[1]["logs"][0]["topics"][0] = json!(format!("0x{}", "1".repeat(62)));
    }),
    ("data with an odd digit", "eth_getBlockReceipts", |receipts| receipts[1]["logs"][0]["data"] = json!("0x123")),
    ("data without 0x", "eth_getBlockReceipts", |receipts| receipts[1]["logs"][0]["data"] = json!("12")),
];

#[tokio::test]
async fn blocks_that_contradict_themselves() {
    for (name, method, change) in CONTRADICTIONS {
        let node = ScriptedNode::changed(method, change).await;
        let answer = transfers(&chain(&[&node])).await;
        assert_eq!(kind(&answer), Inconsistent, "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn logs_of_another_shape_are_well_formed_but_no_transfers() {
    let shapes: [(&str, Change); 4] = [
        ("no data", |log| log["data"] = json!("0x")),
        ("33 bytes of data", |log| log["data"] = json!(format!("0x{}", "00".repeat(33)))),
        ("a fourth topic", |log| {
            let extra = log["topics"][2].clone();
            if let Some(topics) = log["topics"].as_array_mut() {
                topics.push(extra);
            }
        }),
        ("another contract", |log| log["address"] = json!("0x5555555555555555555555555555555555555556")),
    ];
    for (name, shape) in shapes {
        let node =
            ScriptedNode::changed("eth_getBlockReceipts", move |receipts| shape(&mut receipts[1]["logs"][0])).await;
        let found = transfers(&chain(&[&node])).await.expect("answered");
        assert_eq!(found, 2, "{name}: the coins and the other log remain");
    }
}

#[tokio::test]
async fn a_node_with_neither_block_receipts_nor_logs_is_named_with_the_fix() {
    let node = ScriptedNode::start(|request| {
        let mut answer = answer_all(request, &sound_result);
        let calls = request.as_array().cloned().unwrap_or_else(|| vec![request.clone()]);
        for (position, call) in calls.iter().enumerate() {
            if ["eth_getBlockReceipts", "eth_getLogs"].iter().any(|method| call["method"] == *method) {
                let refusal = json!({"id": call["id"], "error": {"code": -32601, "message": "no"}});
                match answer.as_array_mut() {
                    Some(answers) => answers[position] = refusal,
                    None => answer = refusal,
                }
            }
        }
        Reply::Json(answer)
    })
    .await;
    let answer = transfers(&chain(&[&node])).await;
    assert_eq!(kind(&answer), Mismatch, "{answer:?}");
    let reason = answer.expect_err("a mismatch").to_string();
    assert!(reason.contains("eth_getLogs") && reason.contains("`nodes`"), "{reason}");
}

#[tokio::test]
async fn bodies_without_end_are_cut_off() {
    let plain = ScriptedNode::faulty(|_, _| Reply::Http("200 OK", "", vec![b' '; BODY_BYTES_MAX + 1])).await;
    let bomb = ScriptedNode::faulty(|_, _| Reply::Gzip(vec![b' '; 4 * BODY_BYTES_MAX])).await;
    for node in [plain, bomb] {
        let answer = chain(&[&node]).head().await;
        assert_eq!(kind(&answer), Unavailable);
        assert!(answer.expect_err("too large").to_string().contains("larger than"));
    }
}

#[tokio::test]
async fn answers_that_never_end_are_given_up() {
    for fault in [|_: &Value, _| Reply::Silence, |_: &Value, answer| Reply::Drip(answer)] {
        let node = ScriptedNode::faulty(fault).await;
        let mut config = config(vec![node.url()]);
        config.request_timeout = Duration::from_millis(400);
        let answer = source(config).head().await;
        assert_eq!(kind(&answer), Unavailable);
        assert!(answer.expect_err("too slow").to_string().contains("within 400 ms"));
    }
}

#[tokio::test]
async fn a_compressed_answer_is_read() {
    let node = ScriptedNode::faulty(|_, answer| Reply::Gzip(answer.to_string().into_bytes())).await;
    assert_eq!(kind(&chain(&[&node]).head().await), Sound);
}

#[tokio::test]
async fn errors_and_config_show_no_credentials() {
    let faults: [Fault; 4] = [
        |_, _| Reply::Http("500 Oops", "", Vec::new()),
        |_, answer| Reply::Half(answer),
        |_, _| raw("<html>"),
        |call, _| error(call, json!({"code": -32000, "message": "no\nsuch\u{1b}[31mthing"})),
    ];
    let mut errors = Vec::new();
    for fault in faults {
        let node = ScriptedNode::faulty(fault).await;
        let config = config(vec![node.url_with_credentials()]);
        errors.push(format!("{config:?}"));
        let answer = source(config).head().await;
        errors.push(format!("{:?}", answer.expect_err("a fault")));
    }
    let nobody = config(vec!["http://user:hunter2@127.0.0.1:1/api-key?token=secret".parse().expect("a URL")]);
    errors.push(format!("{:?}", source(nobody).head().await.expect_err("nobody there")));
    for text in errors {
        assert!(!["hunter2", "api-key", "secret", "user"].iter().any(|word| text.contains(word)), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}

async fn transfers(chain: &EvmChain) -> Result<usize, ChainError> {
    chain.transfers(BlockNumber(NUMBER)).await.map(|found| found.map_or(0, |found| found.transfers.len()))
}

fn with(mut answer: Value, member: &str, value: Value) -> Reply {
    answer[member] = value;
    Reply::Json(answer)
}

fn without(mut answer: Value, member: &str) -> Reply {
    if let Some(members) = answer.as_object_mut() {
        members.remove(member);
    }
    Reply::Json(answer)
}

fn error(call: &Value, error: Value) -> Reply {
    Reply::Json(json!({"jsonrpc": "2.0", "id": call["id"], "error": error}))
}

fn raw(text: &str) -> Reply {
    Reply::Http("200 OK", "content-type: application/json\r\n", text.as_bytes().to_vec())
}

/// Answers to single questions stay as they are.
fn rearranged(mut answer: Value, arrange: fn(&mut Vec<Value>)) -> Reply {
    answer.as_array_mut().into_iter().for_each(arrange);
    Reply::Json(answer)
}
