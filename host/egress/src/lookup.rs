//! Asking the name service.

use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Look-ups under way at once. Each holds a thread for as long as the system's resolver pleases; this is half of the threads
/// that tokio keeps for blocking work.
const LOOKUPS_MAX: usize = 256;

/// Tells the addresses of a name. What it answers is not trusted: every address is judged before it is used.
#[async_trait]
pub trait NameLookup: Send + Sync {
    /// Every address of `name`, of both families.
    ///
    /// # Errors
    /// Any [`io::Error`] when the name has no address or the name service does not answer.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system.
#[derive(Clone, Debug)]
pub struct SystemLookup {
    permits: Arc<Semaphore>,
}

impl Default for SystemLookup {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

#[async_trait]
impl NameLookup for SystemLookup {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(io::Error::other)?;
        let host = (name.to_owned(), 0);
        // The thread keeps the permit: a caller that gives up does not make the look-up end.
        let found = spawn_blocking(move || {
            let addresses = host.to_socket_addrs().map(|found| found.map(|address| address.ip()).collect());
            drop(permit);
            addresses
        });
        found.await.map_err(io::Error::other)?
    }
}
