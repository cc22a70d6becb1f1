//! Answers of every kind cost no more time and bytes than agreed.

use std::time::Duration;

use tokio::time::Instant;
use xthonpay_egress::{EgressConfig, WebhookClient};
use xthonpay_payments::port::egress::EgressError;

use crate::receiver::{Receiver, Reply, allowing, exchange, post};

/// Above the client's limit of 600 ms, with room for a busy machine.
const LATEST: Duration = Duration::from_secs(5);

fn status(line: &str) -> Reply {
    Reply::text(&format!("HTTP/1.1 {line}\r\ncontent-length: 4\r\n\r\nbody"))
}

#[tokio::test]
async fn every_status_is_an_answer() {
    for line in
        ["200 OK", "299 x", "301 x", "401 x", "404 x", "410 Gone", "413 x", "429 x", "500 x", "503 x", "599 x", "999 x"]
    {
        let answer = exchange(status(line)).await.expect("an answer");
        assert_eq!(answer.status.to_string(), line.get(..3).unwrap_or_default());
        assert_eq!(answer.excerpt, "body", "{line}");
    }
    let empty = exchange(Reply::text("HTTP/1.1 204 No Content\r\n\r\n")).await.expect("an answer");
    assert_eq!((empty.status, empty.excerpt.as_str()), (204, ""));
}

#[tokio::test]
async fn retry_after_is_passed_on() {
    let reply = "HTTP/1.1 429 x\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(exchange(Reply::text(reply)).await.expect("an answer").retry_after, Some(Duration::from_secs(30)));
    let reply = "HTTP/1.1 503 x\r\nretry-after: soon\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(exchange(Reply::text(reply)).await.expect("an answer").retry_after, None);
}

#[tokio::test]
async fn a_huge_body_is_cut_and_not_read_to_its_end() {
    let endless = Reply::Endless(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec(), vec![b'x'; 8_192]);
    let answer = exchange(endless).await.expect("an answer");
    assert_eq!((answer.status, answer.excerpt.len()), (200, 1_024));
    let declared = Reply::Endless(b"HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n".to_vec(), vec![b'y'; 8_192]);
    let answer = exchange(declared).await.expect("an answer");
    assert_eq!((answer.status, answer.excerpt.len()), (200, 1_024));
}

#[tokio::test]
async fn a_compressed_body_is_not_unfolded() {
    let reply = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nzzzz";
    assert_eq!(exchange(Reply::text(reply)).await.expect("an answer").excerpt, "zzzz");
}

#[tokio::test]
async fn slow_and_hanging_receivers_are_left_in_time() {
    let replies = [
        ("silent", Reply::Stall(Vec::new())),
        ("half a head", Reply::Stall(b"HTTP/1.1 200 OK\r\nx-a".to_vec())),
        ("a head without its body", Reply::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbo".to_vec())),
        ("one byte at a time", Reply::Drip(format!("HTTP/1.1 200 OK\r\nx-a: {}", "y".repeat(1_000)).into_bytes())),
        ("interim answers without end", Reply::Endless(Vec::new(), b"HTTP/1.1 103 x\r\n\r\n".to_vec())),
    ];
    for (name, reply) in replies {
        let started = Instant::now();
        let answer = exchange(reply).await;
        assert!(matches!(answer, Err(EgressError::Unreachable { .. })), "{name}: {answer:?}");
        assert!(started.elapsed() < LATEST, "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_or_breaks_off_is_none() {
    let replies = [
        ("nothing", Reply::text("")),
        ("HTTP/0.9", Reply::text("hello\r\n")),
        ("half a status line", Reply::text("HTTP/1.1 2")),
        ("half a body", Reply::text("HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\nbo")),
        (
            "headers without end",
            Reply::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"x-a: yyyyyyyyyyyyyyyyyyyy\r\n".to_vec()),
        ),
        ("one header without end", Reply::Endless(b"HTTP/1.1 200 OK\r\nx-a: ".to_vec(), vec![b'y'; 8_192])),
        ("a broken chunk", Reply::text("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")),
    ];
    for (name, reply) in replies {
        let answer = exchange(reply).await;
        assert!(matches!(answer, Err(EgressError::Unreachable { .. })), "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn tls_that_never_comes_is_left_in_time() {
    let receiver = Receiver::start(Reply::Stall(Vec::new())).await;
    let client = WebhookClient::new(allowing(&["127.0.0.0/8"])).expect("a sound config");
    let started = Instant::now();
    let answer = post(&client, &format!("https://{}/", receiver.address)).await;
    assert!(matches!(answer, Err(EgressError::Unreachable { .. })), "{answer:?}");
    assert!(started.elapsed() < LATEST);
    assert_eq!(receiver.connections().await, 1);
}

#[tokio::test]
async fn fifty_hanging_receivers_do_not_delay_a_healthy_one() {
    let hanging = Receiver::start(Reply::Stall(Vec::new())).await;
    let healthy = Receiver::start(Reply::ok()).await;
    let config = EgressConfig { total_timeout: Duration::from_secs(20), ..allowing(&["127.0.0.0/8"]) };
    let client = WebhookClient::new(config).expect("a sound config");
    let mut stuck = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (client, url) = (client.clone(), format!("http://{}/", hanging.address));
        stuck.spawn(async move { post(&client, &url).await });
    }
    while hanging.requests().len() < 50 {
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        let answer = post(&client, &format!("http://{}/", healthy.address)).await.expect("an answer");
        assert!(answer.latency < Duration::from_secs(2), "{:?}", answer.latency);
    }
    stuck.abort_all();
}
