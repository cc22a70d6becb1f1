//! Which public addresses are this very host's.
//!
//! A host that has a public address on one of its interfaces reaches its own services through it, past every firewall. Behind a
//! translating router the public address is on no interface; there the operator names it in `deny_networks`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Any port above zero: nothing is sent to it.
const PORT: u16 = 9;

/// Whether an interface of this host has the address at this moment.
///
/// Asks the system for the source address of a packet to there, without sending one: to an own address it is that address.
/// Addresses that cannot be routed to are not this host's.
pub(crate) fn is_own(address: IpAddr) -> bool {
    let any = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let source = || {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(SocketAddr::new(address, PORT))?;
        socket.local_addr()
    };
    source().is_ok_and(|source| source.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_addresses_of_the_interfaces_from_others() {
        assert!(is_own(Ipv4Addr::LOCALHOST.into()));
        assert!(!is_own(Ipv4Addr::new(8, 8, 8, 8).into()));
        assert!(!is_own(Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0, 0, 0x1111).into()));
        // Of the network that this host is in, its own address and no other.
        let socket = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect("8.8.8.8:9").map(|()| socket));
        if let Ok(IpAddr::V4(own)) = socket.and_then(|socket| socket.local_addr()).map(|own| own.ip()) {
            assert!(is_own(own.into()), "{own}");
            let [a, b, c, d] = own.octets();
            assert!(!is_own(Ipv4Addr::new(a, b, c, d ^ 1).into()), "a neighbour of {own}");
        }
    }
}
