//! What the operator says about outgoing requests.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;
use thiserror::Error;

/// Where requests may go and what an answer may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressConfig {
    /// Networks that are not public and may be reached nevertheless, on any port and also by plain http. Empty in production.
    pub allow_networks: Vec<IpNet>,
    /// Networks that may never be reached, such as the public address of a router in front of this host. Beats `allow_networks`.
    /// Addresses of this host's own interfaces need not be named.
    pub deny_networks: Vec<IpNet>,
    /// Whether plain http is accepted for public addresses too, on port 80 and on `ports`.
    pub allow_http: bool,
    /// Ports that may be called at public addresses.
    pub ports: BTreeSet<u16>,
    /// The longest time from the look-up of the name to the end of the answer; above zero.
    pub total_timeout: Duration,
    /// The longest time until a connection stands, its TLS handshake included; above zero.
    pub connect_timeout: Duration,
    /// How much of an answer's body is read before the rest is thrown away, in bytes.
    pub answer_bytes_max: usize,
}

impl Default for EgressConfig {
    /// https on ports 443 and 8443 to public addresses; 15 s in all, 5 s to connect; 16 KiB of the answer.
    fn default() -> Self {
        Self {
            allow_networks: Vec::new(),
            deny_networks: Vec::new(),
            allow_http: false,
            // The port of https and the usual second one. Every further port would let a merchant knock at other services.
            ports: BTreeSet::from([443, 8443]),
            // Receivers shall answer first and work afterwards. The same figure as other senders of webhooks use.
            total_timeout: Duration::from_secs(15),
            // Three transmissions of a lost SYN; a receiver that needs longer is down.
            connect_timeout: Duration::from_secs(5),
            // Enough to see what a receiver says, and to keep its connection when it says little more.
            answer_bytes_max: 16 * 1024,
        }
    }
}

/// A client that cannot be set up as configured.
#[derive(Debug, Error)]
pub enum EgressSetupError {
    /// No port could be called, or port 0 was named.
    #[error("the list of ports for webhooks must name at least one port, and not port 0")]
    Ports,
    /// A time limit of zero would fail every request.
    #[error("{key} must be above zero")]
    NoTime {
        /// The field.
        key: &'static str,
    },
    /// TLS cannot be set up, for example because the system has no root certificates.
    #[error("the client for webhooks cannot be set up")]
    Client(#[source] reqwest::Error),
}

impl EgressSetupError {
    /// Always `false`: the same config fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Ports | Self::NoTime { .. } | Self::Client(_) => false,
        }
    }
}

impl EgressConfig {
    pub(crate) fn check(&self) -> Result<(), EgressSetupError> {
        if self.ports.is_empty() || self.ports.contains(&0) {
            return Err(EgressSetupError::Ports);
        }
        for (key, limit) in [("total_timeout", self.total_timeout), ("connect_timeout", self.connect_timeout)] {
            if limit.is_zero() {
                return Err(EgressSetupError::NoTime { key });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_limits_that_would_fail_every_request() {
        assert!(EgressConfig::default().check().is_ok());
        let refused = [
            EgressConfig { ports: BTreeSet::new(), ..EgressConfig::default() },
            EgressConfig { ports: BTreeSet::from([0, 443]), ..EgressConfig::default() },
            EgressConfig { total_timeout: Duration::ZERO, ..EgressConfig::default() },
            EgressConfig { connect_timeout: Duration::ZERO, ..EgressConfig::default() },
        ];
        for config in refused {
            assert!(config.check().is_err(), "{config:?}");
        }
    }
}
