//! The side of the command line: asks the running host.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;

use super::protocol::Refusal;

/// How long an answer may take: far above any command's work, below an operator's patience.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A command that got no good answer.
#[derive(Debug, Error)]
pub enum AdminClientError {
    /// No host listens.
    #[error("no host runs on {}", socket.display())]
    NoHost {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket cannot be used.
    #[error("admin socket {}: {source}", socket.display())]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The host did not answer, or not in the protocol.
    #[error("the host gave no usable answer: {0}")]
    Protocol(#[from] reqwest::Error),
    /// The host refused.
    #[error("{}", .0.error)]
    Refused(Refusal),
}

impl AdminClientError {
    /// Whether the same command may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoHost { .. } | Self::Protocol(_) => true,
            Self::Socket { .. } => false,
            Self::Refused(refusal) => refusal.transient,
        }
    }
}

/// A connection to a running host.
pub struct AdminClient {
    http: reqwest::Client,
}

impl AdminClient {
    /// Finds the host that listens on `socket`.
    ///
    /// # Errors
    /// [`AdminClientError::NoHost`] when nobody listens, [`AdminClientError::Socket`] when the socket may not be used.
    pub async fn connect(socket: &Path) -> Result<Self, AdminClientError> {
        if let Err(source) = UnixStream::connect(socket).await {
            let socket = socket.to_owned();
            return Err(match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AdminClientError::NoHost { socket },
                _ => AdminClientError::Socket { socket, source },
            });
        }
        let http = reqwest::Client::builder().unix_socket(socket).timeout(TIMEOUT).no_proxy().build()?;
        Ok(Self { http })
    }

    /// The host that listens on `socket`, or `None` when nobody listens: then a command does its work itself.
    ///
    /// # Errors
    /// [`AdminClientError::Socket`] when the socket may not be used.
    pub async fn running(socket: &Path) -> Result<Option<Self>, AdminClientError> {
        match Self::connect(socket).await {
            Ok(client) => Ok(Some(client)),
            Err(AdminClientError::NoHost { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks without a body.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AdminClientError> {
        Self::read(self.http.get(address(path)).send().await?).await
    }

    /// Asks with a body.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, AdminClientError> {
        self.post_within(path, body, TIMEOUT).await
    }

    /// Asks what takes longer than a command does.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn post_within<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        limit: Duration,
    ) -> Result<T, AdminClientError> {
        Self::read(self.http.post(address(path)).timeout(limit).json(body).send().await?).await
    }

    async fn read<T: DeserializeOwned>(answer: reqwest::Response) -> Result<T, AdminClientError> {
        if answer.status().is_success() {
            Ok(answer.json().await?)
        } else {
            Err(AdminClientError::Refused(answer.json().await?))
        }
    }
}

/// The host part is not used: the socket decides who answers.
fn address(path: &str) -> String {
    format!("http://admin{path}")
}
