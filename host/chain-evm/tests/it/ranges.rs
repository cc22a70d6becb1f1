//! Runs of blocks: every way to read them gives the same, and none gives less without saying so.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use xthonpay_chain_evm::{CatchUp, EvmChain};
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::transfer::{BlockTransfers, RangeTransfers};
use xthonpay_payments::port::chain::{ChainError, ChainSource as _, Verification};
use xthonpay_tests::canned_node::{CannedBehaviour, CannedChain, CannedLog, CannedTx, TOKEN};
use xthonpay_tests::seeded::Seeded;

use crate::canned::{by_blocks, by_logs, canned_config, changing, node, range, tokens_by_blocks};
use crate::scripted::{source, try_source};

/// A run put together from its blocks one by one.
async fn one_by_one(source: &EvmChain, first: u64, last: u64) -> RangeTransfers {
    let mut blocks: Vec<BlockTransfers> = Vec::new();
    for number in first..=last {
        blocks.push(source.transfers(BlockNumber(number)).await.expect("answered").expect("known"));
    }
    let (parent, last) = (blocks[0].block.parent, blocks[blocks.len() - 1].block);
    blocks.retain(|block| !block.transfers.is_empty());
    RangeTransfers { parent, blocks, last }
}

fn without(method: &'static str) -> CannedBehaviour {
    CannedBehaviour { missing: vec![method], ..CannedBehaviour::default() }
}

fn limited(logs: usize, blocks: u64, calls: usize) -> CannedBehaviour {
    CannedBehaviour {
        logs_max: Some(logs),
        range_max: Some(blocks),
        batch_max: Some(calls),
        ..CannedBehaviour::default()
    }
}

#[tokio::test]
async fn every_way_to_read_a_run_finds_the_same_transfers() {
    let mut random = Seeded::announced("runs of random blocks").expect("a seed");
    let mut holding = 0;
    for _ in 0..6 {
        let chain = Arc::new(CannedChain::random(160, &mut random));
        let first = random.next_u64() % 80;
        let last = first + random.next_u64() % 79;
        let sound = node(&chain, CannedBehaviour::default()).await;
        let logs_only = node(&chain, without("eth_getBlockReceipts")).await;
        let narrow = node(&chain, limited(20, 7, 12)).await;
        let zipped = node(&chain, CannedBehaviour { gzip: true, ..CannedBehaviour::default() }).await;

        let tokens = one_by_one(&tokens_by_blocks(&[&sound]), first, last).await;
        holding += tokens.blocks.len();
        for (name, source) in [
            ("blocks", tokens_by_blocks(&[&sound])),
            ("blocks of a node with limits", tokens_by_blocks(&[&narrow])),
            ("blocks of a node without receipts", tokens_by_blocks(&[&logs_only])),
            ("compressed blocks", tokens_by_blocks(&[&zipped])),
            ("logs", by_logs(&[&sound], 2)),
            ("logs of a node with limits", by_logs(&[&narrow], 2)),
            ("logs of a node without receipts", by_logs(&[&logs_only], 2)),
            ("logs of two nodes", by_logs(&[&sound, &narrow], 2)),
        ] {
            assert_eq!(source.transfers_in(range(first, last)).await.as_ref(), Ok(&tokens), "{name}");
        }

        let with_coins = one_by_one(&by_blocks(&[&sound]), first, last).await;
        assert!(with_coins.blocks.len() >= tokens.blocks.len());
        for (name, source) in [
            ("blocks", by_blocks(&[&sound])),
            ("blocks of a node with limits", by_blocks(&[&narrow])),
            ("blocks of a node without receipts", by_blocks(&[&logs_only])),
        ] {
            assert_eq!(source.transfers_in(range(first, last)).await.as_ref(), Ok(&with_coins), "{name} with coins");
        }
    }
    // A run of a few blocks can be empty; all of them together are not.
    assert!(holding > 0);
}

