//! Faults of the connection: no answer, half of one, far too much of one.

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse as _, Response};
use core::time::Duration;
use flate2::{Compress, Compression, FlushCompress};
use futures::{StreamExt as _, stream};
use tokio::time::sleep;

use super::fault::Fault;

/// What a client must not take in: sixteen times the largest sound answer.
const HUGE_BYTES: usize = 512 * 1024 * 1024;
const CHUNK_BYTES: usize = 64 * 1024;

/// The method is deflate; no name, no time, no system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Long enough for the first half to be on its way.
const BREAK_AFTER: Duration = Duration::from_millis(20);

const PAGE: &str = "<!doctype html><html><head><title>Service</title></head><body><h1>Please wait</h1></body></html>";

type Pieces = stream::BoxStream<'static, Result<Bytes, std::io::Error>>;

/// The answer in place of the node's own, if a fault gives one. Does not return while the node hangs.
pub(super) async fn instead(faults: &[Fault]) -> Option<Response> {
    for fault in faults {
        match fault {
            // The client gives up, and the server then drops this.
            Fault::Hanging => core::future::pending::<()>().await,
            Fault::Refusing => return Some(body(stream::iter([Err(broken())]).boxed())),
            Fault::Status(status) => return Some(refused(*status)),
            Fault::Html => return Some(([(CONTENT_TYPE, "text/html")], PAGE).into_response()),
            Fault::Huge => return Some(body(blanks().map(Ok).boxed())),
            Fault::GzipBomb => return Some(bomb()),
            _ => {}
        }
    }
    None
}

/// Sends the answer, or what the faults leave of it.
pub(super) fn send(faults: &[Fault], mut answer: Bytes) -> Response {
    let half = answer.len() / 2;
    for fault in faults {
        match fault {
            Fault::Truncated => answer.truncate(half),
            Fault::Broken => {
                let start = answer.slice(..half);
                let end = stream::once(async {
                    sleep(BREAK_AFTER).await;
                    Err(broken())
                });
                return body(stream::iter([Ok(start)]).chain(end).boxed());
            }
            Fault::Dripping(pause) => return body(drip(answer, *pause)),
            _ => {}
        }
    }
    ([(CONTENT_TYPE, "application/json")], answer).into_response()
}

pub(super) fn bad_gateway() -> Response {
    StatusCode::BAD_GATEWAY.into_response()
}

fn refused(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(RETRY_AFTER, "1")], "").into_response()
}

fn body(pieces: Pieces) -> Response {
    ([(CONTENT_TYPE, "application/json")], Body::from_stream(pieces)).into_response()
}

fn broken() -> std::io::Error {
    std::io::ErrorKind::ConnectionReset.into()
}

fn drip(answer: Bytes, pause: Duration) -> Pieces {
    let bytes = stream::unfold(answer, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        sleep(pause).await;
        let byte = rest.split_to(1);
        Some((Ok(byte), rest))
    });
    bytes.boxed()
}

/// Space, which JSON allows before a value: a reader without a limit takes it all in.
fn blanks() -> impl stream::Stream<Item = Bytes> + Send + 'static {
    let chunk = Bytes::from(vec![b' '; CHUNK_BYTES]);
    stream::iter(core::iter::repeat_n(chunk, HUGE_BYTES / CHUNK_BYTES))
}

/// One piece of compressed blanks, many times. It ends on a byte and refers to nothing before it, so it may be repeated.
fn bomb() -> Response {
    let chunk = vec![b' '; CHUNK_BYTES];
    let mut piece = Vec::with_capacity(CHUNK_BYTES);
    let packed = Compress::new(Compression::best(), false).compress_vec(&chunk, &mut piece, FlushCompress::Full);
    if packed.is_err() {
        return bad_gateway();
    }
    // A reader that comes to the missing end has taken everything in.
    let body = [GZIP_HEADER.to_vec(), piece.repeat(HUGE_BYTES / CHUNK_BYTES)].concat();
    ([(CONTENT_TYPE, "application/json"), (CONTENT_ENCODING, "gzip")], body).into_response()
}
