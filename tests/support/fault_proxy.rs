//! A node that is not well: a JSON-RPC proxy for HTTP and WebSocket in front of a sound node, with faults that are switched
//! on and off while it runs.
//!
//! Several of them in front of one node are several nodes of one chain, each with its own faults. Which request is hit, which
//! log is lost and the like is drawn from a seed. HTTP and WebSocket share a port, as with the node itself. Requests and
//! methods are counted. Without a fault every byte of an answer is the node's.

mod branch;
mod counts;
mod envelope;
mod fault;
mod invention;
mod listener;
mod serve;
mod sockets;
mod state;
mod transport;
mod upstream;
mod view;

use core::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::counts::Counts;
pub use self::fault::{Fault, Invention};
use self::state::Shared;
use crate::BoxError;

/// A proxy that listens on a local port. Dropping it closes the port and every WebSocket.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Shared,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// A proxy without faults in front of the node at `upstream`, such as `http://127.0.0.1:8545`.
    ///
    /// # Errors
    /// When there is no port to be had.
    pub async fn start(upstream: &str, seed: u64) -> Result<Self, BoxError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Shared::new(upstream, seed)?;
        let stop = CancellationToken::new();
        let accepting = tokio::spawn(serve::run(listener, shared.clone(), stop.clone()));
        Ok(Self { address, shared, stop, accepting })
    }

    /// The address for HTTP.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address for WebSocket.
    #[must_use]
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Replaces all faults by these; each hits every request.
    pub fn set(&self, faults: impl IntoIterator<Item = Fault>) {
        self.set_some(100, faults);
    }

    /// Replaces all faults by these; each hits so many of a hundred requests or announcements.
    pub fn set_some(&self, percent: u8, faults: impl IntoIterator<Item = Fault>) {
        self.shared.faults.replace(percent, faults.into_iter().collect());
    }

    /// Ends all faults.
    pub fn clear(&self) {
        self.set([]);
    }

    /// Goes on in front of another node, as when a name suddenly leads elsewhere. Open WebSockets stay with the old one.
    pub fn redirect(&self, upstream: &str) {
        self.shared.upstream.redirect(upstream);
    }

    /// Keeps the newest `blocks` blocks of the chain as it is now, for [`Fault::SavedBranch`].
    ///
    /// # Errors
    /// When the node does not show them.
    pub async fn save_branch(&self, blocks: u64) -> Result<(), BoxError> {
        let saved = branch::Branch::read(&self.shared.upstream, blocks).await?;
        self.shared.save(saved);
        Ok(())
    }

    /// What was asked since the start or the last [`Self::count_anew`].
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counts.get()
    }

    /// Sets all counts to zero.
    pub fn count_anew(&self) {
        self.shared.counts.reset();
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.stop.cancel();
        self.accepting.abort();
    }
}