#[tokio::test]
async fn full_blocks_are_read_through_every_limit() {
    let chain = Arc::new(CannedChain::mixed(200, 8));
    let narrow = node(&chain, CannedBehaviour { logs_max: Some(60), ..CannedBehaviour::default() }).await;
    let found = by_logs(&[&narrow], 2).transfers_in(range(10, 190)).await.expect("answered");
    assert_eq!(found.blocks.len(), 181);
    assert!(found.blocks.iter().all(|block| block.transfers.len() == 6), "4 payments and 2 trades");
    assert_eq!(
        (found.parent.to_string(), found.last.number),
        (chain.hash(9).expect("known").to_string(), BlockNumber(190))
    );
}

#[tokio::test]
async fn a_run_beyond_the_nodes_head_is_no_empty_run() {
    let chain = Arc::new(CannedChain::sparse(200, 5));
    for source_of in [tokens_by_blocks as fn(&[&_]) -> _, |nodes| by_logs(nodes, 2)] {
        let lagging = node(&chain, CannedBehaviour::default()).await;
        lagging.set_head(120);
        let source = source_of(&[&lagging]);
        let answer = source.transfers_in(range(50, 150)).await;
        let Err(ChainError::Unavailable { reason }) = &answer else { unreachable!("{answer:?}") };
        assert!(reason.contains("is missing"), "{reason}");
        // The next node has it.
        let (lagging, whole) = (lagging, node(&chain, CannedBehaviour::default()).await);
        let found = source_of(&[&lagging, &whole]).transfers_in(range(50, 150)).await.expect("answered");
        assert_eq!(found.blocks.len(), 21);
    }
}

/// A node that cuts long answers short and says nothing, as some do.
fn cutting_logs(max: usize) -> CannedBehaviour {
    changing("eth_getLogs", move |_, logs| {
        if let Some(logs) = logs.as_array_mut() {
            logs.truncate(max);
        }
    })
}

#[tokio::test]
async fn logs_that_two_nodes_show_differently_are_read_from_whole_blocks() {
    let chain = Arc::new(CannedChain::mixed(60, 16));
    let truth = {
        let sound = node(&chain, CannedBehaviour::default()).await;
        tokens_by_blocks(&[&sound]).transfers_in(range(1, 50)).await.expect("answered")
    };
    for liar_first in [true, false] {
        let sound = node(&chain, CannedBehaviour::default()).await;
        // The last logs of the last block stay, so that the filter of its header is no help.
        let liar = node(
            &chain,
            changing("eth_getLogs", |_, logs| {
                if let Some(logs) = logs.as_array_mut() {
                    logs.remove(logs.len() / 2);
                }
            }),
        )
        .await;
        let nodes = if liar_first { [&liar, &sound] } else { [&sound, &liar] };
        assert_eq!(by_logs(&nodes, 2).transfers_in(range(1, 50)).await.as_ref(), Ok(&truth));
        let receipts = sound.counts().of("eth_getBlockReceipts") + liar.counts().of("eth_getBlockReceipts");
        assert!(receipts >= 50, "the blocks were read whole");
    }
}

#[tokio::test]
async fn logs_that_no_second_node_confirms_are_read_from_whole_blocks() {
    let chain = Arc::new(CannedChain::sparse(60, 3));
    let (sound, gone) = (node(&chain, CannedBehaviour::default()).await, node(&chain, without("eth_getLogs")).await);
    let found = by_logs(&[&sound, &gone], 2).transfers_in(range(1, 50)).await.expect("answered");
    assert_eq!(found.blocks.len(), 16);
    assert!(sound.counts().of("eth_getBlockReceipts") >= 50);
}

