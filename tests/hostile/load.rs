//! The victim's requests: without a pause, and timed.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use xthonpay_tests::BoxError;
use xthonpay_tests::client::MerchantClient;

/// Clients of the victim.
const CLIENTS: usize = 4;

/// The pause of a client between an answer and its next request: the host shall be in use, not at its limit, where any other work
/// would show.
const PAUSE: Duration = Duration::from_millis(10);

/// Requests under way, with their times.
pub(crate) struct Victim {
    times: Arc<Mutex<Vec<Duration>>>,
    clients: Vec<JoinHandle<Result<(), BoxError>>>,
}

impl Victim {
    pub(crate) fn begin(client: &Arc<MerchantClient>, invoice: &str) -> Self {
        let times: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let paths = ["/balance".to_owned(), format!("/invoices/{invoice}")];
        let clients = (0..CLIENTS).map(|number| {
            let (client, times) = (Arc::clone(client), Arc::clone(&times));
            let path = paths.get(number % paths.len()).cloned().unwrap_or_default();
            tokio::spawn(async move {
                loop {
                    let started = Instant::now();
                    let answer = client.get(&path).await?;
                    if answer.status != 200 {
                        return Err(format!("{path} answered {} {}", answer.status, answer.json()).into());
                    }
                    times.lock().unwrap_or_else(PoisonError::into_inner).push(started.elapsed());
                    sleep(PAUSE).await;
                }
            })
        });
        Self { clients: clients.collect(), times }
    }

    /// The times since the last look. An error of a client is the run's.
    pub(crate) async fn take(&mut self) -> Result<Vec<Duration>, BoxError> {
        for client in &mut self.clients {
            if client.is_finished() {
                client.await??;
                return Err("a client of the victim has ended".into());
            }
        }
        Ok(std::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.clients.iter().for_each(JoinHandle::abort);
    }
}

/// The time that all but one of a hundred do not exceed.
pub(crate) fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    let place = times.len().saturating_mul(99).div_ceil(100).saturating_sub(1);
    times.get(place).copied().unwrap_or_default()
}
