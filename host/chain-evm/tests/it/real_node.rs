//! A real node: blocks with every type of transaction that it mines, its balances, and its pending transactions.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use xthonpay_chain_evm::EvmChain;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetKind;
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::hash::TxHash;
use xthonpay_payments::port::chain::{ChainError, ChainSource as _, Verification};
use xthonpay_tests::BoxError;
use xthonpay_tests::chain::{Anvil, AnvilOptions, Mining, TestChain, anvil_binary};
use xthonpay_tests::places::target_directory;

use crate::scripted::{config, source};

const ALICE: Address = Address::new([0xaa; 20]);

struct World {
    chain: TestChain,
    source: EvmChain,
    token: Address,
    node: Anvil,
}

async fn world() -> Result<World, BoxError> {
    let tools = std::env::var_os("XTHONPAY_TOOLS").map_or_else(|| target_directory().join("tools"), PathBuf::from);
    let node = Anvil::start(AnvilOptions::new(anvil_binary(&tools)?).mining(Mining::Manual)).await?;
    let chain = TestChain::connect(node.url()).await?;
    let token = chain.deploy_usdt("Tether USD", "USDT", 18).await?;
    let mut config = config(vec![node.url().parse()?]);
    config.assets[1].kind = AssetKind::Token { contract: token };
    config.request_timeout = Duration::from_secs(30);
    Ok(World { chain, source: source(config), token, node })
}

impl World {
    /// Sends a transaction of a type: a transfer of the token to Alice.
    async fn pay(&self, kind: &str, members: Value) -> Result<TxHash, BoxError> {
        let data = format!("0xa9059cbb{:0>64}{:064x}", ALICE.to_lower_hex().trim_start_matches("0x"), 5);
        let mut tx = json!({"to": self.token.to_lower_hex(), "data": data, "type": kind, "gas": "0x30d40"});
        if let (Some(tx), Some(members)) = (tx.as_object_mut(), members.as_object()) {
            tx.extend(members.clone());
        }
        self.chain.send(tx).await
    }
}

#[tokio::test]
async fn blocks_of_a_real_node_are_proved_whatever_their_transactions_are() -> Result<(), BoxError> {
    let world = world().await?;
    let fees = || json!({"maxFeePerGas": "0x77359400", "maxPriorityFeePerGas": "0x1"});
    let slots = json!([{"address": world.token.to_lower_hex(), "storageKeys": [format!("0x{:064x}", 1)]}]);
    let mut delegating = fees();
    delegating["accessList"] = slots.clone();
    delegating["authorizationList"] = json!([{
        "chainId": "0x38", "address": world.token.to_lower_hex(), "nonce": "0x0", "yParity": "0x1",
        "r": format!("0x{}", "12".repeat(32)), "s": format!("0x{}", "13".repeat(32)),
    }]);
    let mut expected = vec![
        world.pay("0x0", json!({"gasPrice": "0x77359400"})).await?,
        world.pay("0x1", json!({"gasPrice": "0x77359400", "accessList": slots})).await?,
        world.pay("0x2", fees()).await?,
        world.pay("0x4", delegating).await?,
    ];
    // More than it has: mined and failed.
    let failed = world.chain.transfer_token(world.token, ALICE, u128::MAX).await?;
    expected.push(world.chain.transfer_native(ALICE, 7_u64).await?);
    // Internal calls leave neither a log nor a value of their own.
    let disperse = world.chain.deploy_disperse().await?;
    world.chain.disperse_native(disperse, &[(ALICE, 3_u64.into())]).await?;
    world.chain.mine(3).await?;

    world.source.self_check().await?;
    assert_eq!(world.source.report().nodes[0].verification, Some(Verification::Roots));
    let place = world.chain.wait_receipt(expected[0]).await?.number;
    let types: Vec<Value> = {
        let block = json!([format!("{:#x}", place.0), true]);
        let block = world.chain.rpc().call("eth_getBlockByNumber", block).await?;
        block["transactions"].as_array().into_iter().flatten().map(|tx| tx["type"].clone()).collect()
    };
    assert!(["0x0", "0x1", "0x2", "0x4"].iter().all(|kind| types.contains(&json!(kind))), "{types:?}");
    let found = world.source.transfers(place).await?.ok_or("the block is there")?;
    let mut txs: Vec<TxHash> = found.transfers.iter().filter_map(|transfer| transfer.identity.origin.tx()).collect();
    txs.sort_by_key(|tx| expected.iter().position(|expected| expected == tx));
    txs.truncate(expected.len());
    assert_eq!(txs, expected);
    assert!(!txs.contains(&failed));
    // Every block of the chain, the first one too, is what its hash says.
    for number in 0..=world.chain.head().await?.0 {
        world.source.transfers(BlockNumber(number)).await?.ok_or("the block is there")?;
    }
    assert!(world.node.log().exists());
    Ok(())
}

