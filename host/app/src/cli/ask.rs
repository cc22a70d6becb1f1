//! Commands about merchants and keys reach the running host, or are carried out here when none runs.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use xthonpay_payments::keys::Keys;

use super::CliError;
use crate::admin::client::AdminClient;
use crate::admin::service::AdminError;
use crate::compose::{self, Deployment};
use crate::config::Config;

/// Who does the work of one command.
pub(super) enum Worker {
    /// The running host.
    Host(AdminClient),
    /// This process, which holds the deployment.
    Here(Box<Deployment>, Box<Keys>),
}

impl Worker {
    /// Finds the running host, or opens the deployment.
    pub(super) async fn find(config: &Config) -> Result<Self, CliError> {
        if let Some(client) = AdminClient::running(&config.admin_socket()).await? {
            return Ok(Self::Host(client));
        }
        let deployment = Deployment::open(config).await?;
        let keys = deployment.keys(config, Arc::new(compose::catalog(config)));
        Ok(Self::Here(Box::new(deployment), Box::new(keys)))
    }

    /// One question.
    pub(super) async fn ask<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: B,
        here: impl AsyncFnOnce(&Keys, B) -> Result<T, AdminError>,
    ) -> Result<T, CliError> {
        match self {
            Self::Host(client) => Ok(client.post(path, &body).await?),
            Self::Here(_, keys) => Ok(here(keys, body).await?),
        }
    }

    /// Closes what was opened.
    pub(super) async fn end(self) {
        if let Self::Here(deployment, _) = self {
            deployment.close().await;
        }
    }
}

/// One question, from the beginning to the end.
pub(super) async fn ask_or_do<B: Serialize, T: DeserializeOwned>(
    config: &Config,
    path: &str,
    body: B,
    here: impl AsyncFnOnce(&Keys, B) -> Result<T, AdminError>,
) -> Result<T, CliError> {
    let worker = Worker::find(config).await?;
    let answer = worker.ask(path, body, here).await;
    worker.end().await;
    answer
}