#[tokio::test]
async fn logs_count_when_a_whole_quorum_shows_the_same() {
    let chain = Arc::new(CannedChain::mixed(60, 16));
    let truth = {
        let sound = node(&chain, CannedBehaviour::default()).await;
        tokens_by_blocks(&[&sound]).transfers_in(range(1, 50)).await.expect("answered")
    };
    let hiding = || {
        changing("eth_getLogs", |_, logs| {
            if let Some(logs) = logs.as_array_mut() {
                logs.remove(logs.len() / 2);
            }
        })
    };
    // Two that leave out the same do not outweigh the third.
    let (one, two) = (node(&chain, hiding()).await, node(&chain, hiding()).await);
    let sound = node(&chain, CannedBehaviour::default()).await;
    assert_eq!(by_logs(&[&one, &two, &sound], 3).transfers_in(range(1, 50)).await.as_ref(), Ok(&truth));
    // Three that show the same are enough without any whole block.
    let (second, third) =
        (node(&chain, CannedBehaviour::default()).await, node(&chain, CannedBehaviour::default()).await);
    sound.forget();
    assert_eq!(by_logs(&[&sound, &second, &third], 3).transfers_in(range(1, 50)).await.as_ref(), Ok(&truth));
    for node in [&sound, &second, &third] {
        assert_eq!(node.counts().of("eth_getBlockReceipts"), 0);
        assert!(node.counts().of("eth_getLogs") > 0);
    }
}

#[tokio::test]
async fn a_single_node_is_not_believed_to_show_all_logs() {
    let chain = Arc::new(CannedChain::sparse(5, 2));
    let (one, two) = (node(&chain, CannedBehaviour::default()).await, node(&chain, CannedBehaviour::default()).await);
    let mut config = canned_config(&[&one, &two]);
    config.assets.remove(0);
    config.catch_up = CatchUp::Logs;
    let refused = try_source(config.clone()).err().expect("a quorum of one");
    assert!(refused.to_string().contains("quorum = 2") && !refused.is_transient(), "{refused}");
    config.quorum = 2;
    assert!(try_source(config).is_ok());
}

#[tokio::test]
async fn a_block_with_more_logs_than_a_node_shows_is_read_whole() {
    let chain = Arc::new(CannedChain::mixed(10, 16));
    let narrow = node(&chain, limited(10, 5_000, 1_000)).await;
    let found = by_logs(&[&narrow], 2).transfers_in(range(2, 3)).await.expect("answered");
    assert_eq!(found.blocks.len(), 2);
}

/// Reads a run by the logs of a liar: the lie must be noticed, so that the blocks are read whole, and the truth found.
async fn noticed(name: &str, chain: &Arc<CannedChain>, liar: CannedBehaviour) {
    let sound = node(chain, CannedBehaviour::default()).await;
    let truth = tokens_by_blocks(&[&sound]).transfers_in(range(1, 30)).await.expect("answered");
    let liar = node(chain, liar).await;
    assert_eq!(by_logs(&[&liar], 2).transfers_in(range(1, 30)).await.as_ref(), Ok(&truth), "{name}");
    assert!(liar.counts().of("eth_getBlockReceipts") >= 30, "{name} was believed");
}

#[tokio::test]
async fn an_answer_that_is_cut_at_its_end_is_noticed_by_the_last_header() {
    let chain = Arc::new(CannedChain::mixed(40, 16));
    noticed("an answer cut short", &chain, cutting_logs(100)).await;
}

type Change = fn(&mut Value);

#[tokio::test]
async fn logs_of_other_blocks_contracts_and_branches_are_noticed() {
    let changes: [(&str, Change); 7] = [
        ("another branch", |logs| logs[0]["blockHash"] = json!(format!("0x{}", "ab".repeat(32)))),
        ("a removed log", |logs| logs[0]["removed"] = json!(true)),
        ("out of the range", |logs| logs[0]["blockNumber"] = json!("0x1000")),
        ("another contract", |logs| logs[0]["address"] = json!(format!("0x{}", "66".repeat(20)))),
        ("another event", |logs| logs[0]["topics"][0] = json!(format!("0x{}", "66".repeat(32)))),
        ("a log twice", |logs| {
            let first = logs[0].clone();
            logs.as_array_mut().expect("logs").insert(0, first);
        }),
        ("blocks in another order", |logs| logs.as_array_mut().expect("logs").reverse()),
    ];
    let chain = Arc::new(CannedChain::mixed(40, 16));
    for (name, change) in changes {
        noticed(name, &chain, changing("eth_getLogs", move |_, logs| change(logs))).await;
    }
}

