//! Clients that sign and send requests as fast as they are answered.
//!
//! A client is a task with a connection of its own that it keeps. It signs every request as merchants do and accepts
//! nothing but the answer that it expects: a benchmark with failures measures something else.

use core::fmt::Write as _;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use xthonpay_tests::BoxError;
use xthonpay_tests::client::{API, Key, now_s};
use xthonpay_tests::signatures::request_scheme;

use super::wire::Connection;
use crate::samples::Samples;

/// Invoices that a client remembers to read them again. All clients together know enough for reads not to be of one record.
const INVOICES_KEPT: usize = 32;

/// How long the last answers may take after the end of the measured time.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(30);

/// What the clients ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requests {
    /// New invoices.
    Create,
    /// Single invoices that the clients made.
    Read,
    /// What the merchants have.
    Balance,
}

/// When a run is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phases {
    from: Instant,
    until: Instant,
}

impl Phases {
    /// A measured time that begins after the warm-up.
    pub(super) fn from_now(warm_up: Duration, measured: Duration) -> Self {
        let from = Instant::now() + warm_up;
        Self { from, until: from + measured }
    }
}

/// Clients of one host.
pub(super) struct Load {
    clients: Vec<Client>,
}

impl Load {
    /// Connects `count` clients, which have the keys in turn.
    pub(super) async fn connect(base_url: &str, keys: &[Key], count: usize) -> Result<Self, BoxError> {
        let address: SocketAddr = base_url.trim_start_matches("http://").parse()?;
        let mut clients = Vec::with_capacity(count);
        for (number, key) in keys.iter().cycle().take(count).enumerate() {
            clients.push(Client {
                connection: Connection::open(address).await?,
                key: key.clone(),
                host: address.to_string(),
                number,
                orders: 0,
                invoices: VecDeque::with_capacity(INVOICES_KEPT),
                request: String::new(),
                answer_bytes: 0,
            });
        }
        Ok(Self { clients })
    }

    /// The largest last answer to a read.
    pub(super) fn answer_bytes(&self) -> usize {
        self.clients.iter().map(|client| client.answer_bytes).max().unwrap_or_default()
    }

    /// The same clients with connections of their own to somebody else, who need not know them.
    pub(super) async fn reconnected(&self, address: SocketAddr) -> Result<Self, BoxError> {
        let mut clients = Vec::with_capacity(self.clients.len());
        for client in &self.clients {
            clients.push(Client {
                connection: Connection::open(address).await?,
                key: client.key.clone(),
                host: address.to_string(),
                number: client.number,
                orders: client.orders,
                invoices: client.invoices.clone(),
                request: String::new(),
                answer_bytes: 0,
            });
        }
        Ok(Self { clients })
    }

    /// Lets all clients work at once. The samples are the requests whose answers came in the measured time.
    pub(super) async fn run(&mut self, requests: Requests, phases: Phases) -> Result<Samples, BoxError> {
        let mut working = JoinSet::new();
        for client in self.clients.drain(..) {
            working.spawn(client.work(requests, phases));
        }
        let mut all = Vec::new();
        let last = phases.until + LAST_ANSWER_MAX;
        while let Some(done) = timeout_at(last, working.join_next()).await.map_err(|_| "the host stopped answering")? {
            let (client, durations) = done??;
            self.clients.push(client);
            all.extend(durations);
        }
        Ok(Samples::new(all))
    }
}

struct Client {
    connection: Connection,
    key: Key,
    /// The header of that name.
    host: String,
    number: usize,
    /// Orders so far; makes the name of each different, and so its signature.
    orders: u32,
    /// The newest invoices, by their ids.
    invoices: VecDeque<String>,
    /// The request that is being sent; kept for its memory.
    request: String,
    /// The size of the last answer to a read.
    answer_bytes: usize,
}

impl Client {
    async fn work(mut self, requests: Requests, phases: Phases) -> Result<(Self, Vec<Duration>), BoxError> {
        let mut durations = Vec::new();
        loop {
            let started = Instant::now();
            match requests {
                Requests::Create => self.create().await?,
                Requests::Read => self.read().await?,
                Requests::Balance => self.get(&format!("{API}/balance")).await?,
            }
            let ended = Instant::now();
            if ended >= phases.until {
                return Ok((self, durations));
            }
            if ended >= phases.from {
                durations.push(ended.duration_since(started));
            }
        }
    }

    /// Makes an invoice with the request of the integration guide.
    async fn create(&mut self) -> Result<(), BoxError> {
        self.orders = self.orders.wrapping_add(1);
        let body = format!(
            "{{\"amount\":\"50.00\",\"external_id\":\"order-{:08x}{:08x}\",\"callback_url\":\"https://shop.example/hooks/pay\"}}",
            self.number, self.orders
        );
        self.sign("POST", &format!("{API}/invoices"), &body)?;
        let answer = self.connection.exchange(self.request.as_bytes()).await?;
        let text = String::from_utf8_lossy(answer.body);
        let id = invoice_id(&text).filter(|_| answer.status == 201);
        let id = id.ok_or_else(|| format!("no new invoice: {} {text}", answer.status))?.to_owned();
        if self.invoices.len() >= INVOICES_KEPT {
            self.invoices.pop_front();
        }
        self.invoices.push_back(id);
        Ok(())
    }

    /// Reads one of the client's invoices.
    async fn read(&mut self) -> Result<(), BoxError> {
        self.invoices.rotate_left(1);
        let id = self.invoices.front().ok_or("this client made no invoice that it could read")?;
        let path = format!("{API}/invoices/{id}");
        self.get(&path).await
    }

    async fn get(&mut self, path: &str) -> Result<(), BoxError> {
        self.sign("GET", path, "")?;
        let answer = self.connection.exchange(self.request.as_bytes()).await?;
        if answer.status == 200 {
            self.answer_bytes = answer.body.len();
            return Ok(());
        }
        Err(format!("{path} answers {} {}", answer.status, String::from_utf8_lossy(answer.body)).into())
    }

    /// Writes the signed request.
    fn sign(&mut self, method: &str, path: &str, body: &str) -> Result<(), BoxError> {
        let timestamp = now_s().to_string();
        let signature = request_scheme(&self.key.secret, &timestamp, method, path, body.as_bytes());
        self.request.clear();
        write!(
            self.request,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nx-api-key: {}\r\nx-timestamp: {timestamp}\r\nx-signature: {signature}\r\n",
            self.host, self.key.id
        )?;
        if !body.is_empty() {
            write!(self.request, "content-type: application/json\r\ncontent-length: {}\r\n", body.len())?;
        }
        Ok(write!(self.request, "\r\n{body}")?)
    }
}

/// The id of the invoice in an answer. Reading all of the answer would cost the generator more than all else.
fn invoice_id(answer: &str) -> Option<&str> {
    let (_, rest) = answer.split_once("\"invoice_id\":\"")?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_id_in_an_answer() {
        assert_eq!(invoice_id(r#"{"status":"success","data":{"invoice_id":"inv_1","x":"y"}}"#), Some("inv_1"));
        assert_eq!(invoice_id(r#"{"status":"error"}"#), None);
    }
}
