//! Sources over canned nodes: chains that are valid to the last root.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use xthonpay_chain_evm::{CatchUp, EvmChain, EvmChainConfig};
use xthonpay_domain::asset::AssetKind;
use xthonpay_domain::block::{BlockNumber, BlockRange};
use xthonpay_tests::canned_node::{CannedBehaviour, CannedChain, CannedNode, TOKEN};

use crate::scripted::{config, source};

/// A node without delay and without limits.
pub(crate) async fn node(chain: &Arc<CannedChain>, behaviour: CannedBehaviour) -> CannedNode {
    CannedNode::behaving(Arc::clone(chain), behaviour).await.expect("a local port")
}

/// What the sources of these tests are told: one native asset and the token.
pub(crate) fn canned_config(nodes: &[&CannedNode]) -> EvmChainConfig {
    let mut config = config(nodes.iter().map(|node| node.url().parse().expect("a URL")).collect());
    config.assets[1].kind = AssetKind::Token { contract: TOKEN };
    config.quorum = 1;
    config
}

/// A source of whole blocks.
pub(crate) fn by_blocks(nodes: &[&CannedNode]) -> EvmChain {
    source(canned_config(nodes))
}

/// A source of whole blocks for the token alone.
pub(crate) fn tokens_by_blocks(nodes: &[&CannedNode]) -> EvmChain {
    let mut config = canned_config(nodes);
    config.assets.remove(0);
    source(config)
}

/// A source that catches up by logs. Where there are fewer nodes than must agree, the first one stands under several names,
/// so that what is seen comes of its logs alone.
pub(crate) fn by_logs(nodes: &[&CannedNode], quorum: usize) -> EvmChain {
    let mut config = canned_config(nodes);
    for again in nodes.len()..quorum {
        let mut name = config.nodes[0].clone();
        name.set_query(Some(&format!("again={again}")));
        config.nodes.push(name);
    }
    config.assets.remove(0);
    config.catch_up = CatchUp::Logs;
    config.quorum = quorum;
    config.request_timeout = Duration::from_secs(20);
    source(config)
}

pub(crate) fn range(first: u64, last: u64) -> BlockRange {
    BlockRange::new(BlockNumber(first), BlockNumber(last)).expect("in order")
}

/// A lie in JSON: changes the results of one method.
pub(crate) fn changing(
    method: &'static str,
    change: impl Fn(&Value, &mut Value) + Send + Sync + 'static,
) -> CannedBehaviour {
    CannedBehaviour::default().telling(move |call, result| {
        if call["method"] != method {
            return result;
        }
        let mut value: Value = serde_json::from_str(&result).expect("the node writes JSON");
        change(call, &mut value);
        value.to_string()
    })
}
