//! Resolves names to addresses that may be dialled.
//!
//! The connector asks here and nowhere else, and dials what it gets, so an address that a name service changes after it was
//! judged is never used. Literal addresses do not pass here: the connector takes them from the URL, where
//! [`AddressPolicy::judge`] has judged them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;
use tokio::time::timeout;

use crate::lookup::NameLookup;
use crate::policy::{AddressPolicy, Reach, is_localhost};

/// How long the name service may take. Names in use are cached close by; one that needs longer will not be faster in five.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(2);
/// Addresses of one name that are dialled in turn. A name may have hundreds; none of ours needs more than a few.
const ADDRESSES_DIALLED_MAX: usize = 8;

/// A name that gives no address to dial.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum ResolveError {
    #[error("the host name has no address")]
    NotFound,
    #[error("the name service did not answer in time")]
    TimedOut,
    #[error("the host name resolves to an address that must not be called")]
    NotPublic,
}

/// Hands judged addresses to the connector.
#[derive(Clone)]
pub(crate) struct GuardedResolver {
    pub(crate) policy: Arc<AddressPolicy>,
    pub(crate) lookup: Arc<dyn NameLookup>,
    pub(crate) reach: Reach,
}

impl GuardedResolver {
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let mut addresses = if is_localhost(name) {
            self.policy.loopback(self.reach)
        } else {
            let answer = timeout(LOOKUP_TIME_MAX, self.lookup.lookup(name)).await;
            answer.map_err(|_| ResolveError::TimedOut)?.map_err(|_| ResolveError::NotFound)?
        };
        if addresses.is_empty() {
            return Err(ResolveError::NotFound);
        }
        // One address that must not be called condemns the name: an honest one does not mix them.
        if !addresses.iter().all(|address| self.policy.admits(*address, self.reach)) {
            return Err(ResolveError::NotPublic);
        }
        addresses.truncate(ADDRESSES_DIALLED_MAX);
        Ok(addresses)
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.addresses(name.as_str()).await?;
            // Port 0 stands for the port of the URL.
            let dialled = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(dialled) as Addrs)
        })
    }
}
