//! A stream that listens on for a moment after its last word.
//!
//! A system that closes a connection on which bytes have come that nobody read tells the other side with a reset, and that
//! throws away what the other side has not read yet: the answer to a body that is too large would often be lost. So the end of
//! our side is sent first, and what still comes is read and dropped for a while.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Bytes that are dropped at most: a client that sends more than that after our end does not mean well.
const DROPPED_BYTES_MAX: usize = 1024 * 1024;
/// How long listening goes on. Most clients close at once; the others hold their place among the connections that long.
const LINGER_MAX: Duration = Duration::from_secs(1);
/// Bytes that are read at once; they live on the stack of the connection.
const CHUNK_BYTES: usize = 4 * 1024;

/// Wraps a stream; reading and writing are passed through.
pub(super) struct Lingering<S> {
    stream: S,
    end: Option<End>,
}

/// Our side has ended.
struct End {
    patience: Pin<Box<Sleep>>,
    dropped: usize,
}

impl<S> Lingering<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, end: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, end } = &mut *self;
        if end.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
        }
        let end = end.get_or_insert_with(|| End { patience: Box::pin(sleep(LINGER_MAX)), dropped: 0 });
        let mut chunk = [0; CHUNK_BYTES];
        while end.dropped < DROPPED_BYTES_MAX && end.patience.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut chunk);
            match ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    end.dropped = end.dropped.saturating_add(buffer.filled().len())
                }
                // The other side has ended too, or is gone.
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