#[tokio::test]
async fn many_balances_come_in_one_call_and_of_one_block() -> Result<(), BoxError> {
    let world = world().await?;
    let payer = world.chain.payer();
    let address = |number: u16| {
        let mut bytes = [0x31; 20];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        Address::new(bytes)
    };
    for number in [0, 1, 4_321, 9_999] {
        world.chain.transfer_native(address(number), u64::from(number) + 1).await?;
    }
    world.chain.mine(1).await?;
    let block = world.source.block(world.chain.head().await?).await?.ok_or("the head is there")?;
    // Later payments do not count.
    world.chain.transfer_native(address(1), 1_000_u64).await?;
    world.chain.mine(1).await?;

    let addresses: Vec<Address> = (0..10_000).map(address).collect();
    let balances = world.source.native_balances(block, &addresses).await?;
    assert_eq!(balances.len(), addresses.len());
    for (number, balance) in (0_u128..).zip(&balances) {
        let expected = if [0, 1, 4_321, 9_999].contains(&number) { number + 1 } else { 0 };
        assert_eq!(*balance, Amount::from_units(expected), "address {number}");
    }
    // The same address twice, one with code, one that pays.
    let some = [payer, world.token, payer];
    let balances = world.source.native_balances(block, &some).await?;
    assert_eq!((balances[0], balances[1]), (balances[2], Amount::ZERO));
    let told =
        world.chain.rpc().call("eth_getBalance", json!([payer.to_lower_hex(), format!("{:#x}", block.number.0)]));
    let told = told.await?;
    let digits = told.as_str().unwrap_or_default().trim_start_matches("0x");
    assert_eq!(balances[0], Amount::from_units(u128::from_str_radix(digits, 16)?));
    assert_eq!(world.source.native_balances(block, &[]).await, Ok(Vec::new()));
    Ok(())
}

#[tokio::test]
async fn balances_of_a_block_that_was_replaced_are_not_told() -> Result<(), BoxError> {
    let world = world().await?;
    world.chain.mine(5).await?;
    let block = world.source.block(world.chain.head().await?).await?.ok_or("the head is there")?;
    let payment = json!({
        "from": world.chain.payer().to_lower_hex(), "to": ALICE.to_lower_hex(), "value": "0x5", "gas": "0x186a0",
    });
    world.chain.reorg_with(3, &[(payment, 0)]).await?;
    world.chain.mine(1).await?;
    let now = world.source.block(block.number).await?.ok_or("there is a block in its place")?;
    assert_ne!(now.hash, block.hash);
    let answer = world.source.native_balances(block, &[ALICE]).await;
    assert!(matches!(answer, Err(ChainError::Unavailable { .. })), "{answer:?}");
    assert_eq!(world.source.native_balances(now, &[ALICE]).await, Ok(vec![Amount::from_units(5)]));
    Ok(())
}

#[tokio::test]
async fn a_transaction_is_found_once_it_is_mined() -> Result<(), BoxError> {
    let world = world().await?;
    let tx = world.pay("0x2", json!({})).await?;
    assert_eq!(world.source.transfers_of(tx).await, Ok(None), "it waits");
    world.chain.mine(4).await?;
    let found = world.source.transfers_of(tx).await?.ok_or("it is mined")?;
    assert_eq!(found.transfers.len(), 1);
    assert_eq!((found.transfers[0].identity.to, found.transfers[0].amount), (ALICE, Amount::from_units(5)));
    assert_eq!(found.transfers[0].from, Some(world.chain.payer()));
    Ok(())
}
