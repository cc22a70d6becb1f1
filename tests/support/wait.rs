//! Waiting for something to happen, with a limit and with what was seen last in the message.
//!
//! Nothing here sleeps for a guessed time: every wait looks again at short intervals.

use core::ops::ControlFlow;
use core::time::Duration;

use tokio::time::Instant;

use crate::BoxError;

/// How often a wait looks. Short against the 450 ms of a block, long against a call to the host.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Looks until `look` breaks with a value. While it continues, it says what it saw instead.
///
/// # Errors
/// The first error of `look`, or, after `limit`, a text with `what` was awaited and what was seen last.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<ControlFlow<T, String>, BoxError>,
) -> Result<T, BoxError> {
    let started = Instant::now();
    loop {
        let seen = match look().await? {
            ControlFlow::Break(value) => return Ok(value),
            ControlFlow::Continue(seen) => seen,
        };
        if started.elapsed() >= limit {
            return Err(format!("waited {limit:?} for {what}; last seen: {seen}").into());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_the_value_or_tells_what_was_seen_last() {
        let mut looks = 0;
        let counted = until("three looks", Duration::from_secs(5), async || {
            looks += 1;
            Ok(if looks == 3 { ControlFlow::Break(looks) } else { ControlFlow::Continue(format!("{looks} looks")) })
        });
        assert_eq!(counted.await.expect("comes true"), 3);

        let never =
            until("rain", Duration::from_millis(30), async || Ok(ControlFlow::<(), _>::Continue("sun".to_owned())));
        let message = never.await.expect_err("never comes true").to_string();
        assert!(message.contains("rain") && message.contains("sun"), "{message}");
    }
}
