//! What the operator says about the API, and its limits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use url::Url;
use xthonpay_domain::asset::AssetId;

/// Settings of the API.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Where merchants reach this deployment; what the API writes into links. Never taken from a request.
    pub public_url: Url,
    /// Networks of the proxies in front of this host. Only a request from one of them may say for whom it speaks.
    pub trusted_proxies: Vec<IpNet>,
    /// Networks whose callers may read `/metrics`; to all others the path does not exist.
    pub metrics_networks: Vec<IpNet>,
    /// What a request means that names no asset; `None` means the only USDT of the deployment.
    pub default_asset: Option<AssetId>,
    /// The largest request body, in bytes.
    pub body_bytes_max: usize,
    /// How long a request body may take to arrive.
    pub body_time_max: Duration,
    /// How long a call may take from its first byte to its answer.
    pub request_time_max: Duration,
    /// How many blocks a scanner may be behind its node before the deployment calls itself not ready.
    pub scanner_lag_blocks_max: u64,
}

impl ApiConfig {
    /// The defaults for a deployment that merchants reach at `public_url`, without a proxy in front.
    #[must_use]
    pub fn new(public_url: Url) -> Self {
        Self {
            public_url,
            trusted_proxies: Vec::new(),
            // The machine itself: an agent beside the host reads it, or a proxy that adds its own protection.
            metrics_networks: vec![loopback(Ipv4Addr::LOCALHOST.into(), 8), loopback(Ipv6Addr::LOCALHOST.into(), 128)],
            default_asset: None,
            // The figure of the product's API. The largest invoice that can be asked for is a tenth of it.
            body_bytes_max: 64 * 1024,
            // 64 KiB in 10 s is a poor mobile link.
            body_time_max: Duration::from_secs(10),
            // Above anything that works; below the minute at which clients and proxies give up by themselves.
            request_time_max: Duration::from_secs(30),
            // About 90 s of BNB Smart Chain, 40 minutes of Ethereum: payments still arrive, but late enough to tell.
            scanner_lag_blocks_max: 200,
        }
    }
}

fn loopback(address: IpAddr, prefix: u8) -> IpNet {
    // Both lengths are within those of their family.
    IpNet::new_assert(address, prefix).trunc()
}
