//! Where the store is, as the operator says it, checked before anything is opened.
//!
//! Knows three kinds of endpoints: a directory of this machine, a SurrealDB server, and memory for tests. Everything else is
//! refused, and so is every engine option: durability is not a matter of configuration.

use core::fmt;
use std::path::PathBuf;

use thiserror::Error;
use zeroize::Zeroizing;

/// The only accepted engine option: a commit returns when its log is on disk.
const SYNC_EVERY: &str = "sync=every";

/// A store to open.
#[derive(Clone)]
pub struct SurrealConfig {
    /// `surrealkv://PATH` for a directory of this machine, `ws://HOST` or `wss://HOST` for a SurrealDB server, `mem://` for
    /// tests. A relative path must be resolved by the caller.
    pub endpoint: String,
    /// The SurrealDB namespace; not empty.
    pub namespace: String,
    /// The SurrealDB database; not empty.
    pub database: String,
    /// A user of the database on a server. Not used for a directory, which is guarded by its file permissions.
    pub credentials: Option<Credentials>,
    /// Whether `mem://` is accepted. True in tests only: such a store forgets everything.
    pub allow_volatile: bool,
}

/// A user of a SurrealDB server. Its password is erased when dropped and never shown.
#[derive(Clone)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Zeroizing<String>,
}

impl fmt::Debug for SurrealConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SurrealConfig")
            .field("endpoint", &self.endpoint)
            .field("namespace", &self.namespace)
            .field("database", &self.database)
            .field("credentials", &self.credentials)
            .field("allow_volatile", &self.allow_volatile)
            .finish()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// An endpoint that cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// Not one of the three kinds.
    #[error("store.endpoint must start with surrealkv://, ws:// or wss://")]
    UnknownKind,
    /// A kind that needs a path or host, without it.
    #[error("store.endpoint names no directory or host")]
    Empty,
    /// An engine option that is not `sync=every`.
    #[error("store.endpoint carries the option {option:?}: remove it; commits are always synced to disk")]
    Option {
        /// The option.
        option: String,
    },
    /// Memory, where tests are not allowed.
    #[error(
        "store.endpoint is mem://, which forgets everything: name a directory, such as surrealkv:///var/lib/xthonpay/store"
    )]
    Volatile,
    /// A server address that carries a user.
    #[error("store.endpoint carries a user name: give the user and password in their own settings")]
    UserInAddress,
    /// A namespace or database without a name.
    #[error("store.{field} is empty")]
    NoName {
        /// Which.
        field: &'static str,
    },
}

impl EndpointError {
    /// Always `false`: the same endpoint fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

/// An endpoint that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A directory of this machine.
    Directory(PathBuf),
    /// The address of a server.
    Server(String),
    /// Memory of this process.
    Memory,
}

impl SurrealConfig {
    /// The endpoint, checked.
    pub(crate) fn parse_endpoint(&self) -> Result<Endpoint, EndpointError> {
        for (field, name) in [("namespace", &self.namespace), ("database", &self.database)] {
            if name.is_empty() {
                return Err(EndpointError::NoName { field });
            }
        }
        let (address, options) = self.endpoint.split_once('?').unwrap_or((&self.endpoint, ""));
        let unwanted = options.split('&').find(|option| !option.is_empty() && *option != SYNC_EVERY);
        if let Some(option) = unwanted {
            return Err(EndpointError::Option { option: option.to_owned() });
        }
        let (kind, rest) = address.split_once("://").ok_or(EndpointError::UnknownKind)?;
        match kind {
            "mem" if rest.is_empty() && self.allow_volatile => Ok(Endpoint::Memory),
            "mem" => Err(EndpointError::Volatile),
            "surrealkv" | "ws" | "wss" if rest.is_empty() => Err(EndpointError::Empty),
            "surrealkv" => Ok(Endpoint::Directory(PathBuf::from(rest))),
            "ws" | "wss" if rest.contains('@') => Err(EndpointError::UserInAddress),
            "ws" | "wss" => Ok(Endpoint::Server(address.to_owned())),
            _ => Err(EndpointError::UnknownKind),
        }
    }
}

/// What the engine is opened with for a directory: the path and the one option that makes a commit durable.
pub(crate) fn durable_address(canonical_path: &str) -> String {
    format!("surrealkv://{canonical_path}?{SYNC_EVERY}")
}

/// Whether an address of an embedded engine asks for a synced log, and for nothing else.
pub(crate) fn asks_for_durability(address: &str) -> bool {
    address.split('?').skip(1).eq([SYNC_EVERY])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: &str, allow_volatile: bool) -> SurrealConfig {
        SurrealConfig {
            endpoint: endpoint.to_owned(),
            namespace: "xthonpay".to_owned(),
            database: "main".to_owned(),
            credentials: None,
            allow_volatile,
        }
    }

    #[test]
    fn understands_three_kinds() {
        let table = [
            ("surrealkv:///var/lib/store", Endpoint::Directory("/var/lib/store".into())),
            ("surrealkv:///var/lib/store?sync=every", Endpoint::Directory("/var/lib/store".into())),
            ("surrealkv://data/store", Endpoint::Directory("data/store".into())),
            ("ws://db:8000", Endpoint::Server("ws://db:8000".to_owned())),
            ("wss://db.example", Endpoint::Server("wss://db.example".to_owned())),
            ("mem://", Endpoint::Memory),
        ];
        for (endpoint, expected) in table {
            assert_eq!(config(endpoint, true).parse_endpoint(), Ok(expected), "{endpoint}");
        }
    }

    #[test]
    fn refuses_whatever_could_lose_a_commit() {
        for option in ["sync=never", "sync=5s", "SYNC=every", "sync=every&sync=never", "versioned=true", "sync"] {
            let refused = config(&format!("surrealkv:///data?{option}"), true).parse_endpoint();
            assert!(matches!(refused, Err(EndpointError::Option { .. })), "{option}");
        }
        assert_eq!(config("mem://", false).parse_endpoint(), Err(EndpointError::Volatile));
        assert_eq!(config("mem:///var/lib/store", true).parse_endpoint(), Err(EndpointError::Volatile));
        for endpoint in ["", "memory", "data/store", "rocksdb:///data", "http://db:8000", "tikv://db:2379", "file:///x"]
        {
            assert_eq!(config(endpoint, true).parse_endpoint(), Err(EndpointError::UnknownKind), "{endpoint}");
        }
        for endpoint in ["surrealkv://", "ws://", "surrealkv://?sync=every"] {
            assert_eq!(config(endpoint, true).parse_endpoint(), Err(EndpointError::Empty), "{endpoint}");
        }
        assert_eq!(config("wss://root:root@db", true).parse_endpoint(), Err(EndpointError::UserInAddress));
        let nameless = SurrealConfig { namespace: String::new(), ..config("mem://", true) };
        assert_eq!(nameless.parse_endpoint(), Err(EndpointError::NoName { field: "namespace" }));
    }

    #[test]
    fn the_address_of_a_directory_asks_for_durability() {
        assert!(asks_for_durability(&durable_address("/var/lib/store")));
        for address in ["surrealkv:///x", "surrealkv:///x?sync=never", "surrealkv:///x?sync=every?sync=never"] {
            assert!(!asks_for_durability(address), "{address}");
        }
    }

    #[test]
    fn never_shows_a_password() {
        let password = Zeroizing::new("hunter2-canary".to_owned());
        let credentials = Some(Credentials { username: "host".to_owned(), password });
        let shown = format!("{:?}", SurrealConfig { credentials, ..config("ws://db", false) });
        assert!(shown.contains("host") && !shown.contains("canary"), "{shown}");
    }
}
