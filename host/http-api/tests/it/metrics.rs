//! What monitoring reads, and who may.

use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use http::Request;
use tower::ServiceExt as _;
use xthonpay_payments::scanning::status::SharedStatus;

use crate::world::{Ask, World};

/// The metrics as an agent on the same machine reads them; they are text, not JSON.
pub(crate) async fn scrape(world: &World) -> (u16, String) {
    let peer = ConnectInfo::<SocketAddr>("[::ffff:127.0.0.1]:50000".parse().expect("an address"));
    let request = Request::get("/metrics").extension(peer).body(Body::empty()).expect("a request");
    let response = world.router.clone().oneshot(request).await.expect("routers do not fail");
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body in memory");
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

#[tokio::test]
async fn metrics_tell_of_requests_and_chains() {
    let status = SharedStatus::new("bsc".parse().expect("a name"));
    let world = World::with(|api| api.chains.push(status));
    world.send(Ask::new("GET", "/healthz", "")).await;
    world.send(Ask::new("GET", "/inv_0123", "")).await;
    let (status, text) = scrape(&world).await;
    assert_eq!(status, 200, "the machine itself may read them");
    for line in [
        r#"xthonpay_http_requests_total{method="GET",route="/healthz",status="200"} 1"#,
        r#"xthonpay_http_requests_total{method="GET",route="-",status="404"} 1"#,
        r#"xthonpay_http_request_duration_seconds_count{route="/healthz"} 1"#,
        r#"xthonpay_chain_running{chain="bsc"} 0"#,
        r#"xthonpay_chain_frozen{chain="bsc"} 0"#,
        "xthonpay_watched_addresses 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("inv_0123"), "nothing that a stranger chose becomes a label");
    assert!(!text.contains("xthonpay_chain_tip_block{"), "what is not known yet is absent, not zero");
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn to_strangers_the_metrics_do_not_exist() {
    let world = World::new();
    assert_eq!(world.send(Ask::new("GET", "/metrics", "")).await.outcome(), (404, "NOT_FOUND", ""));
}
