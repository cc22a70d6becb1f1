//! What a plain program does: `eth_getLogs` through alloy's client, one question after the other.
//!
//! The client is alloy's `RpcClient` over HTTP, of which `Provider::get_logs` is a thin layer; logs are read as the smallest
//! of alloy's types. Nothing is checked, no header is asked for, and nothing is asked twice.

use core::time::Duration;

use alloy_primitives::Log;
use alloy_rpc_client::RpcClient;
use serde_json::json;
use tokio::time::Instant;
use xthonpay_domain::block::BlockRange;
use xthonpay_tests::BoxError;
use xthonpay_tests::canned_node::TOKEN;

use super::Run;
use super::node::NodeProcess;

/// Blocks in one question of the loop that asks for ranges: what the limit of ten thousand logs leaves of full blocks.
pub(super) const RANGE: u64 = 100;

/// `keccak256("Transfer(address,address,uint256)")`.
const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

/// Reads `step` blocks a question until the time is over.
pub(super) async fn read(node: &NodeProcess, step: u64, measured: Duration) -> Result<Run, BoxError> {
    let client = RpcClient::new_http(node.url.parse()?);
    let (mut run, mut next) = (Run::default(), 1);
    logs(&client, next, next).await?;
    let started = Instant::now();
    while started.elapsed() < measured {
        let range = super::range(node, &mut next, step)?;
        run.logs += logs(&client, range.first().0, range.last().0).await?;
        run.blocks += usize::try_from(range.blocks())?;
    }
    run.took = started.elapsed();
    Ok(run)
}

/// How many logs a range holds.
pub(super) async fn count(node: &NodeProcess, range: BlockRange) -> Result<usize, BoxError> {
    logs(&RpcClient::new_http(node.url.parse()?), range.first().0, range.last().0).await
}

async fn logs(client: &RpcClient, first: u64, last: u64) -> Result<usize, BoxError> {
    let filter = json!({
        "address": TOKEN.to_lower_hex(), "topics": [TRANSFER],
        "fromBlock": format!("{first:#x}"), "toBlock": format!("{last:#x}"),
    });
    let found: Vec<Log> = client.request("eth_getLogs", (filter,)).await?;
    Ok(found.len())
}
