//! The table of targets: what merchants may write into `callback_url`, and what they may not.

use super::*;

fn judge(config: &EgressConfig, text: &str) -> Result<Target, Refusal> {
    let url = text.parse::<CallbackUrl>().expect("the text of a URL");
    AddressPolicy::new(config).judge(&url)
}

fn networks(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().expect("a network")).collect()
}

/// Literal addresses that are not public, in every spelling that a URL parser accepts.
const NOT_PUBLIC: [&str; 70] = [
    // Loopback in IPv4: dotted, short, decimal, hexadecimal, octal, percent-encoded.
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0x7F.0x0.0x0.0x1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.0.0.1./",
    "https://%31%32%37.0.0.1/",
    "https://%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1/", // full-width digits
    "https://127.255.255.254/",
    "https://127.0.0.1:8443/",
    // The unspecified address, which Linux routes to the own host.
    "https://0.0.0.0/",
    "https://0/",
    "https://0.1.2.3/",
    // Private and shared networks.
    "https://10.0.0.1/",
    "https://10.1/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://0xc0a80101/",
    "https://3232235777/",
    "https://100.64.0.1/",
    "https://100.127.255.255/",
    // Link-local, and the metadata services there.
    "https://169.254.169.254/latest/meta-data/",
    "https://0xa9fea9fe/",
    "https://2852039166/",
    "https://0251.0376.0251.0376/",
    // Protocol assignments, documentation, relays, benchmarks.
    "https://192.0.0.1/",
    "https://192.0.0.192/",
    "https://192.0.2.1/",
    "https://192.88.99.1/",
    "https://198.18.0.1/",
    "https://198.19.255.255/",
    "https://198.51.100.1/",
    "https://203.0.113.1/",
    // Multicast, reserved, broadcast.
    "https://224.0.0.1/",
    "https://239.255.255.250/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://4294967295/",
    // IPv6: unspecified, loopback, and forms that embed an IPv4 address.
    "https://[::]/",
    "https://[::1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:8.8.8.8]/",
    "https://[::127.0.0.1]/",
    "https://[::7f00:1]/",
    "https://[64:ff9b::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a9fe:a9fe::1]/",
    "https://[2001:0:7f00:1::]/",
    "https://[2001:0:53aa:64c:0:7fff:80ff:fffe]/",
    // IPv6: documentation, discard, ORCHID, site-local, unique local, link-local, multicast.
    "https://[2001:db8::1]/",
    "https://[3fff::1]/",
    "https://[100::1]/",
    "https://[2001:20::1]/",
    "https://[fec0::1]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]/",
    "https://[febf::1]/",
    "https://[ff02::1]/",
    "https://[ff0e::1]/",
];

#[test]
fn refuses_every_spelling_of_an_address_that_is_not_public() {
    for text in NOT_PUBLIC {
        assert_eq!(judge(&EgressConfig::default(), text), Err(Refusal::NotPublic), "{text}");
    }
}

#[test]
fn refuses_names_of_the_own_host() {
    for name in ["localhost", "LOCALHOST", "localhost.", "a.localhost", "a.b.LocalHost.", "%6Cocalhost"] {
        let text = format!("https://{name}/hook");
        assert_eq!(judge(&EgressConfig::default(), &text), Err(Refusal::NotPublic), "{text}");
    }
    for name in ["localhost.example", "notlocalhost", "localhost-shop.example"] {
        let text = format!("https://{name}/hook");
        assert!(judge(&EgressConfig::default(), &text).is_ok(), "{text}");
    }
}

#[test]
fn refuses_schemes_ports_and_decorations() {
    let port = |port| Refusal::Port { port, accepted: "443, 8443".to_owned() };
    let table = [
        ("http://shop.example/", Refusal::NotHttps),
        ("http://8.8.8.8/", Refusal::NotHttps),
        ("https://shop.example:0/", port(0)),
        ("https://shop.example:22/", port(22)),
        ("https://shop.example:25/", port(25)),
        ("https://shop.example:80/", port(80)),
        ("https://shop.example:6379/", port(6379)),
        ("https://8.8.8.8:8080/", port(8080)),
        ("https://shop.example:65536/", Refusal::Unreadable),
        ("https://shop.example:443x/", Refusal::Unreadable),
        ("https://user@shop.example/", Refusal::UserInfo),
        ("https://:secret@shop.example/", Refusal::UserInfo),
        ("https://shop.example:443@127.0.0.1/", Refusal::UserInfo),
        ("https://shop.example/hook#part", Refusal::Fragment),
        ("https://shop.example/hook#", Refusal::Fragment),
        ("https://256.1.1.1/", Refusal::Unreadable),
        ("https://1.2.3.4.5/", Refusal::Unreadable),
        ("https://0x100000000/", Refusal::Unreadable),
        ("https://shop.0x7f/", Refusal::Unreadable),
        ("https://[::1/", Refusal::Unreadable),
        ("https://[fe80::1%25eth0]/", Refusal::Unreadable),
        ("https://%00/", Refusal::Unreadable),
        ("https://shop%2eexample%2f/", Refusal::Unreadable),
    ];
    for (text, refusal) in table {
        assert_eq!(judge(&EgressConfig::default(), text), Err(refusal), "{text}");
    }
}

