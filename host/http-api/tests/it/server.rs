//! Connections over real sockets: how much they may send, how slow they may be, and how they end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use xthonpay_domain::access::Scope;
use xthonpay_http_api::{ServerLimits, serve};

use crate::doubles::Mood;
use crate::world::{Ask, World};

/// Short limits, so that the tests do not wait for long.
const LIMITS: ServerLimits = ServerLimits {
    connections_max: 64,
    head_time_max: Duration::from_millis(300),
    write_stall_max: Duration::from_millis(300),
    drain_time_max: Duration::from_millis(600),
};
/// When something counts as never happening.
const LATEST: Duration = Duration::from_secs(10);
const TIME: &str = "GET /v1/time HTTP/1.1\r\nhost: a\r\n\r\n";

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    ended: JoinHandle<io::Result<()>>,
}

impl Server {
    async fn start(router: Router, limits: ServerLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a local port");
        let address = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let ended = tokio::spawn(serve(listener, router, limits, stop.clone()));
        Self { address, stop, ended }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    async fn stopped(self) {
        tokio::time::timeout(LATEST, self.ended).await.expect("in time").expect("no panic").expect("no failure");
    }
}

fn world() -> World {
    World::with(|api| api.config.body_time_max = Duration::from_millis(300))
}

async fn write(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("the other side reads");
}

/// What comes back until the other side closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let reading = async {
        // A reset ends a connection as well.
        let _ = stream.read_to_end(&mut bytes).await;
    };
    tokio::time::timeout(LATEST, reading).await.expect("the other side closes");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One answer with its body, by its declared length.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    loop {
        let mut chunk = [0; 4096];
        let read = tokio::time::timeout(LATEST, stream.read(&mut chunk)).await.expect("in time").expect("an answer");
        assert!(read > 0, "the other side closed after: {text}");
        text.push_str(&String::from_utf8_lossy(&chunk[..read]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        if body.len() >= length.parse().expect("a number") {
            return text;
        }
    }
}

/// A signed request as bytes.
fn wire(ask: &Ask) -> String {
    let headers: String =
        ask.headers.iter().map(|(name, value)| format!("{name}: {}\r\n", String::from_utf8_lossy(value))).collect();
    let body = String::from_utf8_lossy(&ask.body);
    format!(
        "{} {} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        ask.method,
        ask.target,
        body.len()
    )
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let world = world();
    let key = world.key(&[Scope::Read, Scope::Write]).await;
    let server = Server::start(world.router.clone(), LIMITS).await;
    let mut stream = server.connect().await;
    for number in 1..4 {
        let ask = world.signed(&key, "POST", "/v1/invoices", &format!(r#"{{"amount":"{number}"}}"#));
        write(&mut stream, &wire(&ask)).await;
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 201"), "{number}");
    }
    write(&mut stream, &TIME.repeat(2)).await;
    write(&mut stream, "GET /v1/time HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert_eq!(rest(&mut stream).await.matches("HTTP/1.1 200 OK").count(), 3, "pipelined");
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused() {
    let server = Server::start(world().router.clone(), LIMITS).await;
    let post = "POST /v1/invoices HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    let exact = "x".repeat(64 * 1024);
    for (name, request, status) in [
        ("declared", format!("{post}content-length: 65537\r\n\r\n"), "413"),
        ("declared beyond reason", format!("{post}content-length: 9999999999\r\n\r\n"), "413"),
        ("in pieces", format!("{post}transfer-encoding: chunked\r\n\r\n10001\r\n{exact}x\r\n0\r\n\r\n"), "413"),
        ("just small enough", format!("{post}content-length: 65536\r\n\r\n{exact}"), "401"),
        (
            "just small enough, in pieces",
            format!("{post}transfer-encoding: chunked\r\n\r\n10000\r\n{exact}\r\n0\r\n\r\n"),
            "401",
        ),
    ] {
        let mut stream = server.connect().await;
        // The server may answer and close before it has everything.
        let _ = stream.write_all(request.as_bytes()).await;
        let text = answer(&mut stream).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{name}: {text}");
        if status == "413" {
            assert!(text.contains(r#""code":"BODY_TOO_LARGE""#), "{name}: {text}");
        }
    }
}

#[tokio::test]
async fn slow_bodies_are_refused_in_time() {
    let server = Server::start(world().router.clone(), LIMITS).await;
    for first in ["", "{\"amount\":"] {
        let mut stream = server.connect().await;
        let started = Instant::now();
        write(&mut stream, &format!("POST /v1/invoices HTTP/1.1\r\nhost: a\r\ncontent-length: 400\r\n\r\n{first}"))
            .await;
        let text = answer(&mut stream).await;
        assert!(text.starts_with("HTTP/1.1 408") && text.contains(r#""code":"REQUEST_TIMEOUT""#), "{text}");
        assert!(started.elapsed() < LATEST);
    }
    let mut drip = server.connect().await;
    write(&mut drip, "POST /v1/invoices HTTP/1.1\r\nhost: a\r\ncontent-length: 400\r\n\r\n").await;
    let dripping = async {
        while drip.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(LATEST, dripping).await.is_ok(), "the server ends it");
}

#[tokio::test]
async fn slow_heads_and_idle_connections_are_closed() {
    let server = Server::start(world().router.clone(), LIMITS).await;
    for (name, sent) in
        [("nothing", ""), ("half a head", "GET /v1/time HTTP/1.1\r\nhost: a\r\nx-a"), ("one request", TIME)]
    {
        let mut stream = server.connect().await;
        let started = Instant::now();
        write(&mut stream, sent).await;
        rest(&mut stream).await;
        assert!(started.elapsed() >= LIMITS.head_time_max, "{name}: not before its time");
        assert!(started.elapsed() < LATEST, "{name}");
    }
}

#[tokio::test]
async fn heads_that_are_too_large_or_no_http_are_refused() {
    let server = Server::start(world().router.clone(), LIMITS).await;
    let many = (0..100).map(|number| format!("x-{number}: a\r\n")).collect::<String>();
    for (name, request, status) in [
        (
            "one header too long",
            format!("GET /v1/time HTTP/1.1\r\nhost: a\r\nx-a: {}\r\n\r\n", "y".repeat(100_000)),
            "431",
        ),
        ("too many headers", format!("GET /v1/time HTTP/1.1\r\nhost: a\r\n{many}\r\n"), "431"),
        ("a path too long", format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "y".repeat(70_000)), "4"),
        ("a folded header", "GET /v1/time HTTP/1.1\r\nhost: a\r\nx-a: b\r\n c\r\n\r\n".to_owned(), "400"),
        ("a space before the colon", "GET /v1/time HTTP/1.1\r\nhost : a\r\n\r\n".to_owned(), "400"),
        (
            "two lengths",
            "POST /v1/invoices HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx".to_owned(),
            "400",
        ),
        ("a negative length", "POST /v1/invoices HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n".to_owned(), "400"),
        ("nonsense", "hello\r\n\r\n".to_owned(), "400"),
        ("TLS", "\u{16}\u{3}\u{1}\0\r\n\r\n".to_owned(), "400"),
    ] {
        let mut stream = server.connect().await;
        let _ = stream.write_all(request.as_bytes()).await;
        let text = rest(&mut stream).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{name}: {text}");
    }
}

/// Most clients send their whole body before they read. Bytes that nobody reads must not turn the answer into a reset.
#[tokio::test]
async fn the_answer_to_a_body_that_is_too_large_reaches_who_is_sending_it() {
    let server = Server::start(world().router.clone(), LIMITS).await;
    let body = vec![b'x'; 1_000_000];
    for declared in ["content-length: 1000000\r\n\r\n", "transfer-encoding: chunked\r\n\r\nF4240\r\n"] {
        for _ in 0..20 {
            let mut stream = server.connect().await;
            let head = format!("POST /v1/invoices HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{declared}");
            write(&mut stream, &head).await;
            for piece in body.chunks(10_000) {
                stream.write_all(piece).await.expect("the other side reads on");
                tokio::task::yield_now().await;
            }
            let text = rest(&mut stream).await;
            assert!(text.starts_with("HTTP/1.1 413") && text.contains("BODY_TOO_LARGE"), "{text}");
        }
    }
}

#[tokio::test]
async fn listening_on_after_the_last_word_ends_too() {
    let server = Server::start(world().router.clone(), ServerLimits { connections_max: 1, ..LIMITS }).await;
    let post = "POST /v1/invoices HTTP/1.1\r\nhost: a\r\ncontent-length: 9999999999\r\n\r\n";
    let mut silent = server.connect().await;
    write(&mut silent, post).await;
    assert!(rest(&mut silent).await.starts_with("HTTP/1.1 413"));
    // The only place is taken while it stays, for a moment.
    let mut endless = server.connect().await;
    write(&mut endless, post).await;
    let started = Instant::now();
    while endless.write_all(&[b'x'; 10_000]).await.is_ok() {
        assert!(started.elapsed() < LATEST, "cut off");
    }
    let mut next = server.connect().await;
    write(&mut next, TIME).await;
    assert!(answer(&mut next).await.contains("200 OK"));
    drop(silent);
}

#[tokio::test]
async fn a_client_that_reads_nothing_loses_its_connection() {
    let huge = Router::new().route("/", get(async || vec![b'x'; 64 * 1024 * 1024]));
    let server = Server::start(huge, ServerLimits { connections_max: 1, ..LIMITS }).await;
    let mut deaf = server.connect().await;
    write(&mut deaf, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    // The only place is taken until the server gives up on the deaf one.
    let mut next = server.connect().await;
    write(&mut next, "HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(rest(&mut next).await.starts_with("HTTP/1.1 200"));
    drop(deaf);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let server = Server::start(world().router.clone(), ServerLimits { connections_max: 1, ..LIMITS }).await;
    let mut first = server.connect().await;
    write(&mut first, TIME).await;
    answer(&mut first).await;
    let mut second = server.connect().await;
    write(&mut second, TIME).await;
    let early = tokio::time::timeout(Duration::from_millis(100), second.read_u8()).await;
    assert!(early.is_err(), "not served while the first is there");
    drop(first);
    assert!(answer(&mut second).await.contains("200 OK"));
}

#[tokio::test]
async fn a_client_that_hangs_up_early_harms_nobody() {
    let world = world();
    let key = world.key(&[Scope::Read, Scope::Write]).await;
    let server = Server::start(world.router.clone(), LIMITS).await;
    for number in 1..20 {
        let ask = world.signed(&key, "POST", "/v1/invoices", &format!(r#"{{"amount":"{number}"}}"#));
        write(&mut server.connect().await, &wire(&ask)).await;
    }
    let mut stream = server.connect().await;
    write(&mut stream, TIME).await;
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_stop_answers_what_is_under_way_and_accepts_nothing_new() {
    let world = World::with(|api| api.config.request_time_max = Duration::from_millis(300));
    let key = world.key(&[Scope::Read, Scope::Write]).await;
    world.hooks.set(Mood::Hang);
    // Nothing but the stop ends a connection here.
    let limits = ServerLimits { head_time_max: LATEST * 10, drain_time_max: LATEST * 10, ..LIMITS };
    let server = Server::start(world.router.clone(), limits).await;
    let mut silent = server.connect().await;
    let mut idle = server.connect().await;
    write(&mut idle, TIME).await;
    answer(&mut idle).await;
    let mut busy = server.connect().await;
    write(&mut busy, &wire(&world.signed(&key, "POST", "/v1/invoices", r#"{"amount":"1"}"#))).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.stop.cancel();
    assert_eq!(rest(&mut idle).await, "", "idle connections are closed");
    assert_eq!(rest(&mut silent).await, "", "and those that never asked anything");
    let text = rest(&mut busy).await;
    assert!(text.starts_with("HTTP/1.1 503"), "{text}");
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
    server.stopped().await;
}

#[tokio::test]
async fn the_stop_does_not_wait_for_ever() {
    let world = world();
    let key = world.key(&[Scope::Read, Scope::Write]).await;
    world.hooks.set(Mood::Hang);
    let server = Server::start(world.router.clone(), LIMITS).await;
    let mut busy = server.connect().await;
    write(&mut busy, &wire(&world.signed(&key, "POST", "/v1/invoices", r#"{"amount":"1"}"#))).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let started = Instant::now();
    server.stop.cancel();
    server.stopped().await;
    assert!(started.elapsed() >= LIMITS.drain_time_max && started.elapsed() < LATEST);
    assert_eq!(rest(&mut busy).await, "");
}
