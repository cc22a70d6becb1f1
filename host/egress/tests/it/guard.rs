//! Nothing connects to an address that must not be called, and nothing but the judged address is dialled.

use std::collections::BTreeSet;
use std::process::Command;

use xthonpay_egress::{EgressConfig, WebhookClient};
use xthonpay_payments::port::egress::{EgressError, WebhookTransport as _};

use crate::receiver::{Receiver, Reply, ScriptedLookup, allowing, exchange, post};

/// The loopback address in as many ways as it can be written, with `{p}` for the port.
const LOOPBACK_SPELLINGS: [&str; 20] = [
    "http://127.0.0.1:{p}/",
    "http://127.1:{p}/",
    "http://127.0.1:{p}/",
    "http://2130706433:{p}/",
    "http://0x7f000001:{p}/",
    "http://0x7f.1:{p}/",
    "http://0177.0.0.1:{p}/",
    "http://017700000001:{p}/",
    "http://127.0.0.1.:{p}/",
    "http://%31%32%37.0.0.1:{p}/",
    "http://%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1:{p}/",
    "http://0.0.0.0:{p}/",
    "http://0:{p}/",
    "http://[::ffff:127.0.0.1]:{p}/",
    "http://[::ffff:7f00:1]:{p}/",
    "http://[::127.0.0.1]:{p}/",
    "http://localhost:{p}/",
    "http://LOCALHOST.:{p}/",
    "http://shop.localhost:{p}/",
    "http://user:pass@127.0.0.1:{p}/",
];

/// Plain http and the receiver's port are accepted, so that only the address stands between the client and the receiver.
fn open_to(receiver: &Receiver) -> EgressConfig {
    EgressConfig { allow_http: true, ports: BTreeSet::from([receiver.port()]), ..allowing(&[]) }
}

#[tokio::test]
async fn no_spelling_of_the_loopback_address_is_connected_to() {
    let receiver = Receiver::start(Reply::ok()).await;
    let client = WebhookClient::new(open_to(&receiver)).expect("a sound config");
    for spelling in LOOPBACK_SPELLINGS {
        let url = spelling.replace("{p}", &receiver.port().to_string());
        let refused = matches!(post(&client, &url).await, Err(EgressError::Refused { .. }));
        assert!(refused, "{url}");
        assert!(client.check(&url.parse().expect("the text of a URL")).is_err(), "{url}");
    }
    assert_eq!(receiver.connections().await, 0);
}

/// The other half of the test above: the same receiver is reached once its network is named.
#[tokio::test]
async fn a_named_network_is_reached() {
    let receiver = Receiver::start(Reply::ok()).await;
    let client = WebhookClient::new(allowing(&["127.0.0.0/8"])).expect("a sound config");
    for host in ["127.0.0.1", "127.1", "0x7f000001", "localhost", "shop.localhost."] {
        let answer = post(&client, &format!("http://{host}:{}/hook?x=1", receiver.port())).await;
        assert_eq!(answer.map(|answer| (answer.status, answer.excerpt)), Ok((200, "ok".to_owned())), "{host}");
    }
    assert!(receiver.connections().await > 0);
    let request = receiver.requests().into_iter().next().expect("a request");
    assert!(request.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"event\":\"invoice.paid\"}"), "{request}");
    for line in ["user-agent: xthonpay/", "webhook-id: evt_1\r\n", "content-type: application/json\r\n"] {
        assert!(request.contains(line), "{line} in {request}");
    }
    assert!(!request.contains("accept-encoding"), "{request}");
}

#[tokio::test]
async fn names_that_resolve_to_forbidden_addresses_are_not_connected_to() {
    let receiver = Receiver::start(Reply::ok()).await;
    let answers: [&[&str]; 9] = [
        &["127.0.0.1"],
        &["::ffff:127.0.0.1"],
        &["0.0.0.0"],
        &["10.0.0.1"],
        &["169.254.169.254"],
        &["::1"],
        &["fd00::1"],
        &["8.8.8.8", "127.0.0.1"], // mixed, the good one first
        &["127.0.0.1", "2606:4700::1111"],
    ];
    for answer in answers {
        let lookup = ScriptedLookup::new(&[answer]);
        let client = WebhookClient::with_lookup(open_to(&receiver), lookup.clone()).expect("a sound config");
        let error = post(&client, &format!("http://shop.example:{}/", receiver.port())).await.expect_err("refused");
        let EgressError::Unreachable { reason } = error else { unreachable!("{error:?}") };
        assert_eq!(reason, "the host name resolves to an address that must not be called", "{answer:?}");
        assert_eq!(lookup.asked(), 1, "{answer:?}");
    }
    assert_eq!(receiver.connections().await, 0);
}

#[tokio::test]
async fn a_public_name_may_not_use_what_only_named_networks_may() {
    // The port is not among the accepted ones, so the URL passes only for the sake of the named network.
    let receiver = Receiver::start(Reply::ok()).await;
    let url = format!("http://shop.example:{}/", receiver.port());
    for (answer, reached) in [(["127.0.0.1"], true), (["8.8.8.8"], false), (["127.1.0.1"], false)] {
        let lookup = ScriptedLookup::new(&[&answer]);
        let client = WebhookClient::with_lookup(allowing(&["127.0.0.0/24"]), lookup).expect("a sound config");
        assert_eq!(post(&client, &url).await.is_ok(), reached, "{answer:?}");
    }
}

