//! The canned node as a process.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use xthonpay_domain::block::BlockRange;
use xthonpay_tests::BoxError;

use crate::parts;

/// A node in another city.
pub(super) const ROUND_TRIP_MS: u64 = 20;

/// Logs of a full block, whoever they are of.
const DENSE_LOGS: usize = 290;

/// What is in the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Hardly anything.
    Sparse,
    /// As much as on BNB Smart Chain.
    Dense,
}

impl Kind {
    /// How its figures begin.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sparse => "sparse",
            Self::Dense => "dense",
        }
    }

    /// How many blocks there are, the first one included.
    pub(super) fn blocks(self) -> u64 {
        match self {
            Self::Sparse => 100_001,
            Self::Dense => 10_001,
        }
    }

    /// How many logs a run holds that is read whole.
    pub(super) fn logs_in(self, range: BlockRange) -> usize {
        let blocks = usize::try_from(range.blocks()).unwrap_or(usize::MAX);
        match self {
            Self::Sparse => blocks / 8,
            Self::Dense => blocks.saturating_mul(DENSE_LOGS),
        }
    }
}

/// A running node. Ends when it is dropped.
pub(super) struct NodeProcess {
    pub(super) kind: Kind,
    pub(super) url: String,
    _process: Child,
}

impl NodeProcess {
    /// Starts a node and waits until it has made its chain.
    pub(super) async fn start(kind: Kind) -> Result<Self, BoxError> {
        let mut process = Command::new(parts::canned_node()?)
            .args([kind.name(), &kind.blocks().to_string(), &ROUND_TRIP_MS.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let out = process.stdout.take().ok_or("the node has no standard output")?;
        let url = BufReader::new(out).lines().next_line().await?.ok_or("the node ended before it was ready")?;
        Ok(Self { kind, url, _process: process })
    }
}
