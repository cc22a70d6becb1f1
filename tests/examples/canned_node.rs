//! Serves a canned chain until its standard input ends: `canned_node sparse|dense BLOCKS ROUND_TRIP_MS`.
//!
//! Prints its URL as the first line. A process of its own, so that a benchmark can tell its own processor time from that of
//! the node.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use xthonpay_tests::BoxError;
use xthonpay_tests::canned_node::{CannedChain, CannedNode};

/// One block in so many of a sparse chain holds a transfer: what indexers find of a liquid-staking token on Ethereum.
const SPARSE_EVERY: u64 = 8;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, blocks, round_trip] = arguments.as_slice() else {
        return Err("usage: canned_node sparse|dense BLOCKS ROUND_TRIP_MS".into());
    };
    let blocks = blocks.parse()?;
    let chain = match kind.as_str() {
        "sparse" => CannedChain::sparse(blocks, SPARSE_EVERY),
        "dense" => CannedChain::dense(blocks),
        other => return Err(format!("there is no chain {other}: write sparse or dense").into()),
    };
    let node = CannedNode::start(chain, Duration::from_millis(round_trip.parse()?)).await?;
    writeln!(std::io::stdout(), "{}", node.url())?;
    // Whoever started this ends it by going away.
    let ended = tokio::task::spawn_blocking(|| {
        let mut nothing = [0; 1];
        while std::io::stdin().read(&mut nothing)? > 0 {}
        Ok::<_, std::io::Error>(())
    });
    Ok(ended.await??)
}