#[tokio::test]
async fn a_node_that_knows_a_block_and_not_its_logs_is_not_believed() {
    let chain = Arc::new(CannedChain::mixed(20, 16));
    let behaviour = CannedBehaviour {
        missing: vec!["eth_getBlockReceipts"],
        ..changing("eth_getLogs", |call, logs| {
            if call["params"][0].get("topics").is_some() || call["params"][0]["blockHash"] != Value::Null {
                *logs = json!([]);
            }
        })
    };
    let empty = node(&chain, behaviour).await;
    for answer in [
        by_blocks(&[&empty]).transfers(BlockNumber(7)).await.map(drop),
        by_logs(&[&empty], 2).transfers_in(range(1, 10)).await.map(drop),
    ] {
        let Err(ChainError::Inconsistent { reason }) = &answer else { unreachable!("{answer:?}") };
        assert!(reason.contains("must hold logs by its bloom filter"), "{reason}");
    }
}

#[tokio::test]
async fn a_filter_that_other_logs_make_is_no_reason_to_stop() {
    // The token without a transfer, and a transfer without the token: together they look like both.
    let transfer = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
    let transfer: [u8; 32] = hex::decode(&transfer[2..]).expect("hex").try_into().expect("32 bytes");
    let log = |address, topic| CannedLog { address, topics: vec![topic], data: Vec::new() };
    let tx = CannedTx {
        kind: 2,
        nonce: 1,
        from: TOKEN,
        to: Some(TOKEN),
        value: 0,
        input: Vec::new(),
        succeeded: true,
        logs: vec![log(TOKEN, [7; 32]), log(xthonpay_domain::address::Address::new([9; 20]), transfer)],
    };
    let chain = Arc::new(CannedChain::with(&[Vec::new(), vec![tx], Vec::new(), Vec::new(), Vec::new()]));
    let node = node(&chain, without("eth_getBlockReceipts")).await;
    let source = by_blocks(&[&node]);
    let found = source.transfers(BlockNumber(1)).await.expect("answered").expect("known");
    assert!(found.transfers.is_empty());
    let found = by_logs(&[&node], 2).transfers_in(range(1, 1)).await.expect("answered");
    assert!(found.blocks.is_empty());
}

#[tokio::test]
async fn a_node_without_receipts_is_verified_by_its_logs() {
    let chain = Arc::new(CannedChain::mixed(20, 16));
    let node = node(&chain, without("eth_getBlockReceipts")).await;
    let source = by_blocks(&[&node]);
    source.self_check().await.expect("sound");
    assert_eq!(source.report().nodes[0].verification, Some(Verification::Logs));
    node.forget();
    let found = source.transfers(BlockNumber(7)).await.expect("answered").expect("known");
    assert_eq!(found.transfers.len(), 3 + 8 + 4);
    let counts = node.counts();
    assert_eq!((counts.of("eth_getBlockByNumber"), counts.of("eth_getLogs"), counts.requests), (1, 1, 3));
    assert_eq!(counts.of("eth_getTransactionReceipt"), 3, "one for each transaction that carries a value");
}

