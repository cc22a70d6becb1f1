//! The socket on which a running host answers administrative commands.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use xthonpay_payments::audit::Audit;
use xthonpay_payments::catalog::Catalog;
use xthonpay_payments::keys::Keys;
use xthonpay_payments::port::store::Store;
use xthonpay_payments::scanning::freeze::ChainControl;
use xthonpay_payments::scanning::rescan::Rescan;

use super::plugin::{self, PluginDoor};
use super::protocol::{self, Refusal, Status};
use super::service::AdminError;
use super::signed::{self, SignedDoor};
use super::{audit, chain, key, merchant, rescan, suspense};

/// Tells how the host is doing.
pub trait StatusSource: Send + Sync {
    /// The status now.
    fn status(&self) -> impl Future<Output = Status> + Send;
}

/// What the socket serves.
pub struct AdminDoor<S> {
    /// Makes merchants and keys.
    pub keys: Keys,
    /// Tells how the host is doing.
    pub status: S,
    /// Audits the books.
    pub audit: Audit,
    /// Freezes and resumes the chains.
    pub chains: Vec<ChainControl>,
    /// Looks again at what was scanned.
    pub rescan: Rescan,
    /// The plugins.
    pub plugins: PluginDoor,
    /// The signers that plugins may be lent.
    pub signed: SignedDoor,
    /// Records that are read as they are.
    pub store: Arc<dyn Store>,
    /// Accepted assets.
    pub catalog: Arc<Catalog>,
}

/// Opens the socket. The caller holds the lock of the data folder, so a socket that is there already is a leftover.
///
/// # Errors
/// When the file system refuses.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    // The folder admits its owner alone already; the mode says so of the socket too.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until `stop` is cancelled.
///
/// # Errors
/// When the socket fails.
pub async fn serve<S: StatusSource + 'static>(
    listener: UnixListener,
    door: AdminDoor<S>,
    stop: CancellationToken,
) -> io::Result<()> {
    let merchants = merchant::router(door.keys.merchants.clone());
    let keys = key::router(door.keys.clone());
    let audit = audit::router(door.audit.clone(), stop.clone());
    let chains = chain::router(door.chains.clone(), Arc::clone(&door.catalog));
    let rescan = rescan::router(door.rescan.clone(), Arc::clone(&door.catalog), stop.clone());
    let plugins = plugin::router(door.plugins.clone());
    let signed = signed::router(door.signed.clone());
    let suspense = suspense::router(Arc::clone(&door.store), Arc::clone(&door.catalog));
    let router = Router::new()
        .route(protocol::STATUS, get(status::<S>))
        .with_state(Arc::new(door))
        .merge(merchants)
        .merge(keys)
        .merge(audit)
        .merge(chains)
        .merge(rescan)
        .merge(plugins)
        .merge(signed)
        .merge(suspense);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let transient = self.is_transient();
        let status = if transient { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_REQUEST };
        (status, Json(Refusal { error: self.to_string(), transient })).into_response()
    }
}

async fn status<S: StatusSource>(State(door): State<Arc<AdminDoor<S>>>) -> Json<Status> {
    Json(door.status.status().await)
}
