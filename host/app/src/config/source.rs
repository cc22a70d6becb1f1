//! Where the config comes from: the defaults in the binary, a file, the environment.

use std::fs;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format as _, Toml};

use super::problems::ConfigError;
use super::shape::Shape;

/// Every key with its default.
const DEFAULTS: &str = include_str!("../../../../config/default.toml");
/// What names of variables begin with.
const PREFIX: &str = "XTHONPAY_";
/// The variable with the passphrase. A secret, so it is read where it is used and never becomes part of the config.
pub const PASSPHRASE_VARIABLE: &str = "XTHONPAY_VAULT__PASSPHRASE";

/// The shape of the layered config, and the absolute path of the file.
pub(super) fn read(file: &Path) -> Result<(Shape, PathBuf), ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: file.to_owned(), source };
    let text = fs::read_to_string(file).map_err(unreadable)?;
    let absolute = std::path::absolute(file).map_err(unreadable)?;
    if let Err(error) = toml::from_str::<toml::Table>(&text) {
        return Err(ConfigError::Shape { path: file.to_owned(), reason: syntax(&error, &text) });
    }
    let layers = Figment::from(Toml::string(DEFAULTS)).merge(Toml::string(&text)).merge(environment());
    match layers.extract::<Shape>() {
        Ok(shape) => Ok((shape, absolute)),
        Err(errors) => Err(ConfigError::Shape { path: file.to_owned(), reason: sentence(errors) }),
    }
}

/// Variables that name a key: `XTHONPAY_SERVER__LISTEN` is `server.listen`. Others with the prefix name no key and are left alone.
fn environment() -> Env {
    Env::prefixed(PREFIX)
        .filter(|name| {
            let name = name.as_str().to_ascii_uppercase();
            name.contains("__") && !PASSPHRASE_VARIABLE.ends_with(&name)
        })
        .split("__")
}

/// All errors with their keys, without the text of values: a value may be a secret in the wrong place.
fn sentence(errors: figment::Error) -> String {
    let told = errors.into_iter().map(|error| {
        let key = error.path.join(".");
        let what = match &error.kind {
            figment::error::Kind::UnknownField(field, known) => {
                return format!("unknown key `{}`; known here: {}", full(&error.path, field), known.join(", "));
            }
            figment::error::Kind::MissingField(field) => {
                return format!("the key `{}` is missing", full(&error.path, field));
            }
            figment::error::Kind::InvalidType(_, expected) | figment::error::Kind::InvalidValue(_, expected) => {
                format!("expected {expected}")
            }
            other => other.to_string(),
        };
        if key.is_empty() { what } else { format!("{key}: {what}") }
    });
    told.collect::<Vec<_>>().join("; ")
}

/// Where the text is no TOML and why, without the line itself: it may hold a secret.
fn syntax(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count());
    let line = line.map_or_else(String::new, |line| format!("line {}: ", line.saturating_add(1)));
    format!("{line}{}", error.message().replace('\n', " "))
}

/// The field with its tables; some paths end with the field already.
fn full(path: &[String], field: &str) -> String {
    let tables = match path.split_last() {
        Some((last, tables)) if last == field => tables,
        _ => path,
    };
    tables.iter().map(String::as_str).chain([field]).collect::<Vec<_>>().join(".")
}