#[tokio::test]
async fn coins_of_failed_transactions_do_not_count_at_any_level() {
    let payment = |nonce, succeeded| CannedTx {
        kind: 2,
        nonce,
        from: TOKEN,
        to: Some(xthonpay_domain::address::Address::new([7; 20])),
        value: 5,
        input: Vec::new(),
        succeeded,
        logs: Vec::new(),
    };
    let blocks = [Vec::new(), vec![payment(1, false), payment(2, true)], Vec::new(), Vec::new(), Vec::new()];
    let chain = Arc::new(CannedChain::with(&blocks));
    for behaviour in [CannedBehaviour::default(), without("eth_getBlockReceipts")] {
        let node = node(&chain, behaviour).await;
        let found = by_blocks(&[&node]).transfers(BlockNumber(1)).await.expect("answered").expect("known");
        assert_eq!(found.transfers.len(), 1);
    }
    // A receipt of another block, or none at all, decides nothing.
    let changes: [Change; 3] = [
        |receipt| *receipt = Value::Null,
        |receipt| receipt["blockHash"] = json!(format!("0x{}", "ab".repeat(32))),
        |receipt| receipt["status"] = Value::Null,
    ];
    for change in changes {
        let behaviour = CannedBehaviour {
            missing: vec!["eth_getBlockReceipts"],
            ..changing("eth_getTransactionReceipt", move |_, receipt| change(receipt))
        };
        let node = node(&chain, behaviour).await;
        let answer = by_blocks(&[&node]).transfers(BlockNumber(1)).await;
        assert!(matches!(answer, Err(ChainError::Inconsistent { .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn a_run_costs_few_requests_and_a_distant_node_is_asked_several_at_once() {
    let chain = Arc::new(CannedChain::sparse(2_000, 8));
    let distant = node(&chain, CannedBehaviour::distant(Duration::from_millis(20))).await;
    let source = by_logs(&[&distant], 2);
    source.transfers_in(range(1, 2_000 - 1)).await.expect("answered");
    distant.forget();
    let found = source.transfers_in(range(1, 2_000 - 1)).await.expect("answered");
    assert_eq!(found.blocks.len(), 249);
    assert!(distant.counts().requests <= 120, "60 for each of two answers: {:?}", distant.counts());
}

#[tokio::test]
async fn coins_cannot_be_found_by_logs() {
    let chain = Arc::new(CannedChain::sparse(5, 2));
    let node = node(&chain, CannedBehaviour::default()).await;
    let mut config = canned_config(&[&node]);
    config.catch_up = CatchUp::Logs;
    config.nodes.push("http://127.0.0.1:1/".parse().expect("a URL"));
    config.quorum = 2;
    let refused = try_source(config.clone()).err().expect("a native asset");
    assert!(refused.to_string().contains("chains.bsc.catch_up"), "{refused}");
    assert!(!refused.is_transient());
    config.assets.clear();
    assert!(try_source(config.clone()).is_err(), "nothing to look for");
    config.catch_up = CatchUp::Blocks;
    config.quorum = 1;
    let source = source(config);
    assert!(source.transfers_in(range(1, 3)).await.expect("answered").blocks.is_empty());
}

#[tokio::test]
async fn one_transaction_is_found_with_the_numbers_of_its_block() {
    let chain = Arc::new(CannedChain::mixed(10, 16));
    let (sound, without) = (
        node(&chain, CannedBehaviour::default()).await,
        node(&chain, CannedBehaviour { missing: vec!["eth_getTransactionReceipt"], ..CannedBehaviour::default() })
            .await,
    );
    let source = by_blocks(&[&sound]);
    let block = source.transfers(BlockNumber(4)).await.expect("answered").expect("known");
    let tx = block.transfers[3].identity.origin.tx().expect("a transaction");
    let found = source.transfers_of(tx).await.expect("answered").expect("known");
    assert_eq!(found.block, block.block);
    assert_eq!(
        found.transfers,
        block.transfers.iter().filter(|t| t.identity.origin.tx() == Some(tx)).cloned().collect::<Vec<_>>()
    );
    let unknown = "0x0101010101010101010101010101010101010101010101010101010101010101".parse().expect("a hash");
    assert_eq!(source.transfers_of(unknown).await, Ok(None));
    // A node that does not offer the question does not hide what another one knows.
    assert_eq!(by_blocks(&[&without, &sound]).transfers_of(tx).await, Ok(Some(found)));
    assert!(by_blocks(&[&without]).transfers_of(tx).await.is_err());
}
