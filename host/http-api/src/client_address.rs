//! From where a request comes, when proxies stand in between.
//!
//! The peer is believed, since a TCP connection cannot be forged. What a header says is believed only as far as the proxies
//! that wrote it are trusted: `X-Forwarded-For` is read from its end, and the first address that is not a trusted proxy is
//! the client. Everything to the left of it may be invented. `X-Real-IP` and `Forwarded` are not read at all.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use thiserror::Error;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Proxies that a request may pass. Real deployments have two or three; more is a loop or an attempt to cost time.
const PROXIES_MAX: usize = 16;

/// A chain of proxies that cannot be followed to the client.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ForwardedError {
    /// A trusted proxy forwarded something that is not an address.
    #[error("X-Forwarded-For holds something that is not an IP address")]
    NotAnAddress,
    /// More proxies than there can be.
    #[error("X-Forwarded-For names more than {PROXIES_MAX} trusted proxies")]
    TooManyProxies,
}

impl ForwardedError {
    /// Always `false`: the same headers fail the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

/// The address of the client: the peer's own, or what the trusted proxies between say. IPv4 in the clothes of IPv6 becomes
/// plain IPv4.
///
/// # Errors
/// [`ForwardedError`] when a trusted proxy forwarded something that cannot be read.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Result<IpAddr, ForwardedError> {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    let mut proxies = 0_usize;
    // Several lines of the header are one list, in the order of the lines.
    for line in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        for entry in line.as_bytes().rsplit(|byte| *byte == b',') {
            if !is_trusted(&client) {
                return Ok(client);
            }
            proxies = proxies.saturating_add(1);
            if proxies > PROXIES_MAX {
                return Err(ForwardedError::TooManyProxies);
            }
            client = parse(entry).ok_or(ForwardedError::NotAnAddress)?;
        }
    }
    Ok(client)
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse::<IpAddr>().ok().or_else(bracketed).or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.0.0.1";
    const CLIENT: &str = "198.51.100.7";

    fn walk(peer: &str, lines: &[&[u8]]) -> Result<String, ForwardedError> {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "fd00::/8"].iter().map(|network| network.parse().expect("a network")).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, http::HeaderValue::from_bytes(line).expect("a header value"));
        }
        headers.insert("x-real-ip", http::HeaderValue::from_static("203.0.113.99"));
        headers.insert("forwarded", http::HeaderValue::from_static("for=203.0.113.98"));
        client_address(peer.parse().expect("an address"), &headers, &trusted).map(|address| address.to_string())
    }

    #[test]
    fn finds_the_client_behind_trusted_proxies_and_nobody_else() {
        let cases: [(&str, &str, &[&str], &str); 19] = [
            ("no header", PROXY, &[], PROXY),
            ("a direct client", CLIENT, &[], CLIENT),
            ("a direct client that forges", CLIENT, &["203.0.113.5"], CLIENT),
            ("a direct client that forges a proxy", CLIENT, &["203.0.113.5, 10.0.0.2"], CLIENT),
            ("a direct client that writes nonsense", CLIENT, &["nonsense"], CLIENT),
            ("one proxy", PROXY, &["198.51.100.7"], CLIENT),
            ("a forged entry on the left", PROXY, &["203.0.113.5, 198.51.100.7"], CLIENT),
            ("a forged trusted entry on the left", PROXY, &["10.0.0.9, 198.51.100.7"], CLIENT),
            ("nonsense on the left", PROXY, &["<script>, é, , 198.51.100.7"], CLIENT),
            ("two proxies", PROXY, &["198.51.100.7, 10.0.0.2"], CLIENT),
            ("two lines", PROXY, &["198.51.100.7", "10.0.0.2"], CLIENT),
            ("two lines, the first one forged", PROXY, &["203.0.113.5", "198.51.100.7"], CLIENT),
            ("a client inside", PROXY, &["10.0.0.3"], "10.0.0.3"),
            ("without spaces", PROXY, &["203.0.113.5,198.51.100.7,10.0.0.2"], CLIENT),
            ("with a port", PROXY, &["198.51.100.7:50123"], CLIENT),
            ("IPv6", "fd00::1", &["2001:db8::7"], "2001:db8::7"),
            ("IPv6 in brackets, with a port", "fd00::1", &["[2001:db8::7], [fd00::2]:443"], "2001:db8::7"),
            ("a mapped peer", "::ffff:10.0.0.1", &["198.51.100.7"], CLIENT),
            ("a mapped client", PROXY, &["::ffff:198.51.100.7, ::ffff:10.0.0.2"], CLIENT),
        ];
        for (name, peer, lines, expected) in cases {
            let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            assert_eq!(walk(peer, &lines), Ok(expected.to_owned()), "{name}");
        }
    }

    #[test]
    fn refuses_what_a_trusted_proxy_forwards_and_cannot_be_read() {
        let many = ["10.0.0.2"; PROXIES_MAX + 1].join(",");
        let cases: [(&str, &[u8], ForwardedError); 12] = [
            ("empty", b"", ForwardedError::NotAnAddress),
            ("a comma", b",", ForwardedError::NotAnAddress),
            ("an empty last entry", b"198.51.100.7,", ForwardedError::NotAnAddress),
            ("unknown", b"unknown", ForwardedError::NotAnAddress),
            ("a name", b"localhost", ForwardedError::NotAnAddress),
            ("a short form", b"127.1", ForwardedError::NotAnAddress),
            ("leading zeros", b"010.0.0.1", ForwardedError::NotAnAddress),
            ("a zone", b"fe80::1%eth0", ForwardedError::NotAnAddress),
            ("quotes", b"\"198.51.100.7\"", ForwardedError::NotAnAddress),
            ("nonsense before a proxy", b"x, 10.0.0.2", ForwardedError::NotAnAddress),
            ("not ASCII", b"\xff", ForwardedError::NotAnAddress),
            ("a loop", many.as_bytes(), ForwardedError::TooManyProxies),
        ];
        for (name, line, expected) in cases {
            assert_eq!(walk(PROXY, &[line]), Err(expected), "{name}");
        }
    }
}
