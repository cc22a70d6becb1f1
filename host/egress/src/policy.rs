//! Which URLs may be called, and which of the addresses that a name resolves to.
//!
//! Judges texts and addresses; connects to nothing, and asks nobody but the system for its own addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use thiserror::Error;
use url::{Host, Url};
use xthonpay_domain::invoice::url_text::CallbackUrl;

use crate::address::is_public;
use crate::config::EgressConfig;
use crate::own::is_own;

/// The port of plain http, accepted together with plain http itself.
const HTTP_PORT: u16 = 80;

/// What a name that means this very host stands for, whatever the name service says (RFC 6761, section 6.3).
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// The operator's rules.
#[derive(Clone, Debug)]
pub(crate) struct AddressPolicy {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    allow_http: bool,
    ports: BTreeSet<u16>,
    /// Tells this host's own addresses.
    is_own: fn(IpAddr) -> bool,
}

/// Which addresses a request may end at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Public ones and those of the operator's networks.
    Public,
    /// Those of the operator's networks only: scheme or port are not fit for the Internet.
    NamedNetworks,
}

/// A URL that may be called, as far as its text goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The URL as it will be called.
    pub(crate) url: Url,
    /// What its name may resolve to.
    pub(crate) reach: Reach,
}

/// The rule that refuses a URL, as a sentence for the merchant. None of them tells what this host can reach.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum Refusal {
    #[error("the URL cannot be read")]
    Unreadable,
    #[error("the URL must not hold a user name or password")]
    UserInfo,
    #[error("the URL must not hold a fragment")]
    Fragment,
    #[error("the URL must begin with https://")]
    NotHttps,
    #[error("port {port} is not accepted; accepted are: {accepted}")]
    Port { port: u16, accepted: String },
    #[error("the URL must name a host on the public Internet")]
    NotPublic,
}

impl AddressPolicy {
    pub(crate) fn new(config: &EgressConfig) -> Self {
        Self {
            allow: config.allow_networks.clone(),
            deny: config.deny_networks.clone(),
            allow_http: config.allow_http,
            ports: config.ports.clone(),
            is_own,
        }
    }

    /// Judges a URL by its text. A name passes; what it resolves to is judged by [`Self::admits`].
    pub(crate) fn judge(&self, text: &CallbackUrl) -> Result<Target, Refusal> {
        // The parser of the WHATWG: what it returns is the one reading of the text that is judged, resolved and dialled.
        Url::parse(text.as_str()).map_err(|_| Refusal::Unreadable).and_then(|url| self.judge_url(url))
    }

    /// The same for a URL that is parsed already.
    pub(crate) fn judge_url(&self, url: Url) -> Result<Target, Refusal> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(Refusal::Fragment);
        }
        let form = self.judge_form(&url);
        let reach = if form.is_ok() { Reach::Public } else { Reach::NamedNetworks };
        let reachable = match url.host().ok_or(Refusal::Unreadable)? {
            Host::Ipv4(address) => self.admits(address.into(), reach),
            Host::Ipv6(address) => self.admits(address.into(), reach),
            Host::Domain(name) if is_localhost(name) => !self.loopback(reach).is_empty(),
            Host::Domain(_) => reach == Reach::Public || !self.allow.is_empty(),
        };
        match (reachable, form) {
            (true, _) => Ok(Target { url, reach }),
            (false, Err(refusal)) => Err(refusal),
            (false, Ok(())) => Err(Refusal::NotPublic),
        }
    }

    /// Whether scheme and port are fit for the Internet.
    fn judge_form(&self, url: &Url) -> Result<(), Refusal> {
        let is_http = match url.scheme() {
            "https" => false,
            "http" => true,
            _ => return Err(Refusal::NotHttps),
        };
        if is_http && !self.allow_http {
            return Err(Refusal::NotHttps);
        }
        let port = url.port_or_known_default().ok_or(Refusal::Unreadable)?;
        if self.ports.contains(&port) || (is_http && port == HTTP_PORT) {
            return Ok(());
        }
        let accepted = self.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Err(Refusal::Port { port, accepted })
    }

    /// Whether a connection to the address may be made: public, or of a network that the operator named; not this host's own, and
    /// not of a network that the operator denied.
    pub(crate) fn admits(&self, address: IpAddr, reach: Reach) -> bool {
        // An IPv4 address in the clothes of IPv6 belongs to the network of the plain one.
        let plain = address.to_canonical();
        let within = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&plain));
        let is_foreign = || is_public(address) && !(self.is_own)(address);
        !within(&self.deny) && (within(&self.allow) || (reach == Reach::Public && is_foreign()))
    }

    /// What a name that means this very host may stand for: nothing, unless the operator named the loopback network.
    pub(crate) fn loopback(&self, reach: Reach) -> Vec<IpAddr> {
        LOOPBACK.into_iter().filter(|address| self.admits(*address, reach)).collect()
    }
}

/// Whether a name means this very host: `localhost` and everything below it, with or without the final dot.
pub(crate) fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or(name);
    last.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests;
