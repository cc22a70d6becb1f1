//! The connection to the engine: the only place that calls the SDK.
//!
//! Knows whether the store is open, closed or no longer to be trusted, and bounds how long a server may take. Does not know
//! what a statement means.

use core::time::Duration;
use std::sync::OnceLock;

use surrealdb::engine::any::Any;
use surrealdb::types::{RecordId, SurrealValue, Value, Variables};
use surrealdb::{IndexedResults, Surreal};
use thiserror::Error;
use tokio::sync::RwLock;
use tokio::time::timeout;
use xthonpay_payments::port::store::StoreError;

use crate::directory::HeldDirectory;
use crate::read::Rows;
use crate::space::{Room, Space};

/// How long a server may take for one answer. Far above the slowest statement; what takes longer is a lost connection.
/// An engine in this process has no such limit: giving up on it would not stop it.
const SERVER_ANSWER_MAX: Duration = Duration::from_secs(15);

/// What becomes of the data when a process or machine dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// An engine in this process, on disk.
    Directory,
    /// Someone else's process.
    Server,
    /// Nobody.
    Memory,
}

/// A question that got no answer.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    /// It was not asked.
    #[error("{0}")]
    NotAsked(String),
    /// It was asked, and what became of it is not known.
    #[error("{0}")]
    NoAnswer(String),
}

impl From<AskError> for StoreError {
    fn from(error: AskError) -> Self {
        Self::Unavailable { reason: error.to_string() }
    }
}

/// An engine that is open, and what must outlive it. Fields are dropped in this order.
pub(crate) struct Live {
    /// The SDK's handle; the engine closes when it is dropped.
    pub(crate) db: Surreal<Any>,
    /// The directory of an embedded engine.
    pub(crate) directory: Option<HeldDirectory>,
}

/// The connection.
pub(crate) struct Connection {
    live: RwLock<Option<Live>>,
    keeper: Keeper,
    space: Space,
    /// Why nothing read or written from now on can be relied on.
    distrusted: OnceLock<String>,
}

impl Connection {
    /// A connection through an open engine.
    pub(crate) fn new(live: Live, keeper: Keeper, space: Space) -> Self {
        Self { live: RwLock::new(Some(live)), keeper, space, distrusted: OnceLock::new() }
    }

    /// The connection with another disk.
    #[cfg(test)]
    pub(crate) fn with_space(self, space: Space) -> Self {
        Self { space, ..self }
    }

    /// Who keeps the data.
    pub(crate) fn keeper(&self) -> Keeper {
        self.keeper
    }

    /// Whether there is room on the disk for a commit. A disk that was full ends the trust in the engine.
    pub(crate) fn look_at_space(&self) -> Result<(), StoreError> {
        match self.space.room() {
            Room::Enough => Ok(()),
            Room::Scarce { free_bytes } => {
                let free = free_bytes / (1024 * 1024);
                let reason = format!("nothing was stored: the disk of the store has {free} MiB left; free some space");
                Err(StoreError::Unavailable { reason })
            }
            Room::Exhausted => {
                self.distrust("the disk of the store was full: free some space and restart the host");
                Err(StoreError::Unavailable { reason: "nothing was stored: the disk of the store is full".to_owned() })
            }
        }
    }

    /// Refuses every further read and write of this process. The first reason stays.
    pub(crate) fn distrust(&self, reason: &str) {
        if self.distrusted.set(reason.to_owned()).is_ok() {
            tracing::error!(reason, "the store refuses to go on until the host is restarted");
        }
    }

    /// Why nothing can be relied on any more, if that is so.
    pub(crate) fn distrusted(&self) -> Option<&str> {
        self.distrusted.get().map(String::as_str)
    }

    /// Runs statements. Each has its own result, which the caller must look at: an answer does not mean that any succeeded.
    pub(crate) async fn ask(&self, text: &str, variables: Variables) -> Result<IndexedResults, AskError> {
        self.call(async |db| db.query(text).bind(variables).await).await
    }

    /// Runs one statement that only reads, and returns its result.
    pub(crate) async fn read(&self, text: &'static str, variables: Variables) -> Result<Value, StoreError> {
        let results = self.ask(text, variables).await?;
        let unavailable = |error: surrealdb::Error| StoreError::Unavailable { reason: error.message().to_owned() };
        results.check().map_err(unavailable)?.take(0).map_err(unavailable)
    }

    /// Whether what is in memory may be given out: nobody else writes to the store, it is open, and nothing is in doubt.
    pub(crate) async fn trusts_memory(&self) -> bool {
        self.keeper != Keeper::Server && self.distrusted().is_none() && self.live.read().await.is_some()
    }

    /// Lets the engine answer, as long as it is open and trusted.
    async fn call<T>(&self, question: impl AsyncFnOnce(&Surreal<Any>) -> surrealdb::Result<T>) -> Result<T, AskError> {
        if let Some(reason) = self.distrusted.get() {
            return Err(AskError::NotAsked(reason.clone()));
        }
        let live = self.live.read().await;
        let Some(live) = live.as_ref() else { return Err(AskError::NotAsked("the store is closed".to_owned())) };
        let answer = question(&live.db);
        let answer = match self.keeper {
            Keeper::Directory | Keeper::Memory => answer.await,
            Keeper::Server => timeout(SERVER_ANSWER_MAX, answer)
                .await
                .map_err(|_| AskError::NoAnswer(format!("no answer from the server in {SERVER_ANSWER_MAX:?}")))?,
        };
        answer.map_err(|error| AskError::NoAnswer(error.message().to_owned()))
    }

    /// Waits for the calls that are under way, closes the engine, and lets go of the directory when its files are closed.
    /// Later calls fail. Calling it again does nothing.
    pub(crate) async fn close(&self) {
        let Some(Live { db, directory }) = self.live.write().await.take() else { return };
        drop(db);
        if let Some(directory) = directory
            && let Err(error) = directory.engine_has_left().await
        {
            tracing::warn!(%error, "the engine did not close its files in time");
        }
    }
}

impl Rows for Connection {
    /// Without a text, which would have to be parsed each time.
    async fn row(&self, id: RecordId) -> Result<Option<Value>, StoreError> {
        Ok(self.call(async |db| db.select(id).await).await?)
    }
}

/// One bound parameter.
pub(crate) fn bind(name: &str, value: impl SurrealValue) -> Variables {
    let mut variables = Variables::new();
    variables.insert(name, value);
    variables
}

/// The parameter of statements about one record.
pub(crate) fn bind_id(id: RecordId) -> Variables {
    bind("id", id)
}
