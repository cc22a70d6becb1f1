//! The least of HTTP/1.1 that a load generator needs: one connection, one request after the other.
//!
//! A full client would take a good part of the processor that the host under load needs. This one knows answers with a
//! `content-length`, which are all that the API gives, and refuses everything else.

use core::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use xthonpay_tests::BoxError;

/// Bytes of an answer that are accepted. An invoice takes about one KiB.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;
/// What is read at once: more than any answer here.
const READ_BYTES: usize = 8 * 1_024;

/// An answer, as long as no other is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
}

/// An answer's head, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Where the body begins.
    body_at: usize,
    body_bytes: usize,
}

/// A connection that is kept.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Result<Self, BoxError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(READ_BYTES) })
    }

    /// Sends a whole request and reads its whole answer.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>, BoxError> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            self.read().await?;
            if let Some(head) = head(&self.buffer)? {
                break head;
            }
        };
        let end = head.body_at.saturating_add(head.body_bytes);
        while self.buffer.len() < end {
            self.read().await?;
        }
        let body = self.buffer.get(head.body_at..end).filter(|_| self.buffer.len() == end);
        let body = body.ok_or("the host says more than it was asked")?;
        Ok(Answer { status: head.status, body })
    }

    async fn read(&mut self) -> Result<(), BoxError> {
        if self.buffer.len() > ANSWER_BYTES_MAX {
            return Err(format!("an answer of more than {ANSWER_BYTES_MAX} bytes").into());
        }
        self.buffer.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err("the host closed a connection that was in use".into()),
            _ => Ok(()),
        }
    }
}

/// The head of the answer that `bytes` begin with, or `None` while it is not complete.
fn head(bytes: &[u8]) -> Result<Option<Head>, BoxError> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(bytes.get(..end).unwrap_or_default())?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).and_then(|line| line.get(..3));
    let status = status.and_then(|status| status.parse().ok());
    let mut headers = lines.filter_map(|line| line.split_once(':'));
    let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let body_bytes = length.and_then(|(_, value)| value.trim().parse().ok());
    match (status, body_bytes) {
        (Some(status), Some(body_bytes)) => Ok(Some(Head { status, body_at: end.saturating_add(4), body_bytes })),
        _ => Err(format!("an answer without status or length: {text}").into()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn reads_a_head_when_it_is_complete() {
        let answer = b"HTTP/1.1 201 Created\r\nX-A: b\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(
            head(answer).expect("well formed"),
            Some(Head { status: 201, body_at: answer.len() - 3, body_bytes: 3 })
        );
        assert_eq!(head(&answer[..40]).expect("the beginning"), None);
        for bad in [
            "HTTP/1.1 201 Created\r\n\r\n",
            "HTTP/2 200\r\ncontent-length: 0\r\n\r\n",
            "x\r\ncontent-length: 0\r\n\r\n",
        ] {
            assert!(head(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn an_answer_may_come_in_pieces_and_the_connection_is_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            for body in ["one", "three"] {
                let mut request = [0; 4];
                stream.read_exact(&mut request).await.expect("a request");
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                for piece in answer.as_bytes().chunks(7) {
                    stream.write_all(piece).await.expect("the client reads");
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut connection = Connection::open(address).await.expect("a connection");
        for body in ["one", "three"] {
            let answer = connection.exchange(b"GET1").await.expect("an answer");
            assert_eq!(answer, Answer { status: 200, body: body.as_bytes() });
        }
        server.await.expect("the server ends");
        let error = connection.exchange(b"GET1").await.expect_err("nobody is there").to_string();
        assert!(!error.is_empty());
    }
}
