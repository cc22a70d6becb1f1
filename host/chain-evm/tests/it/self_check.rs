//! Whether the nodes serve what the config says, and which key to change when they do not.

use serde_json::{Value, json};
use xthonpay_chain_evm::{Checkpoint, EvmChainError, Finality};
use xthonpay_domain::block::BlockNumber;
use xthonpay_payments::port::chain::{ChainError, ChainSource as _};

use crate::puppet::Puppet;
use crate::scripted::{
    NUMBER, Reply, ScriptedNode, TIME, answer_all, chain, config, hash, sound_result, source, try_source,
};

#[tokio::test]
async fn a_sound_node_passes() {
    let node = ScriptedNode::sound().await;
    assert_eq!(chain(&[&node]).self_check().await, Ok(()));
}

#[tokio::test]
async fn what_differs_is_named_with_the_key_to_change() {
    let code_3 = ScriptedNode::refusing("eth_call", 3).await;
    let changed = |method, change: fn(&mut Value)| ScriptedNode::changed(method, change);
    let table = [
        (changed("eth_chainId", |id| *id = json!("0x61")).await, "chains.bsc.chain_id is 56"),
        (
            changed("eth_call", |word| *word = json!(format!("0x{:0>64x}", 6))).await,
            "chains.bsc.assets.USDT.decimals is 18",
        ),
        (changed("eth_call", |word| *word = json!("0x")).await, "chains.bsc.assets.USDT.contract"),
        (changed("eth_call", |word| *word = json!("0x12")).await, "chains.bsc.assets.USDT.contract"),
        (
            changed("eth_call", |word| *word = json!(format!("0x{:0>64x}", 256 + 18))).await,
            "chains.bsc.assets.USDT.contract",
        ),
        (code_3, "chains.bsc.assets.USDT.contract"),
        (changed("eth_getCode", |code| *code = json!("0x")).await, "finds no contract"),
    ];
    for (node, expected) in table {
        let answer = chain(&[&node]).self_check().await;
        let Err(ChainError::Mismatch { reason }) = &answer else { unreachable!("{expected}: {answer:?}") };
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn a_second_node_of_another_chain_is_refused_too() {
    let sound = ScriptedNode::sound().await;
    let foreign = ScriptedNode::changed("eth_chainId", |id| *id = json!("0x61")).await;
    let answer = chain(&[&sound, &foreign]).self_check().await;
    assert!(matches!(answer, Err(ChainError::Mismatch { .. })), "{answer:?}");
}

#[tokio::test]
async fn one_node_that_differs_does_not_stop_enough_others() {
    let sound = [ScriptedNode::sound().await, ScriptedNode::sound().await];
    let differing = [
        ScriptedNode::changed("eth_chainId", |id| *id = json!("0x61")).await,
        ScriptedNode::changed("eth_call", |word| *word = json!(format!("0x{:0>64x}", 6))).await,
        ScriptedNode::refusing("eth_getCode", -32601).await,
    ];
    for odd in &differing {
        for nodes in [[&sound[0], &sound[1], odd], [odd, &sound[0], &sound[1]]] {
            let chain = chain(&nodes);
            assert_eq!(chain.self_check().await, Ok(()));
            let problems: Vec<_> = chain.report().nodes.into_iter().filter_map(|node| node.problem).collect();
            assert!(matches!(problems.as_slice(), [one] if one.contains("self-check")), "{problems:?}");
            assert!(chain.finalized().await.is_ok(), "two are enough");
        }
    }
    // Where the rest is too few, or all that answer differ, the config is wrong.
    let nobody = || "http://127.0.0.1:1/".parse().expect("a URL");
    let too_few = chain(&[&sound[0], &differing[0], &differing[1]]).self_check().await;
    assert!(matches!(too_few, Err(ChainError::Mismatch { .. })), "{too_few:?}");
    let mut all_that_answer = config(vec![nobody(), differing[0].url()]);
    all_that_answer.quorum = 1;
    let answer = source(all_that_answer).self_check().await;
    assert!(matches!(answer, Err(ChainError::Mismatch { .. })), "{answer:?}");
    let silent = source(config(vec![nobody(), sound[0].url(), differing[0].url()])).self_check().await;
    assert_eq!(silent, Ok(()), "the silent one may come back");
}

#[tokio::test]
async fn an_unreachable_node_is_no_mismatch() {
    let nobody = || "http://127.0.0.1:1/".parse().expect("a URL");
    let alone = source(config(vec![nobody()])).self_check().await;
    assert!(matches!(alone, Err(ChainError::Unavailable { .. })), "{alone:?}");
    let sound = ScriptedNode::sound().await;
    let backed = source(config(vec![nobody(), sound.url()]));
    assert_eq!(backed.self_check().await, Ok(()));
    let problem = backed.report().nodes[0].problem.clone();
    assert!(problem.as_ref().is_some_and(|problem| problem.contains("could not be checked")), "{problem:?}");
    let busy = ScriptedNode::start(|_| Reply::Http("429 Slow down", "", Vec::new())).await;
    assert!(chain(&[&busy]).self_check().await.is_err_and(|error| error.is_transient()));
}

#[test]
fn a_config_that_contradicts_itself_is_refused() {
    let node = || "http://127.0.0.1:8545".parse().expect("a URL");
    let refused = |change: fn(&mut xthonpay_chain_evm::EvmChainConfig)| {
        let mut config = config(vec![node()]);
        change(&mut config);
        try_source(config).err()
    };
    assert!(refused(|_| {}).is_none());
    assert!(matches!(refused(|c| c.nodes.clear()), Some(EvmChainError::NoNodes { .. })));
    let ftp = refused(|c| c.nodes.push("ftp://127.0.0.1/".parse().expect("a URL")));
    assert!(matches!(ftp, Some(EvmChainError::NotHttp { position: 2, .. })));
    let no_time = refused(|c| c.request_timeout = std::time::Duration::ZERO);
    assert!(matches!(no_time, Some(EvmChainError::NoTime { .. })));
    let foreign = refused(|c| c.assets[0].id = "eth:BNB".parse().expect("an asset id"));
    assert!(matches!(foreign, Some(EvmChainError::ForeignAsset { .. })));
    let twice = refused(|c| c.assets[0].kind = c.assets[1].kind);
    assert!(matches!(twice, Some(EvmChainError::SameAsset { .. })));
    let same_name = refused(|c| c.assets[0].id = c.assets[1].id.clone());
    assert!(matches!(same_name, Some(EvmChainError::SameAsset { .. })));
}

#[test]
fn what_the_config_says_about_several_nodes_is_checked() {
    let url = |text: &str| text.parse().expect("a URL");
    let refused = |change: &dyn Fn(&mut xthonpay_chain_evm::EvmChainConfig)| {
        let mut config = config(vec![url("http://127.0.0.1:1/"), url("http://127.0.0.1:2/")]);
        change(&mut config);
        try_source(config).err()
    };
    assert!(refused(&|_| {}).is_none());
    assert!(refused(&|c| c.fallback_depth = Some(240)).is_none());
    assert!(refused(&|c| c.websockets = vec![url("ws://127.0.0.1:1/"), url("wss://127.0.0.1:2/")]).is_none());
    for quorum in [0, 3] {
        let told = refused(&|c| c.quorum = quorum);
        assert!(matches!(told, Some(EvmChainError::Quorum { nodes: 2, .. })), "{told:?}");
    }
    for depth in [0, 1, 31] {
        let told = refused(&|c| c.fallback_depth = Some(depth));
        assert!(matches!(told, Some(EvmChainError::FallbackDepth { .. })), "{depth}: {told:?}");
        assert!(told.is_some_and(|told| told.to_string().contains("at least 32")));
    }
    assert!(refused(&|c| c.fallback_depth = Some(32)).is_none());
    let two_depths = refused(&|c| (c.finality, c.fallback_depth) = (Finality::Depth(12), Some(240)));
    assert!(matches!(two_depths, Some(EvmChainError::FallbackDepth { .. })));
    let http = refused(&|c| c.websockets = vec![url("http://127.0.0.1:1/")]);
    assert!(matches!(http, Some(EvmChainError::NotWebsocket { position: 1, .. })));
    let third = refused(&|c| c.websockets = vec![url("ws://a/"), url("ws://b/"), url("ws://c/")]);
    assert!(matches!(third, Some(EvmChainError::TooManyWebsockets { websockets: 3, nodes: 2, .. })));
    for error in [http, third, two_depths] {
        assert!(error.is_some_and(|error| !error.is_transient()));
    }
}

#[test]
fn one_node_does_not_count_twice() {
    let refused = |first: &str, second: &str| {
        let url = |text: &str| text.parse().expect("a URL");
        try_source(config(vec![url("https://other.example/"), url(first), url(second)])).err()
    };
    for (first, second) in [
        ("https://x.example/K", "https://x.example/K"),
        ("https://x.example/K", "https://X.example:443/K"),
        ("https://user:hunter2@x.example/K", "https://x.example/K"),
        ("https://x.example/K?a=hunter2", "https://x.example/K?a=hunter2#b"),
    ] {
        let told = refused(first, second).expect("one address");
        assert!(matches!(told, EvmChainError::SameNode { first: 2, second: 3, .. }), "{told:?}");
        assert!(!told.is_transient());
        let told = told.to_string();
        assert!(told.contains("chains.bsc.nodes") && told.contains("2 and 3") && !told.contains("hunter2"), "{told}");
    }
    for second in ["http://x.example/K", "https://x.example:8443/K", "https://x.example/L", "https://x.example/K?a"] {
        assert!(refused("https://x.example/K", second).is_none(), "{second}");
    }
}

#[test]
fn two_nodes_on_one_server_are_told() {
    let with = |urls: [&str; 3], quorum| {
        let mut config = config(urls.iter().map(|url| url.parse().expect("a URL")).collect());
        config.quorum = quorum;
        config.shared_server()
    };
    let shared = ["https://a.example/1", "https://b.example/1", "https://b.example:443/2"];
    assert_eq!(with(shared, 2), Some((2, 3)));
    assert_eq!(with(shared, 1), None, "nothing is to be agreed on");
    assert_eq!(with(["https://a.example/", "https://a.example:8443/", "http://a.example/"], 2), None);
}

#[tokio::test]
async fn silence_about_the_checkpoint_is_no_way_around_it() {
    let silent = ScriptedNode::start(|request| {
        let result = |call: &Value| if call["params"][0] == "0x7" { Value::Null } else { sound_result(call) };
        Reply::Json(answer_all(request, &result))
    })
    .await;
    let with = |number: u64| {
        let mut config = config(vec![silent.url()]);
        let hash = hash(number).parse().expect("a hash");
        config.checkpoint = Some(Checkpoint { number: BlockNumber(number), hash });
        source(config)
    };
    let answer = with(7).self_check().await;
    let Err(ChainError::Mismatch { reason }) = &answer else { unreachable!("{answer:?}") };
    assert!(reason.contains("chains.bsc.checkpoint.number"), "{reason}");
    // A block that the node cannot have yet says nothing.
    let (puppet, behind) = Puppet::start(1_000, 990).await;
    let mut config = config(vec![behind.url()]);
    config.checkpoint = Some(Checkpoint { number: BlockNumber(1_001), hash: hash(1_001).parse().expect("a hash") });
    let chain = source(config);
    let answer = chain.self_check().await;
    assert!(matches!(answer, Err(ChainError::Unavailable { .. })), "{answer:?}");
    puppet.moves_to(1_001, 990);
    assert_eq!(chain.self_check().await, Ok(()));
}

#[tokio::test]
async fn a_node_that_has_not_shown_the_checkpoint_has_no_vote() {
    let (sound, silent) = (Puppet::start(1_000, 990).await, Puppet::start(5, 4).await);
    let with = |quorum| {
        let mut config = config(vec![sound.1.url(), silent.1.url()]);
        config.quorum = quorum;
        config.checkpoint = Some(Checkpoint { number: BlockNumber(7), hash: hash(7).parse().expect("a hash") });
        source(config)
    };
    let unchecked = with(1);
    for answer in [unchecked.finalized().await.map(drop), unchecked.head().await.map(drop)] {
        let Err(ChainError::Unavailable { reason }) = &answer else { unreachable!("{answer:?}") };
        assert!(reason.contains("checkpoint"), "{reason}");
    }
    let chain = with(2);
    assert_eq!(chain.self_check().await, Ok(()), "one may still catch up");
    silent.0.moves_to(6, 990);
    let answer = chain.finalized().await;
    assert!(matches!(answer, Err(ChainError::Unavailable { .. })), "one vote is not two: {answer:?}");
    silent.0.moves_to(1_000, 990);
    assert_eq!(chain.self_check().await, Ok(()));
    assert_eq!(chain.finalized().await.expect("two votes").number, BlockNumber(990));
}

#[tokio::test]
async fn a_node_without_receipts_and_without_logs_does_not_pass() {
    let plain = |logs: Value| async move {
        ScriptedNode::start(move |request| {
            let mut answer = answer_all(request, &|call| match call["method"].as_str() {
                Some("eth_getLogs") => logs.clone(),
                _ => sound_result(call),
            });
            let calls = request.as_array().cloned().unwrap_or_else(|| vec![request.clone()]);
            for (position, call) in calls.iter().enumerate() {
                let unsupported = json!({"id": call["id"], "error": {"code": -32601, "message": "no"}});
                let refused =
                    call["method"] == "eth_getBlockReceipts" || (call["method"] == "eth_getLogs" && logs.is_null());
                match answer.as_array_mut() {
                    _ if !refused => {}
                    Some(answers) => answers[position] = unsupported,
                    None => answer = unsupported,
                }
            }
            Reply::Json(answer)
        })
        .await
    };
    let (with_logs, without) = (plain(json!([])).await, plain(Value::Null).await);
    assert_eq!(chain(&[&with_logs]).self_check().await, Ok(()));
    assert_eq!(with_logs.asked("eth_getLogs"), 1, "really asked");
    let answer = chain(&[&without]).self_check().await;
    assert!(matches!(answer, Err(ChainError::Mismatch { .. })), "{answer:?}");
}

#[tokio::test]
async fn every_node_must_have_the_checkpoint() {
    let sound = ScriptedNode::sound().await;
    let forked = ScriptedNode::changed("eth_getBlockByNumber", |block| {
        if block["number"] == "0x7" {
            block["hash"] = json!(hash("another branch"));
        }
    })
    .await;
    let with = |nodes: &[&ScriptedNode], number: u64| {
        let mut config = config(nodes.iter().map(|node| node.url()).collect());
        let hash = hash(number).parse().expect("a hash");
        config.checkpoint = Some(Checkpoint { number: BlockNumber(number), hash });
        source(config)
    };
    assert_eq!(with(&[&sound], 7).self_check().await, Ok(()));
    assert_eq!(with(&[&sound, &forked], 6).self_check().await, Ok(()), "they part above it");
    let chain = with(&[&sound, &forked], 7);
    let answer = chain.self_check().await;
    let Err(ChainError::Mismatch { reason }) = &answer else { unreachable!("{answer:?}") };
    assert!(reason.contains("node 2") && reason.contains("chains.bsc.checkpoint.hash"), "{reason}");
    assert!(chain.report().nodes[1].problem.is_some());
}

#[tokio::test]
async fn a_clock_far_from_the_blocks_is_told_and_costs_a_node_its_place() {
    for shift in [-121_i64, -120, 120, 121] {
        let shifted = ScriptedNode::changed("eth_getBlockByNumber", move |block| {
            let time = TIME.checked_add_signed(shift).expect("in range");
            block["timestamp"] = json!(format!("{time:#x}"));
        })
        .await;
        let chain = chain(&[&shifted]);
        assert_eq!(chain.self_check().await, Ok(()), "it may be the host's clock that is wrong");
        let problem = chain.report().nodes[0].problem.clone();
        let told = problem.is_some_and(|problem| problem.contains("this host's clock"));
        assert_eq!(told, shift.abs() > 120, "{shift} s");
        assert!(chain.block(BlockNumber(NUMBER)).await.is_ok(), "a single node is asked all the same");
    }
}

#[tokio::test]
async fn the_report_tells_everything_without_a_question() {
    let node = ScriptedNode::sound().await;
    let chain = chain(&[&node]);
    let before = chain.report();
    assert_eq!((before.nodes.len(), before.quorum, before.disagreement.as_ref()), (1, 1, None));
    assert!(before.nodes[0].primary);
    assert_eq!((before.nodes[0].verification, before.nodes[0].head, before.nodes[0].announces), (None, None, None));
    assert_eq!(node.requests(), 0);
    assert_eq!(chain.self_check().await, Ok(()));
    let asked = node.requests();
    let after = chain.report();
    assert!(after.nodes[0].label.starts_with("node 1 (127.0.0.1:"), "{after:?}");
    assert!(after.nodes[0].verification.is_some());
    assert_eq!(after.nodes[0].finalized, Some(BlockNumber(NUMBER)));
    assert_eq!(after.nodes[0].problem, None);
    assert_eq!(node.requests(), asked);
}
