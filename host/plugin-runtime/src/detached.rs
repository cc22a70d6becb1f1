//! Work that whoever waits for it carries out, and that goes on by itself when nobody waits any more.
//!
//! A guest must never be dropped in the middle of its work, and a caller may give up at any time. A task for every call would
//! settle that, at the price of waking another thread for work that is done in the time that this takes. So the caller polls
//! the work itself, and only what is left when the caller goes becomes a task.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::Handle;

/// The work ended in a panic, which the panic hook has reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Work that is never dropped between its beginning and its end, unless the runtime shuts down.
pub(crate) struct Undroppable<R: Send + 'static> {
    /// `None` when it has ended.
    work: Option<Pin<Box<dyn Future<Output = R> + Send>>>,
    begun: bool,
    /// Where the rest goes on.
    runtime: Handle,
}

impl<R: Send + 'static> Undroppable<R> {
    /// Wraps work that has not begun. Has to be called inside a tokio runtime.
    pub(crate) fn new(work: impl Future<Output = R> + Send + 'static) -> Self {
        Self { work: Some(Box::pin(work)), begun: false, runtime: Handle::current() }
    }
}

impl<R: Send + 'static> Future for Undroppable<R> {
    type Output = Result<R, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.begun = true;
        let Some(work) = self.work.as_mut() else { return Poll::Ready(Err(Panicked)) };
        // Nothing of the work is looked at again after a panic.
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        let ended = match polled {
            Ok(polled) => Ok(ready!(polled)),
            Err(_) => Err(Panicked),
        };
        self.work = None;
        Poll::Ready(ended)
    }
}

impl<R: Send + 'static> Drop for Undroppable<R> {
    fn drop(&mut self) {
        if let Some(rest) = self.work.take().filter(|_| self.begun) {
            drop(self.runtime.spawn(async move { drop(rest.await) }));
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::{Notify, oneshot};
    use tokio::time::timeout;

    use super::*;

    /// Only ever waited for in full when a test fails.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn the_rest_goes_on_when_the_caller_goes() {
        let (go_on, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (wait, tell) = (Arc::clone(&go_on), Arc::clone(&done));
        let work = Undroppable::new(async move {
            wait.notified().await;
            tell.notify_one();
        });
        assert!(timeout(Duration::from_millis(1), work).await.is_err(), "it waits to be told");
        go_on.notify_one();
        timeout(PATIENCE, done.notified()).await.expect("it went on without its caller");
    }

    #[tokio::test]
    async fn what_has_not_begun_never_begins() {
        let begun = Arc::new(AtomicUsize::new(0));
        let (count, (held, dropped)) = (Arc::clone(&begun), oneshot::channel::<()>());
        drop(Undroppable::new(async move {
            let _held = held;
            count.fetch_add(1, Ordering::SeqCst);
        }));
        timeout(PATIENCE, dropped).await.expect("it is gone").expect_err("with what it held");
        assert_eq!(begun.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn an_answer_comes_without_a_task() {
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let counted = Undroppable::new(async move { tasks() }).await;
        assert_eq!(counted, Ok(before));
        assert_eq!(Handle::current().metrics().num_alive_tasks(), before);
    }

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let work = Undroppable::new(async {
            tokio::task::yield_now().await;
            // As a defect of ours would.
            "none".parse::<u8>().expect("a defect")
        });
        assert_eq!(work.await, Err(Panicked));
    }
}