/// What a name service can answer over time: flips, mixtures, an alias (CNAME) of a private name, which the resolver has followed when
/// it answers, and nothing. In a thousand deliveries nobody on the loopback interface sees a connection.
#[tokio::test]
async fn a_thousand_deliveries_to_names_that_lie_connect_to_nobody() {
    const DELIVERIES: usize = 1_000;
    let receiver = Receiver::start(Reply::ok()).await;
    let kinds: [&[&str]; 8] = [
        &["127.0.0.1"],
        &["8.8.8.8", "127.0.0.1"],
        &["127.0.0.1", "8.8.8.8"],
        &["2606:4700::1111", "::1"],
        &["169.254.169.254"],
        &["10.0.0.7"],
        &["::ffff:127.0.0.1"],
        &[],
    ];
    let answers: Vec<&[&str]> = (0..DELIVERIES).map(|number| kinds[number % kinds.len()]).collect();
    let lookup = ScriptedLookup::new(&answers);
    let client = WebhookClient::with_lookup(open_to(&receiver), lookup.clone()).expect("a sound config");
    for number in 0..DELIVERIES {
        let answer = post(&client, &format!("http://shop{number}.example:{}/", receiver.port())).await;
        assert!(matches!(answer, Err(EgressError::Unreachable { .. })), "{number}: {answer:?}");
    }
    assert_eq!((lookup.asked(), receiver.connections().await), (DELIVERIES, 0));
}

/// A name service that tells the truth to the judge and lies to the connector would need two questions; there is only one.
#[tokio::test]
async fn a_name_that_changes_its_address_never_reaches_the_other_one() {
    const ROUNDS: usize = 1_000;
    let forbidden = Receiver::start_at("127.0.0.1:0", Reply::ok()).await;
    let port = forbidden.port();
    let closing = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    let allowed = Receiver::start_at(&format!("127.0.0.2:{port}"), Reply::text(closing)).await;
    let (good, bad): (&[&str], &[&str]) = (&["127.0.0.2"], &["127.0.0.1"]);
    let answers: Vec<&[&str]> = (0..ROUNDS).map(|round| if round % 2 == 0 { good } else { bad }).collect();
    let lookup = ScriptedLookup::new(&answers);
    let client = WebhookClient::with_lookup(allowing(&["127.0.0.2/32"]), lookup.clone()).expect("a sound config");
    let mut delivered = 0_usize;
    for _ in 0..ROUNDS {
        delivered =
            delivered.saturating_add(post(&client, &format!("http://shop.example:{port}/")).await.is_ok().into());
    }
    assert_eq!((delivered, lookup.asked()), (ROUNDS / 2, ROUNDS));
    assert_eq!(allowed.connections().await, ROUNDS / 2);
    assert_eq!(forbidden.connections().await, 0);
}

#[tokio::test]
async fn redirects_are_answers_and_nobody_follows_them() {
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let aim = Receiver::start(Reply::ok()).await;
        let reply = format!("HTTP/1.1 {status}\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n", aim.address);
        let answer = exchange(Reply::text(&reply)).await.expect("an answer");
        assert_eq!(answer.status.to_string(), status.get(..3).unwrap_or_default());
        assert_eq!(aim.connections().await, 0, "{status}");
    }
}

#[tokio::test]
async fn no_cookie_comes_back() {
    let receiver =
        Receiver::start(Reply::text("HTTP/1.1 200 OK\r\nset-cookie: a=b; path=/\r\ncontent-length: 0\r\n\r\n")).await;
    let client = WebhookClient::new(allowing(&["127.0.0.0/8"])).expect("a sound config");
    for _ in 0..2 {
        post(&client, &format!("http://{}/", receiver.address)).await.expect("an answer");
    }
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| !request.contains("cookie")), "{requests:?}");
}

/// Runs a test of this file again in a process whose environment names a proxy, at a port where nobody listens.
#[test]
fn proxies_of_the_environment_are_ignored() {
    let mut child = Command::new(std::env::current_exe().expect("the path of the tests"));
    child.args(["--exact", "guard::a_named_network_is_reached"]);
    for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(variable, "http://127.0.0.1:9");
    }
    child.env_remove("NO_PROXY").env_remove("no_proxy");
    let output = child.output().expect("the tests run again");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn failures_tell_nothing_about_our_network() {
    let plain = Receiver::start(Reply::ok()).await;
    let lookup = ScriptedLookup::new(&[&["127.0.0.1"]]);
    let client = WebhookClient::with_lookup(allowing(&["127.0.0.0/8"]), lookup).expect("a sound config");
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let refusing = unused.local_addr().expect("bound").port();
    drop(unused);
    for url in [
        format!("http://internal.example:{refusing}/"),
        format!("https://internal.example:{}/", plain.port()), // no TLS there
    ] {
        let error = post(&client, &url).await.expect_err("no answer").to_string();
        assert!(!error.contains("127.0.0") && !error.contains("internal"), "{error}");
    }
}
