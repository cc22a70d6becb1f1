//! Opening: the directory, the engine, durability, the user, the schema, in this order.

use std::path::PathBuf;

use surrealdb::Surreal;
use surrealdb::engine::any::{self, Any};
use surrealdb::opt::auth::Database;
use surrealdb::opt::capabilities::Capabilities;
use surrealdb::opt::{Config, WaitFor};
use thiserror::Error;
use tokio::time::timeout;
use xthonpay_payments::port::store::StoreError;

use crate::config::{Endpoint, EndpointError, SurrealConfig, asks_for_durability, durable_address};
use crate::connection::{Connection, Keeper, Live};
use crate::directory::{DirectoryError, HeldDirectory};
use crate::schema::{SchemaError, migrate};
use crate::space::Space;

/// How long connecting to a server may take.
const CONNECT_MAX: core::time::Duration = core::time::Duration::from_secs(15);

/// A store that cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The endpoint cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The engine would not sync each commit to disk.
    #[error(
        "the store at {address} would not sync commits to disk; this is a defect of the host: do not use this version"
    )]
    NotDurable {
        /// What the engine would have been opened with.
        address: String,
    },
    /// The engine left its log in place, behind which nothing can be written safely.
    #[error(
        "the log of the store in {path} could not be put into its tables: check that the disk has as much space free as the \
         files in {path}/wal take, and start again"
    )]
    LogNotPutAway {
        /// The directory.
        path: PathBuf,
    },
    /// The engine does not open its files, or the server does not answer.
    #[error("the store at {endpoint} does not open: {reason}")]
    Engine {
        /// Where.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// The server does not know the user.
    #[error(
        "the store at {endpoint} refuses the user {username}: {reason}. Make it on the server with \
         DEFINE USER {username} ON DATABASE PASSWORD '...' ROLES OWNER"
    )]
    User {
        /// Where.
        endpoint: String,
        /// Who.
        username: String,
        /// Why.
        reason: String,
    },
    /// The schema cannot be used.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Where the feeds of events go on is not known.
    #[error("the end of the feeds of events in the store cannot be read: {0}")]
    Feed(#[source] StoreError),
}

impl OpenError {
    /// Whether the same store may open later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Endpoint(error) => error.is_transient(),
            Self::Directory(error) => error.is_transient(),
            Self::Schema(error) => error.is_transient(),
            Self::Feed(error) => error.is_transient(),
            Self::Engine { .. } | Self::LogNotPutAway { .. } => true,
            Self::NotDurable { .. } | Self::User { .. } => false,
        }
    }
}

/// Opens the store and brings it to the newest schema.
pub(crate) async fn open(config: &SurrealConfig) -> Result<Connection, OpenError> {
    let (live, keeper, space) = match config.parse_endpoint()? {
        Endpoint::Directory(path) => {
            let directory = HeldDirectory::take(&path).await?;
            let address = durable_address(directory.engine_path()?);
            if !asks_for_durability(&address) {
                return Err(OpenError::NotDurable { address });
            }
            let db = engine_with_whole_log(config, &address, &directory).await?;
            let space = Space::Of(directory.path().to_owned());
            (Live { db, directory: Some(directory) }, Keeper::Directory, space)
        }
        Endpoint::Server(address) => {
            let db = server(config, &address).await?;
            (Live { db, directory: None }, Keeper::Server, Space::Elsewhere)
        }
        Endpoint::Memory => {
            let db = engine(config, "mem://").await?;
            (Live { db, directory: None }, Keeper::Memory, Space::Elsewhere)
        }
    };
    let connection = Connection::new(live, keeper, space);
    if let Err(error) = migrate(&connection).await {
        // Lets go of the files, so that the next start finds them free.
        connection.close().await;
        return Err(error.into());
    }
    Ok(connection)
}

/// An engine on a directory whose log ends in no half-written record.
///
/// A kill can cut the last record of the log short. The engine reads up to there and then writes on behind it; after the next
/// kill it stops reading there and drops everything that came later, acknowledged or not. An engine that is closed puts the
/// whole log into its tables and removes it. So whatever log was left behind is put away first, by opening and closing.
async fn engine_with_whole_log(
    config: &SurrealConfig,
    address: &str,
    directory: &HeldDirectory,
) -> Result<Surreal<Any>, OpenError> {
    if directory.has_log()? {
        tracing::info!("the store was not closed; its log is put into its tables first");
        drop(engine(config, address).await?);
        directory.engine_has_left().await?;
        if directory.has_log()? {
            return Err(OpenError::LogNotPutAway { path: directory.path().to_owned() });
        }
    }
    engine(config, address).await
}

/// An engine in this process. It runs the host's own statements only, and has no use for what it could do besides.
async fn engine(config: &SurrealConfig, address: &str) -> Result<Surreal<Any>, OpenError> {
    let failed = |error: surrealdb::Error| OpenError::Engine {
        endpoint: config.endpoint.clone(),
        reason: error.message().to_owned(),
    };
    let capabilities = Capabilities::new()
        .with_scripting(false)
        .with_guest_access(false)
        .with_live_query_notifications(false)
        .with_all_net_targets_denied();
    let db = any::connect((address, Config::new().capabilities(capabilities))).await.map_err(failed)?;
    select_database(config, &db).await.map_err(failed)?;
    Ok(db)
}

async fn server(config: &SurrealConfig, address: &str) -> Result<Surreal<Any>, OpenError> {
    let failed = |reason: &str| OpenError::Engine { endpoint: config.endpoint.clone(), reason: reason.to_owned() };
    let connecting = async {
        let db = any::connect(address).await?;
        db.wait_for(WaitFor::Connection).await;
        Ok::<_, surrealdb::Error>(db)
    };
    let late = |_| failed("no answer; check the address and that the server runs");
    let db = timeout(CONNECT_MAX, connecting).await.map_err(late)?.map_err(|error| failed(error.message()))?;
    if let Some(credentials) = &config.credentials {
        let user = Database {
            namespace: config.namespace.clone(),
            database: config.database.clone(),
            username: credentials.username.clone(),
            password: credentials.password.as_str().to_owned(),
        };
        db.signin(user).await.map_err(|error| OpenError::User {
            endpoint: config.endpoint.clone(),
            username: credentials.username.clone(),
            reason: error.message().to_owned(),
        })?;
    }
    select_database(config, &db).await.map_err(|error| failed(error.message()))?;
    Ok(db)
}

async fn select_database(config: &SurrealConfig, db: &Surreal<Any>) -> surrealdb::Result<()> {
    db.use_ns(config.namespace.as_str()).use_db(config.database.as_str()).await?;
    Ok(())
}
