//! The table of targets that are refused: nobody on the loopback interface, of either family, sees a connection.

use std::collections::BTreeSet;

use xthonpay_egress::{EgressConfig, WebhookClient};
use xthonpay_payments::port::egress::{EgressError, WebhookTransport as _};

use crate::receiver::{Receiver, Reply, allowing, post};

/// Where everything is accepted but the target: plain http, and the port of the receivers for `{p}`.
const TARGETS: [&str; 75] = [
    // This host, in every spelling of its IPv4 address.
    "http://127.0.0.1:{p}/",
    "http://127.1:{p}/",
    "http://127.0.1:{p}/",
    "http://2130706433:{p}/",
    "http://0x7f000001:{p}/",
    "http://0x7F000001:{p}/",
    "http://0x7f.1:{p}/",
    "http://0x7f.0x0.0x0.0x1:{p}/",
    "http://0177.0.0.1:{p}/",
    "http://0177.0.01:{p}/",
    "http://017700000001:{p}/",
    "http://127.0.0.1.:{p}/",
    "http://%31%32%37.0.0.1:{p}/",
    "http://127%2e0%2e0%2e1:{p}/",
    "http://%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1:{p}/", // full-width digits
    "http://127%E3%80%820%E3%80%820%E3%80%821:{p}/", // ideographic full stops
    "http://127.0.0.2:{p}/",
    "http://127.255.255.254:{p}/",
    "http://0.0.0.0:{p}/",
    "http://0:{p}/",
    "http://0x0:{p}/",
    "http://0.1.2.3:{p}/",
    // The same in IPv6, and the forms that embed an IPv4 address.
    "http://[::1]:{p}/",
    "http://[0:0:0:0:0:0:0:1]:{p}/",
    "http://[0000:0000:0000:0000:0000:0000:0000:0001]:{p}/",
    "http://[::]:{p}/",
    "http://[::ffff:127.0.0.1]:{p}/",
    "http://[::ffff:7f00:1]:{p}/",
    "http://[::FFFF:7F00:0001]:{p}/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:{p}/",
    "http://[::127.0.0.1]:{p}/",
    "http://[::7f00:1]:{p}/",
    "http://[64:ff9b::127.0.0.1]:{p}/",
    "http://[64:ff9b::7f00:1]:{p}/",
    "http://[64:ff9b:1::7f00:1]:{p}/",
    "http://[2002:7f00:1::]:{p}/",
    "http://[2001:0:7f00:1::]:{p}/",
    "http://[2001:0:53aa:64c:0:7fff:80ff:fffe]:{p}/",
    // This host by name.
    "http://localhost:{p}/",
    "http://LOCALHOST:{p}/",
    "http://localhost.:{p}/",
    "http://%6Cocalhost:{p}/",
    "http://shop.localhost:{p}/",
    "http://a.b.localhost.:{p}/",
    // Decorations.
    "http://user@127.0.0.1:{p}/",
    "http://user:pass@127.0.0.1:{p}/",
    "http://8.8.8.8@127.0.0.1:{p}/",
    "http://shop.example:443@127.0.0.1:{p}/",
    "http://user@shop.example/",
    "http://127.0.0.1:{p}/#fragment",
    "http://shop.example/#@127.0.0.1:{p}/",
    "http:127.0.0.1:{p}/",
    "http:///127.0.0.1:{p}/",
    "http://[::1%25lo]:{p}/",
    // Other ports and schemes.
    "https://shop.example:22/",
    "https://shop.example:25/",
    "https://shop.example:6379/",
    "https://shop.example:0/",
    "https://shop.example:65536/",
    // Networks that are not public.
    "http://10.0.0.1:{p}/",
    "http://100.64.0.1:{p}/",
    "http://169.254.169.254:{p}/latest/meta-data/",
    "http://0xa9fea9fe:{p}/",
    "http://172.16.0.1:{p}/",
    "http://192.0.0.192:{p}/",
    "http://192.168.1.1:{p}/",
    "http://198.18.0.1:{p}/",
    "http://224.0.0.1:{p}/",
    "http://255.255.255.255:{p}/",
    "http://[fc00::1]:{p}/",
    "http://[fd00:ec2::254]:{p}/",
    "http://[fe80::1]:{p}/",
    "http://[fec0::1]:{p}/",
    "http://[ff02::1]:{p}/",
    "http://[2001:db8::1]:{p}/",
];

#[tokio::test]
async fn no_target_of_the_table_is_connected_to() {
    let v4 = Receiver::start(Reply::ok()).await;
    let port = v4.port();
    // The same port everywhere that a wrong turn could lead to; a machine without IPv6 has one place less.
    let mut receivers = vec![v4, Receiver::start_at(&format!("127.0.0.2:{port}"), Reply::ok()).await];
    if std::net::TcpListener::bind(("::1", port)).is_ok() {
        receivers.push(Receiver::start_at(&format!("[::1]:{port}"), Reply::ok()).await);
    }
    let config = EgressConfig { allow_http: true, ports: BTreeSet::from([port, 443]), ..allowing(&[]) };
    let client = WebhookClient::new(config).expect("a sound config");
    for target in TARGETS {
        let url = target.replace("{p}", &port.to_string());
        // What is no URL at all does not even become one.
        let Ok(text) = url.parse() else { continue };
        assert!(client.check(&text).is_err(), "{url}");
        assert!(matches!(post(&client, &url).await, Err(EgressError::Refused { .. })), "{url}");
    }
    for receiver in &receivers {
        assert_eq!(receiver.connections().await, 0, "{}", receiver.address);
    }
}

/// The other half of the test above: the listeners are reached when their networks are named.
#[tokio::test]
async fn the_listeners_of_the_table_listen() {
    for address in ["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"] {
        if std::net::TcpListener::bind(address).is_err() {
            continue;
        }
        let receiver = Receiver::start_at(address, Reply::ok()).await;
        let client = WebhookClient::new(allowing(&["127.0.0.0/8", "::1/128"])).expect("a sound config");
        post(&client, &format!("http://{}/", receiver.address)).await.expect("an answer");
        assert_eq!(receiver.connections().await, 1, "{address}");
    }
}
