//! The address that a key's IP list is compared with, behind proxies. The walk itself has its table beside the code.

use xthonpay_domain::access::Scope;

use crate::world::World;

#[tokio::test]
async fn ip_lists_see_the_client_and_not_the_proxy() {
    let world = World::with(|api| api.config.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")]);
    let merchant = world.merchant().await;
    let key = world
        .key_with(&merchant, &[Scope::Read], |key| key.ip_list = vec!["203.0.113.0/24".parse().expect("a network")])
        .await;
    let table = [
        ("203.0.113.5", None, 200),
        ("::ffff:203.0.113.5", None, 200),
        ("198.51.100.7", None, 403),
        ("198.51.100.7", Some("203.0.113.5"), 403),
        ("10.0.0.1", None, 403),
        ("10.0.0.1", Some("203.0.113.5"), 200),
        ("10.0.0.1", Some("203.0.113.5, 10.0.0.2"), 200),
        ("10.0.0.1", Some("203.0.113.5, 198.51.100.7"), 403),
        ("::ffff:10.0.0.1", Some("::ffff:203.0.113.5"), 200),
        ("10.0.0.1", Some("unknown"), 400),
        ("198.51.100.7", Some("unknown"), 403),
    ];
    for (peer, forwarded, status) in table {
        let mut ask = world.signed(&key, "GET", "/v1/balance", "").at_peer(peer).with("x-real-ip", "203.0.113.5");
        if let Some(forwarded) = forwarded {
            ask = ask.with("x-forwarded-for", forwarded);
        }
        let reply = world.send(ask).await;
        assert_eq!(reply.status, status, "{peer} {forwarded:?}");
        if status == 400 {
            assert_eq!(reply.outcome(), (400, "INVALID_REQUEST", "X-Forwarded-For"));
        }
    }
}
