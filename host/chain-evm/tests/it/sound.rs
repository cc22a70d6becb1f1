//! What a sound node's answers become.

use xthonpay_domain::amount::Amount;
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::Origin;
use xthonpay_payments::port::chain::ChainSource as _;

use crate::scripted::{ALICE, HEAD, NUMBER, PAYER, ScriptedNode, chain, hash};

#[tokio::test]
async fn reads_the_head_and_a_block() {
    let node = ScriptedNode::sound().await;
    let chain = chain(&[&node]);
    assert_eq!(chain.head().await, Ok(BlockNumber(HEAD)));
    let block = chain.block(BlockNumber(NUMBER)).await.expect("answered").expect("known");
    assert_eq!(block.number, BlockNumber(NUMBER));
    assert_eq!(block.hash.to_string(), hash(NUMBER));
    assert_eq!(block.parent.to_string(), hash(NUMBER - 1));
    assert_eq!(block.time, Timestamp::from_secs(0x6b49_d200));
}

#[tokio::test]
async fn reads_a_blocks_transfers_in_one_batch() {
    let node = ScriptedNode::sound().await;
    let chain = chain(&[&node]);
    let found = chain.transfers(BlockNumber(NUMBER)).await.expect("answered").expect("known");
    assert_eq!(found.block, chain.block(BlockNumber(NUMBER)).await.expect("answered").expect("known"));
    let rows: Vec<_> =
        found.transfers.iter().map(|t| (t.identity.asset.to_string(), t.identity.origin, t.amount)).collect();
    let origin =
        |tx: u64, nth| Origin::Transaction { tx: hash(format!("{NUMBER}/{tx}")).parse().expect("a hash"), nth };
    let row = |asset: &str, tx, nth, units| (asset.to_owned(), origin(tx, nth), Amount::from_units(units));
    assert_eq!(rows, [row("bsc:BNB", 0, 0, 3), row("bsc:USDT", 1, 0, 5), row("bsc:USDT", 1, 1, 6)]);
    let senders: Vec<_> = found.transfers.iter().map(|transfer| transfer.from).collect();
    assert_eq!(senders, [None, Some(PAYER), Some(PAYER)], "nothing proves who sent the coins");
    assert!(found.transfers.iter().all(|transfer| transfer.identity.to == ALICE));
    let methods = ["eth_chainId", "eth_getBlockByNumber", "eth_getBlockReceipts"];
    let before = methods.map(|method| node.asked(method));
    assert_eq!(before, [1, 5, 4], "the chain is proved once; three blocks show how far all can be verified");
    chain.transfers(BlockNumber(NUMBER)).await.expect("answered").expect("known");
    assert_eq!(methods.map(|method| node.asked(method)), [1, 6, 5], "block and receipts are asked once each");
}

#[tokio::test]
async fn a_block_that_the_node_does_not_have_is_none() {
    let node = ScriptedNode::faulty(|request, mut answer| {
        let unknown = serde_json::json!(format!("{:#x}", NUMBER + 9));
        let calls = request.as_array().cloned().unwrap_or_else(|| vec![request.clone()]);
        for (position, _) in calls.iter().enumerate().filter(|(_, call)| call["params"][0] == unknown) {
            match answer.as_array_mut() {
                Some(answers) => answers[position]["result"] = serde_json::Value::Null,
                None => answer["result"] = serde_json::Value::Null,
            }
        }
        crate::scripted::Reply::Json(answer)
    })
    .await;
    let chain = chain(&[&node]);
    assert_eq!(chain.transfers(BlockNumber(NUMBER + 9)).await, Ok(None));
    assert_eq!(chain.block(BlockNumber(NUMBER + 9)).await, Ok(None));
}