#[test]
fn accepts_public_targets() {
    for text in [
        "https://shop.example/",
        "https://shop.example:443/hook?order=1",
        "https://shop.example.:8443/",
        "https://xn--bcher-kva.example/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
        "https://shop.example/a//b/../c?u=http://127.0.0.1/",
    ] {
        let target = judge(&EgressConfig::default(), text).map(|target| target.reach);
        assert_eq!(target, Ok(Reach::Public), "{text}");
    }
}

#[test]
fn plain_http_needs_the_operators_word() {
    let config = EgressConfig { allow_http: true, ..EgressConfig::default() };
    for text in ["http://shop.example/", "http://shop.example:80/", "http://8.8.8.8:8443/"] {
        assert!(judge(&config, text).is_ok(), "{text}");
    }
    for text in ["http://shop.example:8080/", "https://shop.example:80/", "http://127.0.0.1/"] {
        assert!(judge(&config, text).is_err(), "{text}");
    }
}

#[test]
fn named_networks_open_ports_and_plain_http_for_themselves_alone() {
    let config = EgressConfig {
        allow_networks: networks(&["127.0.0.0/8", "fd00::/8"]),
        deny_networks: networks(&["127.0.0.53/32"]),
        ..EgressConfig::default()
    };
    for text in [
        "http://127.0.0.1:9000/",
        "https://127.1:9000/",
        "http://[::ffff:127.0.0.1]:9000/",
        "http://[fd00::1]/",
        "http://localhost:9000/",
        "http://receiver:9000/", // judged again when it is resolved
    ] {
        assert_eq!(judge(&config, text).map(|target| target.reach), Ok(Reach::NamedNetworks), "{text}");
    }
    for (text, refusal) in [
        ("http://127.0.0.53/", Refusal::NotHttps),
        ("https://127.0.0.53/", Refusal::NotPublic),
        ("https://[::1]/", Refusal::NotPublic),
        ("https://10.0.0.1/", Refusal::NotPublic),
        ("http://8.8.8.8:9000/", Refusal::NotHttps),
    ] {
        assert_eq!(judge(&config, text), Err(refusal), "{text}");
    }
}

#[test]
fn denied_networks_beat_public_ones() {
    let config = EgressConfig { deny_networks: networks(&["8.8.8.0/24"]), ..EgressConfig::default() };
    assert_eq!(judge(&config, "https://8.8.8.8/"), Err(Refusal::NotPublic));
    assert!(judge(&config, "https://8.8.4.4/").is_ok());
    let policy = AddressPolicy::new(&config);
    assert!(!policy.admits("::ffff:8.8.8.8".parse().expect("an address"), Reach::Public));
}

/// A public address can be this host's own: then it leads behind the firewall.
#[test]
fn own_public_addresses_are_refused_unless_their_network_is_named() {
    let own = "8.8.8.8".parse::<IpAddr>().expect("an address");
    let with_own = |config: &EgressConfig| {
        let is_own: fn(IpAddr) -> bool = |address| address.to_string() == "8.8.8.8";
        AddressPolicy { is_own, ..AddressPolicy::new(config) }
    };
    let policy = with_own(&EgressConfig::default());
    let url = |text: &str| text.parse::<CallbackUrl>().expect("the text of a URL");
    assert_eq!(policy.judge(&url("https://8.8.8.8/")), Err(Refusal::NotPublic));
    assert_eq!(policy.judge(&url("https://0x08080808/")), Err(Refusal::NotPublic));
    assert!(!policy.admits(own, Reach::Public));
    assert!(policy.judge(&url("https://8.8.4.4/")).is_ok());
    let named = EgressConfig { allow_networks: networks(&["8.8.8.8/32"]), ..EgressConfig::default() };
    assert!(with_own(&named).judge(&url("https://8.8.8.8/")).is_ok());
}
